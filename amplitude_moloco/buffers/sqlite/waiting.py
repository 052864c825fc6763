"""The events that a process holds in memory: all of its own that are not in the store."""

from __future__ import annotations

import errno
import heapq
import os
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import Any, NamedTuple

from amplitude_moloco.buffers.base import Entry
from amplitude_moloco.buffers.sqlite.journal import Journal, Segment
from amplitude_moloco.buffers.sqlite.record import DONE, Event, frame_of
from amplitude_moloco.host.interruption import is_interruption
from amplitude_moloco.host.locks import release_fully
from amplitude_moloco.reasons import DeadLetterReason, DropReason

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
    """Puts and claims. Safe from any thread. Its lock is held for an append to the journal at most.

    Args:
        bounds: Of events and bytes, and of what is in the store as well; see ``shared``.
        clocks: The wall's, in Unix seconds, and one that never goes back.
        is_synced: Whether each put waits for the disk.
    """

    def __init__(
        self,
        journal: Journal,
        token: str,
        bounds: tuple[int, int],
        clocks: tuple[Callable[[], float], Callable[[], float]],
        *,
        is_synced: bool,
    ) -> None:
        self.journal = journal
        self._is_synced = is_synced
        self.token = token
        self._max_events, self._max_bytes = bounds
        self._wall, self._monotonic = clocks
        self.lock = threading.RLock()
        self.last = 0
        """The number of the newest event."""
        self.new: deque[Event] = deque()
        self.taken: deque[Event] = deque()
        """From the store, not sent yet, and older than all new ones."""
        self.later: list[Later] = []
        self.claimed: dict[Hashable, Event] = {}
        self.letters: list[Letter] = []
        self.moving = Batch()
        self.events = self.bytes = 0
        """Of all but the dead letters."""
        self.shared = (0, 0)
        """Events and bytes of the store, and of other processes."""
        self.unwritten_from = 1
        """The first number that is not in the journal; 0 if there is none."""
        self.fault = ""
        """Why the journal can't be written."""
        self.sync_fault = ""
        """Why the disk has not written it."""
        self.is_closed = False
        self._claims = 0

    # -- the app's threads -------------------------------------------------------------------

    def put(self, id: str, sync: str, body: bytes) -> DropReason | None:
        """As ``Buffer.put``. An exception that strikes from outside leaves all other events."""
        try:
            refused = self._put(id, sync, body)
            if self._is_synced and refused is None:
                self.sync()
        except Exception as error:
            self._recover()
            if is_interruption(error):
                raise
            return DropReason.UNAVAILABLE  # an app's thread must not see it, whatever it is
        except BaseException:  # from a signal handler, after any instruction
            self._recover()
            raise
        return refused

    def _put(self, id: str, sync: str, body: bytes) -> DropReason | None:
        size = len(body)
        with self.lock:
            if self.is_closed:
                return DropReason.CLOSED
            events, shared_bytes = self.shared
            if (
                self.events + events >= self._max_events
                or self.bytes + shared_bytes + size > self._max_bytes
                or self.bytes + self.events * _OVERHEAD_BYTES > _HARD_BYTES
            ):
                return DropReason.FULL
            # The copy lets go of what the encoder has allocated beyond its length.
            event = Event(self.last + 1, self._wall(), sync, id, b"%b" % body)
            frame = frame_of(event)
            self.last += 1
            segment = None if self.unwritten_from else self.journal.current
            if segment is not None:
                self._append(segment, frame)
            self.new.append(event)
            self.events += 1
            self.bytes += size
            return None

    def _append(self, segment: Segment, frames: bytes) -> None:
        try:
            segment.append(frames)
            self.journal.written += 1
        except OSError as error:
            if is_interruption(error):
                raise
            self.lose_journal(error)

    def sync(self) -> None:
        """Have the disk write the journal."""
        try:
            self.journal.sync()
        except OSError as error:
            if is_interruption(error):
                raise
            self.sync_fault = error.strerror or str(error)

    def lose_journal(self, error: OSError) -> None:
        """Keep new events in memory alone."""
        self.journal.current = None
        self.unwritten_from = self.unwritten_from or max(1, self.last)
        self.fault = error.strerror or str(error)

    def spare_disk(self) -> None:
        """Keep new events in memory alone: the rest of the disk is for settling what is stored."""
        with self.lock:
            self.unwritten_from = self.unwritten_from or self.last + 1
            self.fault = os.strerror(errno.ENOSPC)

    def _recover(self) -> None:
        """Called without the lock, or with one that was not released. Counts anew."""
        release_fully(self.lock)
        self.journal.recover()
        with self.lock:
            self.events = sum(1 for _ in self.all())
            self.bytes = sum(len(event.body) for event in self.all())

    # -- the senders -------------------------------------------------------------------------

    def take(self, limit: int, newest: int) -> list[Entry]:
        """Claim what is due: retries, then the oldest; ``newest`` of them are the newest."""
        with self.lock:
            now = self._monotonic()
            fresh = len(self.taken) + len(self.new)
            reserved = [(self.new or self.taken).pop() for _ in range(min(newest, limit, fresh))]
            found: list[Event] = []
            most = limit - len(reserved)
            while len(found) < most and self.later and self.later[0].due_at <= now:
                found.append(heapq.heappop(self.later).event)
            while len(found) < most and (queue := self.taken or self.new):
                found.append(queue.popleft())
            return [self._claim(event) for event in (*found, *reversed(reserved))]

    def ack(self, key: Hashable) -> bool:
        """Remove a claimed event that was delivered, and note it."""
        with self.lock:
            event = self.claimed.pop(key, None)
            if event is None:
                return False
            self._count([event], -1)
        self.journal.note(DONE, [event.number])
        return True

    def retry(self, key: Hashable, delay_seconds: float, attempts: int, strikes: int) -> bool:
        """Keep a claimed event until it is due again."""
        with self.lock:
            event = self.claimed.pop(key, None)
            if event is None:
                return False
            event = event._replace(attempts=attempts, strikes=strikes)
            self._add_later(event, self._monotonic() + delay_seconds)
            return True

    def bury(self, key: Hashable, attempts: int, buried_at: float, *how: Any) -> bool:
        """Turn a claimed event into a dead letter."""
        with self.lock:
            event = self.claimed.pop(key, None)
            if event is None:
                return False
            self._count([event], -1)
            self.letters.append(Letter(event._replace(attempts=attempts), buried_at, *how))
            return True

    def _add_later(self, event: Event, due_at: float) -> None:
        heapq.heappush(self.later, Later(due_at, event.order, event))

    def next_seconds(self) -> float | None:
        """Returns when the next one here is due, from now on; None if none waits."""
        with self.lock:
            if self.taken or self.new:
                return 0.0
            return max(0.0, self.later[0].due_at - self._monotonic()) if self.later else None

    def has_enough(self, limit: int) -> bool:
        """Whether this many can be claimed without the store."""
        with self.lock:
            now = self._monotonic()
            due = sum(1 for each in self.later if each.due_at <= now)
            return len(self.taken) + len(self.new) + due >= limit

    def count(self) -> int:
        """Returns how many wait."""
        return len(self.new) + len(self.taken) + len(self.later)

    def all(self) -> Iterator[Event]:
        """Yields all that are neither done nor in the store, but the dead letters."""
        yield from self.taken
        yield from self.new
        yield from self.claimed.values()
        yield from (each.event for each in self.later)
        yield from self.moving.events()

    def _claim(self, event: Event) -> Entry:
        self._claims += 1
        key = self.token, self._claims
        self.claimed[key] = event
        return self._entry(key, event)

    def _entry(self, key: Hashable, event: Event) -> Entry:
        _, accepted_at, sync, id, body, attempts, strikes, _, _ = event
        age_seconds = max(0.0, self._wall() - accepted_at)
        return Entry(key, id, sync, body, accepted_at, age_seconds, attempts, strikes)

    def _count(self, events: list[Event], sign: int) -> None:
        self.events += sign * len(events)
        self.bytes += sign * sum(len(event.body) for event in events)

    def _share(self, events: list[Event], sign: int) -> None:
        shared, size = self.shared
        self.shared = (
            shared + sign * len(events),
            size + sign * sum(len(event.body) for event in events),
        )

    # -- to and from the store ---------------------------------------------------------------

    def is_beyond(self) -> bool:
        """Whether there is more than should wait in memory."""
        return len(self.new) > _MOST_EVENTS or self.bytes > _MOST_BYTES

    def begin_move(self, what: What) -> Batch:
        """Take out what should go into the store."""
        with self.lock:
            batch = self.moving = Batch(self.letters[:_MOVED_EVENTS])
            del self.letters[: len(batch.letters)]
            if what is What.LETTERS:
                return batch
            is_all = what is What.ALL
            if is_all or (self.is_beyond() and not self.unwritten_from):
                size, most = 0, len(self.taken) + len(self.new)
                most = min(_MOVED_EVENTS, most if is_all else (len(self.new) + 1) // 2)
                while len(batch.new) < most and size < _MOVED_BYTES:
                    queue = self.taken if is_all and self.taken else self.new
                    batch.new.append(queue.popleft())
                    size += len(batch.new[-1].body)
            soon = self._monotonic() + (-inf if is_all else _SOON_SECONDS)
            batch.later = [each for each in self.later if each.due_at > soon]
            if batch.later:
                self.later = [each for each in self.later if each.due_at <= soon]
                heapq.heapify(self.later)
            return batch

    def end_move(self, batch: Batch, *, is_done: bool) -> None:
        """It is in the store now, or must come back here."""
        with self.lock:
            self.moving = Batch()
            if is_done:
                self._count(batch.events(), -1)
                self._share(batch.events(), 1)
                return
            self.letters[:0] = batch.letters
            self.taken.extendleft(event for event in reversed(batch.new) if event.key)
            self.new.extendleft(event for event in reversed(batch.new) if not event.key)
            for each in batch.later:
                heapq.heappush(self.later, each)

    def write_taken(self, events: list[Event], note: Callable[[int, int], bytes]) -> list[Event]:
        """Append events from the store to the journal, after a note. Returns them with numbers.

        Raises OSError.
        """
        with self.lock:
            first = self.last + 1
            events = [event._replace(number=first + i) for i, event in enumerate(events)]
            self.last += len(events)
            segment = self.journal.current
            if segment is None:
                raise OSError(errno.EIO, self.fault)
            try:
                segment.append(b"".join([note(first, self.last), *map(frame_of, events)]))
            except OSError as error:
                self.lose_journal(error)
                raise
            self.journal.written += 1
            return events

    def add_taken(self, events: list[Event]) -> None:
        """Hold events that were taken from the store; one that was a dead letter is new."""
        with self.lock:
            now, wall = self._monotonic(), self._wall()
            for event in events:
                if event.due:
                    self._add_later(event, now + min(0.0, event.due - wall))
                else:
                    (self.taken if event.key else self.new).append(event)
            self._count(events, 1)
            self._share([event for event in events if event.key], -1)

    def return_claims(self) -> dict[int, Hashable]:
        """Take back everything that is claimed. Returns the claim of each number."""
        with self.lock:
            claims = {event.number: key for key, event in self.claimed.items()}
            now, wall = self._monotonic(), self._wall()
            for event in self.claimed.values():
                if event.due:
                    self._add_later(event, now + event.due - wall)
                elif event.attempts and not event.key:
                    self._add_later(event, now)
                else:
                    (self.taken if event.key else self.new).append(event)
            self.claimed.clear()
            self.taken = deque(sorted(self.taken, key=lambda event: event.order))
            self.new = deque(sorted(self.new, key=lambda event: event.order))
            return claims

    # -- the journal -------------------------------------------------------------------------

    def unwritten(self, claims: dict[int, Hashable]) -> list[Entry]:
        """Returns what is here and not in the journal, with the claims that it had."""
        first = self.unwritten_from or self.last + 1
        return [
            self._entry(claims.get(event.number), event)
            for event in self.all()
            if event.number >= first
        ]

    def oldest(self) -> int:
        """Returns the lowest number that the journal must keep."""
        with self.lock:
            numbers = [event.number for event in self.all()]
            numbers += [letter.event.number for letter in (*self.letters, *self.moving.letters)]
            return min(numbers, default=self.last + 1)

    def rewrite(self, journal: Journal) -> None:
        """Write all into a new segment of this journal, and give up the others. Raises OSError."""
        segment = journal.new_segment()
        with self.lock:
            events = [*self.all(), *(letter.event for letter in self.letters)]
            journal.begin(segment, self.last + 1, b"".join(map(frame_of, events)))
            old, self.journal = self.journal, journal
            self.unwritten_from, self.fault = 0, ""
            old.close(is_done=True, most=1 if old is journal else 0)
