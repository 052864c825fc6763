"""What this process has claimed: staged to be sent, or on its way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable

from amplitude_moloco.buffers.base import Entry
from amplitude_moloco.engine.window import Window

_MOST_AT_A_TIME = 64
"""This many are claimed where they go in a moment: each claim has its price."""
_FAST_PER_SECOND = 3200
AHEAD_SECONDS = 1.0
"""At a limited rate no more is claimed than goes in this time: new events would wait behind it, and
the rest is left to other processes."""


class InFlight:
    """Entries from their claim until they are settled. The caller holds a lock.

    Args:
        window: How many may be on their way at a time.
        monotonic: The clock, in seconds.
    """

    def __init__(self, window: Window, monotonic: Callable[[], float]) -> None:
        self.staged: deque[tuple[Entry, float]] = deque()
        """Claimed, and not yet taken by a sender: each with the time at which it was claimed."""
        self._window = window
        self._monotonic = monotonic
        self._sent: set[Hashable] = set()
        self._settling: set[Hashable] = set()
        self._newest_share = 0.0
        self._claimed_at = monotonic()
        self._taken = 0

    def __bool__(self) -> bool:
        return bool(self.staged or self._sent)

    @property
    def is_full(self) -> bool:
        """Whether as many are on their way as may be."""
        return len(self._sent) >= self._window.size

    def limit(self, rate: float | None) -> int:
        """Returns how many more may be claimed, at a rate in requests a second (None: no limit).

        For the one thread that claims, once for each claim.
        """
        most = self._window.size
        if rate is None:
            return max(most, _MOST_AT_A_TIME) if self._is_fast() else most
        claimed = len(self.staged) + len(self._sent)
        return min(most, max(1, int(rate * AHEAD_SECONDS)) - claimed)

    def _is_fast(self) -> bool:
        """Whether answers come at once: by what was taken since the last claim."""
        now = self._monotonic()
        seconds, self._claimed_at = now - self._claimed_at, now
        taken, self._taken = self._taken, 0
        return taken > seconds * _FAST_PER_SECOND

    def newest(self, limit: int) -> int:
        """Returns how many of a claim are to be the newest: a quarter, however small claims are.

        So new events pass a backlog, and the backlog shrinks. For the one thread that claims.
        """
        self._newest_share += limit / 4
        newest = int(self._newest_share)
        self._newest_share -= newest
        return newest

    def stage(self, entries: Iterable[Entry]) -> None:
        """Add what was claimed just now."""
        now = self._monotonic()
        self.staged.extend((entry, now) for entry in entries)

    def take(self) -> Entry:
        """Take the next staged entry, to send it. Its age is that of now."""
        entry, staged_at = self.staged.popleft()
        self._taken += 1
        self._sent.add(entry.key)
        return entry.aged(self._monotonic() - staged_at)

    def has_sent(self, entry: Entry) -> bool:
        """Whether it was taken, and is not settled."""
        return entry.key in self._sent

    def begin_settling(self, entry: Entry) -> None:
        """Its outcome is known, and about to reach the buffer and the counters."""
        self._settling.add(entry.key)

    def end_settling(self, entry: Entry) -> None:
        """The buffer and the counters know its outcome."""
        self._settling.discard(entry.key)
        self._sent.discard(entry.key)

    @property
    def settling(self) -> frozenset[Hashable]:
        """The entries whose outcome the buffer may know already, and the counters do not yet."""
        return frozenset(self._settling)
