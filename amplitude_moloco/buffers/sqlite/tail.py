"""The events that a process holds in memory: its newest ones, and what it has on its way."""

from __future__ import annotations

import errno
import heapq
import os
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
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
_OVERHEAD_BYTES = 256
"""What an event takes in memory besides its frame."""
_MOVED_BYTES = 1024**2
"""About what goes into the store in one transaction."""
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


class Tail:
    """Safe from any thread. Its lock is held for an append to the journal at most.

    Args:
        max_events, max_bytes: The bounds, of what is in the store as well; see ``shared``.
    """

    def __init__(
        self,
        journal: Journal,
        token: str,
        *,
        max_events: int,
        max_bytes: int,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self.journal = journal
        self.token = token
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._wall = wall
        self._monotonic = monotonic
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
            self._new_bytes += _OVERHEAD_BYTES + len(frame)
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
            self._new_bytes = sum(_OVERHEAD_BYTES + len(frame) for frame in self.new)

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

    # -- what moves --------------------------------------------------------------------------

    def is_beyond(self) -> bool:
        """Whether there is more than fits into the tail, or something outside it."""
        return self._new_bytes > TAIL_BYTES or len(self.new) > TAIL_EVENTS

    def _is_above_half(self) -> bool:
        return self._new_bytes > TAIL_BYTES // 2 or len(self.new) > TAIL_EVENTS // 2

    def begin_move(self, most: int, *, after_seconds: float | None) -> Batch:
        """Take out what should go into the store; all with ``after_seconds=None``.

        Else what is beyond the bounds, what is due after that time, and all that is at its end.
        """
        with self.lock:
            is_all = after_seconds is None
            batch = Batch(letters=self.letters[:most], rows_done=self.rows_done[:most])
            del self.letters[: len(batch.letters)], self.rows_done[: len(batch.rows_done)]
            if is_all or ((self.spilled_from or self.is_beyond()) and not self.unwritten_from):
                size = 0
                while self.new and len(batch.new) < most and size < _MOVED_BYTES:
                    if not is_all and not self._is_above_half():
                        break
                    batch.new.append(self._pop_new(self.new.popleft()))
                    size += len(batch.new[-1])
            due_at = self._monotonic() + (after_seconds or 0.0)
            later = (each for each in self.later if is_all or each.due_at > due_at)
            batch.later = sorted(later, key=lambda each: each.order)
            if batch.later:
                self.later = [each for each in self.later if not (is_all or each.due_at > due_at)]
                heapq.heapify(self.later)
            self.moving = batch
            return batch

    def end_move(self, batch: Batch, *, is_done: bool) -> None:
        """It is in the store now, or must come back here."""
        with self.lock:
            self.moving = Batch()
            if is_done:
                for frame in batch.new:
                    self.leave(Item(frame))
                for each in batch.later:
                    self.leave(each.item)
                return
            self.letters[:0] = batch.letters
            self.rows_done[:0] = batch.rows_done
            self.new.extendleft(reversed(batch.new))
            self._new_bytes += sum(_OVERHEAD_BYTES + len(frame) for frame in batch.new)
            for each in batch.later:
                heapq.heappush(self.later, each)

    def refill(self) -> int:
        """Take back what is in the journal alone, as far as there is room. Returns what is missing.

        Raises OSError.
        """
        with self.lock:
            first, last, room = self.spilled_from, self.last, TAIL_EVENTS - len(self.new)
        if not first or room <= 0:
            return 0
        frames = self.journal.frames(first, room)
        with self.lock:
            self.new.extend(frames)
            self._new_bytes += sum(_OVERHEAD_BYTES + len(frame) for frame in frames)
            found_last = number_of(frames[-1]) if frames else 0
            if len(frames) < room:  # these were all, but for those put since
                found_last = max(found_last, last)
            events, spilled_bytes = self.spilled
            missing = 0
            if found_last >= self.last:  # caught up
                missing = events - len(frames)
                self.spilled_from, self.spilled = 0, (0, 0)
                self.events -= missing
                self.bytes -= spilled_bytes - sum(map(body_size, frames))
            else:
                self.spilled_from = found_last + 1
                size = sum(map(body_size, frames))
                self.spilled = events - len(frames), spilled_bytes - size
            return missing

    def return_claims(self) -> dict[int, Hashable]:
        """Take back everything that is claimed. Returns the claim of each number of the journal."""
        with self.lock:
            own = {item.number: key for key, item in self.claimed.items() if not item.row}
            items = [item for item in self.claimed.values() if not item.row]
            self.claimed.clear()
            self.fetched.clear()
            frames = [item.frame for item in items if not item.attempts]
            self.new = deque(sorted((*self.new, *frames), key=number_of))
            self._new_bytes = sum(_OVERHEAD_BYTES + len(frame) for frame in self.new)
            for item in items:
                if item.attempts:
                    self.add_later(item, self._monotonic())
            return own

    def unwritten(self, claims: Mapping[int, Hashable]) -> list[Entry]:
        """Returns what is here and not in the journal, with the claims that it had."""
        first = self.unwritten_from
        with self.lock:
            frames = [frame for frame in self.own_frames() if number_of(frame) >= first > 0]
            return [self._entry(claims.get(number_of(each)), Item(each)) for each in frames]

    def own_frames(self) -> Iterator[bytes]:
        """Yields the frames of this process's journal that are here and needed."""
        yield from self.new
        yield from self.moving.new
        for item in self._items():
            if not item.row:
                yield item.frame

    def open_numbers(self, until: int) -> list[int]:
        """Returns the numbers of those that are not about to be moved, up to this one."""
        with self.lock:
            moving = {item.number for item in self.moving.items()}
            numbers = {item.number for item in self._items()} - moving - {0}
            for frame in self.new:
                if (number := number_of(frame)) > until and not self.unwritten_from:
                    break
                numbers.add(number)
            return sorted(number for number in numbers if number <= until)

    def oldest(self) -> int:
        """Returns the lowest number that the journal must keep."""
        with self.lock:
            numbers = [number_of(frame) for frame in self.own_frames()]
            numbers += [letter.item.number for letter in self.letters if not letter.item.row]
            if self.spilled_from:
                numbers.append(self.spilled_from)
            return min(numbers, default=self.last + 1)

    def untried(self) -> Iterator[Item]:
        """Yields all items here that were never sent."""
        yield from map(Item, (*self.new, *self.moving.new))
        yield from (item for item in self._items() if not item.attempts)
        yield from self.fetched

    def held_rows(self) -> int:
        """Returns how many rows of the store are on their way, or at their end."""
        items = (*self.claimed.values(), *(letter.item for letter in self.letters))
        return len(self.rows_done) + sum(1 for item in items if item.row)

    def waiting(self) -> int:
        """Returns how many events of this process's journal wait."""
        later = sum(1 for each in self.later if not each.item.row)
        return len(self.new) + later + self.spilled[0]

    def _items(self) -> Iterable[Item]:
        yield from self.claimed.values()
        yield from (each.item for each in self.later)
        yield from (each.item for each in self.moving.later)

    def _fresh(self) -> int:
        return len(self.fetched) + len(self.new)

    def _pop_newest(self) -> Item:
        return Item(self._pop_new(self.new.pop())) if self.new else self.fetched.pop()

    def _pop_new(self, frame: bytes) -> bytes:
        self._new_bytes -= _OVERHEAD_BYTES + len(frame)
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
