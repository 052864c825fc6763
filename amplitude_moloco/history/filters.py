"""Which events of an export to read, and why others are left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from typing import Any

from amplitude_moloco.convert.names import matcher
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.history.times import EPOCH, range_end
from amplitude_moloco.reasons import Reason
from amplitude_moloco.text import shown

NEVER_SENT = frozenset(
    {"$identify", "$groupidentify", "verified_revenue", "unverified_revenue"},
)
"""Names of events that Amplitude writes itself.

The first two describe users and groups. The others are computed from an event with revenue, and
carry the same amount: with them, a purchase would count twice.
"""
_MAX_CACHED = 1_000  # bounds the memory if an export has very many names


class LeftOutReason(Reason):
    """Why an event of an export is not read."""

    NEVER_SENT = "never_sent"
    """Amplitude computed it, or it describes a user or a group; see :data:`NEVER_SENT`."""
    EVENT_TYPE = "event_type"
    """Its name is not among those asked for, or is excluded."""
    LIBRARY = "library"
    """Another library sent it."""
    TIME = "time"
    """It happened before or after the range."""


Names = str | Iterable[str]


class Filters:
    """The events to read. Empty names and a range without ends let everything pass.

    Args:
        since: The beginning of the range, by the time of the event. It is included.
        until: The end of the range. It is not included.
        libraries: The libraries whose events to read, in any version unless one is given.
        event_types: The names of the events to read.
        exclude: The names of events to leave out.

    Raises:
        ConfigurationError: An argument can't work.
    """

    def __init__(
        self,
        *,
        since: date | datetime | str | None = None,
        until: date | datetime | str | None = None,
        libraries: Names = (),
        event_types: Names = (),
        exclude: Names = (),
    ) -> None:
        self._since = range_end("since", since)
        self._until = range_end("until", until)
        if self._since is not None and self._until is not None and self._until <= self._since:
            raise ConfigurationError("until: not after since; use a later time")
        names = _names_of("libraries", libraries)
        versions = [f"{name}/*" for name in names]
        self._is_library = _cached(matcher([*names, *versions])) if names else None
        included = _names_of("event_types", event_types)
        is_included = matcher(included or ["*"])
        is_excluded = matcher(_names_of("exclude", exclude))
        self._is_event = _cached(lambda name: is_included(name) and not is_excluded(name))
        self._text = (
            f"since {_text_of(self._since)}, until {_text_of(self._until)}, libraries {[*names]}, "
            f"event types {[*included]}, without {[*_names_of('exclude', exclude)]}"
        )

    def __str__(self) -> str:
        """Returns the filters in words."""
        return self._text

    def reason_against(self, event_type: str, library: object) -> LeftOutReason | None:
        """Returns why an event of this name, from this library, is left out; None if it is not."""
        if event_type in NEVER_SENT:
            return LeftOutReason.NEVER_SENT
        if not self._is_event(event_type):
            return LeftOutReason.EVENT_TYPE
        if self._is_library and not (isinstance(library, str) and self._is_library(library)):
            return LeftOutReason.LIBRARY
        return None

    def is_in_range(self, time_millis: int) -> bool:
        """Whether an event of this time is in the range: ``since`` is, and ``until`` is not."""
        return (self._since is None or time_millis >= self._since) and (
            self._until is None or time_millis < self._until
        )


def _text_of(time_millis: int | None) -> str:
    return "any time" if time_millis is None else f"{EPOCH + timedelta(milliseconds=time_millis)}"


def _names_of(place: str, names: Names) -> tuple[str, ...]:
    found = (names,) if isinstance(names, str) else names
    if not isinstance(found, Iterable):
        raise ConfigurationError(f"{place}: found {type(names).__name__}; use a list of names")
    found = tuple(found)
    for name in found:
        if not isinstance(name, str) or not name:
            raise ConfigurationError(
                f"{place}: found {shown(name)}; use names, in which * stands for any text"
            )
    return found


def _cached(check: Callable[[str], bool]) -> Callable[[str], bool]:
    known: dict[str, Any] = {}

    def cached(name: str) -> bool:
        result = known.get(name)
        if result is None:
            result = check(name)
            if len(known) < _MAX_CACHED:
                known[name] = result
        return bool(result)

    return cached
