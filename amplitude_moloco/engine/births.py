"""When this process stored an event, by a clock that can't be set."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

_MOST = 10_000


class Births:
    """Remembers when the ten thousand events stored last were stored. Safe from any thread.

    A durable buffer knows only the wall clock. If that steps forward by a month, everything in it
    looks a month old.

    Args:
        monotonic: The clock, in seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._born_at: OrderedDict[str, float] = OrderedDict()

    def add(self, id: str) -> None:
        """Remember that an event is stored now."""
        self._born_at[id] = self._monotonic()
        if len(self._born_at) > _MOST:
            self._born_at.popitem(last=False)

    def age_seconds(self, id: str, *, at_most: float) -> float:
        """Returns the age of an event: ``at_most``, or less if this clock says so."""
        born_at = self._born_at.get(id)
        return at_most if born_at is None else min(at_most, self._monotonic() - born_at)
