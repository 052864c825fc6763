"""Lanes: the entries of one lane go one at a time, in the order in which they were put."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class Lanes(Generic[Item]):
    """What waits in each lane. Not safe from several threads at a time: its user holds a lock.

    A lane is busy from ``pop`` until ``leave``, whatever its entry does meanwhile, such as waiting
    for another attempt. A lane that is neither busy nor empty is ready. Only lanes with entries are
    kept. A finalizer may run anywhere and put an entry, in the same thread.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Item]] = {}
        self.ready: deque[str] = deque()
        """The lanes that may go on, in the order in which they became ready."""
        self.size = 0
        """How many entries wait."""

    def __iter__(self) -> Iterator[Item]:
        """Yields what waits, lane by lane."""
        for queue in [*self._waiting.values()]:
            yield from [*queue]

    def add(self, lane: str, item: Item) -> None:
        """Let an entry wait behind the others of its lane."""
        own: deque[Item] = deque()
        queue = self._waiting.setdefault(lane, own)
        queue.append(item)
        self.size += 1
        if queue is own:
            self.ready.append(lane)

    def pop(self) -> Item:
        """Take the first entry of the lane that has been ready for longest. It is busy now."""
        self.size -= 1
        return self._waiting[self.ready.popleft()].popleft()

    def leave(self, lane: str) -> None:
        """The entry that was taken from this lane is settled: the next one may go."""
        if self._waiting[lane]:
            self.ready.append(lane)
        else:  # without a call in between, in which a finalizer could add to it
            del self._waiting[lane]

    def sort(self, lanes: Collection[str], order: Callable[[Item], Any]) -> None:
        """Put what waits in these lanes in order."""
        for lane in lanes:
            self._waiting[lane] = deque(sorted(self._waiting[lane], key=order))

    def clear(self) -> list[Item]:
        """Take out everything, and forget which lanes are busy."""
        found = [*self]
        self._waiting.clear()
        self.ready.clear()
        self.size = 0
        return found

    def mend(self, busy: Collection[str]) -> None:
        """Make it sound after an exception that may have struck anywhere; ``busy``: those lanes."""
        self.size = sum(map(len, self._waiting.values()))
        self.ready = deque(
            lane for lane, queue in self._waiting.items() if queue and lane not in busy
        )
        kept = {*self.ready, *busy}
        for lane in [each for each in self._waiting if each not in kept]:
            del self._waiting[lane]
