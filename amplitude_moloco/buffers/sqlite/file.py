"""The file of a SqliteBuffer, shared by this process's threads, and with other processes."""

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

from amplitude_moloco.buffers.sqlite import forks
from amplitude_moloco.buffers.sqlite.gate import POLL_SECONDS, Gate, Prepare, complaint, is_locked
from amplitude_moloco.buffers.sqlite.room import Room
from amplitude_moloco.errors import ConfigurationError

T = TypeVar("T")
_inherited: list[object] = []

_TURN_SECONDS = 1.0
"""How long what is new waits for this process's own threads, at least. A statement takes no 50 us,
but where many threads want to run, Python lets each of them wait for long."""
_EMPTY_SECONDS = 0.2
"""How long who wants to empty the WAL waits for the others; it is as well done the next time."""
_GIVE_WAY_SECONDS = 0.01
"""How long everybody else lets what is new go first. Not longer, so that they have their turn, too,
where very many threads put."""


class _Seat:
    """A connection, and the lock of whoever uses it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.db: sqlite3.Connection | None = None
        self.queue: deque[None] = deque()  # as long as many wait for the lock who go first

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
        db, self.db = self.db, None
        if db:
            with suppress(sqlite3.Error):
                db.close()


class SqliteFile:
    """Two connections, one for changes and one for the rest, shared by all threads.

    Each change is one statement, and reading stands in nobody's way: so whoever wants to change
    something waits for one statement at most, however long Python lets others wait for theirs.

    Both are closed during a fork. A connection can't be taken through it, not even unused: in the
    child, a *new* one to the same file would believe to hold the locks of the inherited one, and
    as soon as the parent closes its own, what the child writes is lost.
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
        self._pid = os.getpid()
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
            raise ConfigurationError(complaint(path, error)) from error
        pause = partial(self._closed.wait, POLL_SECONDS)
        self._room = Room(Path(f"{path}-wal"), self._gate.descriptor, pause)
        self._look()
        forks.register(self)

    def __del__(self, getpid: Callable[[], int] = os.getpid) -> None:
        if self._pid != getpid():  # forked by C code, without the hooks below
            _inherited.extend((self._changes.db, self._rest.db))  # to free it would be to close it

    @property
    def is_cramped(self) -> bool:
        """Whether there is too little room for anything new."""
        return self._room.is_cramped

    @property
    def is_inherited(self) -> bool:
        """Whether another process opened it, and forked: then it is of no use here."""
        return self._pid != os.getpid()

    def change(self, statement: str, values: Any = ()) -> int | None:
        """Change something in one statement. Returns how many rows were changed.

        None if the file was closed, or is inherited. Waits as long as the file has patience, then
        raises sqlite3.Error, as it does on other trouble.
        """

        def work(db: sqlite3.Connection) -> int:
            self._room.takes(0)
            return db.execute(statement, values).rowcount

        with self.turn():
            changed = self._run(self._changes, work)
        if self._room.is_due(is_new=False):
            self._look()
        return changed

    def store(self, statement: str, values: Any, size: int, wait_seconds: float) -> int | None:
        """Store something new of this ``size``. Returns how many rows were changed, as ``change``.

        Waits for ``wait_seconds`` for the lock of another process. It goes before this process's
        other threads, of which only one at a time stands in its way, and waits for them for a
        second, or ``wait_seconds`` if that is longer. Where room is scarce, nothing is stored.
        """

        def work(db: sqlite3.Connection) -> int:
            self._room.takes(size)
            return 0 if self._room.is_cramped else db.execute(statement, values).rowcount

        turn_seconds = max(_TURN_SECONDS, wait_seconds)
        changed = self._run(self._changes, work, turn_seconds, wait_seconds, goes_first=True)
        if self._room.is_due(is_new=True):
            self._look(is_new=True)
        return changed

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Be the only thread here that changes things, one after the other.

        What is new does not wait for that, and is even let go first.
        """
        if self.is_inherited:  # whoever had its turn at the fork is not here
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
        """The rows of a query; none if the file was closed, or is inherited."""
        return self._run(self._rest, lambda db: db.execute(query, values).fetchall()) or []

    def close(self) -> None:
        """Begin nothing new, and close the connections once the others are done with them."""
        if not self.is_inherited:
            self._closed.set()
            held = self._take_seats()
            if len(held) == 2:
                self._gate.close()
            for seat in held:
                seat.lock.release()

    def before_fork(self) -> None:
        """Close the connections, and keep their locks, as far as they can be had."""
        if not self.is_inherited:
            self._held = self._take_seats()

    def after_fork(self, *, is_child: bool) -> None:
        """Free the locks. In the parent, the next call connects anew; in the child, none does."""
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
            f"file:{quote(str(self._path))}?mode=rw",  # where the file is gone, it stays so
            uri=True,
            timeout=0,  # see _run
            isolation_level=None,  # begin and commit are our own
            check_same_thread=False,
        )
        # One damaged id among many must not keep the others from being read.
        db.text_factory = partial(str, encoding="utf-8", errors="replace")
        try:
            db.execute(f"PRAGMA synchronous = {self._synchronous}")
            db.execute("PRAGMA wal_autocheckpoint = 0")
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
        """Do ``work`` on a connection, and anew while another process has SQLite's lock.

        Waits so long for the other threads, and so long for the lock; the file's patience for
        both, if nothing is said. SQLite's own waiting is not used: it is unfair, and would keep
        other threads out.
        """
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
        """Close the connections, as far as others are done with them in time. They stay locked."""
        deadline = time.monotonic() + self._patience_seconds
        held = []
        for seat in (self._changes, self._rest):
            if seat.lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
                seat.leave()
                held.append(seat)
        return held

    def _look(self, *, is_new: bool = False) -> None:
        """See to the WAL and the room on the disk, unless somebody reads just now."""
        work = partial(self._room.look, empty_wal=self._empty_wal, is_new=is_new)
        with suppress(sqlite3.Error):
            self._run(self._rest, work, 0, 0)

    def _empty_wal(self) -> None:
        with suppress(sqlite3.Error):  # then the next time
            self._run(self._changes, self._room.empty_wal, _EMPTY_SECONDS, 0, goes_first=True)


def _acquire(lock: threading.Lock | threading.RLock, deadline: float) -> None:
    if not lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
        raise sqlite3.OperationalError("database is locked by another thread")
