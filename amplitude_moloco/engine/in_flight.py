"""What this process has claimed of its buffer: staged for a sender, or on its way."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from amplitude_moloco.buffers.base import Entry

AHEAD_SECONDS = 10.0
"""At a slow pace no more is claimed than goes in this time, so that no lease ends meanwhile."""


class Claims:
    """Entries from their claim until they are settled. Whoever calls holds a lock.

    Args:
        most: How many may be on their way at a time.
    """

    def __init__(self, most: int) -> None:
        self.staged: deque[Entry] = deque()
        """Claimed, and not yet taken by a sender."""
        self._most = most
        self._on_their_way: set[int] = (
            set()
        )  # keys: taken by a sender, and not yet settled and told
        self._untried: set[int] = set()  # keys: of all of them, those that were never sent before

    def __bool__(self) -> bool:
        return bool(self.staged or self._on_their_way)

    @property
    def is_full(self) -> bool:
        """Whether as many are on their way as may be."""
        return len(self._on_their_way) >= self._most

    def limit(self, rate: float | None) -> int:
        """How many more may be claimed, at so many requests a second; None: as fast as can be."""
        if rate is None:
            return self._most
        claimed = len(self.staged) + len(self._on_their_way)
        return min(self._most, max(1, int(rate * AHEAD_SECONDS)) - claimed)

    def stage(self, entries: Sequence[Entry]) -> None:
        """They were claimed just now."""
        self.staged.extend(entries)
        self._untried.update(entry.key for entry in entries if not entry.attempts)

    def take(self) -> Entry:
        """Take the next one that is staged, to send it."""
        entry = self.staged.popleft()
        self._on_their_way.add(entry.key)
        return entry

    def settled(self, entry: Entry) -> None:
        """One that was taken is not on its way any more."""
        self._on_their_way.discard(entry.key)
        self._untried.discard(entry.key)

    def oldest_untried(self) -> int | None:
        """The lowest key of those that were never sent before."""
        return min(self._untried, default=None)
