"""A buffer in a file: what was put survives the process, and several processes can share it."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from amplitude_moloco.buffers.base import BufferState, DeadLetter, Entry
from amplitude_moloco.buffers.sqlite.acks import Acks
from amplitude_moloco.buffers.sqlite.file import SqliteFile
from amplitude_moloco.buffers.sqlite.gate import is_locked
from amplitude_moloco.errors import ConfigurationError

logger = logging.getLogger("amplitude_moloco")

# Each change is one statement: see the schema.
_PUT = """INSERT INTO fresh SELECT last_key + 1, last_bytes + ?, ?, ?, ?, ?
    FROM counted WHERE events < ? AND bytes + ? <= ?"""
# First what comes due again, but for the part of the newest, ...
_CLAIM_AGAIN = """UPDATE claimed SET was_due = due, due = :lease_end, token = :token WHERE key IN (
    SELECT key FROM (
        SELECT * FROM (
            SELECT key, due FROM claimed WHERE due > :horizon ORDER BY due, key LIMIT :limit)
        UNION ALL SELECT * FROM (
            SELECT key, due FROM claimed WHERE due <= :now ORDER BY due, key LIMIT :limit))
    ORDER BY due <= :horizon, due, key
    LIMIT :limit - (SELECT count(*) FROM (SELECT key FROM fresh LIMIT :newest)))"""
# ... then the newest, and with what room is left, the oldest.
_CLAIM_FRESH = """INSERT INTO claimed
    SELECT key, :lease_end, 0, :token, 0, 0, accepted_at, id, sync, body FROM fresh WHERE key IN (
        SELECT * FROM (SELECT key FROM fresh ORDER BY key DESC LIMIT :newest)
        UNION SELECT * FROM (SELECT key FROM fresh ORDER BY key LIMIT :oldest))"""
_CLAIMED = """SELECT key, id, sync, body, accepted_at, attempts, strikes, token FROM claimed
    WHERE due = :lease_end AND token = :token
    ORDER BY was_due = 0, was_due <= :horizon, was_due, key"""

_RETRY = """UPDATE claimed SET due = ?, attempts = ?, strikes = ?, token = NULL
    WHERE key = ? AND token = ?"""
_BURY = """INSERT INTO dead_letters (key, attempts, strikes, accepted_at, buried_at, status, reason,
        message, id, sync, body)
    SELECT key, ?, ?, accepted_at, ?, ?, ?, ?, id, sync, body FROM claimed
    WHERE key = ? AND token = ?"""
_LETTERS = """SELECT number, key, id, sync, body, accepted_at, attempts, strikes, reason, status,
    message, buried_at FROM dead_letters WHERE number > ? ORDER BY number LIMIT ?"""
_LETTER_IDS = "SELECT number, id FROM dead_letters WHERE number > ? ORDER BY number LIMIT ?"
_RESEND = "UPDATE dead_letters SET resent_at = ? WHERE number = ?"
_PRUNE = """DELETE FROM dead_letters WHERE number = (SELECT min(number) FROM dead_letters)
    AND (buried_at < ? OR (SELECT dead > ? OR dead_bytes > ? FROM totals))"""

_STATE = """SELECT events, dead, last_key,
    (SELECT min(key) FROM fresh),
    (SELECT min(key) FROM claimed WHERE attempts = 0),
    (SELECT max(due) FROM claimed) FROM counted"""
_DUES = "SELECT key, due FROM claimed ORDER BY due LIMIT ?"

_PAGE = 100
_SPARE_PAGES = 256
_PAGES_AT_A_TIME = 200


class SqliteBuffer:
    """The Buffer in a SQLite file, which all processes of a machine may open at the same time.

    Once ``put`` has returned None the event is stored, and is not lost by the end of the process,
    not even by kill -9; with ``synchronous="FULL"`` not by the loss of power either, as far as the
    disk does what it is told. A claim is a lease: while it lasts nobody else gets the entry, and
    when it ends without an outcome, because its process is gone, anybody may. So an entry may be
    sent twice, always with the same id and body.

    ``put`` never raises. It waits no longer than ``wait_seconds`` for another process's lock, and
    for the other threads of its own, before which it goes, no longer than a second, or
    ``wait_seconds`` if that is more; the time that the disk takes comes on top. It refuses an
    event with ``full`` (a bound is reached, less than 64 MiB of the disk are free, or somebody
    reads for so long that the WAL has become too large), ``locked``, ``closed``, ``forked``
    (another process opened it: the child has to open it anew) or ``unavailable`` (any other
    trouble). The other methods wait for up to ``patience_seconds``, and raise sqlite3.Error on
    trouble that lasts; an ``ack`` is kept in mind instead, and made by the next claim.

    Beside the file lie ``NAME-wal``, ``NAME-shm`` and ``NAME-lock``. A corrupt file is set aside as
    ``NAME.corrupt-<Unix time>`` when it is opened, and a new one started. Raises ConfigurationError
    where the file can't be used, is no buffer, or holds events for another target. For POSIX
    systems, and for local disks only, never a network's.

    Args:
        path: The file. It is made where there is none, its directory too, for this user alone.
        target: Where the events are meant to go; kept in the file, which takes no other's.
        max_events, max_bytes: The bounds of what waits, the bytes being those of the bodies.
        synchronous: ``NORMAL`` or ``FULL``: whether each put waits for the disk.
        lease_seconds: How long a claim lasts: longer than all its entries can take to be sent.
        wait_seconds: How long ``put`` waits for another process's lock.
        patience_seconds: How long everything else does, opening and forking included.
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
        self._has_warned = False
        self._state_at_end = BufferState(0, 0, 0, 0, None, None)
        self._file = SqliteFile(
            Path(os.path.realpath(path)),  # SQLite, too, puts the WAL beside what a link leads to
            target=target,
            synchronous=synchronous,
            patience_seconds=patience_seconds,
        )
        self._acks = Acks(self._file)

    def put(self, id: str, sync: str, body: bytes, now: float) -> str | None:
        self._now = now
        size = len(body)
        row = (size, now, id, sync, body, self._max_events, size, self._max_bytes)
        try:
            changed = self._file.store(_PUT, row, size, self._wait_seconds)
        except sqlite3.OperationalError as error:
            if is_locked(error):
                return "locked"
            return "full" if "full" in str(error) else "unavailable"
        except Exception:  # an app's thread must not see it, whatever it is
            return "unavailable"
        if changed is None:
            return "forked" if self._file.is_inherited else "closed"
        return None if changed else "full"

    def claim(self, limit: int, now: float, newest: int = 0) -> list[Entry]:
        self._now = now
        claim = {
            "limit": limit,
            "newest": min(limit, newest),
            "now": now,
            "horizon": now + self._horizon_seconds,
            "lease_end": now + self._lease_seconds,
            "token": int.from_bytes(os.urandom(7), "big"),
        }
        entries: list[Entry] = []
        with self._file.turn():
            self._acks.make()  # before they could be claimed once more
            count = self._file.change(_CLAIM_AGAIN, claim) or 0
            newest = min(limit - count, newest)
            fresh = claim | {"newest": newest, "oldest": limit - count - newest}
            try:
                count += self._file.change(_CLAIM_FRESH, fresh) or 0
            except sqlite3.Error:  # it takes more room on the disk than the first
                if not count:
                    raise
        if count:
            entries = [Entry(*row) for row in self._file.read(_CLAIMED, claim)]
            self._claimed.update((entry.key, entry.token) for entry in entries)
        self._tidy(now)
        return entries

    def ack(self, entry: Entry) -> bool:
        """Take out a claimed entry that was delivered.

        Where several threads do so at once, some may leave it to others, and be told True before it
        is done, even if the claim turns out to be no longer theirs.
        """
        if self._file.is_inherited or not self._let_go(entry):
            return False
        try:
            return self._acks.add((entry.key, entry.token))
        except sqlite3.OperationalError:
            return True

    def retry(self, entry: Entry, due: float, *, attempts: int, strikes: int = 0) -> bool:
        due = max(due, 1.0)  # 0 is for those that were fresh
        return self._settle(entry, _RETRY, due, attempts, strikes)

    def bury(self, letter: DeadLetter) -> bool:
        entry, reason, status, message, buried_at = letter
        told = (entry.attempts, entry.strikes, buried_at, status, reason, message)
        is_buried = self._settle(entry, _BURY, *told)
        with suppress(sqlite3.Error):  # then the next claim does it
            self._prune(buried_at)
        return is_buried

    def dead_letters(self) -> list[DeadLetter]:
        return [
            DeadLetter(Entry(*entry), reason, status, message, buried_at)
            for _, *entry, reason, status, message, buried_at in self._pages(_LETTERS)
        ]

    def resend(self, ids: Collection[str] | None, now: float) -> int:
        found = [number for number, id in self._pages(_LETTER_IDS) if ids is None or id in ids]
        return sum(self._file.change(_RESEND, (now, number)) or 0 for number in found)

    def state(self) -> BufferState:
        """What lies in the file, for all processes; ``claimed`` are this object's claims alone.

        After close(), what lay in it at that moment.
        """
        claimed, late = set(self._claimed), len(self._acks)
        totals = self._file.read(_STATE)
        if not totals:
            return self._state_at_end
        events, dead, last_key, fresh, untried, furthest = totals[0]
        is_clock_set_back = (furthest or 0) > self._now + self._horizon_seconds
        is_due = fresh or late or is_clock_set_back
        return BufferState(
            waiting=max(0, events - len(claimed) - late),
            claimed=len(claimed),
            dead=dead,
            last_key=last_key,
            oldest_untried=min((key for key in (fresh, untried) if key), default=None),
            next_due=0.0 if is_due else self._next_due(claimed),
        )

    def close(self) -> list[Entry]:
        """Let go of everything. Nothing is lost.

        What is claimed now may be on its way: others can claim it when its lease ends.
        """
        with suppress(sqlite3.Error):
            self._acks.make()
            self._state_at_end = self.state()._replace(oldest_untried=None, next_due=None)
        self._file.close()
        return []

    # -- helpers -----------------------------------------------------------------------------------

    def _settle(self, entry: Entry, statement: str, *values: Any) -> bool:
        try:
            return self._file.change(statement, (*values, entry.key, entry.token)) == 1
        finally:  # where it failed, the lease ends by itself
            self._let_go(entry)

    def _let_go(self, entry: Entry) -> bool:
        """Whether it was this object's claim, until now."""
        is_ours = self._claimed.get(entry.key) == entry.token
        return is_ours and self._claimed.pop(entry.key, None) is not None

    def _next_due(self, claimed: set[int]) -> float | None:
        """When the first one is due that is not among these."""
        dues = self._file.read(_DUES, (len(claimed) + 1,))
        return next((due for key, due in dues if key not in claimed), None)

    def _prune(self, now: float) -> None:
        """Forget the dead letters that are too many or too old, so many at a time."""
        oldest = now - self._max_dead_age_seconds
        bounds = (oldest, self._max_dead_letters, self._max_dead_bytes)
        for _ in range(_PAGE):
            if not self._file.change(_PRUNE, bounds):
                return

    def _tidy(self, now: float) -> None:
        """Forget, give space back to the disk, and tell what ``put`` must not."""
        with suppress(sqlite3.Error):  # then the next time
            self._prune(now)
            for (free,) in self._file.read("PRAGMA freelist_count"):
                for _ in range(min(free - _SPARE_PAGES, _PAGES_AT_A_TIME)):
                    self._file.change("PRAGMA incremental_vacuum(1)")
        if self._file.is_cramped and not self._has_warned:
            logger.warning(
                "No new events are stored: the disk is all but full, or the buffer's WAL large"
            )
        self._has_warned = self._file.is_cramped

    def _pages(self, query: str) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, a few at a time, since all might be too many."""
        last = 0
        while rows := self._file.read(query, (last, _PAGE)):
            yield from rows
            last = rows[-1][0]
