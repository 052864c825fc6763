"""What senders do for a process's files from time to time, at least once a second."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from math import inf
from pathlib import Path

from amplitude_moloco.buffers.base import BufferState, Degraded, Entry, Lost, News
from amplitude_moloco.buffers.sqlite.journal import Journal
from amplitude_moloco.buffers.sqlite.mover import Mover
from amplitude_moloco.buffers.sqlite.owner import Owner, new_token
from amplitude_moloco.buffers.sqlite.record import number_of
from amplitude_moloco.buffers.sqlite.store import Store, is_locked
from amplitude_moloco.buffers.sqlite.tail import Tail
from amplitude_moloco.buffers.sqlite.takeover import journal_sizes, take_over_dead

logger = logging.getLogger(__name__)

_TEND_SECONDS = 0.5
_SYNC_SECONDS = 1.0
_LOCKED_SECONDS = 1.0
"""A lock that another process holds for longer is told."""
_FORK_SECONDS = 3.0
_WELL_SECONDS = 5.0
"""A trouble is over when it was not there for this long: what comes and goes is told once."""
_RESERVED_BYTES = 8 * 1024**2
"""What is left of a disk, or a tenth of a small one, is for settling what is stored."""


class Caretaker:
    """Safe from any thread: while one tends, others return at once."""

    def __init__(
        self,
        file: Path,
        parts: tuple[Owner, Tail, Mover, Store],
        is_synced: bool,
        letter_bounds: tuple[float, int, int],
        clocks: tuple[Callable[[], float], Callable[[], float]],
    ) -> None:
        self._file = file
        self._owner, self._tail, self._mover, self._store = parts
        self._is_synced = is_synced
        self._letter_bounds = letter_bounds
        self._wall, self._monotonic = clocks
        self._tending = threading.RLock()
        self._tend_at = self._sync_at = 0.0
        self._news: list[News] = []
        self._locked_since: float | None = None
        self._troubles: dict[str, float] = {}  # what was told, and when it was there last
        self._fault = ""
        self._held: ExitStack | None = None
        self.has_due = False
        """Whether something in the store was due when this process looked last."""

    def begin(self) -> None:
        """Open the journal, and take over what the dead have left."""
        self._owner.sign()
        with self._tending:
            self._mend()
            self._try(self._take_over)
            self._try(self._look)
            self._tend_at = self._monotonic() + _TEND_SECONDS

    def tend(self) -> list[News]:
        """Do what is due, and return what has happened since. Never raises."""
        now = self._monotonic()
        is_due = now >= self._tend_at or self._tail.is_beyond()
        if is_due and self._tending.acquire(blocking=False):
            try:
                if now >= self._tend_at:
                    self._tend_at = now + _TEND_SECONDS
                    self._tend_now(now)
                else:
                    self._try(self._mover.move)
            finally:
                self._tending.release()
        news, self._news = self._news, []
        return news

    def take_over(self) -> None:
        """Take over what dead processes have left, unless another thread tends. Never raises."""
        if self._tending.acquire(blocking=False):
            try:
                self._try(self._take_over)
            finally:
                self._tending.release()

    def note_trouble(self, error: Exception) -> None:
        """The store can't be used now."""
        if is_locked(error):
            self._locked_since = self._locked_since or self._monotonic()
            if self._monotonic() - self._locked_since < _LOCKED_SECONDS:
                return
        self._tell_once("store", f"the file {self._file} can't be used: {error}")

    def note_fault(self, error: OSError) -> None:
        """The disk can't write the journal."""
        self._fault = error.strerror or str(error)

    def _tend_now(self, now: float) -> None:
        self._mend()
        if self._is_synced and now >= self._sync_at:
            self._sync_at = now + _SYNC_SECONDS
            try:
                self._tail.journal.sync()
            except OSError as error:
                self.note_fault(error)
        is_well = self._try(self._mover.move)
        is_well = self._try(self._take_over) and is_well
        is_well = self._try(self._look) and is_well
        self._try(self._prune)
        self._try(self._store.tidy)
        if is_well:
            self._locked_since = None
            self._end_trouble("store", "The file %s can be used again")
        if not self._tail.rows_done:
            self._tail.journal.trim(self._tail.oldest())

    def _try(self, step: Callable[[], object]) -> bool:
        try:
            step()
        except (OSError, sqlite3.Error) as error:
            self.note_trouble(error)
            return False
        return True

    def _take_over(self) -> None:
        for lost in take_over_dead(self._file, self._store, self._tail.token):
            self._news.append(lost)

    def _look(self) -> None:
        self._mover.others = journal_sizes(self._file, self._tail.token)
        self._owner.publish(self._tail.events, self._tail.bytes)
        self._mover.look()
        self.has_due = self._mover.next_seconds() == 0
        for lost, message in self._store.take_news():
            self._news.append(
                Lost(lost, message) if lost else Degraded(f"{message}; a new one was started")
            )
        self._news += self._mover.take_lost()

    def _prune(self) -> None:
        age_seconds, most, most_bytes = self._letter_bounds
        self._mover.prune(self._wall() - age_seconds, most, most_bytes)

    # -- the journal -------------------------------------------------------------------------

    def _mend(self) -> None:
        """Make sure that this process's lock and journal are there, and not too large."""
        tail = self._tail
        try:
            if not self._owner.is_held():
                self._start_anew()
            elif not tail.journal.is_whole():
                self._news.append(Degraded("the journal was removed or cut; it is written anew"))
                self._rewrite(tail.journal)
            elif self._is_cramped():
                tail.spare_disk()
            elif tail.unwritten_from or tail.journal.current is None:
                self._write_unwritten()
            elif tail.journal.is_due(is_idle=tail.oldest() > tail.last):
                segment = tail.journal.new_segment()
                with tail.lock:
                    tail.journal.begin(segment, tail.last + 1)
        except OSError as error:
            with tail.lock:
                tail.lose_journal(error)
        fault = tail.fault or self._fault
        if fault:
            self._fault = ""
            self._tell_once(
                "journal", f"the journal can't be written ({fault}); new events wait in memory"
            )
        else:
            self._end_trouble("journal", "The journal beside %s can be written again")

    def _is_cramped(self) -> bool:
        """Whether new events should leave the rest of the disk to those that are stored."""
        disk = os.statvfs(self._file.parent)
        most = _RESERVED_BYTES * (2 if self._tail.unwritten_from else 1)
        return disk.f_bavail * disk.f_frsize < min(most, disk.f_blocks * disk.f_frsize // 10)

    def _write_unwritten(self) -> None:
        tail = self._tail
        segment = tail.journal.new_segment()
        with tail.lock:
            first = tail.unwritten_from or tail.last + 1
            frames = [frame for frame in tail.own_frames() if number_of(frame) >= first]
            tail.journal.begin(segment, tail.last + 1, b"".join(frames))
            tail.unwritten_from, tail.fault = 0, ""

    def _rewrite(self, journal: Journal) -> None:
        """Write all that is known into a new segment of this journal, and give up the others."""
        tail = self._tail
        with tail.lock:
            segment = journal.new_segment()
            frames = list(tail.own_frames())
            if tail.spilled_from:
                frames += tail.journal.frames(tail.spilled_from, tail.spilled[0])
            journal.begin(segment, tail.last + 1, b"".join(frames))
            old, tail.journal = tail.journal, journal
            tail.unwritten_from, tail.fault = 0, ""
            old.close(is_done=True, most=1 if old is journal else 0)

    def _start_anew(self) -> None:
        """The lock is lost: write everything into a journal of a new name."""
        tail, old = self._tail, self._tail.token
        with tail.lock:
            tail.unwritten_from = min(tail.unwritten_from or 1, 1)
        token = new_token()
        owner = Owner(self._file, token)
        owner.sign()
        self._news.append(Degraded("the lock file was removed; the journal is written anew"))
        self._rewrite(Journal(self._file, token, is_synced=self._is_synced))
        with self._mover.lock:
            tail.token = token
            self._owner.release(is_done=True)
            self._owner = owner

            def rename() -> None:
                with self._store.transaction() as db:
                    db.execute("UPDATE events SET owner = ? WHERE owner = ?", (token, old))

            self._try(rename)

    # -- what is told ------------------------------------------------------------------------

    def _tell_once(self, kind: str, message: str) -> None:
        if kind not in self._troubles:
            self._news.append(Degraded(message))
        self._troubles[kind] = self._monotonic()

    def _end_trouble(self, kind: str, message: str) -> None:
        if self._monotonic() - self._troubles.get(kind, inf) >= _WELL_SECONDS:
            del self._troubles[kind]
            logger.warning(message, self._file)

    # -- the end -----------------------------------------------------------------------------

    def close(
        self, state: Callable[[], BufferState], wait_seconds: float
    ) -> tuple[list[Entry], BufferState]:
        """Move all into the store. Returns what could not be kept, and the last state."""
        tail = self._tail
        last_state = BufferState(0, 0, 0)
        with self._tending, self._mover.lock:
            with suppress(OSError, sqlite3.Error):
                last_state = state()
            with tail.lock:
                tail.is_closed = True
                claims = tail.return_claims()
            is_done = self._try(lambda: self._mover.move(is_all=True, wait_seconds=wait_seconds))
            is_done = is_done and self._try(self._release_claims)
            lost = [] if is_done else tail.unwritten(claims)
            tail.journal.close(is_done=is_done)
            self._owner.release(is_done=is_done)
            if is_done:
                self._try(self._forget)
                self._try(self._store.tidy)
            self._store.close()
        return lost, last_state

    def _release_claims(self) -> None:
        with self._store.transaction() as db:
            db.execute("UPDATE events SET owner = NULL WHERE owner = ?", (self._tail.token,))

    def _forget(self) -> None:
        with self._store.transaction() as db:
            db.execute("DELETE FROM journals WHERE token = ?", (self._tail.token,))

    # -- forks -------------------------------------------------------------------------------

    def hold(self) -> None:
        """Keep other threads out during a fork, and close the connection to the store."""
        held = ExitStack()
        for lock in (self._tending, self._mover.lock, self._tail.lock):
            if lock.acquire(timeout=_FORK_SECONDS):
                held.callback(lock.release)
        if self._store.hold():
            held.callback(self._store.let_go)
        self._held = held

    def let_go(self) -> None:
        """Let other threads in again, in the parent and in the child."""
        held, self._held = self._held, None
        if held is not None:
            held.close()
