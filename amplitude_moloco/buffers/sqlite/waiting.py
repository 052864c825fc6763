"""The events that a process holds in memory, and which of them belong into the store."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import NamedTuple

from amplitude_moloco.buffers.sqlite.record import Event
from amplitude_moloco.reasons import DeadLetterReason

_MOST_EVENTS = 4096
_MOST_BYTES = 8 * 1024**2
"""What is beyond these bounds is moved into the store."""
_HARD_BYTES = 32 * 1024**2
"""Beyond this bound new events are refused: the store could not be had for long."""
_OVERHEAD_BYTES = 512
"""What an event takes in memory besides its body."""
_MOVED_EVENTS = 2048
_MOVED_BYTES = 1024**2
"""About what goes into the store in one transaction."""
_SOON_SECONDS = 1.0
"""What is due within this time stays in memory."""


class What(Enum):
    """What moves into the store."""

    LETTERS = "the dead letters"
    LONG = "what waits for long, and what is too much for the memory"
    ALL = "all"


class Later(NamedTuple):
    """An event that is due at a time of the monotonic clock."""

    due_at: float
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

    letters: list[Letter] = field(default_factory=list)
    new: list[Event] = field(default_factory=list)
    later: list[Later] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.letters or self.new or self.later)

    def events(self) -> list[Event]:
        return [*self.new, *(each.event for each in self.later)]


class Waiting:
    """Not safe from several threads at a time: its user holds a lock.

    Args:
        monotonic: Gives seconds that never go back.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self.new: deque[Event] = deque()
        self.taken: deque[Event] = deque()
        """From the store, not sent yet, and older than all new ones."""
        self._later: list[Later] = []
        self.claimed: dict[Hashable, Event] = {}
        self.letters: list[Letter] = []
        self._moving = Batch()
        self.events = self.bytes = 0
        """Of all but the dead letters."""

    def __len__(self) -> int:
        """How many wait."""
        return len(self.new) + len(self.taken) + len(self._later)

    def __iter__(self) -> Iterator[Event]:
        """Yields all, but the dead letters."""
        yield from self.taken
        yield from self.new
        yield from self.claimed.values()
        yield from (each.event for each in self._later)
        yield from self._moving.events()

    @property
    def is_full(self) -> bool:
        return self.bytes + self.events * _OVERHEAD_BYTES > _HARD_BYTES

    @property
    def is_beyond(self) -> bool:
        """Whether there is more than should wait in memory."""
        return len(self.new) > _MOST_EVENTS or self.bytes > _MOST_BYTES

    def recount(self) -> None:
        """Count anew, after an exception that may have struck anywhere."""
        self.events = self.bytes = 0
        self.count(self, 1)

    def count(self, events: Iterable[Event], sign: int) -> None:
        for event in events:
            self.events += sign
            self.bytes += sign * len(event.body)

    # -- what is due -------------------------------------------------------------------------

    def pop_due(self, limit: int, newest: int) -> list[Event]:
        """Take out what is due: retries, then the oldest; ``newest`` of them are the newest."""
        now = self._monotonic()
        fresh = len(self.taken) + len(self.new)
        reserved = [(self.new or self.taken).pop() for _ in range(min(newest, limit, fresh))]
        found: list[Event] = []
        most = limit - len(reserved)
        while len(found) < most and self._later and self._later[0].due_at <= now:
            found.append(heapq.heappop(self._later).event)
        while len(found) < most and (queue := self.taken or self.new):
            found.append(queue.popleft())
        return [*found, *reversed(reserved)]

    def has_due(self, limit: int) -> bool:
        """Whether this many are due."""
        now = self._monotonic()
        due = sum(1 for each in self._later if each.due_at <= now)
        return len(self.taken) + len(self.new) + due >= limit

    def next_seconds(self) -> float | None:
        """Returns when the next one is due, from now on; None if none waits."""
        if self.taken or self.new:
            return 0.0
        return max(0.0, self._later[0].due_at - self._monotonic()) if self._later else None

    def add_later(self, event: Event, delay_seconds: float) -> None:
        """Keep an event until it is due."""
        heapq.heappush(self._later, Later(self._monotonic() + delay_seconds, event.order, event))

    def add_taken(self, events: list[Event], wall: float) -> None:
        """Keep events that were taken from the store; one that was a dead letter is new."""
        for event in events:
            if event.due:
                self.add_later(event, min(0.0, event.due - wall))
            else:
                (self.taken if event.key else self.new).append(event)
        self.count(events, 1)

    # -- what moves --------------------------------------------------------------------------

    def begin_move(self, what: What, *, is_written: bool) -> Batch:
        """Take out what should go into the store; ``is_written``: all is in the journal."""
        batch = self._moving = Batch(self.letters[:_MOVED_EVENTS])
        del self.letters[: len(batch.letters)]
        if what is What.LETTERS:
            return batch
        is_all = what is What.ALL
        if is_all or (self.is_beyond and is_written):
            size, most = 0, len(self.taken) + len(self.new)
            most = min(_MOVED_EVENTS, most if is_all else (len(self.new) + 1) // 2)
            while len(batch.new) < most and size < _MOVED_BYTES:
                queue = self.taken if is_all and self.taken else self.new
                batch.new.append(queue.popleft())
                size += len(batch.new[-1].body)
        soon = self._monotonic() + (-inf if is_all else _SOON_SECONDS)
        batch.later = [each for each in self._later if each.due_at > soon]
        if batch.later:
            self._later = [each for each in self._later if each.due_at <= soon]
            heapq.heapify(self._later)
        return batch

    def end_move(self, batch: Batch, *, is_done: bool) -> None:
        """It is in the store now, or must come back here."""
        self._moving = Batch()
        if is_done:
            self.count(batch.events(), -1)
            return
        self.letters[:0] = batch.letters
        for event in reversed(batch.new):
            (self.taken if event.key else self.new).appendleft(event)
        for each in batch.later:
            heapq.heappush(self._later, each)

    def return_claims(self, wall: float) -> dict[int, Hashable]:
        """Take back everything that is claimed. Returns the claim of each number."""
        claims = {event.number: key for key, event in self.claimed.items()}
        for event in self.claimed.values():
            if event.due:
                self.add_later(event, event.due - wall)
            elif event.attempts and not event.key:
                self.add_later(event, 0.0)
            else:
                (self.taken if event.key else self.new).append(event)
        self.claimed.clear()
        self.taken = deque(sorted(self.taken, key=lambda event: event.order))
        self.new = deque(sorted(self.new, key=lambda event: event.order))
        return claims

    def oldest(self) -> int | None:
        """Returns the lowest number that is needed."""
        letters = (*self.letters, *self._moving.letters)
        numbers = (event.number for event in (*self, *(letter.event for letter in letters)))
        return min(numbers, default=None)
