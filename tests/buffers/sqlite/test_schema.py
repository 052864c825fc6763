"""How rows get into the shared file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from amplitude_moloco.buffers.sqlite.record import Event
from amplitude_moloco.buffers.sqlite.schema import EVENT_COLUMNS, create, event_row, insert


class Recorder:
    """A connection that keeps the statements that it ran."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.statements: list[str] = []

    def execute(self, statement: str, values: list[Any]) -> object:
        self.statements.append(statement)
        return self._db.execute(statement, values)


def insert_events(count: int) -> tuple[list[str], list[tuple[int]]]:
    """Insert so many events into a new file. Returns the statements, and the bodies' sizes."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        create(db, "target")
        recorder: Any = Recorder(db)
        rows = [event_row(Event(0, 0.0, "HOME", "id", bytes(size))) for size in range(count)]
        insert(recorder, "events", EVENT_COLUMNS, rows)
        sizes = db.execute("SELECT size FROM events ORDER BY key").fetchall()
    return recorder.statements, sizes


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 63, 64, 65, 1000])
def test_each_row_is_inserted_once_and_in_order(count: int) -> None:
    """However many there are."""
    assert insert_events(count)[1] == [(size,) for size in range(count)]


def test_many_rows_take_few_statements() -> None:
    """While an app tracks without pause, each statement may cost milliseconds: few are made."""
    statements, _ = insert_events(3000)
    assert len(statements) <= 20


def test_few_statements_differ() -> None:
    """Python keeps those that differ, each with its values: there are few, so memory stays flat."""
    found = {statement for count in range(300) for statement in insert_events(count)[0]}
    assert len(found) <= 5
