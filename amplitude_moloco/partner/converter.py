"""Turns Amplitude events into a partner's, by the parts of the settings that select them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

from amplitude_moloco.convert.conversion import Conversion
from amplitude_moloco.convert.explanation import (
    Explanation,
    Outcome,
    SelectionReason,
    SyncExplanation,
)
from amplitude_moloco.convert.names import closest_pattern, near_pattern
from amplitude_moloco.convert.problem import Problem, ProblemReason, place_of, trace_of
from amplitude_moloco.convert.reads import values_read
from amplitude_moloco.engine.selection import SelectionWatch
from amplitude_moloco.host.interruption import pass_interruption
from amplitude_moloco.partner.sources import NEVER_SENT, Source


class Selecting(Protocol):
    """A part of the settings that selects events."""

    @property
    def event(self) -> str:
        """The name of Amplitude events; ``*`` stands for any text."""
        ...

    @property
    def name(self) -> str:
        """What facts, previews and problems call it."""
        ...

    @property
    def where(self) -> Source | None:
        """The filter, as it was given."""
        ...

    def matches_name(self, name: str, /) -> bool: ...

    def selects(self, event: Any) -> bool:
        """Whether to send an event whose name matches. Raises what the user's callable raises."""
        ...


Part = TypeVar("Part", bound=Selecting)


class Failed(Exception):  # it ends the conversion, and never leaves it
    """The event can't be sent."""

    def __init__(self, field: str, reason: ProblemReason, found: str, fix: str) -> None:
        super().__init__(field)
        self.problem = Problem(field, reason, found, fix)


class PartConverter(ABC, Generic[Part]):
    """Converts events by the parts of the settings that select them. Safe from any thread."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.syncs = tuple(parts)

    @abstractmethod
    def _convert(self, event: Any, each: Part, now_millis: int, earlier: int) -> Conversion:
        """Returns what a part that selects an event makes of it. Raises Failed, or anything.

        ``earlier``: how many parts before this one have selected the event.
        """

    def convert(
        self, event: Any, now_millis: int, watch: SelectionWatch | None = None
    ) -> list[Conversion]:
        """Returns a conversion for each part that selects the event. Never raises."""
        conversions: list[Conversion] = []
        for each in self._named(event.event_type):
            try:
                if not each.selects(event):
                    if watch is not None:
                        watch.refused(each)
                    continue
                conversions.append(self._convert(event, each, now_millis, len(conversions)))
            except Failed as failed:
                conversions.append(_refused(each, failed.problem))
            except Exception as error:  # from a callable, an expression or an object in the event
                pass_interruption(error)
                conversions.append(_refused(each, raised(error)))
        if not conversions and watch is not None:
            watch.unselected(event.event_type)
        return conversions

    def explain(
        self, event: Any, now_millis: int, *, is_dropped_by_plugin: bool = False
    ) -> Explanation:
        """Returns what ``convert`` does with an event, one outcome for each part."""
        outcomes = []
        refusals = _Refusals()
        found = [] if is_dropped_by_plugin else self.convert(event, now_millis, refusals)
        conversions = iter(found)
        named = self._named(event.event_type)
        for each in self.syncs:
            if is_dropped_by_plugin:
                outcomes.append(_not_selected(each, SelectionReason.PLUGIN))
            elif each not in named:
                outcomes.append(_differs(each, event.event_type))
            elif each in refusals.events:
                outcomes.append(_filtered(each, event))
            else:
                conversion = next(conversions)
                outcome = Outcome.INVALID if conversion.problems else Outcome.SENT
                outcomes.append(SyncExplanation(each.name, outcome, conversion))
        return Explanation(str(event.event_type), tuple(outcomes))

    def near_name(self, name: str) -> str:
        """Returns a configured name that is nearly this one; empty for none."""
        names = [each.event for each in self.syncs]
        return "" if name in NEVER_SENT or self._named(name) else near_pattern(name, names)

    def _named(self, name: object) -> list[Part]:
        if not isinstance(name, str) or name in NEVER_SENT:
            return []
        return [each for each in self.syncs if each.matches_name(name)]


class _Refusals:
    """Remembers which parts have refused an event."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def refused(self, sync: Any) -> None:
        self.events.append(sync)

    def unselected(self, event_name: object) -> None:
        """Nothing to remember."""


def _refused(each: Selecting, problem: Problem) -> Conversion:
    return Conversion(each.name, None, {}, b"", (problem,))


def raised(error: Exception) -> Problem:
    """Returns the problem that an exception from the event or from a callable is."""
    trace = trace_of(error)
    return Problem(
        "event",
        ProblemReason.UNREADABLE,
        f"a value, an expression or a callable that raised {type(error).__name__}{place_of(trace)}",
        "use plain dicts, lists, text and numbers, and callables that work for every event",
        trace,
    )


def _differs(each: Selecting, name: object) -> SyncExplanation:
    if isinstance(name, str) and name in NEVER_SENT:
        return _not_selected(each, SelectionReason.NEVER_SENT)
    closest = closest_pattern(name, [each.event]) if isinstance(name, str) else ""
    names = (each.event,)
    return _not_selected(each, SelectionReason.NAME, closest_name=closest, names=names)


def _filtered(each: Selecting, event: Any) -> SyncExplanation:
    where = each.where
    if isinstance(where, str):
        read = values_read(where, vars(event))
        return _not_selected(each, SelectionReason.WHERE, source=where, read_values=read)
    source = f"the callable {getattr(where, '__qualname__', type(where).__qualname__)}"
    return _not_selected(each, SelectionReason.WHERE, source=source)


def _not_selected(each: Selecting, reason: SelectionReason, **more: Any) -> SyncExplanation:
    return SyncExplanation(each.name, Outcome.NOT_SELECTED, None, reason, **more)
