"""Counts what becomes of events, sync by sync and by the events' names, in flat memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from amplitude_moloco.convert.problem import Problem
from amplitude_moloco.history import Place
from amplitude_moloco.plugin import Converter

OTHERS = "(others)"
_MOST_NAMES = 1_000
_MOST_REASONS = 100
_MOST_CHARACTERS = 200


@dataclass
class Cause:
    """One kind of problem: how often, and the first of its kind."""

    code: str
    """As in the counters: the field and the reason."""
    text: str
    """What was found, and what to use instead, where it was first."""
    place: str
    """Where the first event with it lies."""
    is_invalid: bool
    """Whether it costs the event, or a part of it."""
    count: int = 0


@dataclass
class Counts:
    """What became of the events of one sync, or of one name."""

    sent: int = 0
    trimmed: int = 0
    """Those of the sent whose parts were left out."""
    invalid: int = 0
    unselected: int = 0
    filtered: int = 0
    """Those of the unselected that have a name which the sync selects."""
    causes: dict[tuple[str, bool], Cause] = field(default_factory=dict)

    def top(self, most: int) -> list[Cause]:
        """Returns the most frequent causes; those that cost events come first."""
        by_weight = sorted(self.causes.values(), key=lambda each: (-each.is_invalid, -each.count))
        return by_weight[:most]

    def add(self, problem: Problem, place: Place, *, is_invalid: bool) -> None:
        key = problem.code, is_invalid
        if key not in self.causes and len(self.causes) >= _MOST_REASONS:
            key = OTHERS, is_invalid
        if key not in self.causes:
            self.causes[key] = Cause(key[0], str(problem), str(place), is_invalid)
        self.causes[key].count += 1


class Tally:
    """What a converter makes of events. Not safe for several threads at a time.

    Args:
        clock: Gives the Unix time in seconds.
    """

    def __init__(self, converter: Converter, clock: Callable[[], float] = time.time) -> None:
        self._converter = converter
        self._clock = clock
        self.events = 0
        self.syncs: list[tuple[str, Counts]] = [(sync.name, Counts()) for sync in converter.syncs]
        self.names: dict[str, Counts] = {}
        self.twice = 0
        """How many events two syncs send as the same type."""
        self._by_sync = {id(s): c for s, (_, c) in zip(converter.syncs, self.syncs, strict=True)}
        self._refusing: list[Any] = []
        self._candidates: dict[str, list[Any]] = {}

    # As a SelectionWatch, which learns what is not selected while an event is converted.

    def refused(self, sync: Any) -> None:
        self._refusing.append(sync)

    def unselected(self, event_name: object) -> None:
        """Counted below, with the events that some sync selects."""

    def add(self, event: Any, place: Place) -> None:
        """Converts one event, and counts what becomes of it."""
        self.events += 1
        self._refusing.clear()
        conversions = self._converter.convert(event, int(self._clock() * 1000), self)
        of_name = self._of_name(event.event_type)
        for sync in self._refusing:
            self._by_sync[id(sync)].filtered += 1
        if not conversions:
            of_name.unselected += 1
            return
        is_sent = is_invalid = is_trimmed = False
        selecting = self._selecting(event.event_type)
        for sync, conversion in zip(selecting, conversions, strict=True):
            counts = self._by_sync[id(sync)]
            is_refused = bool(conversion.problems)
            counts.invalid += is_refused
            counts.sent += not is_refused
            counts.trimmed += bool(conversion.omissions) and not is_refused
            is_invalid, is_sent = is_invalid or is_refused, is_sent or not is_refused
            is_trimmed = is_trimmed or bool(conversion.omissions)
            self.twice += bool(conversion.twin)
            for problem in conversion.problems or conversion.omissions:
                for each in (counts, of_name):
                    each.add(problem, place, is_invalid=is_refused)
        of_name.invalid += is_invalid
        of_name.sent += is_sent and not is_invalid
        of_name.trimmed += is_trimmed and not is_invalid

    @property
    def invalid(self) -> int:
        """How many events at least one sync refuses."""
        return sum(counts.invalid for counts in self.names.values())

    def unselected_by(self, counts: Counts) -> int:
        """Returns how many events a sync does not select."""
        return self.events - counts.sent - counts.invalid

    def _selecting(self, name: str) -> list[Any]:
        """Returns the syncs to which the conversions of an event belong, in their order."""
        candidates = self._candidates.get(name)
        if candidates is None:
            candidates = [each for each in self._converter.syncs if each.matches_name(name)]
            if len(self._candidates) < _MOST_NAMES:
                self._candidates[name] = candidates
        return [each for each in candidates if each not in self._refusing]

    def _of_name(self, name: str) -> Counts:
        counts = self.names.get(name)
        if counts is None:
            if len(self.names) >= _MOST_NAMES or len(name) > _MOST_CHARACTERS:
                name = OTHERS
            counts = self.names.setdefault(name, Counts())
        return counts
