"""The file of a SqliteBuffer: how it is opened, checked, set aside, shared and forked.

Beside the file ``NAME`` lies ``NAME-lock``. Whoever has the buffer open holds a shared lock on it
(``flock``); whoever opens the buffer tries for the exclusive one. Who gets that has the file for
itself: only then is it migrated, checked, and set aside if it is corrupt.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from amplitude_moloco.buffers import sqlite_forks as forks
from amplitude_moloco.buffers.sqlite_room import Room
from amplitude_moloco.buffers.sqlite_schema import APPLICATION_ID, MIGRATIONS, RECOUNT
from amplitude_moloco.errors import ConfigurationError

logger = logging.getLogger("amplitude_moloco")
T = TypeVar("T")
_inherited: list[object] = []

_POLL_SECONDS = 0.0005
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

    @contextmanager
    def taken(self, deadline: float, *, goes_first: bool = False) -> Iterator[None]:
        if not self.lock.acquire(blocking=False):
            with self._queued() if goes_first else nullcontext():
                _acquire(self.lock, deadline)
        try:
            yield
        finally:
            self.lock.release()

    @contextmanager
    def _queued(self) -> Iterator[None]:
        self.queue.append(None)
        try:
            yield
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
        self._check_seconds = check_seconds
        self._pid = os.getpid()
        self._turn = threading.RLock()
        self._changes = _Seat()
        self._rest = _Seat()
        self._held: list[_Seat] = []  # during a fork
        self._closed = threading.Event()
        try:
            with ExitStack() as leave:
                _make_directory(path.parent)
                self._gate = os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT, 0o600)
                leave.callback(os.close, self._gate)
                self._open(target)
                self._leave = leave.pop_all()
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(_complaint(path, error)) from error
        pause = partial(self._closed.wait, _POLL_SECONDS)
        self._room = Room(Path(f"{path}-wal"), self._gate, pause)
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
                self._closed.wait(_POLL_SECONDS)
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
                self._leave.close()
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
                self._leave.close()
        while self._held:
            self._held.pop().lock.release()

    # -- opening -----------------------------------------------------------------------------------

    def _open(self, target: str) -> None:
        is_alone = self._pass_gate()
        try:
            try:
                self._set_up(target, is_alone=is_alone)
            except Exception as error:
                if not is_corrupt(error):
                    raise
                if not is_alone:
                    raise ConfigurationError(
                        f"buffer: {self._path} is corrupt ({error}), and in use; stop whatever "
                        f"uses it, and the next start sets it aside"
                    ) from error
                damage = error
            else:
                return
            aside = _set_aside(self._path)
            logger.error(
                "The buffer %s is corrupt (%s). It was set aside as %s, and a new one started: "
                "the events in it are not sent.",
                *(self._path, damage, aside),
            )
            self._set_up(target, is_alone=True)
        finally:
            fcntl.flock(self._gate, fcntl.LOCK_SH)

    def _pass_gate(self) -> bool:
        """Wait until nobody else is about to open the file. True if nobody has it open, either."""
        deadline = time.monotonic() + 10 * self._patience_seconds  # they may have to check it
        while time.monotonic() < deadline:
            for kind in (fcntl.LOCK_EX, fcntl.LOCK_SH):
                with suppress(BlockingIOError):
                    fcntl.flock(self._gate, kind | fcntl.LOCK_NB)
                    return kind == fcntl.LOCK_EX
            self._closed.wait(_POLL_SECONDS)
        raise sqlite3.OperationalError("locked by another process that opens it")

    def _set_up(self, target: str, *, is_alone: bool) -> None:
        """Connect to the file, made new where there is none, and see that it is as it must be."""
        with suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL, 0o600))
        work = partial(self._prepare, target=target, is_alone=is_alone)
        try:
            self._run(self._changes, work)
        except BaseException:
            self._changes.leave()
            raise

    def _prepare(self, db: sqlite3.Connection, *, target: str, is_alone: bool) -> None:
        self._migrate(db, is_alone=is_alone)
        db.execute(
            "INSERT INTO totals (target) SELECT ? WHERE NOT EXISTS (SELECT * FROM totals)",
            (target,),
        )
        found = _read(db, "SELECT target FROM totals")
        if found != target:
            raise ConfigurationError(
                f"buffer: {self._path} holds events for {found!r}, not for {target!r}; give each "
                f"target a file of its own"
            )
        if is_alone:
            self._check(db)

    def _migrate(self, db: sqlite3.Connection, *, is_alone: bool) -> None:
        version: int = _read(db, "PRAGMA user_version")
        application_id = _read(db, "PRAGMA application_id")
        is_new = not (version or application_id or _read(db, "SELECT count(*) FROM sqlite_master"))
        if not is_new and application_id != APPLICATION_ID:
            raise ConfigurationError(
                f"buffer: {self._path} is another application's SQLite file; use another path"
            )
        if version > len(MIGRATIONS) or (version < len(MIGRATIONS) and not is_alone):
            raise ConfigurationError(
                f"buffer: {self._path} has version {version} of the schema, this release uses "
                f"{len(MIGRATIONS)}; stop the other release first, or use another path"
            )
        if is_new:
            self._path.chmod(0o600)  # whoever made it
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before the first table, or never
        db.execute("PRAGMA journal_mode = WAL")
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            db.executescript(
                f"BEGIN IMMEDIATE; {script}; PRAGMA application_id = {APPLICATION_ID}; "
                f"PRAGMA user_version = {number}; COMMIT"
            )

    def _check(self, db: sqlite3.Connection) -> None:
        """Check and recount, as far as the time goes; one that is suspect, to the end."""
        is_suspect = os.fstat(self._gate).st_size > 0
        deadline = time.monotonic() + self._check_seconds
        db.set_progress_handler(lambda: not is_suspect and time.monotonic() > deadline, 10_000)
        try:
            found = _read(db, f"PRAGMA {'integrity' if is_suspect else 'quick'}_check(1)")
            if found != "ok":
                raise sqlite3.DatabaseError(found)
            for statement in RECOUNT:
                db.execute(statement)
        except sqlite3.OperationalError as error:
            if str(error) != "interrupted":
                raise
            logger.info("The buffer %s is too large to be checked at each start", self._path)
        finally:
            db.set_progress_handler(None, 0)
        os.ftruncate(self._gate, 0)

    # -- the connection ----------------------------------------------------------------------------

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
        turn_ends = time.monotonic() + self._or_patience(turn_seconds)
        lock_ends: float | None = None
        while not self.is_inherited:
            with seat.taken(turn_ends, goes_first=goes_first):
                if self._closed.is_set():
                    return None
                try:
                    seat.db = seat.db or self._connect()
                    return work(seat.db)
                except Exception as error:
                    self._note(error)
                    now = time.monotonic()
                    lock_ends = lock_ends or now + self._or_patience(lock_seconds)
                    if not is_locked(error) or now >= min(turn_ends, lock_ends):
                        raise
            self._closed.wait(_POLL_SECONDS)
        return None

    def _or_patience(self, seconds: float | None) -> float:
        return self._patience_seconds if seconds is None else seconds

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

    def _note(self, error: Exception) -> None:
        """Leave word for the next start that the file must be checked to its end."""
        if is_corrupt(error):
            with suppress(OSError):
                os.pwrite(self._gate, b"suspect", 0)


def _acquire(lock: threading.Lock | threading.RLock, deadline: float) -> None:
    if not lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
        raise sqlite3.OperationalError("database is locked by another thread")


def is_locked(error: Exception) -> bool:
    """Whether another process, or thread, has the lock. Python 3.10 tells no error codes."""
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def is_corrupt(error: Exception) -> bool:
    """Whether the file is damaged, or no file of SQLite's: all else has a class of its own.

    Where the damage is in the schema, Python may fail to decode the message that quotes it.
    """
    return type(error) in (sqlite3.DatabaseError, UnicodeDecodeError)


def _complaint(path: Path, error: Exception) -> str:
    if is_locked(error):
        return f"buffer: {path} is kept locked by another process; end what has it open"
    return (
        f"buffer: {path} can't be used: {error}; it must be a file on a local disk that this "
        f"process may write to, in a directory that it may write to"
    )


def _make_directory(directory: Path) -> None:
    for missing in reversed(
        [each for each in (directory, *directory.parents) if not each.exists()]
    ):
        missing.mkdir(0o700, exist_ok=True)


def _set_aside(path: Path) -> Path:
    now = int(time.time())
    while (aside := path.with_name(f"{path.name}.corrupt-{now}")).exists():
        now += 1
    path.rename(aside)  # first: without it, what is left of its WAL would be thrown away
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
    return aside


def _read(db: sqlite3.Connection, query: str) -> Any:
    """The one value that a query or a PRAGMA answers."""
    return db.execute(query).fetchone()[0]
