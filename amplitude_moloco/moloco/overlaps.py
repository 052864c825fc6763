"""Warns of syncs that would send one event twice, as the same type."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import combinations, product

from amplitude_moloco.moloco.sync import Sync

logger = logging.getLogger(__name__)
_MAX_COMPARISONS = 1_000_000  # of characters; takes about a second


def warn_of_overlaps(syncs: Sequence[Sync]) -> None:
    """Logs a warning for each two syncs of one type that may select the same event.

    Two syncs that both have a filter may share names: their filters may exclude each other.
    """
    for (i, first), (j, second) in combinations(enumerate(syncs), 2):
        if first is second:
            logger.warning(
                "syncs[%d] and syncs[%d] are the same Sync: its events are sent twice", i, j
            )
        elif may_overlap(first, second):
            logger.warning(
                "syncs[%d] and syncs[%d] (%s) may both send an event as %s, and count it twice; "
                "use different events or filters, or leave one of them out",
                *(i, j, f"{first.name!r} and {second.name!r}", first.event_type.value),
            )


def overlapping_type(some: Sequence[Sync], others: Sequence[Sync]) -> str:
    """Returns a type as which one sync of each may send an event, as far as names tell."""
    for first, second in product(some, others):
        if first is second or may_overlap(first, second):
            return first.event_type.value
    return ""


def may_overlap(first: Sync, second: Sync) -> bool:
    """Whether two syncs of one type may select the same event, as far as names tell."""
    if first.event_type is not second.event_type or (first.has_filter and second.has_filter):
        return False
    return any(
        patterns_meet(one, other) for one in first.names or () for other in second.names or ()
    )


def patterns_meet(one: str, other: str) -> bool:
    """Whether some text matches both patterns, in which ``*`` stands for any text.

    False for patterns of thousands of characters: no name of an event is as long.
    """
    if len(one) * len(other) > _MAX_COMPARISONS:
        return False
    # The places in `other` that can be reached with the part of `one` read so far.
    reached = _skip_wildcards({0}, other)
    for character in one:
        if character == "*":
            reached = set(range(min(reached), len(other) + 1)) if reached else reached
        else:
            reached = _skip_wildcards(
                {
                    at if other[at] == "*" else at + 1
                    for at in reached
                    if at < len(other) and other[at] in ("*", character)
                },
                other,
            )
    return len(other) in reached


def _skip_wildcards(places: set[int], pattern: str) -> set[int]:
    """Adds the places behind wildcards, which may stand for no text."""
    result = set(places)
    for at in places:
        while at < len(pattern) and pattern[at] == "*":
            at += 1  # noqa: PLW2901  # the walk along one run of wildcards
            result.add(at)
    return result
