"""When this process stored an event, by a clock that can't be set."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_MOST = 10_000
_STEP_SECONDS = 60.0
"""A wall clock that gains more than this on the monotonic one was set forward."""


class Births:
    """Remembers when the ten thousand events stored last were stored. Safe from any thread.

    A durable buffer knows only the wall clock. If that steps forward by a month, everything in it
    looks a month old.

    Of others, which an earlier run or another process stored, it knows how far the clock has been
    set forward since it began.

    Args:
        monotonic: The clock, in seconds.
        wall: Gives the Unix time in seconds.
    """

    def __init__(
        self, monotonic: Callable[[], float], wall: Callable[[], float] = time.time
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._ahead_seconds = wall() - monotonic()
        self._born_at: OrderedDict[str, float] = OrderedDict()

    def add(self, id: str) -> None:
        """Remember that an event is stored now."""
        self._born_at[id] = self._monotonic()
        if len(self._born_at) > _MOST:
            self._born_at.popitem(last=False)

    def age_seconds(self, id: str, *, at_most: float) -> float:
        """Returns the age of an event: ``at_most``, or less if this clock says so."""
        born_at = self._born_at.get(id)
        if born_at is not None:
            return min(at_most, self._monotonic() - born_at)
        step_seconds = self._wall() - self._monotonic() - self._ahead_seconds
        return max(0.0, at_most - step_seconds) if step_seconds > _STEP_SECONDS else at_most
