"""Counts the events that no sync selects, and what filters leave out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from amplitude_moloco.engine.facts import Unselected
from amplitude_moloco.engine.tally import Tally

OTHER_NAMES = "(other names)"
"""What events are counted under whose name is one too many, too long, or no text."""
_MAX_NAMES = 100
_MAX_CHARACTERS = 100


class Refusing(Protocol):
    """A sync that has refused an event whose name it is configured with."""

    name: str
    enabled: bool


class SelectionWatch(Protocol):
    """Learns what is not selected while an event is converted. Quick, and never raises."""

    def refused(self, sync: Any) -> None:
        """This sync has the event's name, and has refused it: by its filter, or disabled."""
        ...

    def unselected(self, event_name: object) -> None:
        """No sync selects the event."""
        ...


class SelectionTotals(NamedTuple):
    """The counters at one moment."""

    unselected: dict[str, int]
    filtered: dict[str, int]


class SelectionCounts:
    """A SelectionWatch that counts. Safe from any thread, and without a lock.

    An exception that strikes from outside, such as a signal handler's, costs one count at most.

    Args:
        post: Takes the fact of each name's first unselected event. It may not call hooks here.
    """

    def __init__(self, post: Callable[[Unselected], object] = lambda fact: None) -> None:
        self._post = post
        self._unselected: dict[str, Tally] = {}
        self._filtered: dict[str, Tally] = {}

    def refused(self, sync: Refusing) -> None:
        if sync.enabled:
            name = sync.name
            (self._filtered.get(name) or self._filtered.setdefault(name, Tally())).add()

    def unselected(self, event_name: object) -> None:
        tally = self._unselected.get(event_name) if type(event_name) is str else None
        if tally is None:
            event_name = self._name_of(event_name)
            tally = self._unselected.setdefault(event_name, Tally())
        if not tally.add() and event_name != OTHER_NAMES:
            self._post(Unselected(str(event_name)))

    def totals(self) -> SelectionTotals:
        """Returns the counters of this moment."""
        return SelectionTotals(_values(self._unselected), _values(self._filtered))

    def _name_of(self, event_name: object) -> str:
        """Returns what to count under. The names that come first have a counter of their own."""
        name = str.__str__(event_name) if isinstance(event_name, str) else OTHER_NAMES
        has_own = name in self._unselected or len(self._unselected) < _MAX_NAMES
        return name if has_own and len(name) <= _MAX_CHARACTERS else OTHER_NAMES


def _values(tallies: dict[str, Tally]) -> dict[str, int]:
    return {name: tally.value for name, tally in [*tallies.items()]}
