"""The file of a SqliteBuffer, shared by this process's threads and with other processes."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from amplitude_moloco.buffers.sqlite.gate import (
    POLL_SECONDS,
    Gate,
    Prepare,
    is_locked,
    unusable_message,
)
from amplitude_moloco.buffers.sqlite.room import Room
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.host.fork import Origin, never_free, take_part

T = TypeVar("T")

_TURN_SECONDS = 1.0
"""Longest wait of a put for this process's other threads, unless its own setting is longer. A
statement takes less than 50 us, but while many threads run, Python makes each wait long."""
_TRUNCATE_SECONDS = 0.2
"""Longest wait for other threads before truncating the WAL; it is skipped otherwise."""
_GIVE_WAY_SECONDS = 0.01
"""How long all others let puts go first. Short, so that they make progress while many threads
put."""


class _Seat:
    """A connection, and the lock that its user holds."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.db: sqlite3.Connection | None = None
        self.queue: deque[None] = deque()  # one item for each thread that goes first and waits
        self.threads: set[int] = set()  # those that use it, or wait for it

    def wait(self, deadline: float, *, goes_first: bool) -> None:
        """Wait for the lock."""
        if not goes_first:
            _acquire(self.lock, deadline)
            return
        self.queue.append(None)
        try:
            _acquire(self.lock, deadline)
        finally:
            self.queue.pop()

    def leave(self) -> None:
        """Close the connection. Called with the lock held."""
        db, self.db = self.db, None
        if db:
            with suppress(sqlite3.Error):
                db.close()


class SqliteFile:
    """Two connections, one for changes and one for the rest, shared by all threads.

    Each change is one statement, and readers block no writer: so a change waits for one statement
    at most, however long Python makes other threads wait for theirs.

    Both are closed during a fork. A connection can't survive it, not even unused: in the child, a
    *new* one to the same file would believe it holds the locks of the inherited one, and once the
    parent closes its own, what the child writes is lost.
    """

    def __init__(
        self,
        path: Path,
        *,
        target: str,
        synchronous: str = "NORMAL",
        patience_seconds: float = 3.0,
        check_seconds: float = 1.0,
    ) -> None:
        self._path = path
        self._synchronous = synchronous
        self._patience_seconds = patience_seconds
        self._origin = Origin()
        self._turn = threading.RLock()
        self._changes = _Seat()
        self._rest = _Seat()
        self._held: list[_Seat] = []  # during a fork
        self._closed = threading.Event()
        try:
            self._gate = Gate(
                path, target=target, patience_seconds=patience_seconds, check_seconds=check_seconds
            )
            try:
                self._gate.enter(self._set_up)
            except BaseException:
                self._gate.close()
                raise
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(unusable_message(path, error)) from error
        pause = partial(self._closed.wait, POLL_SECONDS)
        self._room = Room(Path(f"{path}-wal"), self._gate.descriptor, pause)
        self._check_room()
        take_part(self)

    def __del__(self) -> None:
        if self._origin.is_elsewhere:  # forked by C code, without the hooks below
            for seat in (self._changes, self._rest):
                never_free(seat.db)  # freeing it would close it

    @property
    def is_cramped(self) -> bool:
        """Whether there is too little room for new entries."""
        return self._room.is_cramped

    @property
    def is_inherited(self) -> bool:
        """Whether another process opened it, and forked: it can't be used here."""
        return self._origin.is_elsewhere

    def change(self, statement: str, values: Any = ()) -> int | None:
        """Run one statement that changes something. Returns how many rows were changed.

        Returns None if the file was closed, or is inherited. Raises sqlite3.Error if the file is
        locked for ``patience_seconds``, and on other trouble.
        """

        def work(db: sqlite3.Connection) -> int:
            self._room.add(0)
            return db.execute(statement, values).rowcount

        with self.turn():
            changed = self._run(self._changes, work)
        if self._room.is_due(is_new=False):
            self._check_room()
        return changed

    def store(self, statement: str, values: Any, size: int, wait_seconds: float) -> int | None:
        """Store a new entry of ``size`` bytes. Returns how many rows were changed, as ``change``.

        Waits at most ``wait_seconds`` for another process's lock. It goes before this process's
        other threads, and waits for them at most a second, or ``wait_seconds`` if that is longer.
        Stores nothing while room is scarce.
        """

        def work(db: sqlite3.Connection) -> int:
            self._room.add(size)
            return 0 if self._room.is_cramped else db.execute(statement, values).rowcount

        turn_seconds = max(_TURN_SECONDS, wait_seconds)
        changed = self._run(self._changes, work, turn_seconds, wait_seconds, goes_first=True)
        if self._room.is_due(is_new=True):
            self._check_room(is_new=True)
        return changed

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Exclude this process's other threads from changes. Only ``store`` goes first.

        Reentrant. Raises sqlite3.OperationalError after ``patience_seconds``.
        """
        if self.is_inherited:  # the thread that held it at the fork does not exist here
            yield
            return
        _acquire(self._turn, time.monotonic() + self._patience_seconds)
        try:
            end = time.monotonic() + _GIVE_WAY_SECONDS
            while self._changes.queue and time.monotonic() < end:
                self._closed.wait(POLL_SECONDS)
            yield
        finally:
            self._turn.release()

    def read(self, query: str, values: Any = ()) -> list[tuple[Any, ...]]:
        """Returns the rows of a query; none if the file was closed, or is inherited."""
        return self._run(self._rest, lambda db: db.execute(query, values).fetchall()) or []

    def close(self) -> None:
        """Refuse new calls, and close the connections once other threads are done with them."""
        if not self.is_inherited:
            self._closed.set()
            held = self._take_seats()
            if len(held) == 2:
                self._gate.close()
            for seat in held:
                seat.lock.release()

    def before_fork(self) -> None:
        """Close the connections, and hold their locks, those that come free in time."""
        if not self.is_inherited:
            self._held = self._take_seats()

    def after_fork(self, *, is_child: bool) -> None:
        """Release the locks. The next call connects again in the parent, never in the child."""
        if is_child:
            with suppress(OSError):
                self._gate.close()
        while self._held:
            self._held.pop().lock.release()

    # -- the connections ---------------------------------------------------------------------------

    def _set_up(self, prepare: Prepare) -> None:
        try:
            self._run(self._changes, prepare)
        except BaseException:
            self._changes.leave()
            raise

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            f"file:{quote(os.fsencode(self._path))}?mode=rw",
            uri=True,  # for the mode: a file that is gone is not created again
            timeout=0,  # see _run
            isolation_level=None,  # no implicit transactions
            check_same_thread=False,
        )
        # One damaged id among many must not keep the others from being read.
        db.text_factory = partial(str, encoding="utf-8", errors="replace")
        try:
            db.execute(f"PRAGMA synchronous = {self._synchronous}")
            db.execute("PRAGMA wal_autocheckpoint = 0")
            db.execute("PRAGMA secure_delete = ON")  # also where it is not the build's default
        except BaseException:
            db.close()
            raise
        return db

    def _run(
        self,
        seat: _Seat,
        work: Callable[[sqlite3.Connection], T],
        turn_seconds: float | None = None,
        lock_seconds: float | None = None,
        *,
        goes_first: bool = False,
    ) -> T | None:
        """Do ``work`` on a connection, and again while another process has SQLite's lock.

        Waits at most ``turn_seconds`` for other threads and ``lock_seconds`` for the lock; each
        is ``patience_seconds`` by default. SQLite's own waiting is not used: it is unfair, and
        would keep other threads out. A signal handler or a finalizer that interrupts another call
        never waits for its own thread: sqlite3.OperationalError is raised.
        """
        thread = threading.get_ident()
        if thread in seat.threads:
            raise sqlite3.OperationalError("database is locked by this thread")
        try:
            seat.threads.add(thread)
            return self._run_in_turn(seat, work, turn_seconds, lock_seconds, goes_first)
        finally:
            seat.threads.discard(thread)

    def _run_in_turn(
        self,
        seat: _Seat,
        work: Callable[[sqlite3.Connection], T],
        turn_seconds: float | None,
        lock_seconds: float | None,
        goes_first: bool,
    ) -> T | None:
        turn_ends: float | None = None
        lock_ends: float | None = None
        while not self.is_inherited:
            if not seat.lock.acquire(blocking=False):
                turn_ends = turn_ends or self._in(turn_seconds)
                seat.wait(turn_ends, goes_first=goes_first)
            try:
                if self._closed.is_set():
                    return None
                db = seat.db = seat.db or self._connect()
                return work(db)
            except Exception as error:
                self._gate.note(error)
                turn_ends = turn_ends or self._in(turn_seconds)
                lock_ends = lock_ends or self._in(lock_seconds)
                if not is_locked(error) or time.monotonic() >= min(turn_ends, lock_ends):
                    raise
            finally:
                seat.lock.release()
            self._closed.wait(POLL_SECONDS)
        return None

    def _in(self, seconds: float | None) -> float:
        return time.monotonic() + (self._patience_seconds if seconds is None else seconds)

    def _take_seats(self) -> list[_Seat]:
        """Close and lock the connections that other threads are done with in time."""
        deadline = time.monotonic() + self._patience_seconds
        held = []
        for seat in (self._changes, self._rest):
            if seat.lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
                seat.leave()
                held.append(seat)
        return held

    def _check_room(self, *, is_new: bool = False) -> None:
        """Check the WAL and the room on the disk, unless another thread reads right now."""
        work = partial(self._room.check, truncate_wal=self._truncate_wal, is_new=is_new)
        with suppress(sqlite3.Error):
            self._run(self._rest, work, 0, 0)

    def _truncate_wal(self) -> None:
        with suppress(sqlite3.Error):  # then the next time
            self._run(self._changes, self._room.truncate_wal, _TRUNCATE_SECONDS, 0, goes_first=True)


def _acquire(lock: threading.Lock | threading.RLock, deadline: float) -> None:
    if not lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
        raise sqlite3.OperationalError("database is locked by another thread")
