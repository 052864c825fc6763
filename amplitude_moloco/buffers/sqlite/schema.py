"""The schema of the SQLite file that processes share. It needs SQLite 3.9 (2015) or newer."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from typing import Any

from amplitude_moloco.buffers.sqlite.record import IN_LANE, Event, frame_of

APPLICATION_ID = 0x4D4F4C42  # "MOLB"
VERSION = 4
IN_LANES = f"substr(frame, 13, 1) = x'{IN_LANE:02x}'"  # the kind: an event that has a lane
_LANES_INDEX = f"CREATE INDEX events_in_lanes ON events (key) WHERE {IN_LANES}"
KEY_BITS = 40
"""The keys of a file differ in these bits, and have the others in common."""

SCHEMA = """
    CREATE TABLE totals (
        target TEXT NOT NULL,
        events INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0,
        dead INTEGER NOT NULL DEFAULT 0, dead_bytes INTEGER NOT NULL DEFAULT 0,
        clock REAL  -- by how much the wall clock, which all due times follow, is ahead of the
                    -- monotonic one, which all processes of a machine share; NULL if not known
    );
    -- A frame is a record as a journal has it, with its checksum.
    CREATE TABLE events (
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        due REAL NOT NULL,  -- Unix time of the next attempt; 0 if there was none yet
        attempts INTEGER NOT NULL,
        size INTEGER NOT NULL,  -- of the body
        frame BLOB NOT NULL
    );
    CREATE INDEX events_due ON events (due);
    CREATE INDEX events_untried ON events (key) WHERE attempts = 0 AND due > 0;
    CREATE TRIGGER event_in AFTER INSERT ON events BEGIN
        UPDATE totals SET events = events + 1, bytes = bytes + NEW.size;
    END;
    CREATE TRIGGER event_out AFTER DELETE ON events BEGIN
        UPDATE totals SET events = events - 1, bytes = bytes - OLD.size;
    END;
    CREATE TABLE letters (
        number INTEGER PRIMARY KEY AUTOINCREMENT, buried_at REAL NOT NULL,
        attempts INTEGER NOT NULL, status INTEGER, reason TEXT NOT NULL, message TEXT NOT NULL,
        size INTEGER NOT NULL, frame BLOB NOT NULL
    );
    CREATE TRIGGER letter_in AFTER INSERT ON letters BEGIN
        UPDATE totals SET dead = dead + 1, dead_bytes = dead_bytes + NEW.size;
    END;
    CREATE TRIGGER letter_out AFTER DELETE ON letters BEGIN
        UPDATE totals SET dead = dead - 1, dead_bytes = dead_bytes - OLD.size;
    END;
    -- The processes that have stored or taken anything.
    CREATE TABLE owners (
        token TEXT PRIMARY KEY,
        numbers BLOB NOT NULL DEFAULT x'',  -- of its events that are here, or gone; see record.pack
        taken INTEGER NOT NULL DEFAULT 0  -- the number of the last event that it has taken
    );
    -- What can't be read any more, kept for a person to look at.
    CREATE TABLE damaged (found_at REAL NOT NULL, frame BLOB);
"""
_MOST_VALUES = 32_766 if sqlite3.sqlite_version_info >= (3, 32) else 999
"""How many values a statement may have, unless SQLite was built with another limit."""
EVENT_COLUMNS = "key, due, attempts, size, frame"
LETTER_COLUMNS = "buried_at, attempts, status, reason, message, size, frame"

_OLD_EVENTS = {
    "claimed": "CASE WHEN token IS NULL THEN due ELSE was_due END, attempts, strikes",
    "fresh": "0, 0, 0",
}
_OLD_LETTER = "number, buried_at, attempts, status, reason, message"
_OLD_FRAME = "accepted_at, sync, id, body"
_OLD_REST = """
    DROP VIEW counted;
    DROP TABLE fresh;
    DROP TABLE claimed;
    DROP TABLE dead_letters;
    DROP TABLE totals;
"""
Row = tuple[Any, ...]


def create(db: sqlite3.Connection, target: str) -> None:
    """Create the tables, in a transaction that is open."""
    for statement in _statements(SCHEMA):
        db.execute(statement)
    db.execute(_LANES_INDEX)
    db.execute("INSERT INTO totals (target) VALUES (?)", (target,))
    # A key of another file, which was here before, must not be one of this file's.
    last = random.getrandbits(20) << KEY_BITS
    db.execute("INSERT INTO sqlite_sequence VALUES ('events', ?), ('letters', ?)", (last, last))
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {VERSION}")


def migrate(db: sqlite3.Connection, version: int) -> None:
    """Turn the schema of an earlier version into this one, in a transaction that is open."""
    if version == 1:
        _migrate_tables(db)
        return
    if version == 2:
        db.execute("ALTER TABLE totals ADD COLUMN clock REAL")
    db.execute(_LANES_INDEX)
    db.execute(f"PRAGMA user_version = {VERSION}")


def _migrate_tables(db: sqlite3.Connection) -> None:
    (target,) = db.execute("SELECT target FROM totals").fetchone()
    events = [row for table in _OLD_EVENTS for _, row in old_events(db, table, "1")]
    letters = [row for _, row in old_letters(db, "1")]
    for statement in _statements(_OLD_REST):
        db.execute(statement)
    create(db, target)
    insert(db, "events", EVENT_COLUMNS, events)
    insert(db, "letters", LETTER_COLUMNS, letters)


def insert(
    db: sqlite3.Connection,
    table: str,
    columns: str,
    rows: list[Row],
) -> None:
    """Insert rows, but not those whose key is there already.

    Many in a statement: while an app's thread is busy, Python lets this one wait for milliseconds
    after each. Of few sizes: Python keeps the statements that differ, with their values.
    """
    width = columns.count(",") + 1
    start = 0
    while start < len(rows):
        size, most = 1, min(len(rows) - start, _MOST_VALUES // width)
        while size * 4 <= most:
            size *= 4
        places = ", ".join([f"({', '.join('?' * width)})"] * size)
        db.execute(
            f"INSERT OR IGNORE INTO {table} ({columns}) VALUES {places}",  # noqa: S608  # question marks
            [value for row in rows[start : start + size] for value in row],
        )
        start += size


def event_row(event: Event) -> Row:
    """Returns an event as a row, with its key if it has one, and due as it says."""
    return event.key or None, event.due, event.attempts, len(event.body), frame_of(event)


def old_events(db: sqlite3.Connection, table: str, where: str) -> Iterator[tuple[int, Row]]:
    """Yields the events of release 0.1, each after its key, as rows of this schema."""
    what = f"key, {_OLD_EVENTS[table]}, {_OLD_FRAME}"
    query = f"SELECT {what} FROM {table} WHERE {where} ORDER BY key"  # noqa: S608  # our own words
    for key, due, *counts, accepted_at, sync, id, body in db.execute(query):
        yield key, event_row(Event(0, accepted_at, sync, id, body, *counts)._replace(due=due))


def old_letters(db: sqlite3.Connection, where: str) -> Iterator[tuple[int, Row]]:
    """Yields the dead letters of release 0.1, each after its key, as rows of this schema."""
    query = f"SELECT {_OLD_LETTER}, {_OLD_FRAME} FROM dead_letters WHERE {where} ORDER BY number"  # noqa: S608  # our own words
    for number, *letter, accepted_at, sync, id, body in db.execute(query):
        yield number, (*letter, len(body), frame_of(Event(0, accepted_at, sync, id, body)))


def _statements(script: str) -> Iterator[str]:
    """Yields the statements of a script: ``executescript`` would commit first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
