"""What a user configures: which Amplitude events become which MCM events, and how."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from amplitude_moloco.convert.expression import compile_event_expression, is_true
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.moloco.chart import Chart, FieldSource
from amplitude_moloco.moloco.wire.vocabulary import ChannelType, EventType

Predicate = Callable[[Any], Any]
"""Gets the event, and returns something true for the events that are meant."""

# Two of the eight names are misspelled on Amplitude's page of its Moloco destination.
_MISSPELLED = {"PURHCASE": EventType.PURCHASE, "ITEM_SEARCH_VIEW": EventType.ITEM_PAGE_VIEW}
# They describe users and groups, not what a shopper did.
_NEVER_SENT = frozenset({"$identify", "$groupidentify"})
_Choice = TypeVar("_Choice", EventType, ChannelType)


class Sync:
    """One of Amplitude's syncs: events with these names become MCM events of this type.

    Only ``enabled`` may be changed after construction; changing anything else raises
    AttributeError.

    Args:
        event_type: One of MCM's eight, as :class:`EventType` or as text in any case.
        events: Names of Amplitude events; ``*`` stands for any text. Or one callable that gets
            the event and returns something true for the events to send.
        name: What facts, previews and problems call this sync; by default the event type.
        where: A JMESPath expression over the event, or a callable that gets it. Only events for
            which it is true are sent.
        mapping: Moloco fields, each with a JMESPath expression or a callable; see ``chart.py``.
        channel_type: The channel of events whose platform does not determine it. It takes
            precedence over the destination's.
        enabled: Amplitude's toggle. May be changed at any time, from any thread.

    Callables run in the app's thread, inside ``track()``, while a lock of Amplitude's SDK is held.
    They must be quick, and must not track events.

    Raises:
        ConfigurationError: An unknown event type, channel type or Moloco field, an expression that
            does not compile, or no event names.
    """

    event_type: EventType
    name: str
    channel_type: ChannelType | None
    enabled: bool
    _matches_name: Callable[[str], bool]
    _matches_event: Predicate
    _passes_filter: Predicate
    _mapping: dict[str, FieldSource]

    def __init__(
        self,
        event_type: EventType | str,
        events: str | Iterable[str] | Predicate,
        *,
        name: str | None = None,
        where: str | Predicate | None = None,
        mapping: Mapping[str, FieldSource] | None = None,
        channel_type: ChannelType | str | None = None,
        enabled: bool = True,
    ) -> None:
        kind = _event_type(event_type)
        channel = read_channel_type(channel_type, "channel_type")
        matches_name, matches_event = _event_matchers(events)
        passes_filter = _filter(where)
        Chart(kind, mapping)  # checks the mapping; a Converter compiles it with its own settings
        vars(self).update(  # past __setattr__, which refuses
            event_type=kind,
            name=name or kind.value,
            channel_type=channel,
            enabled=enabled,
            _matches_name=matches_name,
            _matches_event=matches_event,
            _passes_filter=passes_filter,
            _mapping=dict(mapping or {}),
        )

    def __setattr__(self, name: str, value: object) -> None:
        if name != "enabled":
            raise AttributeError(f"{name}: a sync can't be changed, except enabled; use a new Sync")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{name}: a sync can't be changed, except enabled; use a new Sync")

    def __repr__(self) -> str:
        return f"Sync({self.event_type.value!r}, name={self.name!r}, enabled={self.enabled})"

    @property
    def mapping(self) -> Mapping[str, FieldSource]:
        """The mapping, read-only."""
        return MappingProxyType(self._mapping)

    def matches_name(self, name: str) -> bool:
        """Whether events of this name may be selected. The same name gives the same answer."""
        return name not in _NEVER_SENT and self._matches_name(name)

    def selects(self, event: Any) -> bool:
        """Whether to send an event whose name matches. Raises what the user's callables raise."""
        return bool(self.enabled and self._matches_event(event) and self._passes_filter(event))


def read_channel_type(value: ChannelType | str | None, place: str) -> ChannelType | None:
    """Returns the channel type for text in any case. Raises ConfigurationError naming ``place``."""
    return None if value is None else _choice(ChannelType, value, place, "channel types")


def _event_type(value: EventType | str) -> EventType:
    name = value.strip().upper() if isinstance(value, str) else value
    right = _MISSPELLED.get(name) if isinstance(name, str) else None
    if right:
        warnings.warn(
            f"{name} is a misspelling on Amplitude's page; MCM's name is {right.value}",
            UserWarning,
            stacklevel=3,
        )
        return right
    return _choice(EventType, value, "event_type", "event types")


def _choice(choices: type[_Choice], value: object, place: str, kinds: str) -> _Choice:
    name = value.strip().upper() if isinstance(value, str) else str(value)
    if name in choices.__members__:
        return choices[name]
    raise ConfigurationError(
        f"{place}: {value!r} is not one of MCM's {kinds}; use one of "
        f"{', '.join(choices.__members__)}"
    )


def _event_matchers(
    events: str | Iterable[str] | Predicate,
) -> tuple[Callable[[str], bool], Predicate]:
    """Returns a check of an event's name and a check of the event. One of them is always true."""
    if callable(events):
        return _always, events
    names = [events] if isinstance(events, str) or not isinstance(events, Iterable) else [*events]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ConfigurationError(
            f"events: found {names!r}; use names of Amplitude events, such as "
            f"['Order Completed'] or ['Order *'], or one callable"
        )
    exact = frozenset(name for name in names if "*" not in name)
    wildcards = [_wildcard(name) for name in names if "*" in name]
    return lambda name: name in exact or any(matches(name) for matches in wildcards), _always


def _wildcard(pattern: str) -> Callable[[str], bool]:
    """Returns a check of names, where ``*`` in the pattern stands for any text.

    Each part is searched once, after the one before it. A regular expression would try all
    combinations of places, and take a second for a name of 400 characters.
    """
    start, *parts, end = pattern.split("*")

    def matches(name: str) -> bool:
        last = len(name) - len(end)
        if not (name.startswith(start) and name.endswith(end) and len(start) <= last):
            return False
        at = len(start)
        for part in parts:
            at = name.find(part, at, last)
            if at < 0:
                return False
            at += len(part)
        return True

    return matches


def _filter(where: str | Predicate | None) -> Predicate:
    if where is None:
        return _always
    if isinstance(where, str):
        search = compile_event_expression(where, "where")
        return lambda event: is_true(search(vars(event)))
    if callable(where):
        return where
    raise ConfigurationError(
        f"where: found {type(where).__name__}; use a JMESPath expression or a callable"
    )


def _always(anything: Any) -> bool:
    return True
