"""The schema of the SQLite file that processes share. It needs SQLite 3.9 (2015) or newer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from amplitude_moloco.buffers.sqlite.record import Event, frame_of

APPLICATION_ID = 0x4D4F4C42  # "MOLB"
VERSION = 2

SCHEMA = """
    CREATE TABLE totals (
        target TEXT NOT NULL,
        events INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0,
        dead INTEGER NOT NULL DEFAULT 0, dead_bytes INTEGER NOT NULL DEFAULT 0
    );
    -- A frame is a record as a journal has it, with its checksum. What a process has taken into its
    -- memory is in its journal, and no longer here.
    CREATE TABLE events (
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        due REAL NOT NULL,  -- Unix time of the next attempt; 0 if there was none yet
        attempts INTEGER NOT NULL,
        size INTEGER NOT NULL,  -- of the body
        frame BLOB NOT NULL
    );
    CREATE INDEX events_due ON events (due, key);
    CREATE INDEX events_untried ON events (key) WHERE attempts = 0;
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
    -- The last transaction that moved events between a process's journal and here; -1 if all of its
    -- journal is here.
    CREATE TABLE journals (token TEXT PRIMARY KEY, step INTEGER NOT NULL);
    -- What can't be read any more, kept for a person to look at.
    CREATE TABLE damaged (found_at REAL NOT NULL, frame BLOB);
"""
EVENT_COLUMNS = "key, due, attempts, size, frame"
LETTER_COLUMNS = "buried_at, attempts, status, reason, message, size, frame"

_OLD_EVENTS = {
    "claimed": "CASE WHEN token IS NULL THEN due ELSE was_due END, attempts, strikes",
    "fresh": "0, 0, 0",
}
_OLD_LETTER = "buried_at, attempts, status, reason, message"
_OLD_FRAME = "accepted_at, sync, id, body"
_OLD_REST = """
    DROP VIEW counted;
    DROP TABLE fresh;
    DROP TABLE claimed;
    DROP TABLE dead_letters;
    DROP TABLE totals;
"""
Rows = Iterator[tuple[Any, ...]]


def create(db: sqlite3.Connection, target: str) -> None:
    """Create the tables, in a transaction that is open."""
    for statement in _statements(SCHEMA):
        db.execute(statement)
    db.execute("INSERT INTO totals (target) VALUES (?)", (target,))
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {VERSION}")


def migrate(db: sqlite3.Connection) -> None:
    """Turn the schema of release 0.1 into this one, in a transaction that is open."""
    (target,) = db.execute("SELECT target FROM totals").fetchone()
    events = [row for table in _OLD_EVENTS for row in old_events(db, table, "1")]
    letters = list(old_letters(db, "1"))
    for statement in _statements(_OLD_REST):
        db.execute(statement)
    create(db, target)
    insert(db, "events", EVENT_COLUMNS, events)
    insert(db, "letters", LETTER_COLUMNS, letters)


def insert(
    db: sqlite3.Connection,
    table: str,
    columns: str,
    rows: list[tuple[Any, ...]],
    *,
    otherwise: str = "ABORT",
) -> None:
    """Insert rows, many in a statement: Python may keep a thread waiting after each statement."""
    width = columns.count(",") + 1
    for start in range(0, len(rows), 100):
        chunk = rows[start : start + 100]
        places = ", ".join([f"({', '.join('?' * width)})"] * len(chunk))
        db.execute(
            f"INSERT OR {otherwise} INTO {table} ({columns}) VALUES {places}",  # noqa: S608  # question marks
            [value for row in chunk for value in row],
        )


def event_row(event: Event) -> tuple[Any, ...]:
    """Returns an event as a row, with its key if it has one, and due as it says."""
    return event.key or None, event.due, event.attempts, len(event.body), frame_of(event)


def old_events(db: sqlite3.Connection, table: str, where: str) -> Rows:
    """Yields the events of release 0.1 in the order of their keys, as rows of this schema."""
    what = f"{_OLD_EVENTS[table]}, {_OLD_FRAME}"
    query = f"SELECT {what} FROM {table} WHERE {where} ORDER BY key"  # noqa: S608  # our own words
    for due, *counts, accepted_at, sync, id, body in db.execute(query):
        yield event_row(Event(0, accepted_at, sync, id, body, *counts)._replace(due=due))


def old_letters(db: sqlite3.Connection, where: str) -> Rows:
    """Yields the dead letters of release 0.1 as rows of this schema."""
    query = f"SELECT {_OLD_LETTER}, {_OLD_FRAME} FROM dead_letters WHERE {where} ORDER BY number"  # noqa: S608  # our own words
    for *letter, accepted_at, sync, id, body in db.execute(query):
        yield *letter, len(body), frame_of(Event(0, accepted_at, sync, id, body))


def _statements(script: str) -> Iterator[str]:
    """Yields the statements of a script: ``executescript`` would commit first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
