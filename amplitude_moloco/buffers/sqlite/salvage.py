"""Reads a damaged SQLite file row by row, and writes what is sound into a new one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from amplitude_moloco.buffers.sqlite.record import read_event
from amplitude_moloco.buffers.sqlite.schema import (
    EVENT_COLUMNS,
    KEY_BITS,
    LETTER_COLUMNS,
    insert,
    old_events,
    old_letters,
)

_CHUNK = 512
_ERRORS = (sqlite3.Error, ValueError, TypeError)
"""A damaged text or number may also be of no use to Python."""
_OWNERS = "token, numbers, taken"
_LETTERS = f"number, {LETTER_COLUMNS}"
Read = Callable[[sqlite3.Connection, str], Iterator[tuple[int, tuple[Any, ...]]]]
"""Yields rows, each after its key, in the order of the keys."""


def salvage(old: sqlite3.Connection, new: sqlite3.Connection) -> int:
    """Copy all that can be read, in a transaction of ``new`` that is open.

    Returns how many events and dead letters are lost, as far as the old file knows.
    """
    for table, key, into, columns, read in _TABLES:
        rows = []
        for row in _readable(old, table, key, read):
            if read_event(row[-1]) is not None:
                rows.append(row)
            if len(rows) == _CHUNK:
                insert(new, into, columns, rows)
                rows = []
        insert(new, into, columns, rows)
    with suppress(*_ERRORS):
        owners = old.execute(f"SELECT {_OWNERS} FROM owners NOT INDEXED").fetchall()  # noqa: S608  # our own words
        insert(new, "owners", _OWNERS, owners)
    return max(1, _counted(old) - _counted(new))


def _readable(
    db: sqlite3.Connection, table: str, key: str, read: Read
) -> Iterator[tuple[Any, ...]]:
    """Yields all rows of a table that can be read; some of them again, behind damage.

    A damaged page may give rows with any key. So the search goes on behind the highest key so far,
    never before it: there are only so many.
    """
    low: int | None = _lowest(db, table, key)
    while low is not None:
        try:
            for number, row in read(db, f"{key} >= {low}"):
                low = max(low, number + 1)
                yield row
        except _ERRORS:
            low = _behind_damage(db, key, read, low)
        else:
            return


def _lowest(db: sqlite3.Connection, table: str, key: str) -> int:
    """Returns a number that all keys of a table exceed; 0 if that can't be known."""
    queries = (
        f"SELECT min({key}) - 1 FROM {table} NOT INDEXED",  # noqa: S608  # our own words
        f"SELECT seq >> {KEY_BITS} << {KEY_BITS} FROM sqlite_sequence WHERE name = '{table}'",  # noqa: S608  # our own words
        f"SELECT max({key}) >> {KEY_BITS} << {KEY_BITS} FROM {table} NOT INDEXED",  # noqa: S608  # our own words
    )
    for query in queries:
        with suppress(*_ERRORS):
            return int(db.execute(query).fetchone()[0])
    return 0


def _behind_damage(db: sqlite3.Connection, key: str, read: Read, low: int) -> int | None:
    """Returns where rows can be read again, from this key on; None if nowhere."""

    def is_readable(number: int) -> bool:
        try:
            found = next(read(db, f"{key} >= {number}"), None)
        except _ERRORS:
            return False
        return found is None or found[0] >= number

    step = 1
    while not is_readable(low + step):
        if step >> KEY_BITS:
            return None
        step *= 2
    failing = step // 2
    while step - failing > 1:  # the first one lies between these
        middle = (failing + step) // 2
        if is_readable(low + middle):
            step = middle
        else:
            failing = middle
    return low + step


def _read(columns: str, table: str, key: str) -> Read:
    query = f"SELECT {columns} FROM {table} NOT INDEXED WHERE {{}} ORDER BY {key}"  # noqa: S608  # our own words
    return lambda db, where: ((row[0], row) for row in db.execute(query.format(where)))


_TABLES: tuple[tuple[str, str, str, str, Read], ...] = (
    ("events", "key", "events", EVENT_COLUMNS, _read(EVENT_COLUMNS, "events", "key")),
    ("letters", "number", "letters", _LETTERS, _read(_LETTERS, "letters", "number")),
    ("claimed", "key", "events", EVENT_COLUMNS, lambda db, w: old_events(db, "claimed", w)),
    ("fresh", "key", "events", EVENT_COLUMNS, lambda db, w: old_events(db, "fresh", w)),
    ("dead_letters", "number", "letters", LETTER_COLUMNS, old_letters),
)


def _counted(db: sqlite3.Connection) -> int:
    """Returns how many there were, by the file's own count; 0 if that can't be read."""
    for query in ("SELECT events + dead FROM totals", "SELECT events + dead FROM counted"):
        with suppress(*_ERRORS):
            return int(db.execute(query).fetchone()[0])
    return 0
