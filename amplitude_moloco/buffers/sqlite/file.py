"""The SQLite file that processes share: opened, checked, salvaged, and written in transactions."""

from __future__ import annotations

import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from amplitude_moloco.buffers.sqlite.gate import Gate
from amplitude_moloco.buffers.sqlite.guard import (
    check_files,
    clear,
    narrow,
    stranger,
    was_ours,
)
from amplitude_moloco.buffers.sqlite.index import Index
from amplitude_moloco.buffers.sqlite.salvage import salvage
from amplitude_moloco.buffers.sqlite.schema import APPLICATION_ID, VERSION, create, migrate
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.host.fork import Origin, never_free
from amplitude_moloco.text import one_line

_CHECK_SECONDS = 0.3
"""The longest check at the start. What it does not find is found when it is read."""
_LACKS = re.compile("no such column|has no column")
_SPARE_PAGES = 256
_LONG_WAL_BYTES = 16 * 1024**2
"""Beyond this length the WAL is emptied while writers wait: readers have kept it from that."""


class SqliteFile:
    """One connection, shared by the threads of a process.

    Raises ConfigurationError if the file can't be used, OSError and sqlite3.Error.

    Args:
        synchronous: SQLite's setting of this name.
        patience_seconds: The longest wait for other processes, unless a call says less.
    """

    def __init__(
        self, path: Path, *, target: str, synchronous: str, patience_seconds: float
    ) -> None:
        self._path = path
        self._wal = Path(f"{path}-wal")
        self._index = Index(path)
        self._target = target
        self._synchronous = synchronous
        self._patience_seconds = patience_seconds
        self._origin = Origin()
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._opened: tuple[object, ...] = ()
        self._is_made = False
        self._gone = ""  # what happened to the file, until there is one again
        self._news: list[tuple[int | None, str]] = []
        with self._lock:
            self._open()

    def __del__(self) -> None:
        if self._origin.is_elsewhere:  # forked by C code, without calling Python's hooks
            never_free(self._db)  # freeing it would close it
        else:
            self._leave()

    @contextmanager
    def transaction(
        self, wait_seconds: float, *, is_kept: bool = True
    ) -> Iterator[sqlite3.Connection]:
        """All changes are made, or none. Waits this long for other processes.

        ``is_kept``: they survive a loss of power if anything does. Raises sqlite3.Error and
        OSError; also where the file was replaced meanwhile, so that the changes may be lost.
        """
        with self.connection() as db:
            mode = "NORMAL" if self._synchronous == "FULL" and not is_kept else self._synchronous
            with _waiting(db, wait_seconds), _setting(db, "synchronous", mode), _transaction(db):
                yield db
            if self._identity() != self._opened:
                self._leave()
                raise sqlite3.OperationalError("the file was replaced")

    def read(self, query: str, values: Any = ()) -> list[tuple[Any, ...]]:
        """Returns the rows of a query. Raises sqlite3.Error and OSError."""
        with self.connection() as db:
            return db.execute(query, values).fetchall()

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Lends the connection to the file that has the path now; salvages a damaged one."""
        with self._lock:
            if self._db is None or self._identity() != self._opened:
                if self._db is not None and self._identity()[0] != self._opened[0]:
                    self._gone = "the file was removed or replaced"
                self._leave()
                self._open_again(self._open)
            assert self._db is not None  # noqa: S101  # for mypy
            self._index.mend()
            try:
                yield self._db
            except Exception as error:
                if is_corrupt(error):
                    self._leave()
                    self._open_again(partial(self._salvage, error))
                    raise sqlite3.OperationalError(str(error)) from error
                if _is_emptied(error, self._path):
                    self._leave()
                    self._gone = "the file was cut"
                    self._open_again(self._open)
                raise

    def tidy(self) -> None:
        """Give space back to the disk, and keep the WAL short."""
        ((free,),) = self.read("PRAGMA freelist_count")
        if free > _SPARE_PAGES:
            with self.transaction(0.0) as db:
                for _ in range(free - _SPARE_PAGES // 2):
                    db.execute("PRAGMA incremental_vacuum(1)")
        with suppress(OSError):
            if self._wal.stat().st_size > _LONG_WAL_BYTES:
                with self.connection() as db, _waiting(db, 0.0):
                    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def take_news(self) -> list[tuple[int | None, str]]:
        """Returns how many rows were lost, and how, since the last call; None for all of a file."""
        news, self._news = self._news, []
        return news

    def close(self) -> None:
        with self._lock:
            self._leave()

    def hold(self) -> bool:
        """Close the connection before a fork, and keep other threads out. False if one is busy."""
        if not self._lock.acquire(timeout=self._patience_seconds):
            return False
        self._leave()
        return True

    def let_go(self) -> None:
        """Let other threads in again. In a forked child, by the thread that is left there."""
        self._lock.release()

    # -- opening -----------------------------------------------------------------------------

    def _leave(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            self._index.mend()
            with suppress(sqlite3.Error):
                db.close()

    def _identity(self) -> tuple[object, ...]:
        """Which files lie at the path: another process's close may remove the WAL, for example."""
        return _file_id(self._path), _file_id(self._wal)

    def _open(self) -> None:
        with Gate(self._path, self._patience_seconds):
            try:
                self._set_up()
            except Exception as error:
                self._leave()
                if not is_corrupt(error):
                    raise
                self._replace(error)

    def _open_again(self, step: Callable[[], None]) -> None:
        """Raises sqlite3.Error and OSError: no mistake of the app's can turn up while it runs."""
        try:
            step()
        except ConfigurationError as error:
            raise sqlite3.OperationalError(str(error)) from error
        if self._gone:
            # Of several processes that miss the file, the one that makes it anew counts the loss.
            lost = None if self._is_made else 0
            self._news.append((lost, f"{self._gone}; a new one was started"))
            self._gone = ""

    def _salvage(self, error: Exception) -> None:
        before = self._opened[0]
        with Gate(self._path, self._patience_seconds):
            if self._identity()[0] == before:  # no other process was faster
                self._replace(error)

    def _set_up(self) -> None:
        is_made = not self._path.exists()
        with suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL, 0o600))
        check_files(self._path)
        db = self._db = self._connect(self._path)
        version: int = _value(db, "PRAGMA user_version")
        application_id = _value(db, "PRAGMA application_id")
        is_new = not (version or application_id or _value(db, "SELECT count(*) FROM sqlite_master"))
        name = one_line(self._path)
        if not is_new and application_id != APPLICATION_ID:
            raise ConfigurationError(
                f"buffer: {name} is another application's SQLite file; use another path"
            )
        if version > VERSION:
            raise ConfigurationError(
                f"buffer: {name} has version {version} of the schema, this release uses "
                f"{VERSION}; use the release that wrote it, or another path"
            )
        narrow(self._path)  # not before it is known to be a buffer, or empty
        self._prepare(db, is_new=is_new)
        self._migrate(db, version)
        found = _value(db, "SELECT target FROM totals")
        if found != self._target:
            raise ConfigurationError(
                f"buffer: {name} holds events for {found!r}, not for {self._target!r}; give each "
                f"target a file of its own"
            )
        self._check(db)
        try:
            db.execute("UPDATE totals SET target = target")  # raises if the file is read-only
        except sqlite3.OperationalError as error:
            if not is_locked(error):
                raise
        self._opened = self._identity()
        self._is_made = is_made or is_new
        self._index.learn()

    def _connect(self, path: Path) -> sqlite3.Connection:
        db = sqlite3.connect(
            f"file:{quote(os.fsencode(path))}?mode=rw",
            uri=True,  # for the mode: a file that is gone is not created again
            timeout=self._patience_seconds,
            isolation_level=None,  # no implicit transactions
            check_same_thread=False,
        )
        db.text_factory = lambda text: text.decode(errors="replace")
        return db

    def _prepare(self, db: sqlite3.Connection, *, is_new: bool) -> None:
        if is_new:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # has no effect after the first table
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA synchronous = {self._synchronous}")
        db.execute("PRAGMA secure_delete = ON")  # also where it is not the build's default

    def _migrate(self, db: sqlite3.Connection, version: int) -> None:
        if version < VERSION:
            with _transaction(db):
                if version:
                    migrate(db, version)
                else:
                    create(db, self._target)

    def _check(self, db: sqlite3.Connection) -> None:
        deadline = time.monotonic() + _CHECK_SECONDS
        db.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
        found = "ok"
        with suppress(sqlite3.OperationalError):  # interrupted
            found = _value(db, "PRAGMA integrity_check(1)")
        db.set_progress_handler(None, 0)
        if found != "ok":
            raise sqlite3.DatabaseError(found)

    def _replace(self, damage: Exception) -> None:
        """Put what can be read into a new file, and the damaged one aside."""
        if not was_ours(self._path):
            raise stranger(self._path) from damage
        narrow(self._path)
        fresh = Path(f"{self._path}-new")
        clear(fresh)
        os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        lost = 1
        new = self._connect(fresh)
        try:
            new.execute("PRAGMA auto_vacuum = INCREMENTAL")
            new.execute("BEGIN")
            create(new, self._target)
            with suppress(sqlite3.Error, UnicodeDecodeError):
                old = self._connect(self._path)
                try:
                    lost = salvage(old, new)
                finally:
                    old.close()
            new.execute("COMMIT")
        finally:
            new.close()
        aside = _set_aside(self._path)
        fresh.rename(self._path)
        message = f"damaged, and set aside as {one_line(aside)} ({one_line(damage)})"
        self._news.append((lost, message))
        self._set_up()


@contextmanager
def _setting(db: sqlite3.Connection, name: str, value: str | int) -> Iterator[None]:
    """Set one of SQLite's settings for a while."""
    before = _value(db, f"PRAGMA {name}")
    db.execute(f"PRAGMA {name} = {value}")
    try:
        yield
    finally:
        db.execute(f"PRAGMA {name} = {before}")


def _waiting(db: sqlite3.Connection, seconds: float) -> AbstractContextManager[None]:
    """Wait for other processes this long."""
    return _setting(db, "busy_timeout", round(1000 * seconds))


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Make all changes, or none."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise


def is_locked(error: Exception) -> bool:
    """Whether another process or thread has the lock. Python 3.10 has no error codes."""
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def is_corrupt(error: Exception) -> bool:
    """Whether the file is damaged, or not SQLite's. All other errors have subclasses of their own.

    If the schema is damaged, Python may fail to decode the message that quotes it, or a table lacks
    a column that our own statements name.
    """
    if type(error) in (sqlite3.DatabaseError, UnicodeDecodeError):
        return True
    return isinstance(error, sqlite3.OperationalError) and bool(_LACKS.search(str(error)))


def _is_emptied(error: Exception, path: Path) -> bool:
    """Whether a statement failed because all of the file was cut off."""
    lacks_table = isinstance(error, sqlite3.OperationalError) and "no such table" in str(error)
    return lacks_table and path.stat().st_size == 0


def _file_id(path: Path) -> object:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _set_aside(path: Path) -> Path:
    now = int(time.time())
    while (aside := path.with_name(f"{path.name}.corrupt-{now}")).is_symlink() or aside.exists():
        now += 1
    path.rename(aside)  # first: without the file, SQLite would delete its WAL
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
    return aside


def _value(db: sqlite3.Connection, query: str) -> Any:
    """Returns the only value of a query or a PRAGMA."""
    return db.execute(query).fetchone()[0]
