"""Names with ``*`` in them, which stands for any text."""

from __future__ import annotations

from collections.abc import Callable, Iterable


def name_matcher(names: Iterable[str]) -> Callable[[str], bool]:
    """Returns a check whether a text is one of the names. ``*`` in a name stands for any text."""
    names = tuple(names)
    exact = frozenset(name for name in names if "*" not in name)
    wildcards = [_wildcard(name) for name in names if "*" in name]
    return lambda name: name in exact or any(matches(name) for matches in wildcards)


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
