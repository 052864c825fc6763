"""Counts the events that no sync selects, and what filters leave out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from amplitude_moloco.engine.facts import Unselected
from amplitude_moloco.host.locks import release_fully

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
    """A SelectionWatch that counts. Safe from any thread, and as careful as ``Engine.put``.

    Args:
        post: Takes the fact of each name's first unselected event. It may not call hooks here.
    """

    def __init__(self, post: Callable[[Unselected], object] = lambda fact: None) -> None:
        self._post = post
        self._lock = threading.RLock()  # held for a look-up alone
        self._unselected: dict[str, int] = {}
        self._filtered: dict[str, int] = {}

    def refused(self, sync: Refusing) -> None:
        if sync.enabled:
            try:
                with self._lock:
                    self._filtered[sync.name] = self._filtered.get(sync.name, 0) + 1
            except BaseException:  # from a signal handler, after any instruction
                release_fully(self._lock)
                raise

    def unselected(self, event_name: object) -> None:
        try:
            with self._lock:
                name = self._name_of(event_name)
                count = self._unselected.get(name, 0) + 1
                self._unselected[name] = count
        except BaseException:  # as above
            release_fully(self._lock)
            raise
        if count == 1 and name != OTHER_NAMES:
            self._post(Unselected(name))

    def totals(self) -> SelectionTotals:
        """Returns a copy of the counters."""
        with self._lock:
            return SelectionTotals(dict(self._unselected), dict(self._filtered))

    def _name_of(self, event_name: object) -> str:
        """Returns what to count under. The names that come first have a counter of their own."""
        if not isinstance(event_name, str):
            return OTHER_NAMES
        name = event_name if type(event_name) is str else str.__str__(event_name)
        has_own = name in self._unselected or len(self._unselected) < _MAX_NAMES
        return name if has_own and len(name) <= _MAX_CHARACTERS else OTHER_NAMES
