"""A buffer in files: its entries survive the process, and several processes can share it."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from amplitude_moloco.buffers.base import BufferState, Claim, DeadLetter, Entry, News
from amplitude_moloco.buffers.bounds import bound
from amplitude_moloco.buffers.sqlite.caretaker import Caretaker
from amplitude_moloco.buffers.sqlite.front import Letter
from amplitude_moloco.buffers.sqlite.journal import Journal
from amplitude_moloco.buffers.sqlite.mover import Mover, letter_from
from amplitude_moloco.buffers.sqlite.owner import Owner, new_token
from amplitude_moloco.buffers.sqlite.store import Store, is_locked
from amplitude_moloco.buffers.sqlite.tail import Tail
from amplitude_moloco.buffers.sqlite.takeover import waiting_in_journals
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.host.fork import Origin, take_part
from amplitude_moloco.host.interruption import is_interruption
from amplitude_moloco.reasons import DeadLetterReason, DropReason
from amplitude_moloco.text import one_line

logger = logging.getLogger(__name__)

_MODES = {"FULL": "FULL", "1S": "FULL", "NORMAL": "FULL", "OFF": "OFF"}
"""SQLite's own setting for each of ours. A journal is deleted once its events are in the store."""
_LETTERS = """SELECT number, buried_at, attempts, status, reason, message, frame FROM letters
    WHERE number > ? ORDER BY number LIMIT ?"""
_PAGE = 100
_HORIZON_SECONDS = 60.0


class SqliteBuffer:
    """The Buffer in files, which all processes of a machine may open at the same time.

    ``put`` appends one record to a journal of this process alone, with one system call. Once it
    has returned None the event survives the end of the process, even kill -9. With
    ``synchronous="FULL"`` it also survives a loss of power, if the disk writes what it reports as
    written; with ``"1s"`` a loss of power takes the last second; with ``"OFF"`` what the system has
    not written yet. Senders take events from memory. What waits for long, and dead letters, they
    move into the SQLite file ``path``, which all processes share.

    Each process holds a lock for as long as it lives. What a dead one has left, on its way or not,
    any other process takes over when it tends the buffer. So an entry may be sent twice, always
    with the same id and body. The locks need a local disk of a POSIX system, never a network's.

    ``put`` never raises, and waits for no other process. It refuses an event with ``full`` (a bound
    is reached; or the disk can't be written, and the memory for that is used up), ``closed``,
    ``forked`` (another process opened it: a child has to open it again) or ``unavailable``.
    ``state``, ``checkpoint``, ``dead_letters`` and ``resend`` raise sqlite3.Error on trouble.

    Beside the file lie ``NAME-lock``, ``NAME-wal``, ``NAME-shm``, and for each process
    ``NAME-TOKEN.lock`` and ``NAME-TOKEN-NUMBER.journal``. None of them may be a link. Damage costs
    the records that it hits: the others are read, and a damaged file is kept under another name.
    Raises ConfigurationError if the file can't be used, is not a buffer, or holds another target's
    events.

    Args:
        path: The file. It is created if missing, for this user alone; its folder has to exist. A
            link is resolved once, here.
        target: Where the events go. It is kept in the file, which accepts no other target.
        max_events, max_bytes: The bounds of all entries, claimed ones included. Bytes are those of
            the bodies. What other processes have put counts within a second.
        synchronous: ``FULL``, ``1s`` or ``OFF``. ``NORMAL`` is another name of ``1s``.
        drain_at_exit: Whether the end of the process waits for what waits here.
        patience_seconds: The longest wait for other processes when it is opened, closed or read.
        longest_delay_seconds: The longest delay of a retry. An entry that is due even later was
            written before the clock was set back, and is due now.
        max_dead_letters, max_dead_bytes, max_dead_age_seconds: The bounds of the dead letters.
            Beyond them, the oldest are forgotten.
        wall: Gives the Unix time in seconds. All processes that share the file need the same.
        monotonic: Gives seconds that never go back.
    """

    is_durable = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        target: str,
        max_events: int = 1_000_000,
        max_bytes: int = 2 * 1024**3,
        synchronous: str = "1s",
        drain_at_exit: bool = False,
        patience_seconds: float = 3.0,
        longest_delay_seconds: float = 2 * 3600.0,
        max_dead_letters: int = 100_000,
        max_dead_bytes: int = 512 * 1024**2,
        max_dead_age_seconds: float = 30 * 24 * 3600.0,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        mode = synchronous.upper()
        if mode not in _MODES:
            raise ConfigurationError(
                f"buffer: synchronous={synchronous!r} can't be used; use 'FULL', '1s' or 'OFF'"
            )
        bounds = bound("max_events", max_events), bound("max_bytes", max_bytes)
        self.drain_at_exit = drain_at_exit
        self._is_synced = mode == "FULL"
        self._wall = wall
        self._patience_seconds = patience_seconds
        self._state_at_close = BufferState(0, 0, 0)
        self._origin = Origin()
        # SQLite, too, puts the WAL beside what a link leads to.
        self._path = Path(os.path.realpath(path))
        self._store, owner = self._open(target, _MODES[mode])
        journal = Journal(self._path, owner.token, is_synced=mode != "OFF")
        clocks = wall, monotonic
        horizon_seconds = longest_delay_seconds + _HORIZON_SECONDS
        self._tail = Tail(journal, owner.token, bounds, clocks)
        self._mover = Mover(self._tail, self._store, horizon_seconds, clocks)
        letter_bounds = max_dead_age_seconds, max_dead_letters, max_dead_bytes
        parts = owner, self._tail, self._mover, self._store
        self._caretaker = Caretaker(self._path, parts, mode != "OFF", letter_bounds, clocks)
        self._caretaker.begin()
        take_part(self)
        logger.info("Events wait in the file %s", one_line(self._path))

    def _open(self, target: str, synchronous: str) -> tuple[Store, Owner]:
        """Open the shared file, and take a lock of its own. Raises ConfigurationError."""
        try:
            store = Store(
                self._path,
                target=target,
                synchronous=synchronous,
                patience_seconds=self._patience_seconds,
            )
            return store, Owner(self._path, new_token())
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(_unusable_message(self._path, error)) from error

    def __repr__(self) -> str:
        path = getattr(self, "_path", None)  # it may not be constructed yet
        return f"SqliteBuffer({path and str(path)!r})"

    @property
    def has_due(self) -> bool:
        """As ``Tended.has_due``."""
        return self._caretaker.has_due

    @property
    def _is_inherited(self) -> bool:
        """Whether another process opened it, and forked: it can't be used here."""
        return self._origin.is_elsewhere

    def put(self, id: str, sync: str, body: bytes) -> DropReason | None:
        if self._origin.is_elsewhere:
            return DropReason.FORKED
        refused = self._tail.put(id, sync, body)
        if self._is_synced and refused is None:
            try:
                self._tail.journal.sync()
            except OSError as error:
                if is_interruption(error):
                    self._tail.journal.recover()
                    raise
                self._caretaker.note_fault(error)
            except BaseException:
                self._tail.journal.recover()
                raise
        return refused

    def claim(self, limit: int, newest: int = 0) -> Claim:
        if self._is_inherited or self._tail.is_closed:
            return Claim([], None)
        tail, mover = self._tail, self._mover
        try:
            is_older_there = self._caretaker.has_due and len(tail.fetched) < limit
            if is_older_there or not tail.has_enough(limit):
                mover.fetch(limit, newest)
        except (OSError, sqlite3.Error) as error:
            self._caretaker.note_trouble(error)
        with suppress(OSError):
            if not tail.new:
                tail.refill()
        entries = tail.take(limit, newest)
        next_seconds = tail.next_seconds()
        if next_seconds != 0:
            try:
                stored = mover.next_seconds()
            except (OSError, sqlite3.Error) as error:
                self._caretaker.note_trouble(error)
            else:
                found = [each for each in (next_seconds, stored) if each is not None]
                next_seconds = min(found, default=None)
        return Claim(entries, next_seconds)

    def ack(self, entry: Entry) -> bool:
        return not self._is_inherited and self._tail.ack(entry.key)

    def retry(self, entry: Entry, delay_seconds: float, *, attempts: int, strikes: int = 0) -> bool:
        item = None if self._is_inherited else self._tail.end(entry.key)
        if item is None:
            return False
        self._tail.return_later(item._replace(attempts=attempts, strikes=strikes), delay_seconds)
        return True

    def checkpoint(self) -> Callable[[], bool]:
        """As ``Buffer.checkpoint``: for this process's entries, and those that none has claimed.

        What dead processes have left is taken over first. The function reads the file. Both raise
        sqlite3.Error if it can't be read. Once the buffer is closed, the function returns True.
        """
        if self._is_inherited or self._tail.is_closed:
            return lambda: True
        self._caretaker.take_over()
        return self._mover.checkpoint()

    def state(self) -> BufferState:
        """What lies in the files, of all processes; ``claimed`` counts this object's claims alone.

        After ``close()``, what lay in it at that moment.
        """
        tail = self._tail
        if self._is_inherited or tail.is_closed:
            return self._state_at_close
        with self._mover.lock:
            others = waiting_in_journals(self._path, self._store, tail.token)
            ((events, dead),) = self._store.read("SELECT events, dead FROM totals")
            with tail.lock:
                waiting = others + events - tail.held_rows() + tail.waiting()
                return BufferState(waiting, len(tail.claimed), dead + len(tail.letters))

    def tend(self) -> list[News]:
        """As ``Tended.tend``: move, note and take over what is due, and mend the files."""
        if self._is_inherited or self._tail.is_closed:
            return []
        return self._caretaker.tend()

    def close(self) -> list[Entry]:
        """Move everything into the store, release everything, and return what could not be kept.

        Entries that are claimed now may be on their way: others can claim them from now on.
        """
        if self._is_inherited or self._tail.is_closed:
            return []
        lost, self._state_at_close = self._caretaker.close(self.state, self._patience_seconds)
        return lost

    # -- dead letters ------------------------------------------------------------------------------

    def bury(
        self, entry: Entry, reason: DeadLetterReason, *, status: int | None, message: str
    ) -> bool:
        item = None if self._is_inherited else self._tail.end(entry.key)
        if item is None:
            return False
        item = item._replace(attempts=entry.attempts)
        self._tail.bury(Letter(item, self._wall(), reason, status, message))
        return True

    def dead_letters(self) -> Iterator[DeadLetter]:
        """Reads them page by page, since all together might not fit into memory."""
        if self._is_inherited or self._tail.is_closed:
            return
        self._mover.move(wait_seconds=self._patience_seconds)
        last = 0
        while rows := self._store.read(_LETTERS, (last, _PAGE)):
            for row in rows:
                letter = letter_from(row)
                if letter is None:
                    self._mover.lose_letter(row[0])
                else:
                    yield letter
            last = rows[-1][0]

    def resend(self, letter: DeadLetter) -> bool:
        """As ``DeadLetters.resend``. The entry may exceed the bounds."""
        if self._is_inherited or self._tail.is_closed:
            return False
        return self._mover.resend(letter, self._patience_seconds)

    # -- forks -------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        if not self._is_inherited:
            self._caretaker.hold()

    def after_fork(self, *, is_child: bool) -> None:
        self._caretaker.let_go()


def _unusable_message(path: Path, error: Exception) -> str:
    """Says why a file can't be opened, and what to use instead."""
    name = one_line(path)
    if is_locked(error):
        return f"buffer: {name} is kept locked by another process; end the process that locks it"
    return (
        f"buffer: {name} can't be used: {one_line(error)}; it must be a file on a local disk that "
        f"this process may write to, in a directory that it may write to"
    )
