"""Opens the file of a SqliteBuffer, and makes sure that it is sound.

Beside the file ``NAME`` lies ``NAME-lock``. A process that has the buffer open holds a shared lock
on it (``flock``). A process that opens the buffer tries to get the exclusive lock. With that one
it is alone: only then is the file migrated, checked, and set aside if it is corrupt.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from amplitude_moloco.buffers.sqlite.guard import (
    SUSPECT,
    check_files,
    check_place,
    narrow,
    open_lock,
    stranger,
    was_ours,
)
from amplitude_moloco.buffers.sqlite.schema import APPLICATION_ID, MIGRATIONS, RECOUNT
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.text import one_line

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.0005
"""How often a waiting thread tries again."""
Prepare = Callable[[sqlite3.Connection], None]


class Gate:
    """Opened for one file, and closed with it.

    Args:
        target: Where the events in the file must go.
        patience_seconds: The longest wait for other processes, ten times as long while they may be
            checking the file.
        check_seconds: The longest check of a file that is not suspect.

    Raises:
        ConfigurationError: The place can't be used; see ``check_place``.
        OSError: The lock file can't be created.
    """

    def __init__(
        self, path: Path, *, target: str, patience_seconds: float, check_seconds: float
    ) -> None:
        self._path = path
        self._name = one_line(path)  # as messages quote it
        self._target = target
        self._patience_seconds = patience_seconds
        self._check_seconds = check_seconds
        check_place(path)
        self.descriptor = open_lock(Path(f"{path}-lock"))
        """The lock file's descriptor. The file lies on the same disk."""
        self._is_open = True

    def enter(self, run: Callable[[Prepare], object]) -> None:
        """Create or check the file, and hold a shared lock on it from then on.

        ``run`` calls its argument with a connection that it opens, and closes if that raises.
        Raises ConfigurationError if the file can't be used, OSError, sqlite3.Error.
        """
        is_alone = self._pass()
        try:
            try:
                self._set_up(run, is_alone=is_alone)
            except Exception as error:
                if not is_corrupt(error):
                    raise
                if is_alone and not was_ours(self._path):
                    raise stranger(self._path) from error
                if not is_alone:
                    raise ConfigurationError(
                        f"buffer: {self._name} is corrupt ({error}), and in use; stop all "
                        f"processes that use it, and the next start sets it aside"
                    ) from error
                damage = error
            else:
                return
            aside = _set_aside(self._path)
            logger.error(
                "The buffer %s is corrupt (%s). It was set aside as %s, and a new one started. The "
                "events in the old one are not sent.",
                *(self._name, one_line(damage), one_line(aside)),
            )
            self._set_up(run, is_alone=True)
        finally:
            fcntl.flock(self.descriptor, fcntl.LOCK_SH)

    def note(self, error: Exception) -> None:
        """If the file is damaged, have the next start check all of it."""
        if is_corrupt(error):
            with suppress(OSError):
                os.pwrite(self.descriptor, SUSPECT, 0)

    def close(self) -> None:
        """Release the lock. Calling it again does nothing."""
        if self._is_open:
            self._is_open = False
            os.close(self.descriptor)

    def _pass(self) -> bool:
        """Wait while another process opens the file. Returns whether no other has it open."""
        never = threading.Event()
        deadline = time.monotonic() + 10 * self._patience_seconds  # the other may be checking it
        while time.monotonic() < deadline:
            for kind in (fcntl.LOCK_EX, fcntl.LOCK_SH):
                with suppress(BlockingIOError):
                    fcntl.flock(self.descriptor, kind | fcntl.LOCK_NB)
                    return kind == fcntl.LOCK_EX
            never.wait(POLL_SECONDS)
        raise sqlite3.OperationalError("locked by another process that opens it")

    def _set_up(self, run: Callable[[Prepare], object], *, is_alone: bool) -> None:
        """Create the file if missing, connect to it, and prepare it."""
        with suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL, 0o600))
        check_files(self._path)  # once more, now that this process has the lock
        run(partial(self._prepare, is_alone=is_alone))

    def _prepare(self, db: sqlite3.Connection, *, is_alone: bool) -> None:
        self._migrate(db, is_alone=is_alone)
        db.execute(
            "INSERT INTO totals (target) SELECT ? WHERE NOT EXISTS (SELECT * FROM totals)",
            (self._target,),
        )
        found = _read(db, "SELECT target FROM totals")
        if found != self._target:
            raise ConfigurationError(
                f"buffer: {self._name} holds events for {found!r}, not for {self._target!r}; give "
                f"each target a file of its own"
            )
        if is_alone:
            self._check(db)

    def _migrate(self, db: sqlite3.Connection, *, is_alone: bool) -> None:
        version: int = _read(db, "PRAGMA user_version")
        application_id = _read(db, "PRAGMA application_id")
        is_new = not (version or application_id or _read(db, "SELECT count(*) FROM sqlite_master"))
        if not is_new and application_id != APPLICATION_ID:
            raise ConfigurationError(
                f"buffer: {self._name} is another application's SQLite file; use another path"
            )
        if version > len(MIGRATIONS) or (version < len(MIGRATIONS) and not is_alone):
            raise ConfigurationError(
                f"buffer: {self._name} has version {version} of the schema, this release uses "
                f"{len(MIGRATIONS)}; stop the other release first, or use another path"
            )
        narrow(self._path)  # not before it is known to be a buffer, or empty
        if is_new:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # has no effect after the first table
        db.execute("PRAGMA journal_mode = WAL")
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            db.executescript(
                f"BEGIN IMMEDIATE; {script}; PRAGMA application_id = {APPLICATION_ID}; "
                f"PRAGMA user_version = {number}; COMMIT"
            )

    def _check(self, db: sqlite3.Connection) -> None:
        """Check and recount, within ``check_seconds``; if the file is suspect, to the end."""
        is_suspect = os.fstat(self.descriptor).st_size > 0
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
            logger.info("The buffer %s is too large to be checked at each start", self._name)
        finally:
            db.set_progress_handler(None, 0)
        os.ftruncate(self.descriptor, 0)


def is_locked(error: Exception) -> bool:
    """Whether another process or thread has the lock. Python 3.10 has no error codes."""
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def is_corrupt(error: Exception) -> bool:
    """Whether the file is damaged, or not SQLite's. All other errors have subclasses of their own.

    If the schema is damaged, Python may fail to decode the message that quotes it.
    """
    return type(error) in (sqlite3.DatabaseError, UnicodeDecodeError)


def unusable_message(path: Path, error: Exception) -> str:
    """Says why a file can't be opened, and what to use instead."""
    name = one_line(path)
    if is_locked(error):
        return f"buffer: {name} is kept locked by another process; end the process that locks it"
    return (
        f"buffer: {name} can't be used: {one_line(error)}; it must be a file on a local disk that "
        f"this process may write to, in a directory that it may write to"
    )


def _set_aside(path: Path) -> Path:
    now = int(time.time())
    while (aside := path.with_name(f"{path.name}.corrupt-{now}")).is_symlink() or aside.exists():
        now += 1
    path.rename(aside)  # first: without the file, SQLite would delete its WAL
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
    return aside


def _read(db: sqlite3.Connection, query: str) -> Any:
    """Returns the only value of a query or a PRAGMA."""
    return db.execute(query).fetchone()[0]
