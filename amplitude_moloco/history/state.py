"""What became of each event of a backfill: one SQLite file, written as each outcome is known."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from amplitude_moloco.convert.conversion import Conversion
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.history.place import Place
from amplitude_moloco.history.seen_ids import SeenIds
from amplitude_moloco.reasons import Reason
from amplitude_moloco.text import one_line

_APPLICATION_ID = 0x4D4F4C48  # "MOLH"
_COMMIT_EVENTS = 1000
"""What was read, and needs no sending, is written after this many events."""
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
_COUNT = """INSERT INTO outcomes VALUES (?, ?, ?, 1, ?)
    ON CONFLICT DO UPDATE SET events = events + 1"""


class Outcome(Reason):
    """How one event ended for one sync."""

    DELIVERED = "delivered"
    INVALID = "invalid"
    """It can't be sent as it is."""
    REFUSED = "refused"
    """The server refused it, or it failed too often."""
    DUPLICATE = "duplicate"
    """An event with its id is in the range already."""


class Ended(NamedTuple):
    """The outcome of one event for one sync. What is counted together is equal."""

    sync: str
    outcome: Outcome
    reason: str = ""
    """The code of the first problem, or why it was refused."""


class Refusal(NamedTuple):
    """One event that was sent, and not accepted."""

    place: str
    """Where the export has it."""
    sync: str
    id: str
    reason: str
    status: int | None
    message: str


class _Pending:
    """An event that was read. It is behind it once no sync has it on its way."""

    __slots__ = ("ended", "event", "file", "on_their_way", "place")

    def __init__(self, file: int, event: int, place: Place) -> None:
        self.file, self.event, self.place = file, event, place
        self.on_their_way: set[str] = set()
        self.ended: list[Ended] = []


class State:
    """Safe from any thread. All methods raise sqlite3.Error.

    After ``kill -9`` it has each outcome that was noted; after a loss of power perhaps not the last
    ones, so that their events are sent once more.

    Args:
        path: The file. It is created if it is missing, for this user alone.
        target: Where the events go.
        selection: Which events are read.

    Raises:
        ConfigurationError: The file can't be used, belongs to another backfill, or is in use.
    """

    def __init__(self, path: Path, *, target: str, selection: str) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._pending: deque[_Pending] = deque()
        self._sent: dict[tuple[str, str], _Pending] = {}
        self._beyond: dict[tuple[int, int, str], Ended] = {}
        self._unwritten = 0
        self._db = _opened(path)
        try:
            self._open(target, selection)
            self.counts = Counter(dict(self._counted()))
        except BaseException:
            self._db.close()
            raise
        self._ids = SeenIds(self._db)

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

    @property
    def _name(self) -> str:
        return one_line(self._path)

    def close(self) -> None:
        """Write what is left, and let another process use the file."""
        with self._lock:
            with suppress(sqlite3.Error):
                self._commit()
            self._db.close()

    # -- reading -----------------------------------------------------------------------------

    def begin_file(self, name: str, size: int | None) -> tuple[int, int] | None:
        """Returns a file's number, and its event up to which all is done; None if all is.

        Raises ConfigurationError if its size is not what it was.
        """
        with self._lock:
            self._db.execute("INSERT OR IGNORE INTO files (name, size) VALUES (?, ?)", (name, size))
            query = "SELECT number, size, upto, is_done FROM files WHERE name = ?"
            number, known_size, upto, is_done = self._db.execute(query, (name,)).fetchone()
            if known_size != size:
                raise ConfigurationError(
                    f"{one_line(name)} has changed since the backfill began: {known_size} bytes, "
                    f"now {size}; use the file as it was, or another file for the state"
                )
            rows = self._db.execute("SELECT * FROM beyond WHERE file = ?", (number,))
            for file, event, sync, outcome, reason in rows:
                self._beyond[file, event, sync] = Ended(sync, Outcome(outcome), reason)
            return None if is_done else (number, upto)

    def begin(
        self, file: int, event: int, place: Place, conversions: Iterable[Conversion]
    ) -> list[Conversion]:
        """Note an event that was read. Returns what is to be sent of it, each to be settled."""
        with self._lock:
            pending, to_send = _Pending(file, event, place), []
            for each in conversions:
                ended = self._beyond.pop((file, event, each.sync), None)
                if ended is None:
                    ended = self._ended_already(file, event, each)
                if ended is not None:
                    self._end(pending, ended)
                else:
                    pending.on_their_way.add(each.sync)
                    self._sent[each.sync, str(each.id)] = pending
                    to_send.append(each)
            self._pending.append(pending)
            self._advance()
            return to_send

    def _ended_already(self, file: int, event: int, conversion: Conversion) -> Ended | None:
        if conversion.problems:
            return Ended(conversion.sync, Outcome.INVALID, conversion.problems[0].code)
        self._begin_writing()
        if not self._ids.is_first(f"{conversion.id}\0{conversion.sync}", file, event):
            return Ended(conversion.sync, Outcome.DUPLICATE)
        return None

    def end_file(self, file: int) -> None:
        """Note that all events of a file were read."""
        with self._lock:
            end = _Pending(file, -1, Place(""))
            self._pending.append(end)
            self._advance()

    @property
    def on_their_way(self) -> int:
        """How many events wait to be settled."""
        return len(self._sent)

    @property
    def window(self) -> int:
        """How many events were read, the first of which is not done."""
        return len(self._pending)

    # -- settling ----------------------------------------------------------------------------

    def settle(self, sync: str, id: str, outcome: Outcome, reason: str = "") -> None:
        """Note the outcome of an event that was sent. It is written when this returns."""
        with self._lock:
            pending = self._sent.pop((sync, id))
            pending.on_their_way.discard(sync)
            ended = Ended(sync, outcome, reason)
            self._end(pending, ended)
            if pending is not self._pending[0] or pending.on_their_way:
                self._begin_writing()
                row = (pending.file, pending.event, *ended)
                self._db.execute("INSERT INTO beyond VALUES (?, ?, ?, ?, ?)", row)
            self._advance()
            self._commit()

    def refuse(self, sync: str, id: str, reason: str, *, status: int | None, message: str) -> None:
        """As ``settle``, of an event that was not accepted. It is kept for the report."""
        with self._lock:
            pending = self._sent[sync, id]
            self._begin_writing()
            where = pending.file, pending.event, sync, str(pending.place)
            row = (*where, id, reason, status, message)
            self._db.execute("INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            self.settle(sync, id, Outcome.REFUSED, reason)

    def _end(self, pending: _Pending, ended: Ended) -> None:
        pending.ended.append(ended)
        self.counts[ended] += 1

    def _advance(self) -> None:
        """Count what is done with all before it, and forget it."""
        while self._pending and not self._pending[0].on_their_way:
            done = self._pending.popleft()
            self._begin_writing()
            if done.event < 0:
                self._db.execute("UPDATE files SET is_done = 1 WHERE number = ?", (done.file,))
            else:
                where = done.event, done.file
                self._db.execute("UPDATE files SET upto = ? WHERE number = ?", where)
                self._db.execute("DELETE FROM beyond WHERE event <= ? AND file = ?", where)
                place = str(done.place)
                self._db.executemany(_COUNT, [(*ended, place) for ended in done.ended])
            self._unwritten += 1
        if self._unwritten >= _COMMIT_EVENTS:
            self._commit()

    def _begin_writing(self) -> None:
        if not self._db.in_transaction:
            self._db.execute("BEGIN")

    def _commit(self) -> None:
        self._unwritten = 0
        if self._db.in_transaction:
            self._db.execute("COMMIT")

    # -- what became of them -----------------------------------------------------------------

    def _counted(self) -> Iterator[tuple[Ended, int]]:
        query = "SELECT sync, outcome, reason, events FROM outcomes"
        for sync, outcome, reason, events in self._db.execute(query):
            yield Ended(sync, Outcome(outcome), reason), events

    def first_places(self) -> dict[Ended, str]:
        """Returns the place of the first event of each outcome."""
        with self._lock:
            rows = self._db.execute("SELECT sync, outcome, reason, first_place FROM outcomes")
            return {Ended(sync, Outcome(outcome), reason): at for sync, outcome, reason, at in rows}

    def refusals(self) -> Iterator[Refusal]:
        """Yields what was sent and not accepted, in the order of the export."""
        query = "SELECT place, sync, id, reason, status, message FROM refused ORDER BY file, event"
        with self._lock:
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
