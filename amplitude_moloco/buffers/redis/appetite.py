"""How much is fetched from Redis at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

_SPAN_SECONDS = 0.05
_MOST_AHEAD = 500
_MOST_AT_A_TIME = 250
"""So that no script runs long."""


class Demand(NamedTuple):
    """How many entries are to be claimed in Redis, and how many of them are the newest."""

    limit: int
    newest: int


class Appetite:
    """What senders want to find, by what they have asked for and got. The caller holds a lock.

    That is what they asked for last, or what goes out in a twentieth of a second if that is more:
    fetched a few at a time, an entry costs several times as much.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._counted_from = monotonic()
        self._count = self._before = 0
        self._newest = 0
        self.limit = 0
        """How many the senders have asked for last."""

    def note(self, limit: int, newest: int, taken: int) -> None:
        """Senders have asked for this many, and got as many as were there."""
        now = self._monotonic()
        elapsed_seconds = now - self._counted_from
        if elapsed_seconds >= _SPAN_SECONDS:
            self._before = int(self._count * _SPAN_SECONDS / elapsed_seconds)
            self._counted_from, self._count = now, 0
        self._count += taken
        self.limit = limit
        self._newest = min(self._newest + newest, self.ahead)

    @property
    def ahead(self) -> int:
        """How many entries are to be ready for the senders."""
        return max(self.limit, min(max(self._before, self._count), _MOST_AHEAD))

    def demand(self, ready: int) -> Demand:
        """Returns what is to be fetched where so many are ready."""
        limit = max(0, min(self.ahead - ready, _MOST_AT_A_TIME))
        return Demand(limit, min(limit, self._newest))

    def fetched(self, demand: Demand) -> None:
        """This was fetched."""
        self._newest -= demand.newest
