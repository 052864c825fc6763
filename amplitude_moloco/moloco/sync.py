"""What a user configures: which Amplitude events become which MCM events, and how."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar, cast

from amplitude_moloco.convert.expression import compile_event_expression, is_true
from amplitude_moloco.convert.names import matcher
from amplitude_moloco.engine.checks import Checks, callable_of_one, listed
from amplitude_moloco.engine.unreadable import refusing_unreadable
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.moloco.chart import Chart, FieldSource
from amplitude_moloco.moloco.wire.vocabulary import ChannelType, EventType
from amplitude_moloco.plugin import EVENT_ATTRIBUTES
from amplitude_moloco.text import is_unicode, shown

Predicate = Callable[[Any], Any]
"""Gets the event, and returns something true for the events that are meant."""

# Two of the eight names are misspelled on Amplitude's page of its Moloco destination.
_MISSPELLED = {"PURHCASE": EventType.PURCHASE, "ITEM_SEARCH_VIEW": EventType.ITEM_PAGE_VIEW}
# They describe users and groups, not what a shopper did.
_NEVER_SENT = frozenset({"$identify", "$groupidentify"})
_REGULAR_EXPRESSION = re.compile(r"^\^|\.[*+]|\\[AbdswZ]|\)\$$")
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
    _names: tuple[str, ...] | None
    _selector: Predicate | None
    _where: str | Predicate | None
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
        given = {field: each for field, each in locals().items() if field != "self"}
        with refusing_unreadable(given):
            checks = Checks()
            kind = checks.run(_event_type, event_type)
            channel = checks.run(read_channel_type, channel_type, "channel_type")
            names = checks.run(_names_of, events)
            passes_filter = checks.run(_filter, where)
            # Checks the mapping; a Converter compiles it with its own settings.
            checks.run(Chart, kind, mapping)
            checks.run(_check_name, name)
            checks.run(_check_toggle, enabled)
            checks.raise_errors()
        matches_name, matches_event = (
            (_always, cast(Predicate, events)) if names is None else (matcher(names), _always)
        )
        vars(self).update(  # past __setattr__, which refuses
            event_type=kind,
            name=name or kind.value,
            channel_type=channel,
            enabled=enabled,
            _matches_name=matches_name,
            _matches_event=matches_event,
            _passes_filter=passes_filter,
            _names=names,
            _selector=events if names is None else None,
            _where=where,
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

    @property
    def names(self) -> tuple[str, ...] | None:
        """The names of events, with wildcards; None if a callable selects them."""
        return self._names

    @property
    def has_filter(self) -> bool:
        """Whether there is a ``where``."""
        return self._where is not None

    @property
    def where(self) -> str | Predicate | None:
        """The filter, as it was given."""
        return self._where

    @property
    def selector(self) -> Predicate | None:
        """The callable that selects events; None if names do."""
        return self._selector

    def matches_name(self, name: str) -> bool:
        """Whether events of this name may be selected. The same name gives the same answer."""
        return name not in _NEVER_SENT and self._matches_name(name)

    def selects(self, event: Any) -> bool:
        """Whether to send an event whose name matches. Raises what the user's callables raise."""
        return bool(self.enabled and self._matches_event(event) and self._passes_filter(event))


def is_never_sent(name: str) -> bool:
    """Whether events of this name describe users or groups, so that no sync may select them."""
    return name in _NEVER_SENT


def read_channel_type(value: ChannelType | str | None, place: str) -> ChannelType | None:
    """Returns the channel type for text in any case. Raises ConfigurationError naming ``place``."""
    return None if value is None else _choice(ChannelType, value, place, "channel types")


def read_event_type(value: EventType | str, place: str) -> EventType:
    """Returns the event type for text in any case. Raises ConfigurationError naming ``place``."""
    return _choice(EventType, value, place, "event types")


def _event_type(value: EventType | str) -> EventType:
    name = value.strip().upper() if isinstance(value, str) else value
    right = _MISSPELLED.get(name) if isinstance(name, str) else None
    if right:
        warnings.warn(
            f"{name} is a misspelling on Amplitude's page; MCM's name is {right.value}",
            UserWarning,
            stacklevel=4,
        )
        return right
    return read_event_type(value, "event_type")


def _choice(choices: type[_Choice], value: object, place: str, kinds: str) -> _Choice:
    name = value.strip().upper() if isinstance(value, str) else ""
    if name in choices.__members__:
        return choices[name]
    raise ConfigurationError(
        f"{place}: {shown(value)} is not one of MCM's {kinds}; use one of "
        f"{', '.join(choices.__members__)}"
    )


def _check_name(name: object) -> None:
    if name is not None and not isinstance(name, str):
        raise ConfigurationError(f"name: found {type(name).__name__}; use text")
    if not is_unicode(name or ""):
        raise ConfigurationError(f"name: {shown(name)} is not valid Unicode; use other text")


def _check_toggle(enabled: object) -> None:
    if not isinstance(enabled, bool):
        raise ConfigurationError(f"enabled: found {shown(enabled)}; use True or False")


def _names_of(events: str | Iterable[str] | Predicate) -> tuple[str, ...] | None:
    """Returns the names of events; None for a callable. Raises ConfigurationError."""
    if callable(events):
        callable_of_one("events", events, "the event")
        return None
    names: list[Any] = [events]
    if isinstance(events, Iterable) and not isinstance(events, str):
        names = listed("events", events)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ConfigurationError(
            f"events: found {shown(names)}; use names of Amplitude events, such as "
            f"['Order Completed'] or ['Order *'], or one callable"
        )
    for name in names:
        _check_event_name(name)
    return tuple(names)


def _check_event_name(name: str) -> None:
    if name in _NEVER_SENT:
        raise ConfigurationError(
            f"events: {name!r} describes users or groups and is never sent; use the names of what "
            f"shoppers do"
        )
    if _REGULAR_EXPRESSION.search(name):
        raise ConfigurationError(
            f"events: {shown(name)} looks like a regular expression; use a name in which * stands "
            f"for any text, such as 'Order *', or a callable"
        )


def _filter(where: str | Predicate | None) -> Predicate:
    if where is None:
        return _always
    if isinstance(where, str):
        search = compile_event_expression(where, "where", EVENT_ATTRIBUTES)
        return lambda event: is_true(search(vars(event)))
    if callable(where):
        return callable_of_one("where", where, "the event")
    raise ConfigurationError(
        f"where: found {type(where).__name__}; use a JMESPath expression or a callable"
    )


def _always(anything: Any) -> bool:
    return True
