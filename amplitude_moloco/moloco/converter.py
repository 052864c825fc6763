"""From an Amplitude event to MCM's bytes: the syncs select, the chart maps, the wire builds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from amplitude_moloco.convert.conversion import Conversion
from amplitude_moloco.convert.explanation import Explanation
from amplitude_moloco.convert.names import matcher, near_pattern
from amplitude_moloco.convert.paths import explain_nothing
from amplitude_moloco.convert.problem import (
    CAUSED_BY_ABSENCE,
    Problem,
    ProblemReason,
    place_of,
    trace_of,
)
from amplitude_moloco.engine.selection import SelectionWatch
from amplitude_moloco.host.interruption import is_interruption, pass_interruption
from amplitude_moloco.moloco.chart import Chart
from amplitude_moloco.moloco.explain import Refusals, explained, explained_as_dropped
from amplitude_moloco.moloco.shortcut import Shortcut, WireSettings, shortcut_code
from amplitude_moloco.moloco.sync import Sync, is_never_sent
from amplitude_moloco.moloco.wire import event as wire
from amplitude_moloco.moloco.wire import values
from amplitude_moloco.moloco.wire.identifiers import (
    hashed_identifier,
    identifier,
)
from amplitude_moloco.moloco.wire.problems import InvalidValue
from amplitude_moloco.moloco.wire.size import shrink
from amplitude_moloco.moloco.wire.vocabulary import ABSENT_IDENTIFIERS, MAX_SIZE, ChannelType

_MAX_CACHED_NAMES = 1_000  # bounds the memory if an app generates names
_IDENTIFIERS = frozenset({"user_id", "device_persistent_id", "custom_id"})
_EMPTIED_HINT = (
    ". The event has no event_properties at all: Amplitude's SDK silently empties them when one "
    "value is a datetime, a Decimal, a tuple, a set, bytes, a list in a list or None in a list, or "
    "when one key is not text; use text or numbers in place of such values"
)


class _CompiledSync(NamedTuple):
    sync: Sync
    chart: Chart
    shortcut: Shortcut


class Converter:
    """Converts events by the syncs that select them. Safe to use from any thread.

    Without ``has_shortcuts`` the result is the same, and takes several times as long.
    """

    def __init__(
        self,
        syncs: Sequence[Sync],
        *,
        channel_type: ChannelType | None = None,
        default_currency: str | None = None,
        include_user_properties: bool | Collection[str] = True,
        hash_identifier: Callable[[str], str] | None = None,
        absent_identifiers: Collection[str] = (),
        id_less_fields: Collection[str] = (),
        library_as_user_agent: bool = True,
        has_shortcuts: bool = True,
    ) -> None:
        self.syncs = tuple(syncs)
        absent = ABSENT_IDENTIFIERS.union(word.strip().lower() for word in absent_identifiers)
        self._settings = WireSettings(
            default_currency,
            partial(hashed_identifier, hash_identifier, absent=absent)
            if hash_identifier
            else partial(identifier, absent=absent),
            frozenset(id_less_fields),
        )
        self._candidates_by_name: dict[str, tuple[_CompiledSync, ...]] = {}
        self._compiled_syncs: list[_CompiledSync] = []
        for sync in syncs:
            chart = Chart(
                sync.event_type,
                sync.mapping,
                channel_type=sync.channel_type or channel_type,
                include_user_properties=include_user_properties,
                library_as_user_agent=library_as_user_agent,
            )
            code = shortcut_code(sync, chart, self._settings)
            shortcut = code.compile(f"sync {sync.name}") if has_shortcuts else _decline
            self._compiled_syncs.append(_CompiledSync(sync, chart, shortcut))

    def convert(
        self, event: Any, now_millis: int, watch: SelectionWatch | None = None
    ) -> list[Conversion]:
        """Returns a conversion for each sync that selects ``event``, in the order of the syncs.

        ``now_millis`` is the current Unix time in milliseconds. ``watch`` learns which syncs refuse
        the event, and whether all do. Does not change the event, and never raises.
        """
        conversions: list[Conversion] = []
        for compiled in self._candidates(event.event_type):
            sync = compiled.sync
            try:
                if not sync.selects(event):
                    if watch is not None:
                        watch.refused(sync)
                    continue
            except Exception as error:  # from the user's callable, or from an expression
                if is_interruption(error):
                    raise
                conversions.append(_filter_failed(sync, error, event))
                continue
            # MCM takes a second event with the same id for a duplicate, even of another type.
            suffix = f"-{len(conversions) + 1}" if conversions else ""
            try:
                conversion = self._convert(event, compiled, now_millis, suffix)
            except Exception as error:  # from an object in the event that raises when it is read
                if is_interruption(error):
                    raise
                conversion = _unreadable(sync, error)
            conversions.append(conversion)
        if len(conversions) != 1:
            if conversions:
                _name_twins(conversions)
            elif watch is not None:
                watch.unselected(event.event_type)
        return conversions

    def explain(
        self, event: Any, now_millis: int, *, is_dropped_by_plugin: bool = False
    ) -> Explanation:
        """Returns what ``convert`` does with an event, one outcome for each sync, and why."""
        if is_dropped_by_plugin:
            return explained_as_dropped(event, self.syncs)
        refusals = Refusals()
        conversions = self.convert(event, now_millis, refusals)
        return explained(event, self.syncs, refusals, conversions)

    def near_name(self, name: str) -> str:
        """Returns a configured name that is this one in another case or with other blanks.

        Empty if there is none, or if the name itself is configured. Takes linear time.
        """
        names = [each for sync in self.syncs for each in sync.names or () if each.strip("*")]
        return "" if is_never_sent(name) or matcher(names)(name) else near_pattern(name, names)

    def _candidates(self, name: object) -> tuple[_CompiledSync, ...]:
        """Returns the syncs that may select events of this name, from a cache."""
        if type(name) is not str:
            if not isinstance(name, str):
                return ()
            name = str.__str__(name)
        candidates = self._candidates_by_name.get(name)
        if candidates is None:
            candidates = tuple(
                each for each in self._compiled_syncs if each.sync.matches_name(name)
            )
            if len(self._candidates_by_name) < _MAX_CACHED_NAMES:
                self._candidates_by_name[name] = candidates
        return candidates

    def _convert(
        self, event: Any, compiled: _CompiledSync, now_millis: int, suffix: str
    ) -> Conversion:
        """Converts for one sync. ``suffix`` is added to the event's id."""
        sync, chart, shortcut = compiled
        fields, failed = chart.map(event)
        if not failed:
            try:
                conversion = shortcut(vars(event), fields, now_millis, suffix)
            except Exception as error:
                pass_interruption(error)
                conversion = None
            if conversion is not None:
                return conversion
        left_out = chart.complete(fields, event)
        if suffix:
            fields["event_id"] = _with_suffix(fields.get("event_id"), suffix)
        payload, problems, omissions = wire.build(
            sync.event_type,
            fields,
            now_millis=now_millis,
            **self._settings._asdict(),
            platform_os=partial(chart.platform_os, event),
        )
        if failed:
            problems, omissions = _with_failed(failed, problems, omissions)
        omissions = left_out + omissions
        if not problems:
            body, too_big = _encode(payload)
            if not too_big and not omissions:
                return Conversion(sync.name, payload["id"], payload, body, ())
            if len(body) <= MAX_SIZE:
                omissions += too_big
            else:
                problems, body = too_big, b""
        else:
            body = b""
        if not vars(event).get("event_properties"):
            problems = [_with_emptied_hint(problem, chart) for problem in problems]
            omissions = [_with_emptied_hint(problem, chart) for problem in omissions]
        problems = [chart.explain(problem, event) for problem in problems]
        omissions = [chart.explain(problem, event) for problem in omissions]
        return Conversion(
            sync.name, payload.get("id"), payload, body, tuple(problems), tuple(omissions)
        )


def _decline(*arguments: object) -> None:
    """Stands in for a shortcut."""


def _name_twins(conversions: list[Conversion]) -> None:
    """Names, in each conversion that another of the same type precedes, the sync of that one."""
    senders: dict[str, str] = {}
    for index, conversion in enumerate(conversions):
        if conversion.problems:
            continue
        event_type = conversion.payload["event_type"]
        if event_type in senders:
            conversions[index] = conversion._replace(twin=senders[event_type])
        else:
            senders[event_type] = conversion.sync


def _encode(payload: dict[str, Any]) -> tuple[bytes, list[Problem]]:
    """Returns the body. If it is too big, with problems, and without optional parts."""
    body = wire.encode(payload)
    return (body, []) if len(body) <= MAX_SIZE else shrink(payload, body)


def _with_failed(
    failed: list[Problem], problems: list[Problem], omissions: list[Problem]
) -> tuple[list[Problem], list[Problem]]:
    """Returns both lists with the mappings that raised, in place of what became of their fields.

    A field whose mapping failed has one problem, and is not reported as missing too.
    """
    fields = {problem.field for problem in failed}
    refused = {problem.field for problem in problems}
    if any(problem.reason == ProblemReason.NO_IDENTIFIER for problem in problems):
        refused |= _IDENTIFIERS
    refusing = [problem for problem in failed if problem.field in refused]
    others = [problem for problem in failed if problem.field not in refused]
    return (
        refusing + [problem for problem in problems if problem.field not in fields],
        others + [problem for problem in omissions if problem.field not in fields],
    )


def _with_emptied_hint(problem: Problem, chart: Chart) -> Problem:
    """Returns the problem with a hint if missing event properties may have caused it."""
    if problem.reason not in CAUSED_BY_ABSENCE:
        return problem
    is_about_identifiers = problem.reason == ProblemReason.NO_IDENTIFIER
    fields = _IDENTIFIERS if is_about_identifiers else {problem.field}
    if not fields & chart.fields_from_properties:
        return problem
    return replace(problem, fix=problem.fix + _EMPTIED_HINT)


def _with_suffix(event_id: object, suffix: str) -> object:
    try:
        text = values.text(event_id)
    except InvalidValue:
        return event_id  # reported when the event is built
    return None if text is None else text + suffix


def _filter_failed(sync: Sync, error: Exception, event: Any) -> Conversion:
    trace = trace_of(error)
    problem = Problem(
        "where",
        ProblemReason.FILTER_FAILED,
        f"a filter that raised {type(error).__name__}{place_of(trace)}",
        "use events and where that work for every event, even when a property is missing, as in "
        "event_properties.tags && contains(event_properties.tags, 'sale')"
        + ("" if trace else _filter_in_words(sync, event)),
        trace,
    )
    return Conversion(sync.name, None, {}, b"", (problem,))


def _filter_in_words(sync: Sync, event: Any) -> str:
    """Returns which filter it is, and what its expression misses; empty if lines of code tell."""
    text = ""
    for name, given in (("events", sync.selector), ("where", sync.where)):
        if isinstance(given, str):
            nothing = explain_nothing(given, vars(event))
            text += f"; {name} is {given!r}" + (nothing and f": {nothing}")
        elif given is not None:
            text += f"; {name} is {getattr(given, '__qualname__', type(given).__qualname__)}"
    return text


def _unreadable(sync: Sync, error: Exception) -> Conversion:
    problem = Problem(
        "event",
        ProblemReason.UNREADABLE,
        f"a value that raised {type(error).__name__} when it was read",
        "use plain dicts, lists, text and numbers",
    )
    return Conversion(sync.name, None, {}, b"", (problem,))
