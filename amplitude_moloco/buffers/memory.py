"""A buffer in memory: fast, bounded, and gone with the process."""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Collection

from amplitude_moloco.buffers.base import BufferState, DeadLetter, Entry

MAX_DEAD_LETTERS = 1_000


class MemoryBuffer:
    """The Buffer in memory. New entries wait in a queue, those to be retried in a heap."""

    is_durable = False

    def __init__(self, max_events: int = 100_000, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._lock = threading.RLock()
        self._new: deque[Entry] = deque()
        self._later: list[tuple[float, Entry]] = []
        self._untried_later: set[int] = set()  # those of them that were given back unsent
        self._claimed: dict[int, Entry] = {}
        self._dead: deque[DeadLetter] = deque(maxlen=MAX_DEAD_LETTERS)
        self._now = 0.0  # as it was handed in last
        self._last_key = 0
        self._claims = 0
        self._is_closed = False
        self._events = 0
        self._bytes = 0

    def put(self, id: str, sync: str, body: bytes, now: float) -> str | None:
        with self._lock:
            if self._is_closed:
                return "closed"
            if self._events >= self._max_events or self._bytes + len(body) > self._max_bytes:
                return "full"
            self._last_key += 1
            self._new.append(Entry(self._last_key, id, sync, body, now))
            self._events += 1
            self._bytes += len(body)
            return None

    def claim(self, limit: int, now: float, newest: int = 0) -> list[Entry]:
        with self._lock:
            entries: list[Entry] = []
            if self._is_closed:
                return entries
            self._keep_time(now)
            kept_back = [self._new.pop() for _ in range(min(newest, limit, len(self._new)))]
            limit -= len(kept_back)
            while len(entries) < limit and self._later and self._later[0][0] <= now:
                entry = heapq.heappop(self._later)[1]
                self._untried_later.discard(entry.key)
                entries.append(entry)
            while len(entries) < limit and self._new:
                entries.append(self._new.popleft())
            entries += reversed(kept_back)
            self._claims += 1
            entries = [Entry(*entry[:-1], token=self._claims) for entry in entries]
            self._claimed.update((entry.key, entry) for entry in entries)
            return entries

    def ack(self, entry: Entry) -> bool:
        with self._lock:
            return self._remove(entry)

    def retry(self, entry: Entry, due: float, *, attempts: int, strikes: int = 0) -> bool:
        with self._lock:
            if not self._release(entry):
                return False
            if not attempts:
                self._untried_later.add(entry.key)
            heapq.heappush(self._later, (due, entry._replace(attempts=attempts, strikes=strikes)))
            return True

    def bury(self, letter: DeadLetter) -> bool:
        with self._lock:
            buried = self._remove(letter.entry)
            if buried:
                self._dead.append(letter)
            return buried

    def dead_letters(self) -> list[DeadLetter]:
        with self._lock:
            return list(self._dead)

    def resend(self, ids: Collection[str] | None, now: float) -> int:
        with self._lock:
            if self._is_closed:
                return 0
            resent = [each for each in self._dead if ids is None or each.entry.id in ids]
            for letter in resent:
                self._dead.remove(letter)
                self._last_key += 1
                entry = letter.entry._replace(
                    key=self._last_key, accepted_at=now, attempts=0, strikes=0
                )
                self._new.append(entry)
                self._events += 1
                self._bytes += len(entry.body)
            return len(resent)

    def state(self) -> BufferState:
        with self._lock:
            untried = [key for key, entry in self._claimed.items() if not entry.attempts]
            untried += self._untried_later
            if self._new:
                untried.append(self._new[0].key)
            later = self._later[0][0] if self._later else None
            return BufferState(
                waiting=len(self._new) + len(self._later),
                claimed=len(self._claimed),
                dead=len(self._dead),
                last_key=self._last_key,
                oldest_untried=min(untried, default=None),
                next_due=0.0 if self._new else later,
            )

    def close(self) -> list[Entry]:
        with self._lock:
            lost = [*self._claimed.values(), *self._new, *(entry for _, entry in self._later)]
            self._new.clear()
            self._later.clear()
            self._untried_later.clear()
            self._claimed.clear()
            self._events = self._bytes = 0
            self._is_closed = True
            return lost

    def _keep_time(self, now: float) -> None:
        """Where the clock was set back, what waits is set back as well."""
        if now < self._now:
            self._later = [(due - (self._now - now), entry) for due, entry in self._later]
        self._now = now

    def _remove(self, entry: Entry) -> bool:
        if not self._release(entry):
            return False
        self._events -= 1
        self._bytes -= len(entry.body)
        return True

    def _release(self, entry: Entry) -> bool:
        """End a claim, if it is still the caller's."""
        claimed = self._claimed.get(entry.key)
        if claimed is None or claimed.token != entry.token:
            return False
        del self._claimed[entry.key]
        return True
