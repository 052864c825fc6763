"""The road from an Amplitude event to MCM's bytes: syncs, mapping chart, wire format. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from amplitude_moloco.convert.problem import Problem
from amplitude_moloco.moloco.chart import EventMapping
from amplitude_moloco.moloco.sync import Sync
from amplitude_moloco.moloco.wire import event as wire
from amplitude_moloco.moloco.wire import values
from amplitude_moloco.moloco.wire.event import ChannelType
from amplitude_moloco.moloco.wire.values import MAX_SIZE, Unusable

_MappedSync = tuple[Sync, EventMapping]
_MAX_NAMES = 1_000  # an app that makes names up must not fill the memory
_IDENTIFIERS = frozenset({"user_id", "device_persistent_id", "custom_id"})
# Reasons that come of something that is not there.
_FOR_WANT = frozenset({"missing", "no_identifier", "mapping_failed", "half_money", "app_os"})
_EMPTIED = (
    ". The event has no event_properties at all: Amplitude's SDK silently empties them when one "
    "value is a datetime, a Decimal, a tuple, a set, bytes, a list in a list or None in a list, or "
    "one key is no text; turn such values into text or numbers before the event is made"
)


class Conversion(NamedTuple):
    """What one sync made of one event: a body to send, or the reasons why there is none."""

    sync: str
    """The sync's name."""
    id: str | None
    """MCM's id of the event, the same whenever the same event is converted."""
    payload: dict[str, Any]
    """MCM's object; sound only if there is no problem."""
    body: bytes
    """The request's bytes; empty if there is a problem."""
    problems: tuple[Problem, ...]

    def __str__(self) -> str:
        if self.problems:
            return f"{self.sync} can't be sent:" + "".join(f"\n- {each}" for each in self.problems)
        return f"{self.sync} is sent as {self.body.decode()}"


class Converter:
    """Converts events by the syncs that select them. Safe to use from any thread."""

    def __init__(
        self,
        syncs: Sequence[Sync],
        *,
        channel_type: ChannelType | None = None,
        default_currency: str | None = None,
        include_user_properties: bool | Collection[str] = True,
        hash_identifier: Callable[[str], str] | None = None,
    ) -> None:
        self._default_currency = default_currency
        self._identifier: Callable[[object], str | None] = (
            partial(values.hashed_identifier, hash_identifier)
            if hash_identifier
            else values.identifier
        )
        self._by_name: dict[str, tuple[_MappedSync, ...]] = {}
        self._mapped_syncs: list[_MappedSync] = [
            (
                sync,
                EventMapping(
                    sync.event_type,
                    sync.mapping,
                    channel_type=sync.channel_type or channel_type,
                    include_user_properties=include_user_properties,
                ),
            )
            for sync in syncs
        ]

    def convert(self, event: Any, now_millis: int) -> list[Conversion]:
        """One conversion for each sync that selects ``event``. Changes nothing, never raises."""
        conversions: list[Conversion] = []
        for sync, mapping in self._concerned(event.event_type):
            try:
                if not sync.selects(event):
                    continue
            except Exception as error:  # the user's callable, or an expression of the wrong type
                conversions.append(_unfiltered(sync, error))
                continue
            try:
                conversion = self._convert(event, sync, mapping, len(conversions), now_millis)
            except Exception as error:  # an object that raises when it is looked at
                conversion = _unreadable(sync, error)
            conversions.append(conversion)
        return conversions

    def _concerned(self, name: object) -> tuple[_MappedSync, ...]:
        """The syncs that may select events of this name; nearly always looked up."""
        if type(name) is not str:
            if not isinstance(name, str):
                return ()
            name = str.__str__(name)
        concerned = self._by_name.get(name)
        if concerned is None:
            concerned = tuple(pair for pair in self._mapped_syncs if pair[0].concerns(name))
            if len(self._by_name) < _MAX_NAMES:
                self._by_name[name] = concerned
        return concerned

    def _convert(
        self, event: Any, sync: Sync, mapping: EventMapping, earlier: int, now_millis: int
    ) -> Conversion:
        fields, failed = mapping.apply(event)
        if earlier:
            # MCM would take the same id for a duplicate, also when the type is another.
            fields["event_id"] = _with_suffix(fields.get("event_id"), f"-{earlier + 1}")
        payload, problems = wire.build(
            sync.event_type,
            fields,
            now_millis=now_millis,
            default_currency=self._default_currency,
            identifier=self._identifier,
        )
        if not (problems or failed):
            body = wire.encode(payload)
            if len(body) <= MAX_SIZE:
                return Conversion(sync.name, payload["id"], payload, body, ())
            problems.append(_too_big(body))
        # A field whose mapping failed is told once, not as missing too.
        known = {problem.field for problem in failed}
        problems = failed + [problem for problem in problems if problem.field not in known]
        if not vars(event).get("event_properties"):
            problems = [_explain_emptied(problem, mapping) for problem in problems]
        return Conversion(sync.name, payload.get("id"), payload, b"", tuple(problems))


def _explain_emptied(problem: Problem, mapping: EventMapping) -> Problem:
    fields = _IDENTIFIERS if problem.reason == "no_identifier" else {problem.field}
    if problem.reason in _FOR_WANT and fields & mapping.from_properties:
        return replace(problem, fix=problem.fix + _EMPTIED)
    return problem


def _with_suffix(event_id: object, suffix: str) -> object:
    try:
        text = values.text(event_id)
    except Unusable:
        return event_id  # the problem is about what it is
    return None if text is None else text + suffix


def _unfiltered(sync: Sync, error: Exception) -> Conversion:
    problem = Problem(
        "where",
        "filter_failed",
        f"a filter that raised {type(error).__name__}",
        "make events and where work for every event, also where a property is missing, as in "
        "event_properties.tags && contains(event_properties.tags, 'sale')",
    )
    return Conversion(sync.name, None, {}, b"", (problem,))


def _unreadable(sync: Sync, error: Exception) -> Conversion:
    problem = Problem(
        "event",
        "unreadable",
        f"a value that raised {type(error).__name__} when it was read",
        "use plain dicts, lists, text and numbers",
    )
    return Conversion(sync.name, None, {}, b"", (problem,))


def _too_big(body: bytes) -> Problem:
    return Problem("event", "too_big", f"{len(body)} bytes", f"use at most {MAX_SIZE} bytes")
