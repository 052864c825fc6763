"""A buffer in memory: fast, bounded, and lost with the process."""

from __future__ import annotations

import heapq
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import NamedTuple

from amplitude_moloco.buffers.base import BufferState, Claim, DeadLetter, Entry
from amplitude_moloco.buffers.bounds import bound
from amplitude_moloco.buffers.lanes import Lanes
from amplitude_moloco.host.locks import release_fully
from amplitude_moloco.reasons import DeadLetterReason, DropReason

MAX_DEAD_LETTERS = 1_000
"""How many dead letters are kept. Beyond that, the oldest are forgotten."""
_OVERHEAD_BYTES = 512
"""What an entry takes in memory besides its body: its id, its times and its place in a queue."""
_FREE_OVERHEAD_BYTES = 1024 * 1024
"""This overhead is not counted, so that a small buffer holds as many bytes as it says."""


class _Stored(NamedTuple):
    """An entry as the buffer keeps it, ordered by its number."""

    number: int
    id: str
    sync: str
    body: bytes
    accepted_at: float
    stored_at: float  # on the monotonic clock
    attempts: int = 0
    strikes: int = 0
    lane: str = ""

    def entry(self, key: Hashable, now: float) -> Entry:
        return Entry(
            key,
            self.id,
            self.sync,
            self.body,
            self.accepted_at,
            now - self.stored_at,
            self.attempts,
            self.strikes,
            self.lane,
        )


class MemoryBuffer:
    """The Buffer in memory. New entries wait in a queue or in their lanes, retries in a heap.

    A claim ends when it is settled.

    Args:
        max_events, max_bytes: The bounds of all entries, claimed ones included. Bytes are those
            that the entries take in memory: their bodies, and 512 bytes more for each entry beyond
            the first 2,048.
        wall: Gives the Unix time in seconds, for ``accepted_at`` and ``buried_at``.
        monotonic: Gives seconds that never go back, for delays and ages.

    Raises:
        ConfigurationError: A bound is no whole number from 1 to 2**63 - 1.
    """

    is_durable = False

    def __init__(
        self,
        max_events: int = 100_000,
        max_bytes: int = 64 * 1024 * 1024,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_events = bound("max_events", max_events)
        self._max_bytes = bound("max_bytes", max_bytes)
        self._wall = wall
        self._monotonic = monotonic
        self._lock = threading.RLock()
        self._new: deque[_Stored] = deque()
        self._lanes: Lanes[_Stored] = Lanes()
        self._later: list[tuple[float, _Stored]] = []  # a heap of retries with their due times
        self._untried_later: set[int] = set()  # the numbers of retries that were never sent
        self._claimed: dict[Hashable, _Stored] = {}
        self._dead: OrderedDict[Hashable, DeadLetter] = OrderedDict()
        self._last_number = 0
        self._last_claim = 0
        self._is_closed = False
        self._bytes = 0  # of the bodies

    def put(self, id: str, sync: str, body: bytes, lane: str = "") -> DropReason | None:
        """As ``Buffer.put``. An exception that strikes from outside leaves all other entries."""
        try:
            with self._lock:
                if self._is_closed:
                    return DropReason.CLOSED
                events = len(self._new) + len(self._later) + len(self._claimed) + self._lanes.size
                room = self._max_bytes - self._bytes - len(body)
                if (
                    events >= self.max_events
                    or room < 0
                    or events * _OVERHEAD_BYTES > room + _FREE_OVERHEAD_BYTES
                ):
                    return DropReason.FULL
                self._add(id, sync, body, lane)
                return None
        except BaseException:  # from a signal handler, after any instruction
            self._recover()
            raise

    def claim(self, limit: int, newest: int = 0) -> Claim:
        with self._lock:
            if self._is_closed:
                return Claim([], None)
            now = self._monotonic()
            reserved = [self._new.pop() for _ in range(min(newest, limit, len(self._new)))]
            limit -= len(reserved)
            taken: list[_Stored] = []
            while len(taken) < limit and self._later and self._later[0][0] <= now:
                stored = heapq.heappop(self._later)[1]
                self._untried_later.discard(stored.number)
                taken.append(stored)
            while len(taken) < limit and self._lanes.ready:
                taken.append(self._lanes.pop())
            while len(taken) < limit and self._new:
                taken.append(self._new.popleft())
            taken += reversed(reserved)
            self._last_claim += 1
            claimed: dict[Hashable, _Stored] = {
                (stored.number, self._last_claim): stored for stored in taken
            }
            self._claimed.update(claimed)
            entries = [stored.entry(key, now) for key, stored in claimed.items()]
            return Claim(entries, self._next_seconds(now))

    def ack(self, entry: Entry) -> bool:
        with self._lock:
            return self._remove(entry) is not None

    def retry(self, entry: Entry, delay_seconds: float, *, attempts: int, strikes: int = 0) -> bool:
        with self._lock:
            stored = self._claimed.pop(entry.key, None)
            if stored is None:
                return False
            if not attempts:
                self._untried_later.add(stored.number)
            due = self._monotonic() + delay_seconds
            heapq.heappush(self._later, (due, stored._replace(attempts=attempts, strikes=strikes)))
            return True

    def checkpoint(self) -> Callable[[], bool]:
        last = self._last_number

        def is_reached() -> bool:
            oldest = self._oldest_untried()
            return oldest is None or oldest > last

        return is_reached

    def state(self) -> BufferState:
        with self._lock:
            return BufferState(
                waiting=len(self._new) + len(self._later) + self._lanes.size,
                claimed=len(self._claimed),
                dead=len(self._dead),
            )

    def oldest_age_seconds(self) -> float | None:
        """As ``Aged.oldest_age_seconds``. Holds the lock for a copy of the retries."""
        with self._lock:
            now = self._monotonic()
            stored = [*self._claimed.values(), *([self._new[0]] if self._new else ())]
            stored += self._lanes
            later = self._later.copy()
        stored.extend(each for _, each in later)
        return max((now - each.stored_at for each in stored), default=None)

    def close(self) -> list[Entry]:
        with self._lock:
            now = self._monotonic()
            waiting = [*self._new, *(stored for _, stored in self._later), *self._lanes.clear()]
            lost = [stored.entry(key, now) for key, stored in self._claimed.items()]
            lost += [stored.entry((stored.number, 0), now) for stored in waiting]
            self._new.clear()
            self._later.clear()
            self._untried_later.clear()
            self._claimed.clear()
            self._bytes = 0
            self._is_closed = True
            return lost

    # -- dead letters ------------------------------------------------------------------------------

    def bury(
        self, entry: Entry, reason: DeadLetterReason, *, status: int | None, message: str
    ) -> bool:
        with self._lock:
            stored = self._remove(entry)
            if stored is None:
                return False
            self._dead[stored.number] = DeadLetter(
                key=stored.number,
                id=stored.id,
                sync=stored.sync,
                body=stored.body,
                accepted_at=stored.accepted_at,
                buried_at=self._wall(),
                attempts=entry.attempts,
                reason=reason,
                status=status,
                message=message,
                lane=stored.lane,
            )
            if len(self._dead) > MAX_DEAD_LETTERS:
                self._dead.popitem(last=False)
            return True

    def dead_letters(self) -> list[DeadLetter]:
        """Returns a copy."""
        with self._lock:
            return list(self._dead.values())

    def resend(self, letter: DeadLetter) -> bool:
        """As ``DeadLetters.resend``. The entry may exceed the bounds."""
        with self._lock:
            if self._is_closed or self._dead.pop(letter.key, None) is None:
                return False
            self._add(letter.id, letter.sync, letter.body, letter.lane)
            return True

    # -- helpers: called with the lock held --------------------------------------------------------

    def _add(self, id: str, sync: str, body: bytes, lane: str) -> None:
        self._last_number += 1
        # An encoder's result may keep its whole allocation, of many times its length: copy it.
        body = b"%b" % body
        self._bytes += len(body)
        stored = _Stored(self._last_number, id, sync, body, self._wall(), self._monotonic())
        if lane:
            self._lanes.add(lane, stored._replace(lane=lane))
        else:
            self._new.append(stored)

    def _recover(self) -> None:
        """Called without the lock, or with one that was not released. Counts the bytes anew."""
        release_fully(self._lock)
        with self._lock:
            old = [*(each for _, each in self._later), *self._claimed.values()]
            self._lanes.mend({each.lane for each in old})
            self._bytes = sum(len(each.body) for each in [*self._new, *old, *self._lanes])

    def _remove(self, entry: Entry) -> _Stored | None:
        """Removes an entry, if the claim is still the caller's."""
        stored = self._claimed.pop(entry.key, None)
        if stored is not None:
            self._bytes -= len(stored.body)
            if stored.lane:
                self._lanes.leave(stored.lane)
        return stored

    def _next_seconds(self, now: float) -> float | None:
        if self._new or self._lanes.ready:
            return 0.0
        return max(0.0, self._later[0][0] - now) if self._later else None

    def _oldest_untried(self) -> int | None:
        with self._lock:
            untried = [each.number for each in self._claimed.values() if not each.attempts]
            untried += self._untried_later
            if self._new:
                untried.append(self._new[0].number)
            if self._lanes.size:
                held = {each.lane for _, each in self._later if each.attempts}
                untried += [each.number for each in self._lanes if each.lane not in held]
            return min(untried, default=None)
