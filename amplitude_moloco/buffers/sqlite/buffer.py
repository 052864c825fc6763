"""A buffer in a file: its entries survive the process, and several processes can share it."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from amplitude_moloco.buffers.base import BufferState, Claim, DeadLetter, Entry
from amplitude_moloco.buffers.bounds import bound
from amplitude_moloco.buffers.sqlite.acks import Acks, ClaimKey
from amplitude_moloco.buffers.sqlite.file import SqliteFile
from amplitude_moloco.buffers.sqlite.gate import is_locked
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.reasons import DeadLetterReason, DropReason
from amplitude_moloco.text import one_line

logger = logging.getLogger(__name__)

# Each change is one statement: see the schema.
_PUT = """INSERT INTO fresh SELECT last_key + 1, last_bytes + ?, ?, ?, ?, ?
    FROM counted WHERE events < ? AND bytes + ? <= ?"""
# First the retries that are due, leaving room for the newest entries, ...
_CLAIM_AGAIN = """UPDATE claimed SET was_due = due, due = :lease_end, token = :token WHERE key IN (
    SELECT key FROM (
        SELECT * FROM (
            SELECT key, due FROM claimed WHERE due > :horizon ORDER BY due, key LIMIT :limit)
        UNION ALL SELECT * FROM (
            SELECT key, due FROM claimed WHERE due <= :now ORDER BY due, key LIMIT :limit))
    ORDER BY due <= :horizon, due, key
    LIMIT :limit - (SELECT count(*) FROM (SELECT key FROM fresh LIMIT :newest)))"""
# ... then the newest, and the oldest in the room that is left.
_CLAIM_FRESH = """INSERT INTO claimed
    SELECT key, :lease_end, 0, :token, 0, 0, accepted_at, id, sync, body FROM fresh WHERE key IN (
        SELECT * FROM (SELECT key FROM fresh ORDER BY key DESC LIMIT :newest)
        UNION SELECT * FROM (SELECT key FROM fresh ORDER BY key LIMIT :oldest))"""
_CLAIMED = """SELECT key, id, sync, body, accepted_at, attempts, strikes FROM claimed
    WHERE due = :lease_end AND token = :token
    ORDER BY was_due = 0, was_due <= :horizon, was_due, key"""
_NEXT = "SELECT EXISTS (SELECT * FROM fresh), (SELECT max(due) FROM claimed)"
_DUES = "SELECT key, due FROM claimed ORDER BY due LIMIT ?"

_RETRY = """UPDATE claimed SET due = ?, attempts = ?, strikes = ?, token = NULL
    WHERE key = ? AND token = ?"""
_BURY = """INSERT INTO dead_letters (key, attempts, strikes, accepted_at, buried_at, status, reason,
        message, id, sync, body)
    SELECT key, ?, ?, accepted_at, ?, ?, ?, ?, id, sync, body FROM claimed
    WHERE key = ? AND token = ?"""
_LETTERS = """SELECT number, id, sync, body, accepted_at, buried_at, attempts, reason, status,
    message FROM dead_letters WHERE number > ? ORDER BY number LIMIT ?"""
_RESEND = "UPDATE dead_letters SET resent_at = ? WHERE number = ?"
_PRUNE = """DELETE FROM dead_letters WHERE number = (SELECT min(number) FROM dead_letters)
    AND (buried_at < ? OR (SELECT dead > ? OR dead_bytes > ? FROM totals))"""

_LAST_KEY = "SELECT last_key FROM counted"
_UNTRIED = """SELECT (SELECT min(key) FROM fresh), (SELECT min(key) FROM claimed
    WHERE attempts = 0)"""
_STATE = "SELECT events, dead FROM counted"

_PAGE = 100
_SPARE_PAGES = 256
_PAGES_AT_A_TIME = 200


class SqliteBuffer:
    """The Buffer in a SQLite file, which all processes of a machine may open at the same time.

    Once ``put`` has returned None the event is stored, and survives the end of the process, even
    kill -9. With ``synchronous="FULL"`` it also survives a loss of power, if the disk writes what
    it reports as written. A claim is a lease: while it lasts, no other sender gets the entry. A
    lease that ends without an outcome, because its process is gone, leaves the entry to any
    sender. So an entry may be sent twice, always with the same id and body.

    ``put`` never raises. It waits at most ``wait_seconds`` for another process's lock. It goes
    before the other threads of its own process, and waits for them at most a second, or
    ``wait_seconds`` if that is longer. The disk's own time is extra. It refuses an event with
    ``full`` (a bound is reached, less than 64 MiB of the disk are free, or a long-running reader
    has let the WAL grow too large), ``locked``, ``closed``, ``forked`` (another process opened it:
    a child has to open it again) or ``unavailable`` (any other trouble). The other methods wait up
    to ``patience_seconds``, and raise sqlite3.Error if the trouble lasts. An ``ack`` that fails is
    remembered instead, and made by the next claim.

    Beside the file lie ``NAME-wal``, ``NAME-shm`` and ``NAME-lock``. None of them may be a link. A
    buffer that is corrupt is set aside as ``NAME.corrupt-<Unix time>`` when it is opened, and a new
    one started. Raises ConfigurationError if the file can't be used, is not a buffer, or holds
    events for another target. What is deleted is overwritten with zeros. For POSIX systems, and for
    local disks only, never a network's.

    Args:
        path: The file. It is created if missing, for this user alone; its folder has to exist. A
            link is resolved once, here.
        target: Where the events go. It is kept in the file, which accepts no other target.
        max_events, max_bytes: The bounds of all entries, claimed ones included. Bytes are those of
            the bodies.
        synchronous: ``NORMAL`` or ``FULL``: whether each put waits for the disk.
        lease_seconds: How long a claim lasts. Longer than sending all its entries can take.
        wait_seconds: The longest wait of ``put`` for another process's lock.
        patience_seconds: The longest wait of everything else, opening and forking included.
        longest_delay_seconds: The longest delay of a retry. An entry that is due even later was
            written before the clock was set back, and is due now.
        max_dead_letters, max_dead_bytes, max_dead_age_seconds: The bounds of the dead letters.
            Beyond them, the oldest are forgotten.
        wall: Gives the Unix time in seconds. All processes that share the file need the same.
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
        wall: Callable[[], float] = time.time,
    ) -> None:
        if synchronous not in ("NORMAL", "FULL"):
            raise ConfigurationError(
                f"buffer: synchronous={synchronous!r} can't be used; use 'NORMAL' or 'FULL'"
            )
        self._max_events = bound("max_events", max_events)
        self._max_bytes = bound("max_bytes", max_bytes)
        self._lease_seconds = lease_seconds
        self._wait_seconds = wait_seconds
        self._horizon_seconds = longest_delay_seconds + lease_seconds
        self._max_dead_letters = max_dead_letters
        self._max_dead_bytes = max_dead_bytes
        self._max_dead_age_seconds = max_dead_age_seconds
        self._wall = wall
        self._claimed: dict[int, int] = {}  # the token of each key
        self._has_warned = False
        self._state_at_close = BufferState(0, 0, 0)
        # SQLite, too, puts the WAL beside what a link leads to.
        self._path = Path(os.path.realpath(path))
        self._file = SqliteFile(
            self._path,
            target=target,
            synchronous=synchronous,
            patience_seconds=patience_seconds,
        )
        self._acks = Acks(self._file)
        logger.info("Events wait in the file %s", one_line(self._path))

    def __repr__(self) -> str:
        path = getattr(self, "_path", None)  # it may not be constructed yet
        return f"SqliteBuffer({path and str(path)!r})"

    def put(self, id: str, sync: str, body: bytes) -> DropReason | None:
        size = len(body)
        try:
            row = (size, self._wall(), id, sync, body, self._max_events, size, self._max_bytes)
            changed = self._file.store(_PUT, row, size, self._wait_seconds)
        except sqlite3.OperationalError as error:
            if is_locked(error):
                return DropReason.LOCKED
            return DropReason.FULL if "full" in str(error) else DropReason.UNAVAILABLE
        except Exception:  # an app's thread must not see it, whatever it is
            return DropReason.UNAVAILABLE
        if changed is None:
            return DropReason.FORKED if self._file.is_inherited else DropReason.CLOSED
        return None if changed else DropReason.FULL

    def claim(self, limit: int, newest: int = 0) -> Claim:
        now = self._wall()
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
            self._acks.make()  # before their entries could be claimed once more
            count = self._file.change(_CLAIM_AGAIN, claim) or 0
            newest = min(limit - count, newest)
            fresh = claim | {"newest": newest, "oldest": limit - count - newest}
            try:
                count += self._file.change(_CLAIM_FRESH, fresh) or 0
            except sqlite3.Error:  # it takes more room on the disk than the first
                if not count:
                    raise
        if count:
            entries = self._read_claimed(claim)
        self._tidy(now)
        try:
            next_seconds = self._next_seconds(now)
        except sqlite3.Error:  # the entries must be sent; the next claim raises, if it lasts
            if not entries:
                raise
            next_seconds = 0.0
        return Claim(entries, next_seconds)

    def ack(self, entry: Entry) -> bool:
        """Remove a claimed entry that was delivered.

        If several threads do so at once, some leave it to others: they get True before it is done,
        even if the claim turns out to be no longer theirs.
        """
        if self._file.is_inherited or not self._release(entry):
            return False
        try:
            return self._acks.add(_claim_key(entry))
        except sqlite3.OperationalError:
            return True

    def retry(self, entry: Entry, delay_seconds: float, *, attempts: int, strikes: int = 0) -> bool:
        due = max(self._wall() + delay_seconds, 1.0)  # 0 marks those that were fresh
        return self._settle(entry, _RETRY, due, attempts, strikes)

    def checkpoint(self) -> Callable[[], bool]:
        """As ``Buffer.checkpoint``, for the entries of all processes.

        The function reads the file. Both raise sqlite3.Error if it can't be read. Once the buffer
        is closed, the function returns True.
        """
        last: int = max((key for (key,) in self._file.read(_LAST_KEY)), default=0)

        def is_reached() -> bool:
            untried = [key for keys in self._file.read(_UNTRIED) for key in keys]
            return all(key is None or key > last for key in untried)

        return is_reached

    def state(self) -> BufferState:
        """What lies in the file, for all processes; ``claimed`` counts this object's claims alone.

        After ``close()``, what lay in it at that moment.
        """
        claimed, late = len(self._claimed), len(self._acks)
        totals = self._file.read(_STATE)
        if not totals:
            return self._state_at_close
        events, dead = totals[0]
        return BufferState(waiting=max(0, events - claimed - late), claimed=claimed, dead=dead)

    def close(self) -> list[Entry]:
        """Release everything. Nothing is lost.

        Entries that are claimed now may be on their way: others can claim them when their lease
        ends.
        """
        with suppress(sqlite3.Error):
            self._acks.make()
            self._state_at_close = self.state()
        self._file.close()
        return []

    # -- dead letters ------------------------------------------------------------------------------

    def bury(
        self, entry: Entry, reason: DeadLetterReason, *, status: int | None, message: str
    ) -> bool:
        now = self._wall()
        values = (entry.attempts, entry.strikes, now, status, reason.value, message)
        is_buried = self._settle(entry, _BURY, *values)
        with suppress(sqlite3.Error):  # then the next claim does it
            self._prune(now)
        return is_buried

    def dead_letters(self) -> Iterator[DeadLetter]:
        """Reads them page by page, since all together might not fit into memory."""
        last = 0
        while rows := self._file.read(_LETTERS, (last, _PAGE)):
            for letter in map(DeadLetter._make, rows):
                yield letter._replace(reason=_reason(letter.reason))
            last = rows[-1][0]

    def resend(self, letter: DeadLetter) -> bool:
        """As ``DeadLetters.resend``. The entry may exceed the bounds."""
        return self._file.change(_RESEND, (self._wall(), letter.key)) == 1

    # -- helpers -----------------------------------------------------------------------------------

    def _read_claimed(self, claim: dict[str, Any]) -> list[Entry]:
        now, token = claim["now"], claim["token"]
        entries = []
        for key, id, sync, body, accepted_at, *counts in self._file.read(_CLAIMED, claim):
            age_seconds = max(0.0, now - accepted_at)
            entries.append(Entry((key, token), id, sync, body, accepted_at, age_seconds, *counts))
            self._claimed[key] = token
        return entries

    def _next_seconds(self, now: float) -> float | None:
        """As ``Claim.next_seconds``: counts what others have claimed, from the end of its lease."""
        claimed = set(self._claimed)
        for is_fresh, furthest in self._file.read(_NEXT):
            is_clock_set_back = (furthest or 0) > now + self._horizon_seconds
            if is_fresh or len(self._acks) or is_clock_set_back:
                return 0.0
        dues = self._file.read(_DUES, (len(claimed) + 1,))
        due = next((due for key, due in dues if key not in claimed), None)
        return None if due is None else max(0.0, due - now)

    def _settle(self, entry: Entry, statement: str, *values: Any) -> bool:
        try:
            return self._file.change(statement, (*values, *_claim_key(entry))) == 1
        finally:  # if it failed, the entry is due again when its lease ends
            self._release(entry)

    def _release(self, entry: Entry) -> bool:
        """Forget a claim. Returns whether it was this object's until now."""
        key, token = _claim_key(entry)
        is_ours = self._claimed.get(key) == token
        return is_ours and self._claimed.pop(key, None) is not None

    def _prune(self, now: float) -> None:
        """Forget dead letters beyond the bounds, a limited number at a time."""
        oldest = now - self._max_dead_age_seconds
        bounds = (oldest, self._max_dead_letters, self._max_dead_bytes)
        for _ in range(_PAGE):
            if not self._file.change(_PRUNE, bounds):
                return

    def _tidy(self, now: float) -> None:
        """Prune dead letters, give space back to the disk, and log that ``put`` refuses events."""
        with suppress(sqlite3.Error):  # then the next time
            self._prune(now)
            for (free,) in self._file.read("PRAGMA freelist_count"):
                for _ in range(min(free - _SPARE_PAGES, _PAGES_AT_A_TIME)):
                    self._file.change("PRAGMA incremental_vacuum(1)")
        if self._file.is_cramped and not self._has_warned:
            logger.warning(
                "No new events are stored: the disk is almost full, or the buffer's WAL too large"
            )
        self._has_warned = self._file.is_cramped


def _claim_key(entry: Entry) -> ClaimKey:
    return cast("ClaimKey", entry.key)


def _reason(text: str) -> DeadLetterReason:
    try:
        return DeadLetterReason(text)
    except ValueError:  # damaged; the letter must not hide those after it
        return DeadLetterReason.REJECTED
