"""What this process has claimed from Redis, and what Redis is to learn of it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from itertools import count
from typing import NamedTuple

from amplitude_moloco.buffers.base import Claim, Entry
from amplitude_moloco.buffers.redis.record import Reading, Record
from amplitude_moloco.reasons import DeadLetterReason

_STALE_SECONDS = 5.0
"""What was fetched ahead and is not claimed for this time is left to other processes."""


class Return(NamedTuple):
    """An entry is given back, to be due again."""

    record: Record
    delay_seconds: float
    attempts: int
    strikes: int


class Burial(NamedTuple):
    """An entry becomes a dead letter."""

    record: Record
    attempts: int
    reason: DeadLetterReason
    status: int | None
    message: str


class Demand(NamedTuple):
    """How many entries are to be claimed in Redis, and how many of them are the newest."""

    limit: int
    newest: int


class Desk:
    """Safe from any thread. Its lock is held for no I/O.

    Args:
        consumer: Names the claims of this process.
        monotonic: The clock, in seconds.
        is_ahead: Whether entries are fetched before senders ask for them.
    """

    def __init__(
        self, consumer: str, monotonic: Callable[[], float], *, is_ahead: bool = True
    ) -> None:
        self._consumer = consumer
        self._monotonic = monotonic
        self._is_ahead = is_ahead
        self.lock = threading.RLock()
        self._ready: deque[Record] = deque()
        """Claimed in Redis, and not yet handed out."""
        self._held: dict[Hashable, Record] = {}
        self._here: dict[tuple[int, bytes], Hashable] = {}
        """The key of each record that is ready or held; None for a ready one."""
        self._serials = count(1)
        self._limit = 0
        self._newest = 0.0
        self._is_wanted = False
        self._claimed_at = 0.0
        self._is_closed = False
        self.acks: deque[Record] = deque()
        self.returns: deque[Return] = deque()
        self.burials: deque[Burial] = deque()
        self.reading = Reading()
        self.read_at = 0.0
        """When the reading was made, by the monotonic clock."""
        self.readings = 0
        """How many there were."""

    # -- the senders -------------------------------------------------------------------------

    @property
    def ready(self) -> int:
        """How many entries can be handed out at once."""
        return len(self._ready)

    def claim(self, limit: int, newest: int) -> Claim:
        """Hand out what is ready, and note how much more is wanted."""
        with self.lock:
            if self._is_closed:
                return Claim([], None)
            entries: list[Entry] = []
            now = self.now()
            while self._ready and len(entries) < limit:
                record = self._ready.popleft()
                key = self._consumer, next(self._serials)
                self._held[key] = record
                self._here[record.stream, record.place] = key
                entries.append(_entry(key, record, now))
            if limit:
                self._limit, self._claimed_at = limit, self._monotonic()
                self._newest = min(self._newest + newest, limit)
                rest = len(self._ready) if self._is_ahead else len(entries)
                self._is_wanted = rest < limit
            return Claim(entries, self.next_seconds())

    def ack(self, entry: Entry) -> bool:
        with self.lock:
            record = self._release(entry.key)
            if record is None:
                return False
            self.acks.append(record)
            return True

    def give_back(self, entry: Entry, delay_seconds: float, attempts: int, strikes: int) -> bool:
        with self.lock:
            record = self._release(entry.key)
            if record is None:
                return False
            self.returns.append(Return(record, delay_seconds, attempts, strikes))
            return True

    def bury(
        self, entry: Entry, reason: DeadLetterReason, status: int | None, message: str
    ) -> bool:
        with self.lock:
            record = self._release(entry.key)
            if record is None:
                return False
            self.burials.append(Burial(record, entry.attempts, reason, status, message))
            return True

    def _release(self, key: Hashable) -> Record | None:
        record = self._held.pop(key, None)
        if record is not None:
            del self._here[record.stream, record.place]
        return record

    # -- the thread that talks to Redis ------------------------------------------------------

    def demand(self) -> Demand:
        """Returns what is to be claimed now."""
        with self.lock:
            if not self._is_wanted or self._is_closed:
                return Demand(0, 0)
            limit = max(0, self._limit - len(self._ready))
            return Demand(limit, min(limit, int(self._newest)))

    @property
    def is_waiting(self) -> bool:
        """Whether senders wait for entries that Redis did not have."""
        return self._is_wanted and not self._ready

    def add(self, records: Iterable[Record], demand: Demand | None = None) -> int:
        """Add what was claimed in Redis, and what that fulfills. Returns how many are new here."""
        added = 0
        with self.lock:
            if demand is not None:
                self._newest -= demand.newest
                self._is_wanted = self._is_wanted and self._is_ahead
            for record in records:
                if (record.stream, record.place) not in self._here:
                    self._here[record.stream, record.place] = None
                    self._ready.append(record)
                    added += 1
            if len(self._ready) >= self._limit:
                self._is_wanted = False
        return added

    def note(self, reading: Reading) -> None:
        """Learn what lies in Redis now."""
        with self.lock:
            self.reading, self.read_at = reading, self._monotonic()
            self.readings += 1

    def records(self) -> list[Record]:
        """Returns what is claimed in Redis for this process, and not settled."""
        with self.lock:
            return [*self._ready, *self._held.values()]

    def forget(self, lost: Iterable[Record]) -> None:
        """Other processes have claimed these."""
        with self.lock:
            for record in lost:
                key = self._here.get((record.stream, record.place))
                if key is not None:
                    self._release(key)
                elif record in self._ready:
                    self._ready.remove(record)
                    del self._here[record.stream, record.place]

    def return_stale(self) -> None:
        """Give back what was fetched ahead, and is not claimed."""
        with self.lock:
            if self._ready and self._monotonic() - self._claimed_at > _STALE_SECONDS:
                self._return_ready()
                self._is_wanted = False

    def close(self) -> None:
        """Give everything back, and hand out nothing more."""
        with self.lock:
            self._is_closed = True
            self._return_ready()
            for record in self._held.values():
                self.returns.append(Return(record, 0.0, record.attempts, record.strikes))
            self._held.clear()
            self._here.clear()

    def _return_ready(self) -> None:
        for record in self._ready:
            del self._here[record.stream, record.place]
            self.returns.append(Return(record, 0.0, record.attempts, record.strikes))
        self._ready.clear()

    # -- what is known -----------------------------------------------------------------------

    @property
    def held(self) -> int:
        """How many entries are on their way."""
        return len(self._held)

    @property
    def unsettled(self) -> int:
        """How many outcomes Redis does not know yet."""
        return len(self.acks) + len(self.returns) + len(self.burials)

    def now(self) -> float:
        """Returns Redis's time in Unix seconds, by the last reading."""
        return self.reading.now / 1_000_000 + self._monotonic() - self.read_at

    def next_seconds(self) -> float | None:
        """Returns when something can be claimed, as far as this process knows."""
        if self._ready:
            return 0.0
        seconds = self.reading.next_seconds
        if seconds is None:
            return None
        return max(0.0, seconds - (self._monotonic() - self.read_at))


def _entry(key: Hashable, record: Record, now: float) -> Entry:
    return Entry(
        key,
        record.id,
        record.sync,
        record.body,
        record.accepted_at,
        max(0.0, now - record.accepted_at),
        record.attempts,
        record.strikes,
    )
