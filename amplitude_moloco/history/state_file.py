"""The file of a backfill's state: SQLite, for one process at a time."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.history.outcome import Ended, Outcome, Refusal
from amplitude_moloco.history.seen_ids import SeenIds
from amplitude_moloco.text import one_line

_APPLICATION_ID = 0x4D4F4C48  # "MOLH"
_SCHEMA = """
    -- What is delivered where: another backfill can't go on here.
    CREATE TABLE backfill (target TEXT NOT NULL, selection TEXT NOT NULL);
    -- All events of a file up to this one have their outcome. Events count from 1 in each file.
    CREATE TABLE files (
        number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, size INTEGER,
        upto INTEGER NOT NULL DEFAULT 0, is_done INTEGER NOT NULL DEFAULT 0
    );
    -- The outcomes of later events.
    CREATE TABLE beyond (
        file INTEGER, event INTEGER, sync TEXT, outcome TEXT NOT NULL, reason TEXT NOT NULL,
        PRIMARY KEY (file, event, sync)
    ) WITHOUT ROWID;
    -- The outcomes of the others.
    CREATE TABLE outcomes (
        sync TEXT, outcome TEXT, reason TEXT, events INTEGER NOT NULL, first_place TEXT NOT NULL,
        PRIMARY KEY (sync, outcome, reason)
    ) WITHOUT ROWID;
    CREATE TABLE refused (
        file INTEGER, event INTEGER, sync TEXT, place TEXT NOT NULL, id TEXT NOT NULL,
        reason TEXT NOT NULL, status INTEGER, message TEXT NOT NULL,
        PRIMARY KEY (file, event, sync)
    ) WITHOUT ROWID;
"""
_COUNT = """INSERT INTO outcomes VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET events = events + excluded.events"""

Key = tuple[int, int, str]
"""A file, an event in it, and a sync."""


class KnownFile(NamedTuple):
    """How far a file is."""

    number: int
    upto: int
    """All events up to this one have their outcome."""
    beyond: dict[Key, Ended]
    """The outcomes of later ones."""


class Batch:
    """What is behind a backfill since it was last written. For one thread at a time."""

    def __init__(self) -> None:
        self.upto: dict[int, int] = {}
        """By file: the event up to which all have their outcome."""
        self.done_files: list[int] = []
        self._counts: dict[Ended, int] = {}
        self._first_places: dict[Ended, str] = {}

    def count(self, ended: Ended, place: object) -> None:
        """Count an outcome of an event that ``upto`` includes."""
        known = self._counts.get(ended, 0)
        if not known:
            self._first_places[ended] = str(place)
        self._counts[ended] = known + 1

    def outcomes(self) -> Iterator[tuple[str, str, str, int, str]]:
        """Yields what was counted, and the place of the first one, as rows."""
        for ended, number in self._counts.items():
            yield *ended, number, self._first_places[ended]


class StateFile:
    """Not safe for several threads at a time. All methods raise sqlite3.Error.

    Args:
        path: The file. It is created if it is missing, for this user alone.
        target: Where the events go.
        selection: Which events are read.

    Raises:
        ConfigurationError: The file can't be used, belongs to another backfill, or is in use.
    """

    def __init__(self, path: Path, *, target: str, selection: str) -> None:
        self._name = one_line(path)
        self._db = _opened(path)
        try:
            self._open(target, selection)
            self._ids = SeenIds(self._db)
            self.counts = Counter({ended: events for ended, events, _ in self.outcomes()})
            """What had ended how when it was opened."""
        except BaseException as error:
            self._db.close()
            if isinstance(error, sqlite3.Error):
                raise ConfigurationError(
                    f"{self._name} can't be used for the state: {error}"
                ) from None
            raise

    def _open(self, target: str, selection: str) -> None:
        (mark,) = self._db.execute("PRAGMA application_id").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if mark != _APPLICATION_ID and tables:
            raise ConfigurationError(f"{self._name} is no state of a backfill; use another file")
        if not tables:
            self._db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            self._db.executescript(f"BEGIN; {_SCHEMA}; COMMIT")
        known = self._db.execute("SELECT target, selection FROM backfill").fetchone()
        if known is None:
            self._db.execute("INSERT INTO backfill VALUES (?, ?)", (target, selection))
        elif known != (target, selection):
            what, had, has = ("target", known[0], target)
            if had == has:
                what, had, has = ("choice of events", known[1], selection)
            raise ConfigurationError(
                f"{self._name} belongs to a backfill with another {what}: {one_line(had)}, not "
                f"{one_line(has)}; use the same options, or another file for the state"
            )

    def close(self) -> None:
        """Let another process use the file."""
        self._db.close()

    def begin_file(self, name: str, size: int | None) -> KnownFile | None:
        """Returns how far an export's file is; None if all its events have their outcome.

        Raises ConfigurationError if its size is not what it was.
        """
        self._db.execute("INSERT OR IGNORE INTO files (name, size) VALUES (?, ?)", (name, size))
        query = "SELECT number, size, upto, is_done FROM files WHERE name = ?"
        number, known_size, upto, is_done = self._db.execute(query, (name,)).fetchone()
        if known_size != size:
            raise ConfigurationError(
                f"{one_line(name)} has changed since the backfill began: {known_size} bytes, "
                f"now {size}; use the file as it was, or another file for the state"
            )
        rows = self._db.execute("SELECT * FROM beyond WHERE file = ?", (number,))
        beyond = {
            (file, event, sync): Ended(sync, Outcome(outcome), reason)
            for file, event, sync, outcome, reason in rows
        }
        return None if is_done else KnownFile(number, upto, beyond)

    def are_first(self, file: int, ids: Sequence[tuple[int, str, object]]) -> list[bool]:
        """As ``SeenIds.are_first``. Written with what is written next."""
        if not self._db.in_transaction:
            self._db.execute("BEGIN")
        return self._ids.are_first(file, ids)

    def note(self, key: Key, ended: Ended, refusal: Refusal | None = None) -> None:
        """Write the outcome of one event."""
        with self._transaction():
            beyond = "INSERT OR REPLACE INTO beyond VALUES (?, ?, ?, ?, ?)"
            self._db.execute(beyond, (*key[:2], *ended))
            if refusal is not None:
                refused = "INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                self._db.execute(refused, (*key, refusal.place, *refusal[2:]))

    def write(self, batch: Batch) -> None:
        """Write a batch: all of it, or nothing if it raises."""
        with self._transaction():
            where = [(upto, file) for file, upto in batch.upto.items()]
            self._db.executemany("UPDATE files SET upto = ? WHERE number = ?", where)
            self._db.executemany("DELETE FROM beyond WHERE event <= ? AND file = ?", where)
            self._db.executemany(_COUNT, batch.outcomes())
            done = [(file,) for file in batch.done_files]
            self._db.executemany("UPDATE files SET is_done = 1 WHERE number = ?", done)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if not self._db.in_transaction:
            self._db.execute("BEGIN")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    def outcomes(self) -> Iterator[tuple[Ended, int, str]]:
        """Yields what was counted, and the place of the first event of each."""
        rows = self._db.execute("SELECT sync, outcome, reason, events, first_place FROM outcomes")
        for sync, outcome, reason, events, place in rows:
            yield Ended(sync, Outcome(outcome), reason), events, place

    def refusals(self) -> Iterator[Refusal]:
        """Yields what was sent and not accepted, in the order of the export."""
        query = "SELECT place, sync, id, reason, status, message FROM refused ORDER BY file, event"
        yield from (Refusal(*row) for row in self._db.execute(query))


def _opened(path: Path) -> sqlite3.Connection:
    """Opens the file for this process alone. Raises ConfigurationError."""
    name = one_line(path)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise ConfigurationError(f"{name} can't be used for the state: {error.strerror}") from None
    db = sqlite3.connect(path, timeout=0.0, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript("BEGIN EXCLUSIVE; COMMIT")  # takes the lock, and keeps it
    except sqlite3.Error as error:
        db.close()
        if "locked" in str(error):
            raise ConfigurationError(
                f"{name} is used by another backfill; wait for its end"
            ) from None
        raise ConfigurationError(f"{name} can't be used for the state: {error}") from None
    return db
