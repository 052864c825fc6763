"""What lies in the SQLite file: events that wait for long, and dead letters, of all processes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from amplitude_moloco.buffers.base import DeadLetter, Lost
from amplitude_moloco.buffers.sqlite.file import SqliteFile
from amplitude_moloco.buffers.sqlite.record import Event, frame_of, read_event
from amplitude_moloco.buffers.sqlite.schema import (
    EVENT_COLUMNS,
    LETTER_COLUMNS,
    event_row,
    insert,
)
from amplitude_moloco.buffers.sqlite.waiting import Letter
from amplitude_moloco.reasons import DeadLetterReason

WAIT_SECONDS = 0.05
"""The longest wait of a sender for another process."""
_TAKEN_EVENTS = 512
_TAKEN_BYTES = 1024**2
_PRUNED = 1000
"""How many dead letters are forgotten at a time."""
_PAGE = 100
_ALL_STEPS = -1

_RETRIES = "SELECT key, due, frame FROM events WHERE {} ORDER BY due, key LIMIT ?"
_FRESH = "SELECT key, due, frame FROM events WHERE due = 0 ORDER BY key {} LIMIT ?"
_NEXT = "SELECT (SELECT min(due) FROM events), (SELECT max(due) FROM events)"
_UNTRIED = "SELECT EXISTS (SELECT * FROM events WHERE attempts = 0 AND key <= ?)"
_LAST_KEY = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'"
_LETTERS = """SELECT number, buried_at, attempts, status, reason, message, frame FROM letters
    WHERE number > ? ORDER BY number LIMIT ?"""
_MUST_PRUNE = """SELECT (SELECT dead > ? OR dead_bytes > ? FROM totals) OR EXISTS (SELECT * FROM
    letters WHERE buried_at < ? AND number = (SELECT min(number) FROM letters))"""
_PRUNE = """DELETE FROM letters WHERE number IN (SELECT number FROM letters ORDER BY number LIMIT 1)
    AND (buried_at < ? OR (SELECT dead > ? OR dead_bytes > ? FROM totals))"""
Keep = Callable[[list[Event]], object]
"""Appends events to a process's journal, before they leave the store. Raises OSError."""


class Store:
    """Safe from any thread. All methods raise sqlite3.Error and OSError.

    Where a method takes a token and a step, its transaction also notes that this step of that
    process is committed.

    Args:
        horizon_seconds: What is due even later was stored before the clock was set back.
    """

    def __init__(self, file: SqliteFile, horizon_seconds: float, wall: Callable[[], float]) -> None:
        self._file = file
        self._horizon_seconds = horizon_seconds
        self._wall = wall
        self._lost: list[Lost] = []

    # -- events ------------------------------------------------------------------------------

    def put(
        self,
        token: str,
        step: int,
        events: Iterable[Event],
        letters: Iterable[Letter],
        wait_seconds: float = WAIT_SECONDS,
    ) -> int:
        """Store events and dead letters. Returns the highest key that was ever used."""
        with self._file.transaction(wait_seconds) as db:
            _insert_events(db, events)
            insert(db, "letters", LETTER_COLUMNS, list(map(_letter_row, letters)))
            _note_step(db, token, step)
            return int(db.execute(_LAST_KEY).fetchone()[0])

    def take(self, token: str, step: int, limit: int, newest: int, keep: Keep) -> None:
        """Hand over what is due; a few more than the limit, if there are more."""
        with self._file.transaction(WAIT_SECONDS) as db:
            ((events, size),) = db.execute("SELECT events, bytes FROM totals")
            most = max(limit, min(_TAKEN_EVENTS, _TAKEN_BYTES * events // max(1, size)))
            rows = self._due_rows(db, most, newest)
            _run_for(db, "DELETE FROM events WHERE key IN ({})", [row[0] for row in rows])
            sound, damaged = [], []
            for key, due, frame in rows:
                event = read_event(frame)
                if event is None:
                    damaged.append(Lost(1, "a stored event was damaged", number=key))
                    db.execute("INSERT INTO damaged VALUES (?, ?)", (self._wall(), frame))
                else:
                    sound.append(event._replace(key=key, due=due))
            keep(sound)
            _note_step(db, token, step)
        self._lost += damaged

    def _due_rows(self, db: sqlite3.Connection, most: int, newest: int) -> list[tuple[Any, ...]]:
        now = self._wall()
        late = db.execute(_RETRIES.format("due > ?"), (now + self._horizon_seconds, most))
        rows = late.fetchall()
        due = db.execute(_RETRIES.format("due > 0 AND due <= ?"), (now, most - len(rows)))
        rows += due.fetchall()
        oldest = db.execute(_FRESH.format(""), (max(newest, most - len(rows)),)).fetchall()
        reserved = db.execute(_FRESH.format("DESC"), (newest,)).fetchall()
        known = {row[0] for row in oldest}
        return rows + oldest + [row for row in reversed(reserved) if row[0] not in known]

    def next_seconds(self) -> float | None:
        """Returns when something here is due, from now on; None if nothing waits here."""
        ((first, last),) = self._file.read(_NEXT)
        if first is None:
            return None
        now = self._wall()
        is_clock_set_back = last > now + self._horizon_seconds
        return 0.0 if is_clock_set_back else float(max(0.0, first - now))

    def last_key(self) -> int:
        """Returns the highest key that was ever used."""
        return int(self._file.read(_LAST_KEY)[0][0])

    def has_untried(self, until: int) -> bool:
        """Whether an event that was never sent has a key up to this one."""
        return self._file.read(_UNTRIED, (until,)) == [(1,)]

    def count(self) -> tuple[int, int, int]:
        """Returns how many events, bytes of them, and dead letters lie here."""
        ((events, size, dead),) = self._file.read("SELECT events, bytes, dead FROM totals")
        return events, size, dead

    # -- other processes ---------------------------------------------------------------------

    def step_of(self, token: str) -> int:
        """Returns the last step of a process that was committed."""
        rows = self._file.read("SELECT step FROM journals WHERE token = ?", (token,))
        return int(rows[0][0]) if rows else 0

    def take_over(self, token: str, events: list[Event], wait_seconds: float) -> bool:
        """Store what a dead process has left. Returns False if that was done before."""
        with self._file.transaction(wait_seconds) as db:
            is_done = db.execute(
                "SELECT 1 FROM journals WHERE token = ? AND step = ?", (token, _ALL_STEPS)
            ).fetchone()
            if not is_done:
                _insert_events(db, events)
                _note_step(db, token, _ALL_STEPS)
        return not is_done

    def forget(self, token: str) -> None:
        """Forget the steps of a process that has left nothing."""
        with self._file.transaction(WAIT_SECONDS) as db:
            db.execute("DELETE FROM journals WHERE token = ?", (token,))

    # -- dead letters ------------------------------------------------------------------------

    def letters(self) -> Iterator[DeadLetter]:
        """Yields the dead letters page by page, since all together might not fit into memory."""
        last = 0
        while rows := self._file.read(_LETTERS, (last, _PAGE)):
            for row in rows:
                letter = _letter_from(row)
                if letter is None:
                    self._set_aside(row[0], row[-1])
                else:
                    yield letter
            last = rows[-1][0]

    def resend(
        self, token: str, step: int, letter: DeadLetter, keep: Keep, wait_seconds: float
    ) -> bool:
        """Hand over a dead letter as a new event. Returns False if it is no longer here."""
        with self._file.transaction(wait_seconds) as db:
            if not db.execute("DELETE FROM letters WHERE number = ?", (letter.key,)).rowcount:
                return False
            keep([Event(0, self._wall(), letter.sync, letter.id, letter.body)])
            _note_step(db, token, step)
        return True

    def prune(self, oldest: float, most: int, most_bytes: int) -> None:
        """Forget the oldest dead letters beyond the bounds."""
        if self._file.read(_MUST_PRUNE, (most, most_bytes, oldest)) == [(1,)]:
            with self._file.transaction(WAIT_SECONDS) as db:
                for _ in range(_PRUNED):
                    db.execute(_PRUNE, (oldest, most, most_bytes))

    def take_lost(self) -> list[Lost]:
        """Returns what was lost since the last call."""
        lost, self._lost = self._lost, []
        return lost

    def _set_aside(self, number: int, frame: object) -> None:
        """Keep a damaged dead letter where it is not shown."""
        with self._file.transaction(WAIT_SECONDS) as db:
            db.execute("INSERT INTO damaged VALUES (?, ?)", (self._wall(), frame))
            db.execute("DELETE FROM letters WHERE number = ?", (number,))
        self._lost.append(Lost(1, "a dead letter was damaged", number=number))


def _note_step(db: sqlite3.Connection, token: str, step: int) -> None:
    db.execute("INSERT OR REPLACE INTO journals VALUES (?, ?)", (token, step))


def _insert_events(db: sqlite3.Connection, events: Iterable[Event]) -> None:
    """Insert events, in their old places unless these were given away in a new file."""
    events = sorted(events, key=lambda event: event.order)
    keys = [event.key for event in events if event.key]
    used = {key for (key,) in _run_for(db, "SELECT key FROM events WHERE key IN ({})", keys)}
    rows = [event_row(event._replace(key=0) if event.key in used else event) for event in events]
    insert(db, "events", EVENT_COLUMNS, rows)


def _letter_row(letter: Letter) -> tuple[Any, ...]:
    event, buried_at, reason, status, message = letter
    size = len(event.body)
    return buried_at, event.attempts, status, reason.value, message, size, frame_of(event)


def _letter_from(row: tuple[Any, ...]) -> DeadLetter | None:
    """Returns a dead letter; None if it is damaged."""
    number, buried_at, attempts, status, reason, message, frame = row
    event = read_event(frame)
    if event is None:
        return None
    known = DeadLetterReason.REJECTED  # a damaged reason must not hide the letter
    with suppress(ValueError):
        known = DeadLetterReason(reason)
    ids = event.id, event.sync, event.body, event.accepted_at
    return DeadLetter(number, *ids, buried_at, attempts, known, status, message)


def _run_for(db: sqlite3.Connection, statement: str, keys: list[int]) -> list[tuple[Any, ...]]:
    """Run a statement for many keys, many at a time. Returns its rows."""
    rows: list[tuple[Any, ...]] = []
    for start in range(0, len(keys), 500):
        chunk = keys[start : start + 500]
        rows += db.execute(statement.format(", ".join("?" * len(chunk))), chunk).fetchall()
    return rows
