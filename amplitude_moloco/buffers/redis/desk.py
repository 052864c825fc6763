"""What this process has claimed from Redis, and what Redis is to learn of it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from itertools import count, islice

from amplitude_moloco.buffers.base import Claim, Entry
from amplitude_moloco.buffers.redis.appetite import Appetite, Demand
from amplitude_moloco.buffers.redis.outcome import Outcome, buried, returned
from amplitude_moloco.buffers.redis.record import Reading, Record
from amplitude_moloco.reasons import DeadLetterReason

_STALE_SECONDS = 5.0
"""What was fetched ahead and is not claimed for this time is left to other processes."""


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
        self._appetite = Appetite(monotonic)
        self._is_wanted = False
        self._claimed_at = 0.0
        self._is_closed = False
        self._outcomes: deque[Outcome] = deque()
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
                self._claimed_at = self._monotonic()
                self._appetite.note(limit, newest, len(entries) if self._is_ahead else 0)
                rest = len(self._ready) if self._is_ahead else len(entries)
                self._is_wanted = rest < max(limit, self._appetite.ahead // 2)
            return Claim(entries, self.next_seconds())

    def ack(self, entry: Entry) -> bool:
        return self._end(entry, Outcome)

    def give_back(self, entry: Entry, delay_seconds: float, attempts: int, strikes: int) -> bool:
        return self._end(entry, lambda record: returned(record, delay_seconds, attempts, strikes))

    def bury(
        self, entry: Entry, reason: DeadLetterReason, status: int | None, message: str
    ) -> bool:
        attempts = entry.attempts
        return self._end(entry, lambda record: buried(record, attempts, reason, status, message))

    def _end(self, entry: Entry, outcome: Callable[[Record], Outcome]) -> bool:
        """End a claim. Returns whether this process has it."""
        with self.lock:
            record = self._release(entry.key)
            if record is not None:
                self._outcomes.append(outcome(record))
            return record is not None

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
            return self._appetite.demand(len(self._ready))

    @property
    def is_waiting(self) -> bool:
        """Whether senders wait for entries that Redis did not have."""
        return self._is_wanted and not self._ready

    def add(self, records: Iterable[Record], demand: Demand | None = None) -> int:
        """Add what was claimed in Redis, and what that fulfills. Returns how many are new here."""
        added = 0
        with self.lock:
            if demand is not None:
                self._appetite.fetched(demand)
                self._is_wanted = self._is_wanted and self._is_ahead
            for record in records:
                if (record.stream, record.place) not in self._here:
                    self._here[record.stream, record.place] = None
                    self._ready.append(record)
                    added += 1
            if len(self._ready) >= self._appetite.limit:
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
                self._return(record)
            self._held.clear()
            self._here.clear()

    def _return_ready(self) -> None:
        for record in self._ready:
            del self._here[record.stream, record.place]
            self._return(record)
        self._ready.clear()

    def _return(self, record: Record) -> None:
        self._outcomes.append(returned(record, 0.0, record.attempts, record.strikes))

    def outcomes(self, limit: int) -> list[Outcome]:
        """Returns the first outcomes that Redis does not know yet."""
        with self.lock:
            return list(islice(self._outcomes, limit))

    def settled(self, count: int) -> None:
        """Redis knows this many more of them."""
        with self.lock:
            for _ in range(count):
                self._outcomes.popleft()

    def remove(self, record: Record) -> None:
        """Have Redis remove what was claimed, and can't be handed out."""
        self._outcomes.append(Outcome(record))

    # -- what is known -----------------------------------------------------------------------

    @property
    def held(self) -> int:
        """How many entries are on their way."""
        return len(self._held)

    @property
    def unsettled(self) -> int:
        """How many outcomes Redis does not know yet."""
        return len(self._outcomes)

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
