"""The events that a process holds in memory: puts and claims."""

from __future__ import annotations

import errno
import heapq
import os
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from amplitude_moloco.buffers.base import Entry
from amplitude_moloco.buffers.sqlite.journal import Journal
from amplitude_moloco.buffers.sqlite.record import (
    DONE,
    LETTERS_DONE,
    ROWS_DONE,
    Event,
    body_size,
    event_frame,
    event_of_frame,
    note_frame,
    number_of,
)
from amplitude_moloco.host.interruption import is_interruption
from amplitude_moloco.host.locks import release_fully
from amplitude_moloco.reasons import DeadLetterReason, DropReason

TAIL_EVENTS = 4096
TAIL_BYTES = 4 * 1024**2
"""What is beyond these bounds is moved into the store."""
OVERHEAD_BYTES = 256
"""What an event takes in memory besides its frame."""
_MOST = 3
"""Beyond this many times the bounds, new events are in the journal alone until there is room."""


class Item(NamedTuple):
    """An event that was claimed once, or that comes from the store."""

    frame: bytes
    row: int = 0
    """Its key in the store; 0 for an event of this process's journal."""
    attempts: int = 0
    strikes: int = 0

    @property
    def number(self) -> int:
        """Its number in this process's journal; 0 for one from the store."""
        return 0 if self.row else number_of(self.frame)

    @property
    def order(self) -> tuple[bool, int]:
        """What is in the store came before what is not."""
        return (False, self.row) if self.row else (True, self.number)


class Later(NamedTuple):
    """An item that is due at a time of the monotonic clock."""

    due_at: float
    order: tuple[bool, int]
    item: Item


class Letter(NamedTuple):
    """A dead letter that is not in the store yet."""

    item: Item
    buried_at: float
    reason: DeadLetterReason
    status: int | None
    message: str


@dataclass
class Batch:
    """What is about to be written into the store."""

    new: list[bytes] = field(default_factory=list)
    later: list[Later] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    rows_done: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.new or self.later or self.letters or self.rows_done)

    def items(self) -> Iterator[Item]:
        yield from (each.item for each in self.later)
        yield from (each.item for each in self.letters)


class Front:
    """Safe from any thread. Its lock is held for an append to the journal at most.

    Args:
        bounds: Of events and bytes, and of what is in the store as well; see ``shared``.
        clocks: The wall's, in Unix seconds, and one that never goes back.
    """

    def __init__(
        self,
        journal: Journal,
        token: str,
        bounds: tuple[int, int],
        clocks: tuple[Callable[[], float], Callable[[], float]],
    ) -> None:
        self.journal = journal
        self.token = token
        self._max_events, self._max_bytes = bounds
        self._wall, self._monotonic = clocks
        self.lock = threading.RLock()
        self.last = 0
        """The number of the newest event."""
        self.new: deque[bytes] = deque()
        self.fetched: deque[Item] = deque()
        self.later: list[Later] = []
        self.claimed: dict[Hashable, Item] = {}
        self.moving = Batch()
        """What is being written into the store right now."""
        self.letters: list[Letter] = []
        self.rows_done: list[int] = []
        self.events = self.bytes = 0
        """Of this process's journal: what is neither done nor in the store."""
        self.shared = (0, 0)
        """Events and bytes that others hold, and the store."""
        self.spilled_from = 0
        """The first number that is in the journal and not here; 0 if there is none."""
        self.spilled = (0, 0)
        """Events and bytes of those."""
        self.unwritten_from = 0
        """The first number that is here and not in the journal; 0 if there is none."""
        self.fault = ""
        """Why the journal can't be written."""
        self.is_closed = False
        self._new_bytes = 0
        self._claims = 0

    # -- the app's threads -------------------------------------------------------------------

    def put(self, id: str, sync: str, body: bytes) -> DropReason | None:
        """As ``Buffer.put``. An exception that strikes from outside leaves all other events."""
        try:
            with self.lock:
                if self.is_closed:
                    return DropReason.CLOSED
                size = len(body)
                events, shared_bytes = self.shared
                if (
                    self.events + events >= self._max_events
                    or self.bytes + shared_bytes + size > self._max_bytes
                ):
                    return DropReason.FULL
                return self._keep(id, sync, body)
        except Exception as error:
            self._recover()
            if is_interruption(error):
                raise
            return DropReason.UNAVAILABLE  # an app's thread must not see it, whatever it is
        except BaseException:  # from a signal handler, after any instruction
            self._recover()
            raise

    def put_again(self, number: int, id: str, sync: str, body: bytes) -> None:
        """Put a dead letter that is resent. It may exceed the bounds."""
        with self.lock:
            self._keep(id, sync, body, note_frame(LETTERS_DONE, [number]))

    def _keep(self, id: str, sync: str, body: bytes, note: bytes = b"") -> DropReason | None:
        """Append an event to the journal, with a note, and keep it here while there is room."""
        size = len(body)
        self.last += 1
        frame = event_frame(self.last, self._wall(), sync, id, body)
        journal = self.journal
        segment = None if self.unwritten_from else journal.current
        if segment is not None:
            try:
                segment.append(note + frame)
                journal.written += 1
            except OSError as error:
                if is_interruption(error):
                    raise
                self.lose_journal(error)
                segment = None
        if self.spilled_from or self._new_bytes > _MOST * TAIL_BYTES:
            if segment is None:
                return DropReason.FULL
            self.spilled_from = self.spilled_from or self.last
            self.spilled = self.spilled[0] + 1, self.spilled[1] + size
        else:
            self.new.append(frame)
            self._new_bytes += OVERHEAD_BYTES + len(frame)
        self.events += 1
        self.bytes += size
        return None

    def lose_journal(self, error: OSError) -> None:
        """Keep new events in memory alone."""
        self.journal.current = None
        self.unwritten_from = self.unwritten_from or max(1, self.last)
        self.fault = error.strerror or str(error)

    def spare_disk(self) -> None:
        """Keep new events in memory alone, since what is left of the disk is for the others."""
        with self.lock:
            self.unwritten_from = self.unwritten_from or self.last + 1
            self.fault = os.strerror(errno.ENOSPC)

    def _recover(self) -> None:
        """Called without the lock, or with one that was not released. Counts anew."""
        release_fully(self.lock)
        self.journal.recover()
        with self.lock:
            frames = list(self.own_frames())
            events, spilled_bytes = self.spilled
            self.events = len(frames) + events
            self.bytes = sum(map(body_size, frames)) + spilled_bytes
            self._new_bytes = sum(OVERHEAD_BYTES + len(frame) for frame in self.new)

    # -- the senders -------------------------------------------------------------------------

    def take(self, limit: int, newest: int) -> list[Entry]:
        """Claim what is due: retries, then the newest, then the oldest."""
        with self.lock:
            now = self._monotonic()
            reserved = [self._pop_newest() for _ in range(min(newest, limit, self._fresh()))]
            taken: list[Item] = []
            most = limit - len(reserved)
            while len(taken) < most and self.later and self.later[0].due_at <= now:
                taken.append(heapq.heappop(self.later).item)
            while len(taken) < most and self.fetched:
                taken.append(self.fetched.popleft())
            while len(taken) < most and self.new:
                taken.append(Item(self._pop_new(self.new.popleft())))
            return [self._claim(item) for item in (*taken, *reversed(reserved))]

    def end(self, key: Hashable) -> Item | None:
        """Give up a claim. Returns its item; None if the claim is no longer the caller's."""
        with self.lock:
            return self.claimed.pop(key, None)

    def ack(self, key: Hashable) -> bool:
        """Remove a claimed event that was delivered, and note it."""
        with self.lock:
            item = self.claimed.pop(key, None)
            if item is None:
                return False
            number = item.number
            self.leave(item)
            if item.row:
                self.rows_done.append(item.row)
        if item.row:
            self.journal.note(ROWS_DONE, [item.row])
        else:
            self.journal.note(DONE, [number])
        return True

    def return_later(self, item: Item, delay_seconds: float) -> None:
        """Keep an item until it is due."""
        with self.lock:
            self.add_later(item, self._monotonic() + delay_seconds)

    def add_later(self, item: Item, due_at: float) -> None:
        heapq.heappush(self.later, Later(due_at, item.order, item))

    def bury(self, letter: Letter) -> None:
        with self.lock:
            self.leave(letter.item)
            self.letters.append(letter)

    def leave(self, item: Item) -> None:
        """Count an event of the journal no longer. Called with the lock held."""
        if not item.row:
            self.events -= 1
            self.bytes -= body_size(item.frame)

    def next_seconds(self) -> float | None:
        """Returns when the next one here is due, from now on; None if none waits."""
        with self.lock:
            if self._fresh() or self.spilled_from:
                return 0.0
            return max(0.0, self.later[0].due_at - self._monotonic()) if self.later else None

    def has_enough(self, limit: int) -> bool:
        """Whether so many can be claimed without the store."""
        with self.lock:
            now = self._monotonic()
            due = sum(1 for each in self.later if each.due_at <= now) if self.later else 0
            return self._fresh() + due >= limit

    def own_frames(self) -> Iterator[bytes]:
        """Yields the frames of this process's journal that are here and needed."""
        yield from self.new
        yield from self.moving.new
        for item in self._items():
            if not item.row:
                yield item.frame

    def _items(self) -> Iterable[Item]:
        yield from self.claimed.values()
        yield from (each.item for each in self.later)
        yield from (each.item for each in self.moving.later)

    def _fresh(self) -> int:
        return len(self.fetched) + len(self.new)

    def _pop_newest(self) -> Item:
        return Item(self._pop_new(self.new.pop())) if self.new else self.fetched.pop()

    def _pop_new(self, frame: bytes) -> bytes:
        self._new_bytes -= OVERHEAD_BYTES + len(frame)
        return frame

    def _claim(self, item: Item) -> Entry:
        self._claims += 1
        key = self.token, self._claims
        self.claimed[key] = item
        return self._entry(key, item)

    def _entry(self, key: Hashable, item: Item) -> Entry:
        event: Event = event_of_frame(item.frame)
        age_seconds = max(0.0, self._wall() - event.accepted_at)
        return Entry(
            key,
            event.id,
            event.sync,
            event.body,
            event.accepted_at,
            age_seconds,
            item.attempts,
            item.strikes,
        )
