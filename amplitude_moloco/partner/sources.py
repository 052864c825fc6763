"""What a user writes in settings to say which events are meant, and where values come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from amplitude_moloco.convert.expression import compile_event_expression, is_true
from amplitude_moloco.engine.checks import Checks, callable_of_one
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.plugin import EVENT_ATTRIBUTES
from amplitude_moloco.text import shown

Source = str | Callable[[Any], Any]
"""A JMESPath expression over the event, or a callable that gets it."""
NEVER_SENT = frozenset({"$identify", "$groupidentify"})
Part = TypeVar("Part")


def parts_of(kind: type[Part], events: Part | Iterable[Part], use: str) -> tuple[Part, ...]:
    """Returns one or several parts of the settings as a tuple. There must be at least one.

    Raises ConfigurationError for anything else; ``use`` shows such a part.
    """
    if isinstance(events, kind):
        return (events,)
    is_list = isinstance(events, Iterable) and not isinstance(events, (str, Mapping))
    found = tuple(events) if is_list else ()  # type: ignore[arg-type]  # just checked
    if not found or not all(isinstance(each, kind) for each in found):
        wrong = next((each for each in found if not isinstance(each, kind)), events)
        raise ConfigurationError(f"events: found {shown(wrong)}; use {use}, or several")
    return found


def check_name(event: object) -> None:
    """Raises ConfigurationError for what can't be the name of events to send."""
    if not isinstance(event, str) or not event or event in NEVER_SENT:
        raise ConfigurationError(
            f"event: found {shown(event)}; use the name of Amplitude events, such as "
            f"'Order Completed'; what describes users or groups is never sent"
        )


def read_source(place: str, source: Source | None) -> Callable[[Any], Any] | None:
    """Returns a function of the event; None for None."""
    if source is None:
        return None
    if isinstance(source, str):
        search = compile_event_expression(source, place, EVENT_ATTRIBUTES)
        return lambda event: search(vars(event))
    return callable_of_one(place, source, "the event")


def read_predicate(where: Source | None) -> Callable[[Any], Any]:
    """Returns a filter of events, which passes all for None."""
    read = read_source("where", where)
    if read is None:
        return lambda event: True
    return (lambda event: is_true(read(event))) if isinstance(where, str) else read


def read_sources(
    place: str, params: Mapping[str, Source] | None
) -> dict[str, Callable[[Any], Any]]:
    """Returns a function of the event for each name; none for None."""
    params = {} if params is None else params
    if not isinstance(params, Mapping) or not all(isinstance(name, str) for name in params):
        raise ConfigurationError(f"{place}: use a dict with an expression for each name")
    checks = Checks()
    found = {
        name: checks.run(read_source, f"{place}.{name}", each) for name, each in params.items()
    }
    checks.raise_errors()
    return {name: each for name, each in found.items() if each is not None}
