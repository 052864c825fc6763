"""The gate to the file of a SqliteBuffer: whoever passes it finds the file sound, and keeps it so.

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
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from amplitude_moloco.buffers.sqlite.schema import APPLICATION_ID, MIGRATIONS, RECOUNT
from amplitude_moloco.errors import ConfigurationError

logger = logging.getLogger("amplitude_moloco")

POLL_SECONDS = 0.0005
"""How often who waits for others looks whether it is their turn."""
Prepare = Callable[[sqlite3.Connection], None]


class Gate:
    """Opened for one file, and closed with it.

    Args:
        target: Where the events in the file must be meant to go.
        patience_seconds: How long other processes are waited for, ten times as long where they may
            have to check the file.
        check_seconds: How long a file may be checked that is not suspect.

    Raises:
        OSError: The directory, or the file of the lock, can't be made.
    """

    def __init__(
        self, path: Path, *, target: str, patience_seconds: float, check_seconds: float
    ) -> None:
        self._path = path
        self._target = target
        self._patience_seconds = patience_seconds
        self._check_seconds = check_seconds
        _make_directory(path.parent)
        self.descriptor = os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT, 0o600)
        """Of a file on the same disk."""
        self._is_open = True

    def enter(self, run: Callable[[Prepare], object]) -> None:
        """Make the file what it must be, and hold a shared lock on it from then on.

        ``run`` calls what it is given with a connection that it opens, and closes that one should
        it raise. Raises ConfigurationError where the file can't be used, OSError, sqlite3.Error.
        """
        is_alone = self._pass()
        try:
            try:
                self._set_up(run, is_alone=is_alone)
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
            self._set_up(run, is_alone=True)
        finally:
            fcntl.flock(self.descriptor, fcntl.LOCK_SH)

    def note(self, error: Exception) -> None:
        """Leave word for the next start where the file must be checked to its end."""
        if is_corrupt(error):
            with suppress(OSError):
                os.pwrite(self.descriptor, b"suspect", 0)

    def close(self) -> None:
        """Let go of the lock. Calling it again does nothing."""
        if self._is_open:
            self._is_open = False
            os.close(self.descriptor)

    def _pass(self) -> bool:
        """Wait until nobody else is about to open the file. True if nobody has it open, either."""
        never = threading.Event()
        deadline = time.monotonic() + 10 * self._patience_seconds  # they may have to check it
        while time.monotonic() < deadline:
            for kind in (fcntl.LOCK_EX, fcntl.LOCK_SH):
                with suppress(BlockingIOError):
                    fcntl.flock(self.descriptor, kind | fcntl.LOCK_NB)
                    return kind == fcntl.LOCK_EX
            never.wait(POLL_SECONDS)
        raise sqlite3.OperationalError("locked by another process that opens it")

    def _set_up(self, run: Callable[[Prepare], object], *, is_alone: bool) -> None:
        """Connect to the file, made new where there is none, and see that it is as it must be."""
        with suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL, 0o600))
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
                f"buffer: {self._path} holds events for {found!r}, not for {self._target!r}; give "
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
            logger.info("The buffer %s is too large to be checked at each start", self._path)
        finally:
            db.set_progress_handler(None, 0)
        os.ftruncate(self.descriptor, 0)


def is_locked(error: Exception) -> bool:
    """Whether another process, or thread, has the lock. Python 3.10 tells no error codes."""
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def is_corrupt(error: Exception) -> bool:
    """Whether the file is damaged, or no file of SQLite's: all else has a class of its own.

    Where the damage is in the schema, Python may fail to decode the message that quotes it.
    """
    return type(error) in (sqlite3.DatabaseError, UnicodeDecodeError)


def complaint(path: Path, error: Exception) -> str:
    """What is wrong, for who set the path."""
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
