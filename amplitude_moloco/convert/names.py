"""Names of Amplitude events, as syncs are configured with them: ``*`` stands for any text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from amplitude_moloco.convert.paths import close_key, plain

_BLANKS = re.compile(r"[\s_-]+")
_MAX_CHARACTERS = 200  # no name that a person chose is longer


def matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Returns a check of whether a name matches one of several patterns."""
    several = tuple(patterns)
    exact = frozenset(pattern for pattern in several if "*" not in pattern)
    wildcards = [wildcard(pattern) for pattern in several if "*" in pattern]
    return lambda name: name in exact or any(matches(name) for matches in wildcards)


def wildcard(pattern: str) -> Callable[[str], bool]:
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


def near_pattern(name: str, patterns: Iterable[str]) -> str:
    """Returns the pattern that a name would match in another case, or with other blanks.

    Empty if there is none. ``order_completed`` is near to ``Order Completed``, and ``order paid``
    to ``Order *``. Takes linear time. Finds nothing for a name of over 200 characters.
    """
    if len(name) > _MAX_CHARACTERS:
        return ""
    bare, loose = plain(name), _loose(name)
    for pattern in patterns:
        if "*" in pattern:
            if wildcard(_loose(pattern))(loose):
                return pattern
        elif bare and plain(pattern) == bare:
            return pattern
    return ""


def closest_pattern(name: str, patterns: Iterable[str]) -> str:
    """Returns the pattern that a name is probably meant for; empty if none resembles it."""
    several = tuple(patterns)
    if len(name) > _MAX_CHARACTERS:
        return ""
    return near_pattern(name, several) or close_key(name, several) or ""


def _loose(text: str) -> str:
    return _BLANKS.sub(" ", text.casefold()).strip()
