"""Reads a damaged SQLite file row by row, and writes what is sound into a new one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from amplitude_moloco.buffers.sqlite.record import read_event
from amplitude_moloco.buffers.sqlite.schema import (
    EVENT_COLUMNS,
    LETTER_COLUMNS,
    insert,
    old_events,
    old_letters,
)

_CHUNK = 512
_MOST_EMPTY = 8
"""After this many chunks without a row a table ends, where its highest key can't be read."""
_ERRORS = (sqlite3.Error, ValueError, TypeError)
"""A damaged text or number may also be of no use to Python."""
_LETTERS = f"number, {LETTER_COLUMNS}"
Read = Callable[[sqlite3.Connection, str], "list[tuple[Any, ...]]"]


def salvage(old: sqlite3.Connection, new: sqlite3.Connection) -> int:
    """Copy all that can be read, in a transaction of ``new`` that is open.

    Returns how many events and dead letters are lost, as far as the old file knows.
    """
    saved = 0
    for key, table, columns, read in _TABLES:
        into = "letters" if table in ("letters", "dead_letters") else "events"
        low, highest = _ranges(old, table, key)
        empty = 0
        while low <= highest if highest is not None else empty < _MOST_EMPTY:
            rows = _rows(old, read, key, low, low + _CHUNK - 1)
            low += _CHUNK
            empty = 0 if rows else empty + 1
            sound = [row for row in rows if _is_sound(row)]
            insert(new, into, columns, sound, otherwise="IGNORE")  # a damaged key may come twice
            saved += len(sound)
    with suppress(*_ERRORS):
        journals = _all(old, "token, step", "journals")
        insert(new, "journals", "token, step", journals, otherwise="IGNORE")
    return max(1, _counted(old) - saved)


def _read(columns: str, table: str) -> Read:
    return lambda db, where: _all(db, columns, table, where)


def _all(
    db: sqlite3.Connection, columns: str, table: str, where: str = "1"
) -> list[tuple[Any, ...]]:
    return db.execute(f"SELECT {columns} FROM {table} NOT INDEXED WHERE {where}").fetchall()  # noqa: S608  # our own words


_TABLES: tuple[tuple[str, str, str, Read], ...] = (
    ("key", "events", EVENT_COLUMNS, _read(EVENT_COLUMNS, "events")),
    ("number", "letters", _LETTERS, _read(_LETTERS, "letters")),
    ("key", "claimed", EVENT_COLUMNS, lambda db, w: list(old_events(db, "claimed", w))),
    ("key", "fresh", EVENT_COLUMNS, lambda db, w: list(old_events(db, "fresh", w))),
    ("number", "dead_letters", LETTER_COLUMNS, lambda db, w: list(old_letters(db, w))),
)


def _ranges(db: sqlite3.Connection, table: str, key: str) -> tuple[int, int | None]:
    """Returns the lowest and the highest key of a table; None if the highest is not known."""
    low, highest = 1, None
    with suppress(*_ERRORS):
        low = _all(db, f"min({key})", table)[0][0] or 1
    with suppress(*_ERRORS):
        highest = _all(db, f"max({key})", table)[0][0] or 0
    with suppress(*_ERRORS, IndexError):
        highest = _all(db, "seq", "sqlite_sequence", f"name = '{table}'")[0][0]
    return low, highest


def _rows(
    db: sqlite3.Connection, read: Read, key: str, low: int, high: int
) -> list[tuple[Any, ...]]:
    """Returns the rows of a range that can be read: what can't is halved until one row is left."""
    try:
        return read(db, f"{key} BETWEEN {low} AND {high}")
    except _ERRORS:
        if low == high:
            return []
        middle = (low + high) // 2
        return _rows(db, read, key, low, middle) + _rows(db, read, key, middle + 1, high)


def _is_sound(row: tuple[Any, ...]) -> bool:
    return read_event(row[-1]) is not None


def _counted(db: sqlite3.Connection) -> int:
    """Returns how many there were, by the file's own count."""
    for query in (
        "SELECT events + dead FROM totals",
        "SELECT events + dead FROM counted",
    ):
        with suppress(*_ERRORS):
            for (count,) in db.execute(query):
                if isinstance(count, int):  # pragma: no branch
                    return count
    return 0
