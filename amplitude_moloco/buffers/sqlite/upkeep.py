"""What a process does for its files at least once a second, and at the end."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, suppress
from math import inf
from pathlib import Path

from amplitude_moloco.buffers.base import BufferState, Degraded, Entry, Lost, News
from amplitude_moloco.buffers.sqlite.exchange import Exchange
from amplitude_moloco.buffers.sqlite.file import SqliteFile, is_locked
from amplitude_moloco.buffers.sqlite.outbox import Outbox
from amplitude_moloco.buffers.sqlite.owner import Owner
from amplitude_moloco.buffers.sqlite.store import Store
from amplitude_moloco.buffers.sqlite.tail import What
from amplitude_moloco.text import one_line

logger = logging.getLogger(__name__)

_TEND_SECONDS = 0.9
_SYNC_SECONDS = 1.0
_LOCKED_SECONDS = 1.0
"""A lock that another process holds for longer is reported."""
_FORK_SECONDS = 3.0
_WELL_SECONDS = 5.0
"""A trouble is over when it was not there for this long: what comes and goes is reported once."""
_RESERVED_BYTES = 16 * 1024**2
"""This much of a disk, or a sixth of a small one, is left for settling what is stored."""


class Upkeep:
    """Safe from any thread: while one tends, others return at once.

    Args:
        is_synced: Whether the disk is to write the journal each second.
    """

    def __init__(
        self,
        path: Path,
        parts: tuple[Owner, Outbox, Exchange, Store, SqliteFile],
        monotonic: Callable[[], float],
        *,
        is_synced: bool,
    ) -> None:
        self._path = path
        self._owner, self._outbox, self._exchange, self._store, self._file = parts
        self._monotonic = monotonic
        self._is_synced = is_synced
        self._tend_at = self._sync_at = 0.0
        self._news: list[News] = []
        self._locked_since: float | None = None
        self._troubles: dict[str, float] = {}  # what was reported, and when it was there last
        self._held: ExitStack | None = None
        with self._exchange.lock:
            self._mend()
            for step in (self._store.join, self._exchange.take_over, self._look):
                self._try(step)
            self._tend_at = self._monotonic() + _TEND_SECONDS

    def tend(self) -> list[News]:
        """Do what is due, and return what has happened since. Never raises."""
        now = self._monotonic()
        is_due = now >= self._tend_at or self._outbox.tail.is_beyond
        if is_due and self._exchange.lock.acquire(blocking=False):
            try:
                if now >= self._tend_at:
                    self._tend_at = now + _TEND_SECONDS
                    self._tend_now(now)
                else:
                    self._try(self._exchange.move)
            finally:
                self._exchange.lock.release()
        news, self._news = self._news, []
        return news

    def share(self) -> bool:
        """Move all into the store. Returns whether that is done. Never raises."""
        return self._try(self._exchange.share)

    def take_over(self) -> None:
        """Take over what dead processes have left. Never raises."""
        with self._exchange.lock:
            self._try(self._exchange.take_over)

    def note_trouble(self, error: Exception) -> None:
        """The store can't be used now."""
        if is_locked(error):
            self._locked_since = self._locked_since or self._monotonic()
            if self._monotonic() - self._locked_since < _LOCKED_SECONDS:
                return
        self._tell_once("store", f"the file {self._path} can't be used: {error}")

    def _tend_now(self, now: float) -> None:
        self._mend()
        self._outbox.note_done()
        if self._is_synced and now >= self._sync_at:
            self._sync_at = now + _SYNC_SECONDS
            self._outbox.disk.write()
        is_moved = self._try(self._exchange.move)
        done = [self._try(step) for step in (self._exchange.take_over, self._look)]
        done.append(self._try(self._store.prune))
        with suppress(OSError, sqlite3.Error):  # a full disk has no room for it
            self._file.tidy()
        if is_moved:
            self._try(self._outbox.trim_journal)
        if is_moved and all(done):
            self._locked_since = None
            self._end_trouble("store", "The file %s can be used again")

    def _try(self, step: Callable[[], object]) -> bool:
        try:
            step()
        except (OSError, sqlite3.Error) as error:
            self.note_trouble(error)
            return False
        return True

    def _look(self) -> None:
        """Learn what the store holds, and what happened to it."""
        before = self._stored
        self._exchange.count()
        for rows, message in self._file.take_news():
            lost = max(0, before - self._stored) if rows is None else rows
            self._news.append(Lost(lost, message) if lost else Degraded(message))
        self._news += self._store.lost
        self._store.lost.clear()

    @property
    def _stored(self) -> int:
        """How many events and dead letters the store has, as far as this process knows."""
        return self._outbox.shared[0] + self._store.dead

    # -- the journal -------------------------------------------------------------------------

    def _mend(self) -> None:
        """Make sure that this process's lock and journal are there, and not too large."""
        outbox, journal = self._outbox, self._outbox.journal
        is_cramped = False
        try:
            if not self._owner.hold():
                self._news.append(Degraded("the lock file was removed; it is made anew"))
            is_cramped = self._is_cramped()
            if journal.current is not None and not journal.is_whole():
                self._news.append(Degraded("the journal was removed or cut; it is written anew"))
                outbox.rewrite_journal()
            elif is_cramped:
                outbox.spare_disk()
            elif outbox.unwritten_from:
                outbox.rewrite_journal()
            outbox.rotate_journal(is_cramped=is_cramped)
        except OSError as error:
            outbox.lose_journal(error, 0 if journal.is_whole() else 1)
        fault = outbox.fault or outbox.disk.fault
        if fault:
            outbox.disk.fault = ""
            self._tell_once(
                "journal", f"the journal can't be written ({fault}); new events wait in memory"
            )
        else:
            self._end_trouble("journal", "The journal beside %s can be written again")

    def _is_cramped(self) -> bool:
        """Whether new events should leave the rest of the disk to those that are stored."""
        disk = os.statvfs(self._path.parent)
        free = disk.f_bavail * disk.f_frsize
        reserved = min(_RESERVED_BYTES, disk.f_blocks * disk.f_frsize // 6)
        if self._outbox.unwritten_from:  # all that is in memory is to be written then
            reserved = 2 * reserved + self._outbox.tail.bytes
        return free < reserved

    # -- what is reported --------------------------------------------------------------------

    def _tell_once(self, kind: str, message: str) -> None:
        if kind not in self._troubles:
            self._news.append(Degraded(message))
        self._troubles[kind] = self._monotonic()

    def _end_trouble(self, kind: str, message: str) -> None:
        if self._monotonic() - self._troubles.get(kind, inf) >= _WELL_SECONDS:
            del self._troubles[kind]
            logger.warning(message, one_line(self._path))

    # -- the end -----------------------------------------------------------------------------

    def close(self, wait_seconds: float) -> tuple[list[Entry], BufferState]:
        """Move all into the store. Returns what could not be kept, and the last state."""
        outbox, state = self._outbox, BufferState(0, 0, 0)
        with self._exchange.lock:
            with suppress(OSError, sqlite3.Error):
                state = self._exchange.state()
            claims = outbox.close()
            is_done = self._try(lambda: self._exchange.move(What.ALL, wait_seconds))
            lost = [] if is_done else outbox.unwritten(claims)
            outbox.journal.close(is_done=is_done)
            if is_done:
                self._try(lambda: self._store.forget(self._owner.token))
                self._try(self._file.tidy)
            self._owner.release(is_done=is_done)
            self._file.close()
        return lost, state

    # -- forks -------------------------------------------------------------------------------

    def hold(self) -> None:
        """Keep other threads out during a fork, and close the connection to the store."""
        held = ExitStack()
        for lock in (self._exchange.lock, self._outbox.lock):
            if lock.acquire(timeout=_FORK_SECONDS):
                held.callback(lock.release)
        if self._file.hold():
            held.callback(self._file.let_go)
        self._held = held

    def let_go(self) -> None:
        """Let other threads in again, in the parent and in the child."""
        held, self._held = self._held, None
        if held is not None:
            held.close()
