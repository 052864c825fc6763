"""Moves events between a process's memory and the store that all processes share."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import count
from typing import Any, cast

from amplitude_moloco.buffers.base import DeadLetter, Lost
from amplitude_moloco.buffers.sqlite.front import Batch, Item, Letter
from amplitude_moloco.buffers.sqlite.record import body_size, event_frame, number_of, read_event
from amplitude_moloco.buffers.sqlite.schema import EVENT_COLUMNS, LETTER_COLUMNS, insert
from amplitude_moloco.buffers.sqlite.store import Store
from amplitude_moloco.buffers.sqlite.tail import Tail
from amplitude_moloco.reasons import DeadLetterReason

_MOST = 2048
"""How many events go into the store in one transaction."""
_FETCH_EVENTS = 512
_FETCH_BYTES = 4 * 1024**2
_SOON_SECONDS = 1.0
"""What is due within this time stays in memory."""
_WAIT_SECONDS = 0.05
"""The longest wait of a sender for another process."""
_BATCHES = 4
_MOVES = 1000
_PRUNED = 1000
"""How many dead letters are forgotten at a time."""

_RETRIES = """SELECT key, due, attempts, strikes, frame FROM events
    WHERE owner IS NULL AND {} ORDER BY due, key LIMIT ?"""
_OLDEST = "SELECT key, frame FROM events WHERE owner IS NULL AND due = 0 ORDER BY key LIMIT ?"
_NEWEST = "SELECT key, frame FROM events WHERE owner IS NULL AND due = 0 ORDER BY key DESC LIMIT ?"
_NEXT = """SELECT (SELECT min(due) FROM events WHERE owner IS NULL),
    (SELECT max(due) FROM events WHERE owner IS NULL)"""
_UNTRIED = """SELECT EXISTS (
    SELECT * FROM events WHERE attempts = 0 AND key <= ? AND owner IS NULL)"""
_LAST_KEY = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'"
_PRUNE = """DELETE FROM letters WHERE number IN (SELECT number FROM letters ORDER BY number LIMIT ?)
    AND (buried_at < ? OR (SELECT dead > ? OR dead_bytes > ? FROM totals))"""


class Mover:
    """Exactly once: a transaction that adds events says also which of the journal's they are.

    Safe from any thread.

    Args:
        horizon_seconds: What is due even later was stored before the clock was set back.
    """

    def __init__(
        self,
        tail: Tail,
        store: Store,
        horizon_seconds: float,
        clocks: tuple[Callable[[], float], Callable[[], float]],
    ) -> None:
        self._tail = tail
        self._store = store
        self._horizon_seconds = horizon_seconds
        self._wall, self._monotonic = clocks
        self.lock = threading.RLock()
        """Held while something is in neither place, or in both."""
        self.others = (0, 0)
        """Events and bytes in the journals of other processes."""
        self._moves: deque[tuple[int, int]] = deque()
        self.lost: list[Lost] = []

    # -- into the store ----------------------------------------------------------------------

    def move(self, *, is_all: bool = False, wait_seconds: float = _WAIT_SECONDS) -> None:
        """Move what is beyond the tail, or all. Raises sqlite3.Error and OSError."""
        tail = self._tail
        with self.lock:
            for _ in count() if is_all else range(_BATCHES):
                missing = tail.refill()
                if missing:
                    self.lost.append(Lost(missing, "the journal was damaged"))
                batch = tail.begin_move(_MOST, after_seconds=None if is_all else _SOON_SECONDS)
                if not batch:
                    return
                is_done = False
                try:
                    self._write(batch, wait_seconds)
                    is_done = True
                finally:
                    tail.end_move(batch, is_done=is_done)

    def _write(self, batch: Batch, wait_seconds: float) -> None:
        tail = self._tail
        with self._store.transaction(wait_seconds) as db:
            here = Watermark(db, tail.token)
            now, wall = self._monotonic(), self._wall()
            rows = [
                (0.0, None, 0, 0, body_size(frame), frame)
                for frame in batch.new
                if not here.has(number_of(frame))
            ]
            for due_at, _, item in batch.later:
                due = max(wall + due_at - now, 1.0)  # 0 marks what was never given back
                if item.row:
                    db.execute(
                        "UPDATE events SET due = ?, owner = NULL, attempts = ?, strikes = ? "
                        "WHERE key = ? AND owner = ?",
                        (due, item.attempts, item.strikes, item.row, tail.token),
                    )
                elif not here.has(item.number):
                    size = body_size(item.frame)
                    rows.append((due, None, item.attempts, item.strikes, size, item.frame))
            insert(db, "events", EVENT_COLUMNS, rows)
            letters = [each for each in batch.letters if not here.has(each.item.number)]
            insert(db, "letters", LETTER_COLUMNS, list(map(_letter_row, letters)))
            gone = [*batch.rows_done, *(each.item.row for each in letters if each.item.row)]
            _run_for(db, "DELETE FROM events WHERE key IN ({})", gone)
            numbers = [item.number for item in batch.items()] + list(map(number_of, batch.new))
            here.advance(max(numbers, default=0), tail.open_numbers)
            ((last_key,),) = db.execute(_LAST_KEY).fetchall()
            ((events, size),) = db.execute("SELECT events, bytes FROM totals").fetchall()
        self._share(events, size)
        if batch.new:
            self._moves.append((number_of(batch.new[0]), last_key))
            if len(self._moves) > _MOVES:
                first, _ = self._moves.popleft()
                self._moves[0] = (first, self._moves[0][1])

    # -- out of the store --------------------------------------------------------------------

    def fetch(self, limit: int, newest: int) -> None:
        """Claim what is due in the store, for this process. Raises sqlite3.Error and OSError."""
        with self.lock:
            if self.next_seconds() != 0:
                return
            tail, now = self._tail, self._wall()
            with self._store.transaction(_WAIT_SECONDS) as db:
                ((events, size),) = db.execute("SELECT events, bytes FROM totals").fetchall()
                most = max(limit, min(_FETCH_EVENTS, _FETCH_BYTES * events // max(1, size)))
                late = (now + self._horizon_seconds, most)
                retries = db.execute(_RETRIES.format("due > ?"), late).fetchall()
                due = (now, most - len(retries))
                retries += db.execute(_RETRIES.format("due > 0 AND due <= ?"), due).fetchall()
                left = max(newest, most - len(retries))
                oldest = db.execute(_OLDEST, (left,)).fetchall()
                reserved = db.execute(_NEWEST, (newest,)).fetchall()
                known = {key for key, _ in oldest}
                fresh = oldest + [row for row in reversed(reserved) if row[0] not in known]
                keys = [row[0] for row in (*retries, *fresh)]
                _run_for(db, "UPDATE events SET owner = ? WHERE key IN ({})", keys, tail.token)
            self._share(events, size)
            sound = [(due, Item(frame, key, *counts)) for key, due, *counts, frame in retries]
            sound += [(0.0, Item(frame, key)) for key, frame in fresh]
            damaged = [item for _, item in sound if _is_damaged(item)]
            with tail.lock:
                for due_at, item in sound:
                    if item in damaged:
                        continue
                    if due_at:
                        tail.add_later(item, min(0.0, due_at - now) + self._monotonic())
                    else:
                        tail.fetched.append(item)
            if damaged:
                self._set_aside(damaged)

    def next_seconds(self) -> float | None:
        """Returns when something in the store is due, from now on; None if nothing waits there.

        Raises sqlite3.Error and OSError.
        """
        ((first, last),) = self._store.read(_NEXT)
        if first is None:
            return None
        now = self._wall()
        is_clock_set_back = last > now + self._horizon_seconds
        return 0.0 if is_clock_set_back else float(max(0.0, first - now))

    def look(self) -> None:
        """Learn how much the store holds. Raises sqlite3.Error and OSError."""
        with self.lock:
            self._share(*self._store.read("SELECT events, bytes FROM totals")[0])

    def prune(self, oldest: float, most: int, most_bytes: int) -> None:
        """Forget the oldest dead letters beyond the bounds. Raises sqlite3.Error and OSError."""
        query = """SELECT (SELECT dead > ? OR dead_bytes > ? FROM totals)
            OR EXISTS (SELECT * FROM letters WHERE buried_at < ?
                AND number = (SELECT min(number) FROM letters))"""
        bounds = (oldest, most, most_bytes)
        if self._store.read(query, (most, most_bytes, oldest)) == [(1,)]:
            with self._store.transaction(_WAIT_SECONDS) as db:
                for _ in range(_PRUNED):
                    db.execute(_PRUNE, (1, *bounds))

    def checkpoint(self) -> Callable[[], bool]:
        """As ``Buffer.checkpoint``, for what this process holds and what no process has claimed."""
        tail, last = self._tail, self._tail.last
        ((stored,),) = self._store.read(_LAST_KEY)

        def is_reached() -> bool:
            with self.lock:
                until = max((key for first, key in self._moves if first <= last), default=stored)
                until = max(until, stored)
                with tail.lock:
                    if tail.is_closed:
                        return True
                    if tail.spilled_from and tail.spilled_from <= last:
                        return False
                    for item in tail.untried():
                        if item.row <= until if item.row else item.number <= last:
                            return False
                return self._store.read(_UNTRIED, (until,)) == [(0,)]

        return is_reached

    def resend(self, letter: DeadLetter, wait_seconds: float) -> bool:
        """As ``DeadLetters.resend``. Raises sqlite3.Error and OSError."""
        with self._store.transaction(wait_seconds) as db:
            if not db.execute("DELETE FROM letters WHERE number = ?", (letter.key,)).rowcount:
                return False
            if self._tail.journal.current is not None:
                self._tail.put_again(cast(int, letter.key), letter.id, letter.sync, letter.body)
            else:
                again = event_frame(0, self._wall(), letter.sync, letter.id, letter.body)
                insert(db, "events", EVENT_COLUMNS, [(0.0, None, 0, 0, len(letter.body), again)])
        return True

    def lose_letter(self, number: int) -> None:
        """Keep a damaged dead letter where it is not shown. Raises sqlite3.Error and OSError."""
        with self._store.transaction(_WAIT_SECONDS) as db:
            db.execute(
                "INSERT INTO damaged SELECT ?, frame FROM letters WHERE number = ?",
                (self._wall(), number),
            )
            db.execute("DELETE FROM letters WHERE number = ?", (number,))
        self.lost.append(Lost(1, "a dead letter was damaged", number=number))

    def take_lost(self) -> list[Lost]:
        """Returns what was lost since the last call."""
        lost, self.lost = self.lost, []
        return lost

    def _share(self, events: int, size: int) -> None:
        other_events, other_bytes = self.others
        self._tail.shared = events + other_events, size + other_bytes

    def _set_aside(self, items: Iterable[Item]) -> None:
        """Keep damaged rows where nothing sends them."""
        now = self._wall()
        with self._store.transaction(_WAIT_SECONDS) as db:
            for item in items:
                db.execute("INSERT INTO damaged VALUES (?, ?)", (now, item.frame))
                db.execute("DELETE FROM events WHERE key = ?", (item.row,))
        for item in items:
            self.lost.append(Lost(1, "a stored event was damaged", number=item.row))


class Watermark:
    """Which events of a journal are in the store, in a transaction that is open."""

    def __init__(self, db: sqlite3.Connection, token: str) -> None:
        self._db = db
        self._token = token
        self._moved, packed = 0, b""
        query = "SELECT moved, open FROM journals WHERE token = ?"
        for moved, found in db.execute(query, (token,)):
            self._moved, packed = moved, found
        self._open = set(unpacked(packed))

    def has(self, number: int) -> bool:
        return 0 < number <= self._moved and number not in self._open

    def advance(self, number: int, open_numbers: Callable[[int], list[int]]) -> None:
        """All up to this number are here, but those that are open."""
        until = max(self._moved, number)
        if until:
            self._db.execute(
                "INSERT OR REPLACE INTO journals VALUES (?, ?, ?)",
                (self._token, until, packed(open_numbers(until))),
            )


def packed(numbers: Iterable[int]) -> bytes:
    """Returns numbers as the store keeps them."""
    return b"".join(number.to_bytes(8, "little") for number in numbers)


def unpacked(content: bytes) -> list[int]:
    """Returns the numbers that were ``packed``."""
    starts = range(0, len(content), 8)
    return [int.from_bytes(content[start : start + 8], "little") for start in starts]


def letter_from(row: tuple[Any, ...]) -> DeadLetter | None:
    """Returns a dead letter of the store; None if it is damaged."""
    number, buried_at, attempts, status, reason, message, frame = row
    event = read_event(frame) if isinstance(frame, bytes) else None
    if event is None:
        return None
    known = DeadLetterReason.REJECTED  # a damaged reason must not hide the letter
    with suppress(ValueError):
        known = DeadLetterReason(reason)
    ids = event.id, event.sync, event.body, event.accepted_at
    return DeadLetter(number, *ids, buried_at, attempts, known, status, message)


def _letter_row(letter: Letter) -> tuple[Any, ...]:
    item, buried_at, reason, status, message = letter
    size = body_size(item.frame)
    return buried_at, item.attempts, status, reason.value, message, size, item.frame


def _is_damaged(item: Item) -> bool:
    counts = item.attempts, item.strikes
    is_sound = isinstance(item.frame, bytes) and read_event(item.frame) is not None
    return not (is_sound and all(isinstance(count, int) for count in counts))


def _run_for(db: sqlite3.Connection, statement: str, keys: list[int], *first: object) -> None:
    """Run a statement for many keys, many at a time."""
    for start in range(0, len(keys), 500):
        chunk = keys[start : start + 500]
        db.execute(statement.format(", ".join("?" * len(chunk))), (*first, *chunk))
