"""What lies in the SQLite file: events that wait for long, and dead letters, of any process."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from math import inf
from typing import Any, NamedTuple

from amplitude_moloco.buffers.base import DeadLetter, Lost
from amplitude_moloco.buffers.sqlite.file import SqliteFile
from amplitude_moloco.buffers.sqlite.record import Event, frame_of, pack, read_event, unpack
from amplitude_moloco.buffers.sqlite.schema import (
    EVENT_COLUMNS,
    IN_LANES,
    LETTER_COLUMNS,
    event_row,
    insert,
)
from amplitude_moloco.buffers.sqlite.tail import Letter
from amplitude_moloco.reasons import DeadLetterReason

WAIT_SECONDS = 0.05
"""The longest wait of a sender for another process."""
_TAKEN_EVENTS = 512
_TAKEN_BYTES = 1024**2
_PRUNED = 1000
"""How many dead letters are forgotten at a time."""
_STEP_SECONDS = 1.0
"""A wall clock that moves by more, while the monotonic one does not, was set."""
PAGE = 100
"""How many dead letters are read at a time."""

_RETRIES = "SELECT key, due, frame FROM events WHERE {} ORDER BY due, key LIMIT ?"
_FRESH = "SELECT key, due, frame FROM events WHERE due = 0 ORDER BY key {} LIMIT ?"
_IN_LANES = f"FROM events WHERE {IN_LANES} ORDER BY key"
_NEXT = "SELECT (SELECT min(due) FROM events), (SELECT max(due) FROM events)"
_UNTRIED = """SELECT EXISTS (SELECT * FROM events WHERE due = 0 AND key <= :until)
    OR EXISTS (SELECT * FROM events WHERE attempts = 0 AND due > 0 AND key <= :until)"""
_FIRST = "SELECT frame FROM events ORDER BY key LIMIT 1"
_LAST_KEY = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'"
_OWNERS = "SELECT token FROM owners WHERE token <> ?"
LETTERS = """SELECT number, buried_at, attempts, status, reason, message, frame FROM letters
    WHERE number > ? ORDER BY number LIMIT ?"""
_MUST_PRUNE = """SELECT (SELECT dead > ? OR dead_bytes > ? FROM totals) OR EXISTS (SELECT * FROM
    letters WHERE buried_at < ? AND number = (SELECT min(number) FROM letters))"""
_PRUNE = """DELETE FROM letters WHERE number IN (SELECT number FROM letters ORDER BY number LIMIT 1)
    AND (buried_at < ? OR (SELECT dead > ? OR dead_bytes > ? FROM totals))"""


class LetterBounds(NamedTuple):
    """Beyond them, the oldest dead letters are forgotten."""

    letters: int
    bytes: int
    age_seconds: float


class Store:
    """Safe from any thread. All methods raise sqlite3.Error and OSError.

    Args:
        token: Names this process.
        horizon_seconds: What is due even later was stored before the clock was set back.
        wall, monotonic: Give Unix seconds, and seconds that never go back.
    """

    def __init__(
        self,
        file: SqliteFile,
        token: str,
        horizon_seconds: float,
        letter_bounds: LetterBounds,
        *,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._file = file
        self._token = token
        self._horizon_seconds = horizon_seconds
        self._letter_bounds = letter_bounds
        self._wall = wall
        self._monotonic = monotonic
        self.dead = 0
        """How many dead letters there were when it was counted last."""
        self.lost: list[Lost] = []
        """What can't be read any more, and was not reported yet."""

    # -- this process's events ---------------------------------------------------------------

    def join(self) -> None:
        """Make this process known here, before it takes anything."""
        with self._file.transaction(WAIT_SECONDS) as db:
            _add_owner(db, self._token)

    def put(
        self,
        events: list[Event],
        letters: list[Letter],
        unnoted: list[int],
        wait_seconds: float,
    ) -> int:
        """Store events and dead letters.

        Returns the key of the first event without one; the others of these have the next ones.
        The numbers of all, and those that the journal does not note as done, are kept until the
        next call: what takes over the journal finds them here.
        """
        numbers = [event.number for event in [*events, *(letter.event for letter in letters)]]
        with self._file.transaction(wait_seconds) as db:
            self._follow_clock(db)  # before there are due times by the clock as it is now
            ((last_key,),) = db.execute(_LAST_KEY)
            insert(db, "events", EVENT_COLUMNS, list(map(event_row, events)))
            insert(db, "letters", LETTER_COLUMNS, list(map(_letter_row, letters)))
            _keep_numbers(db, self._token, numbers + unnoted)
        return int(last_key) + 1

    def take(self, limit: int, newest: int, hold: Callable[[list[Event]], int]) -> None:
        """Delete what is due, and all in lanes; a few more than the limit, if there are more.

        Before that is final, ``hold`` makes sure that it is kept elsewhere, and returns the number
        of the last one there.
        """
        # What a loss of power undoes is here again, and void there.
        with self._file.transaction(WAIT_SECONDS, is_kept=False) as db:
            ((events, size),) = db.execute("SELECT events, bytes FROM totals")
            most = max(limit, min(_TAKEN_EVENTS, _TAKEN_BYTES * events // max(1, size)))
            sound, damaged = [], []
            for key, due, frame in self._due_rows(db, most, newest):
                event = read_event(frame)
                if event is None:
                    damaged.append(Lost(1, "a stored event was damaged", number=key))
                    db.execute("INSERT INTO damaged VALUES (?, ?)", (self._wall(), frame))
                    db.execute("DELETE FROM events WHERE key = ?", (key,))
                else:
                    is_late = due > self._wall() + self._horizon_seconds
                    due_at = self._wall() if is_late else due
                    sound.append(event._replace(number=0, key=key, due=due_at))
            if sound:
                self._hold(db, sound, hold)
                _run_for(db, "DELETE FROM events WHERE key IN ({})", [each.key for each in sound])
        self.lost += damaged

    def resend(
        self, letter: DeadLetter, hold: Callable[[list[Event]], int], wait_seconds: float
    ) -> bool:
        """Turn a dead letter into an event; as ``take``. Returns False if it is no longer here."""
        with self._file.transaction(wait_seconds, is_kept=False) as db:
            if not db.execute("DELETE FROM letters WHERE number = ?", (letter.key,)).rowcount:
                return False
            ids = letter.sync, letter.id, letter.body
            self._hold(db, [Event(0, self._wall(), *ids, lane=letter.lane)], hold)
            return True

    def _hold(
        self, db: sqlite3.Connection, events: list[Event], hold: Callable[[list[Event]], int]
    ) -> None:
        last = hold(events)
        _add_owner(db, self._token)
        db.execute("UPDATE owners SET taken = ? WHERE token = ?", (last, self._token))

    def _due_rows(self, db: sqlite3.Connection, most: int, newest: int) -> list[tuple[Any, ...]]:
        now = self._wall()
        late = db.execute(_RETRIES.format("due > ?"), (now + self._horizon_seconds, most))
        rows = late.fetchall()
        due = db.execute(_RETRIES.format("due > 0 AND due <= ?"), (now, most - len(rows)))
        rows += due.fetchall()
        oldest = db.execute(_FRESH.format(""), (max(newest, most - len(rows)),)).fetchall()
        reserved = db.execute(_FRESH.format("DESC"), (newest,)).fetchall()
        in_lanes = db.execute(f"SELECT key, due, frame {_IN_LANES}").fetchall()
        found = [*rows, *oldest, *reversed(reserved), *in_lanes]
        return list({row[0]: row for row in found}.values())  # each once

    def has_lanes(self) -> bool:
        """Returns whether something here is in a lane."""
        return bool(self._file.read(f"SELECT 1 {_IN_LANES} LIMIT 1"))

    def follow_clock(self) -> None:
        """Have what waits here wait no longer because the wall clock was set back."""
        ((clock,),) = self._file.read("SELECT clock FROM totals")
        if clock is None or abs(clock - self._clock) > _STEP_SECONDS:
            with self._file.transaction(WAIT_SECONDS) as db:
                self._follow_clock(db)

    def _follow_clock(self, db: sqlite3.Connection) -> None:
        """One process finds that the clock was set, and moves all due times with it."""
        clock, ((before,),) = self._clock, db.execute("SELECT clock FROM totals")
        set_back_seconds = 0.0 if before is None else before - clock
        if set_back_seconds > _STEP_SECONDS:
            # 0 marks what was never sent
            move = "UPDATE events SET due = max(due - ?, 1) WHERE due > 0"
            db.execute(move, (set_back_seconds,))
        if before is None or abs(set_back_seconds) > _STEP_SECONDS:
            db.execute("UPDATE totals SET clock = ?", (clock,))

    @property
    def _clock(self) -> float:
        """By how much the wall clock is ahead of the monotonic one."""
        return self._wall() - self._monotonic()

    def next_seconds(self) -> float | None:
        """Returns when something here is due, from now on; None if nothing waits here."""
        ((first, last),) = self._file.read(_NEXT)
        if first is None:
            return None
        now = self._wall()
        is_clock_set_back = last > now + self._horizon_seconds
        return 0.0 if is_clock_set_back else float(max(0.0, first - now))

    def oldest_at(self) -> float:
        """Returns the Unix time of the event that was stored first; infinity for none."""
        events = (read_event(frame) for (frame,) in self._file.read(_FIRST))
        return min((event.accepted_at for event in events if event is not None), default=inf)

    def last_key(self) -> int:
        """Returns the highest key that was ever used."""
        return int(self._file.read(_LAST_KEY)[0][0])

    def has_untried(self, until: int, keys: list[int]) -> bool:
        """Whether an event with a key up to this one, or with one of these, was never sent."""
        with self._file.connection() as db:
            return db.execute(_UNTRIED, {"until": until}).fetchone() == (1,) or bool(
                _run_for(db, "SELECT 1 FROM events WHERE attempts = 0 AND key IN ({})", keys)
            )

    def count(self) -> tuple[int, int, int]:
        """Returns how many events, bytes of them, and dead letters lie here."""
        ((events, size, self.dead),) = self._file.read("SELECT events, bytes, dead FROM totals")
        return events, size, self.dead

    # -- other processes ---------------------------------------------------------------------

    def owners(self) -> set[str]:
        """Returns the other processes that are known here."""
        return {token for (token,) in self._file.read(_OWNERS, (self._token,))}

    def known_of(self, token: str) -> tuple[set[int], float]:
        """Returns the numbers of a process's events that its journal may not note as done.

        And the number of the last event that it has taken; infinity where the file knows nothing
        of it, because it was replaced.
        """
        rows = self._file.read("SELECT numbers, taken FROM owners WHERE token = ?", (token,))
        return next(((set(unpack(numbers)), taken) for numbers, taken in rows), (set(), inf))

    def take_over(self, token: str, events: list[Event], wait_seconds: float) -> None:
        """Store what a dead process has left in its journal."""
        with self._file.transaction(wait_seconds) as db:
            insert(db, "events", EVENT_COLUMNS, list(map(event_row, events)))
            known, _ = self.known_of(token)
            _keep_numbers(db, token, [*known, *(event.number for event in events)])

    def forget(self, token: str) -> None:
        """Forget a process: nothing is left of its journal."""
        with self._file.transaction(WAIT_SECONDS) as db:
            db.execute("DELETE FROM owners WHERE token = ?", (token,))

    # -- dead letters ------------------------------------------------------------------------

    def letters(self) -> Iterator[DeadLetter]:
        """Yields the dead letters page by page, since all together might not fit into memory."""
        last = 0
        while rows := self._page_of_letters(last):
            for row in rows:
                letter = letter_from(row)
                if letter is None:
                    self._set_aside(row[0], row[-1])
                else:
                    yield letter
            last = rows[-1][0]

    def _page_of_letters(self, last: int) -> list[tuple[Any, ...]]:
        with self._file.connection() as db:
            rows = db.execute(LETTERS, (last, PAGE)).fetchall()
            check_order(rows, last)
        return rows

    def prune(self) -> None:
        """Forget the oldest dead letters beyond the bounds."""
        if not self.dead:
            return
        most, most_bytes, age_seconds = self._letter_bounds
        oldest = self._wall() - age_seconds
        if self._file.read(_MUST_PRUNE, (most, most_bytes, oldest)) == [(1,)]:
            with self._file.transaction(WAIT_SECONDS) as db:
                for _ in range(_PRUNED):
                    db.execute(_PRUNE, (oldest, most, most_bytes))

    def _set_aside(self, number: int, frame: object) -> None:
        """Keep a damaged dead letter where it is not shown."""
        with self._file.transaction(WAIT_SECONDS) as db:
            db.execute("INSERT INTO damaged VALUES (?, ?)", (self._wall(), frame))
            db.execute("DELETE FROM letters WHERE number = ?", (number,))
        self.lost.append(Lost(1, "a dead letter was damaged", number=number))


def _add_owner(db: sqlite3.Connection, token: str) -> None:
    db.execute("INSERT OR IGNORE INTO owners (token) VALUES (?)", (token,))


def _keep_numbers(db: sqlite3.Connection, token: str, numbers: list[int]) -> None:
    _add_owner(db, token)
    db.execute("UPDATE owners SET numbers = ? WHERE token = ?", (pack(numbers), token))


def _letter_row(letter: Letter) -> tuple[Any, ...]:
    event, buried_at, reason, status, message = letter
    size = len(event.body)
    return buried_at, event.attempts, status, reason.value, message, size, frame_of(event)


def letter_from(row: tuple[Any, ...]) -> DeadLetter | None:
    """Returns a dead letter; None if it is damaged."""
    number, buried_at, attempts, status, reason, message, frame = row
    event = read_event(frame)
    if event is None:
        return None
    known = DeadLetterReason.REJECTED  # a damaged reason must not hide the letter
    with suppress(ValueError):
        known = DeadLetterReason(reason)
    ids = event.id, event.sync, event.body, event.accepted_at
    return DeadLetter(number, *ids, buried_at, attempts, known, status, message, event.lane)


def check_order(letters: list[tuple[Any, ...]], last: int) -> None:
    """Raises sqlite3.DatabaseError if no letter behind these could be found: they are damaged."""
    if letters and letters[-1][0] <= last:
        raise sqlite3.DatabaseError("the dead letters are out of order")


def _run_for(db: sqlite3.Connection, statement: str, keys: list[int]) -> list[tuple[Any, ...]]:
    """Run a statement for many keys, many at a time. Returns its rows."""
    rows: list[tuple[Any, ...]] = []
    for start in range(0, len(keys), 500):
        chunk = keys[start : start + 500]
        rows += db.execute(statement.format(", ".join("?" * len(chunk))), chunk).fetchall()
    return rows
