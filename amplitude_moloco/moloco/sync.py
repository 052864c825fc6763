"""What a user configures: which Amplitude events become which MCM events, and how."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from amplitude_moloco.convert.expression import compile_expression, is_true
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.moloco.chart import EventMapping, Source
from amplitude_moloco.moloco.wire.event import ChannelType, EventType

Predicate = Callable[[Any], Any]
"""Gets the event, and is true for those that are meant."""

# How Amplitude's page of its Moloco destination spells two of the eight.
_MISSPELLED = {"PURHCASE": EventType.PURCHASE, "ITEM_SEARCH_VIEW": EventType.ITEM_PAGE_VIEW}
# They describe users and groups, and nothing that a shopper did.
_NEVER_SENT = frozenset({"$identify", "$groupidentify"})
_Choice = TypeVar("_Choice", EventType, ChannelType)


class Sync:
    """One of Amplitude's syncs: the events with these names become MCM events of this type.

    Args:
        event_type: One of MCM's eight, as :class:`EventType` or as text in any case.
        events: Names of Amplitude events; ``*`` stands for anything. Or one callable that gets
            the event and is true for those that are meant.
        name: What facts, previews and problems call this sync; by default the event type.
        where: A JMESPath expression over the event, or a callable that gets it: only events for
            which it is true are sent.
        mapping: Moloco field → JMESPath expression or callable; see ``mapping.py``.
        channel_type: For events whose platform does not tell it; before the destination's.
        enabled: Amplitude's toggle. May be changed at any time, from any thread.

    Callables run in the app's thread, inside ``track()``, under a lock of Amplitude's SDK: they
    should be quick, and must not track.

    Raises:
        ConfigurationError: An unknown event type or Moloco field, an expression that does not
            compile, no event names.
    """

    def __init__(
        self,
        event_type: EventType | str,
        events: str | Iterable[str] | Predicate,
        *,
        name: str | None = None,
        where: str | Predicate | None = None,
        mapping: Mapping[str, Source] | None = None,
        channel_type: ChannelType | str | None = None,
        enabled: bool = True,
    ) -> None:
        self.event_type = _event_type(event_type)
        self.name = name or self.event_type.value
        self.channel_type = read_channel_type(channel_type, "channel_type")
        self.enabled = enabled
        self._has_name, self._is_meant = _names(events)
        self._is_wanted = _filter(where)
        EventMapping(self.event_type, mapping)  # tells at once what can't work
        self.mapping = dict(mapping or {})

    def __repr__(self) -> str:
        return f"Sync({self.event_type.value!r}, name={self.name!r}, enabled={self.enabled})"

    def concerns(self, name: str) -> bool:
        """Whether events of this name may be selected at all. Always the same for a name."""
        return name not in _NEVER_SENT and self._has_name(name)

    def selects(self, event: Any) -> bool:
        """Whether an event that this sync concerns is to be sent. Raises what a callable raises."""
        return bool(self.enabled and self._is_meant(event) and self._is_wanted(event))


def read_channel_type(value: ChannelType | str | None, place: str) -> ChannelType | None:
    """A channel type as text in any case. Raises ConfigurationError, naming ``place``."""
    return None if value is None else _choice(ChannelType, value, place)


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
    return _choice(EventType, value, "event_type")


def _choice(choices: type[_Choice], value: object, place: str) -> _Choice:
    name = value.strip().upper() if isinstance(value, str) else str(value)
    if name in choices.__members__:
        return choices[name]
    raise ConfigurationError(
        f"{place}: {value!r} is none of MCM's; use one of {', '.join(choices.__members__)}"
    )


def _names(events: str | Iterable[str] | Predicate) -> tuple[Callable[[str], bool], Predicate]:
    """What tells by an event's name, and what tells by the event, whether it is meant."""
    if callable(events):
        return _always, events
    names = [events] if isinstance(events, str) or not isinstance(events, Iterable) else [*events]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ConfigurationError(
            f"events: found {names!r}; use names of Amplitude events, such as "
            f"['Order Completed'] or ['Order *'], or one callable"
        )
    patterns = (".*".join(map(re.escape, name.split("*"))) for name in names)
    regex = re.compile("|".join(patterns), re.DOTALL)
    return lambda name: bool(regex.fullmatch(name)), _always


def _filter(where: str | Predicate | None) -> Predicate:
    if where is None:
        return _always
    if isinstance(where, str):
        search = compile_expression(where, "where")
        return lambda event: is_true(search(vars(event)))
    if callable(where):
        return where
    raise ConfigurationError(
        f"where: found {type(where).__name__}; use a JMESPath expression or a callable"
    )


def _always(anything: Any) -> bool:
    return True
