"""What a process holds in memory: its new events, and those that it has taken from the store."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import NamedTuple

from amplitude_moloco.buffers.lanes import Lanes
from amplitude_moloco.buffers.sqlite.record import Event
from amplitude_moloco.reasons import DeadLetterReason

_MOST_EVENTS = 8192
_MOST_BYTES = 8 * 1024**2
"""What is beyond these bounds is moved into the store."""
_HARD_BYTES = 32 * 1024**2
"""Beyond this bound new events are refused: the store could not be had for long."""
_OVERHEAD_BYTES = 512
"""What an event takes in memory besides its body."""
_MOVED_EVENTS = 8192
_MOVED_BYTES = 4 * 1024**2
"""About what goes into the store in one transaction."""
_SOON_SECONDS = 1.0
"""A retry that is due within this time stays in memory."""


class What(Enum):
    """What moves into the store."""

    LETTERS = "the dead letters"
    LONG = "what waits for long, and what is too much for the memory"
    ALL = "all"


class Retry(NamedTuple):
    """An event that waits for its next attempt. They sort by the time of it."""

    due_at: float
    """By the monotonic clock."""
    order: tuple[bool, int]
    event: Event


class Letter(NamedTuple):
    """A dead letter that is not in the store yet."""

    event: Event
    buried_at: float
    reason: DeadLetterReason
    status: int | None
    message: str


@dataclass
class Batch:
    """What is about to be written into the store."""

    fresh: list[Event] = field(default_factory=list)
    retries: list[Retry] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.fresh or self.retries or self.letters)

    def events(self) -> list[Event]:
        return [*self.fresh, *(each.event for each in self.retries)]


class Tail:
    """Not safe from several threads at a time: its user holds a lock.

    A finalizer may run anywhere and put an event, in the same thread.

    Args:
        max_events, max_bytes: The buffer's bounds. No more than a hundredth waits in memory.
        monotonic: Gives seconds that never go back.
    """

    def __init__(self, max_events: int, max_bytes: int, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._most_events = min(_MOST_EVENTS, max_events // 100)
        self._most_bytes = min(_MOST_BYTES, max_bytes // 100)
        self.new: deque[Event] = deque()
        """Put or resent by this process, and not sent yet."""
        self.taken: deque[Event] = deque()
        """Taken from the store, not sent yet, and older than all new ones."""
        self.lanes: Lanes[Event] = Lanes()
        """What was not sent yet, and has a lane. It stays here until the end of the process."""
        self._retries: list[Retry] = []  # a heap
        self.claimed: dict[Hashable, Event] = {}
        self.letters: list[Letter] = []
        self._moving = Batch()
        self.events = self.bytes = 0
        """Totals of all events but the dead letters."""

    def __iter__(self) -> Iterator[Event]:
        """Yields all, but the dead letters."""
        yield from [*self.taken]
        yield from [*self.new]
        yield from self.lanes
        yield from [*self.claimed.values()]
        yield from [each.event for each in self._retries]
        yield from self._moving.events()

    @property
    def is_full(self) -> bool:
        return self.bytes + self.events * _OVERHEAD_BYTES > _HARD_BYTES

    @property
    def is_beyond(self) -> bool:
        """Whether there is more than should wait in memory."""
        return len(self.new) > self._most_events or self.bytes > self._most_bytes

    def recount(self) -> None:
        """Count anew, after an exception that may have struck anywhere."""
        self.lanes.mend(self._busy_lanes())
        self.events = self.bytes = 0
        self.count(self, 1)

    def _busy_lanes(self) -> set[str]:
        events = [*self.claimed.values(), *(each.event for each in self._retries)]
        return {event.lane for event in events}

    def untried(self) -> Iterator[Event]:
        """Yields what was never sent, but not what is held up by a retry of its lane."""
        held = {each.event.lane for each in self._retries if each.event.attempts} - {""}
        return (event for event in self if not event.attempts and event.lane not in held)

    def count(self, events: Iterable[Event], sign: int) -> None:
        """Count events as here, or as no longer here."""
        for event in events:
            self.events += sign
            self.bytes += sign * len(event.body)

    def oldest(self) -> float:
        """Returns the lowest number that the journal must keep; infinity if there is none."""
        letters = (*self.letters, *self._moving.letters)
        events = (*self, *(letter.event for letter in letters))
        return min((event.number for event in events), default=inf)

    def remove(self, key: Hashable) -> Event | None:
        """Take out an event that is claimed with this key, and is settled; None if none is."""
        event = self.claimed.pop(key, None)
        if event is not None:
            self.count([event], -1)
            if event.lane:
                self.lanes.leave(event.lane)
        return event

    # -- what is due -------------------------------------------------------------------------

    def pop_due(
        self, limit: int, newest: int, wall: float = 0.0, *, from_lanes: bool = True
    ) -> list[Event]:
        """Take out what is due: retries, then the oldest; ``newest`` of them are the newest.

        ``wall`` is the Unix time; ``from_lanes``: whether lanes that are ready may go on.
        """
        now = self._monotonic()
        fresh = len(self.taken) + len(self.new)
        reserved = [(self.new or self.taken).pop() for _ in range(min(newest, limit, fresh))]
        found: list[Event] = []
        most = limit - len(reserved)
        while len(found) < most and self._retries and self._retries[0].due_at <= now:
            found.append(heapq.heappop(self._retries).event)
        while len(found) < most and from_lanes and self.lanes.ready:
            event = self.lanes.pop()
            if event.due > wall:  # it was taken from the store for the sake of those behind it
                self.add_retry(event, event.due - wall)
            else:
                found.append(event)
        while len(found) < most and (queue := self.taken or self.new):
            found.append(queue.popleft())
        return [*found, *reversed(reserved)]

    def has_due(self, limit: int) -> bool:
        """Whether this many are due."""
        now = self._monotonic()
        due = sum(1 for each in self._retries if each.due_at <= now)
        return len(self.taken) + len(self.new) + len(self.lanes.ready) + due >= limit

    def next_seconds(self) -> float | None:
        """Returns when the next one is due, from now on; None if none waits."""
        if self.taken or self.new or self.lanes.ready:
            return 0.0
        return max(0.0, self._retries[0].due_at - self._monotonic()) if self._retries else None

    def add_retry(self, event: Event, delay_seconds: float) -> None:
        """Keep an event until it is due."""
        heapq.heappush(self._retries, Retry(self._monotonic() + delay_seconds, event.order, event))

    def add_taken(self, events: list[Event], wall: float) -> None:
        """Keep events that are out of the store."""
        self.count(events, 1)
        for event in events:
            if event.lane:
                self.lanes.add(event.lane, event)
            elif event.due:
                self.add_retry(event, min(0.0, event.due - wall))
            else:
                (self.taken if event.key else self.new).append(event)
        lanes = {event.lane for event in events if event.lane}
        self.lanes.sort(lanes, order=lambda event: event.order)

    def return_claims(self, wall: float) -> dict[int, Hashable]:
        """Take back everything that is claimed. Returns the claim of each number."""
        claims = {event.number: key for key, event in self.claimed.items()}
        for event in self.claimed.values():
            if event.due or event.attempts:
                self.add_retry(event, event.due - wall if event.due else 0.0)
            else:
                self.new.append(event)
        self.claimed.clear()
        return claims

    # -- what moves --------------------------------------------------------------------------

    def begin_move(self, what: What, *, is_written: bool) -> Batch:
        """Take out what should go into the store; ``is_written``: all is in the journal."""
        batch = self._moving = Batch(letters=self.letters[:_MOVED_EVENTS])
        del self.letters[: len(batch.letters)]
        if what is What.LETTERS:
            return batch
        is_all = what is What.ALL
        if is_all:
            waiting = [*self.taken, *self.new, *self.lanes.clear()]
            self.new = deque(sorted(waiting, key=lambda event: event.order))
            self.taken.clear()
        if is_all or (self.is_beyond and is_written):
            size, most = 0, len(self.new) if is_all else (len(self.new) + 1) // 2
            while len(batch.fresh) < min(most, _MOVED_EVENTS) and size < _MOVED_BYTES:
                batch.fresh.append(self.new.popleft())
                size += len(batch.fresh[-1].body)
        soon = -inf if is_all else self._monotonic() + _SOON_SECONDS
        stays = [each.due_at <= soon or (each.event.lane and not is_all) for each in self._retries]
        if not all(stays):
            pairs = list(zip(self._retries, stays, strict=True))
            batch.retries = [each for each, does_stay in pairs if not does_stay]
            self._retries = [each for each, does_stay in pairs if does_stay]
            heapq.heapify(self._retries)
        return batch

    def end_move(self, batch: Batch, *, is_done: bool) -> None:
        """It is in the store now, or must come back here."""
        self._moving = Batch()
        if is_done:
            self.count(batch.events(), -1)
            return
        self.letters[:0] = batch.letters
        self.new.extendleft(reversed(batch.fresh))
        for each in batch.retries:
            heapq.heappush(self._retries, each)
