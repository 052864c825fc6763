"""The events that a process holds in memory, and which of them move into the store."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Hashable, Iterator, Mapping

from amplitude_moloco.buffers.base import Entry
from amplitude_moloco.buffers.sqlite.front import (
    OVERHEAD_BYTES,
    TAIL_BYTES,
    TAIL_EVENTS,
    Batch,
    Front,
    Item,
)
from amplitude_moloco.buffers.sqlite.record import body_size, number_of

_MOVED_BYTES = 1024**2
"""About what goes into the store in one transaction."""


class Tail(Front):
    """Puts and claims, and what moves into the store. Safe from any thread."""

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
            self._new_bytes += sum(OVERHEAD_BYTES + len(frame) for frame in batch.new)
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
            self._new_bytes += sum(OVERHEAD_BYTES + len(frame) for frame in frames)
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
            self._new_bytes = sum(OVERHEAD_BYTES + len(frame) for frame in self.new)
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
