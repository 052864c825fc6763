"""A buffer in a file: what was put survives the process, and several processes can share it."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from amplitude_moloco.buffers import BufferState, DeadLetter, Entry
from amplitude_moloco.buffers.sqlite_file import SqliteFile, is_locked, transaction
from amplitude_moloco.errors import ConfigurationError

logger = logging.getLogger("amplitude_moloco")

_PUT = """INSERT INTO events
    SELECT last_key + 1, 0, 1, 0, 0, ?, ?, ?, ? FROM totals WHERE events < ? AND bytes + ? <= ?"""

_ENTRY = "SELECT key, id, sync, body, accepted_at, attempts, strikes, token + 1 FROM events"
_NEWEST = f"{_ENTRY} WHERE due = 0 ORDER BY key DESC LIMIT ?"
_AHEAD = f"{_ENTRY} WHERE due > ? ORDER BY due, key LIMIT ?"
_RETRIES = f"{_ENTRY} WHERE due > 0 AND due <= ? ORDER BY due, key LIMIT ?"
_NEW = f"{_ENTRY} WHERE due = 0 AND key < ? ORDER BY key LIMIT ?"
_LEASE = "UPDATE events SET due = ?, token = token + 1 WHERE key = ?"

_ACK = "DELETE FROM events WHERE key = ? AND token = ?"
_RETRY = """UPDATE events SET due = ?, attempts = ?, strikes = ?, token = token + 1
    WHERE key = ? AND token = ?"""
_GIVE_BACK = """UPDATE events SET due = CASE attempts WHEN 0 THEN 0 ELSE accepted_at END,
    token = token + 1 WHERE key = ? AND token = ?"""

_BURY = """INSERT INTO dead_letters (key, attempts, strikes, accepted_at, buried_at, status, reason,
        message, id, sync, body)
    SELECT key, ?, ?, accepted_at, ?, ?, ?, ?, id, sync, body FROM events
    WHERE key = ? AND token = ?"""
_LETTERS = """SELECT number, key, id, sync, body, accepted_at, attempts, strikes, reason, status,
    message, buried_at FROM dead_letters WHERE number > ? ORDER BY number LIMIT ?"""
_LETTER_IDS = "SELECT number, id FROM dead_letters WHERE number > ? ORDER BY number LIMIT ?"
_PRUNE = """DELETE FROM dead_letters WHERE number = (SELECT min(number) FROM dead_letters)
    AND (buried_at < ? OR (SELECT dead > ? OR dead_bytes > ? FROM totals))"""
_FORGET = "DELETE FROM dead_letters WHERE number = ?"
_RESEND = """INSERT INTO events SELECT last_key + 1, 0, 1, 0, 0, ?, id, sync, body
    FROM totals, dead_letters WHERE number = ?"""

_STATE = """SELECT events, dead, last_key,
    (SELECT key FROM events WHERE due = 0 ORDER BY key LIMIT 1),
    (SELECT min(key) FROM events WHERE attempts = 0 AND due > 0),
    (SELECT max(due) FROM events) FROM totals"""
_DUES = "SELECT key, due FROM events ORDER BY due LIMIT ?"

_MAX_KEY = 2**63 - 1
_PAGE = 100
_SPARE_PAGES = 256
_PAGES_AT_A_TIME = 200


class SqliteBuffer:
    """The Buffer in a SQLite file, which all processes of a machine may open at the same time.

    Once ``put`` has returned None the event is stored, and is not lost by the end of the process,
    not even by kill -9; with ``synchronous="FULL"`` not by the loss of power either, as far as the
    disk does what it is told. A claim is a lease: while it lasts nobody else gets the entry, and
    when it ends without an outcome, because its process is gone, anybody does. So an entry may be
    sent twice, always with the same id and body.

    ``put`` never raises, and waits for locks no longer than ``wait_seconds``; the time that the
    disk takes comes on top. It refuses an event with ``full`` (one of the bounds is reached, the
    disk is all but full, or somebody reads for so long that the WAL has grown large), ``locked``,
    ``closed``, ``forked`` (opened by another process: open it anew in the child) or
    ``unavailable`` (any other trouble). The other methods wait up to ``patience_seconds``, and
    raise sqlite3.Error on trouble that lasts; an ``ack`` is kept in mind instead, and made good by
    the next claim.

    A corrupt file is set aside as ``NAME.corrupt-<Unix time>`` when it is opened, and a new one
    started. Raises ConfigurationError where the file can't be opened, is not a buffer, or holds
    events for another target. For POSIX systems and local disks only, never a network's.

    Args:
        path: The file. It is made where there is none, its directory too, for this user alone.
        target: Where the events are meant to go; kept in the file, which takes no other's.
        max_events, max_bytes: The bounds of what waits, the bytes being those of the bodies.
        synchronous: ``NORMAL`` or ``FULL``: whether each put waits for the disk.
        lease_seconds: How long a claim lasts: longer than all its entries can take to be sent.
        wait_seconds: How long ``put`` waits for a lock.
        patience_seconds: How long everything else does.
        longest_delay_seconds: The longest time from a ``retry`` to its ``due``. What is due even
            later was written before the clock was set back, and is due now.
        max_dead_letters, max_dead_bytes, max_dead_age_seconds: The bounds of the dead letters: of
            more, the oldest are forgotten.
    """

    is_durable = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        target: str,
        max_events: int = 1_000_000,
        max_bytes: int = 2 * 1024**3,
        synchronous: str = "NORMAL",
        lease_seconds: float = 60.0,
        wait_seconds: float = 0.05,
        patience_seconds: float = 3.0,
        longest_delay_seconds: float = 2 * 3600.0,
        max_dead_letters: int = 100_000,
        max_dead_bytes: int = 512 * 1024**2,
        max_dead_age_seconds: float = 30 * 24 * 3600.0,
    ) -> None:
        if synchronous not in ("NORMAL", "FULL"):
            raise ConfigurationError(
                f"buffer: synchronous={synchronous!r} can't be used; it is 'NORMAL' or 'FULL'"
            )
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._lease_seconds = lease_seconds
        self._wait_seconds = wait_seconds
        self._horizon_seconds = longest_delay_seconds + lease_seconds
        self._max_dead_letters = max_dead_letters
        self._max_dead_bytes = max_dead_bytes
        self._max_dead_age_seconds = max_dead_age_seconds
        self._now = 0.0  # as it was handed in last
        self._claimed: dict[int, int] = {}  # the token of each key
        self._late: dict[int, int] = {}  # the same of acks that could not be made yet
        self._has_warned = False
        self._file = SqliteFile(
            Path(os.path.realpath(path)),  # SQLite, too, puts the WAL beside what a link leads to
            target=target,
            synchronous=synchronous,
            patience_seconds=patience_seconds,
        )

    def put(self, id: str, sync: str, body: bytes, now: float) -> str | None:
        row = (now, id, sync, body, self._max_events, len(body), self._max_bytes)

        def work(db: sqlite3.Connection) -> str | None:
            self._now = now
            return None if not self._file.is_cramped and db.execute(_PUT, row).rowcount else "full"

        try:
            gone: str | None = "forked" if self._file.is_inherited else "closed"
            return self._file.call(work, gone, self._wait_seconds)
        except sqlite3.OperationalError as error:
            if is_locked(error):
                return "locked"
            return "full" if "full" in str(error) else "unavailable"
        except Exception:  # an app's thread must not see it, whatever it is
            return "unavailable"

    def claim(self, limit: int, now: float, newest: int = 0) -> list[Entry]:
        def work(db: sqlite3.Connection) -> list[Entry]:
            self._now = now
            late = list(self._late.items())
            with transaction(db):
                db.executemany(_ACK, late)
                entries = self._find(db, limit, now, newest)
                lease_end = now + self._lease_seconds
                db.executemany(_LEASE, [(lease_end, entry.key) for entry in entries])
                self._prune(db, now)
                _give_space_back(db)
            for key, _ in late:
                self._late.pop(key, None)
            self._claimed.update((entry.key, entry.token) for entry in entries)
            return entries

        none: list[Entry] = []
        entries = self._file.call(work, none)
        self._warn()
        return entries

    def ack(self, entry: Entry) -> bool:
        try:
            return self._settle(entry, _ACK)
        except sqlite3.OperationalError:
            self._late[entry.key] = entry.token
            return True

    def retry(self, entry: Entry, due: float, *, attempts: int, strikes: int = 0) -> bool:
        due = max(due, 1.0)  # 0 is for the new ones
        return self._settle(entry, _RETRY, due, attempts, strikes)

    def bury(self, letter: DeadLetter) -> bool:
        entry, reason, status, message, buried_at = letter
        claim = (entry.key, entry.token)
        told = (entry.attempts, entry.strikes, buried_at, status, reason, message)

        def work(db: sqlite3.Connection) -> bool:
            with transaction(db):
                is_buried = db.execute(_BURY, (*told, *claim)).rowcount == 1
                db.execute(_ACK, claim)
                self._prune(db, buried_at)
            return is_buried

        return self._end_claim(entry, work)

    def dead_letters(self) -> list[DeadLetter]:
        return [
            DeadLetter(Entry(*entry), reason, status, message, buried_at)
            for _, *entry, reason, status, message, buried_at in self._pages(_LETTERS)
        ]

    def resend(self, ids: Collection[str] | None, now: float) -> int:
        found = [number for number, id in self._pages(_LETTER_IDS) if ids is None or id in ids]
        return sum(
            self._file.call(partial(_resend, found[i : i + _PAGE], now), 0)
            for i in range(0, len(found), _PAGE)
        )

    def state(self) -> BufferState:
        def work(db: sqlite3.Connection) -> BufferState:
            events, dead, last_key, new, untried, furthest = db.execute(_STATE).fetchone()
            claimed, late = len(self._claimed), len(self._late)
            dues = db.execute(_DUES, (claimed + 1,)).fetchall()
            due = next((due for key, due in dues if key not in self._claimed), None)
            is_clock_set_back = (furthest or 0) > self._now + self._horizon_seconds
            return BufferState(
                waiting=max(0, events - claimed - late),
                claimed=claimed,
                dead=dead,
                last_key=last_key,
                oldest_untried=min((key for key in (new, untried) if key), default=None),
                next_due=0.0 if late or is_clock_set_back else due,
            )

        return self._file.call(work, BufferState(0, 0, 0, 0, None, None))

    def close(self) -> list[Entry]:
        """Let go of everything: what is claimed can be claimed by others at once. Nothing is lost.

        Let the senders end before: what is sent after this can't be acknowledged any more.
        """

        def work(db: sqlite3.Connection) -> None:
            with transaction(db):
                db.executemany(_ACK, list(self._late.items()))
                db.executemany(_GIVE_BACK, list(self._claimed.items()))

        with suppress(sqlite3.Error):  # the leases end by themselves
            self._file.call(work, None)
        self._file.close()
        return []

    # -- helpers -----------------------------------------------------------------------------------

    def _settle(self, entry: Entry, statement: str, *values: float) -> bool:
        row = (*values, entry.key, entry.token)
        return self._end_claim(entry, lambda db: db.execute(statement, row).rowcount == 1)

    def _end_claim(self, entry: Entry, work: Callable[[sqlite3.Connection], bool]) -> bool:
        try:
            return self._file.call(work, gone=False)
        finally:  # where it failed, the lease ends by itself
            if self._claimed.get(entry.key) == entry.token:
                self._claimed.pop(entry.key, None)

    def _find(self, db: sqlite3.Connection, limit: int, now: float, newest: int) -> list[Entry]:
        fresh = db.execute(_NEWEST, (min(limit, newest),)).fetchall()[::-1]
        rows: list[tuple[Any, ...]] = []
        for query, bound in (
            (_AHEAD, now + self._horizon_seconds),
            (_RETRIES, now),
            (_NEW, fresh[0][0] if fresh else _MAX_KEY),
        ):
            rows += db.execute(query, (bound, limit - len(fresh) - len(rows)))
        return [Entry(*row) for row in rows + fresh]

    def _prune(self, db: sqlite3.Connection, now: float) -> None:
        oldest = now - self._max_dead_age_seconds
        bounds = (oldest, self._max_dead_letters, self._max_dead_bytes)
        for _ in range(_PAGE):
            if not db.execute(_PRUNE, bounds).rowcount:
                return

    def _pages(self, query: str) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, a few at a time, so that puts get in between."""
        last = 0
        while rows := self._read(query, last):
            yield from rows
            last = rows[-1][0]

    def _read(self, query: str, last: int) -> list[tuple[Any, ...]]:
        return self._file.call(lambda db: db.execute(query, (last, _PAGE)).fetchall(), [])

    def _warn(self) -> None:
        """Tell once what ``put`` must not tell: no log is written in an app's thread."""
        if self._file.is_cramped and not self._has_warned:
            logger.warning(
                "No new events are stored: the disk is all but full, or the buffer's WAL large"
            )
        self._has_warned = self._file.is_cramped


def _resend(numbers: list[int], now: float, db: sqlite3.Connection) -> int:
    resent = 0
    with transaction(db):
        for number in numbers:
            resent += db.execute(_RESEND, (now, number)).rowcount
            db.execute(_FORGET, (number,))
    return resent


def _give_space_back(db: sqlite3.Connection) -> None:
    """Make the file shorter by what is free in it, a little at a time."""
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    for _ in range(min(free - _SPARE_PAGES, _PAGES_AT_A_TIME)):
        db.execute("PRAGMA incremental_vacuum(1)")  # of more than one, Python would stop at one
