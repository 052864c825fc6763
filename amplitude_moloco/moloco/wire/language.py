"""The language of a device as ISO 639-1 writes it: two letters."""

from __future__ import annotations

import re
from functools import lru_cache

from amplitude_moloco.moloco.wire.languages import LANGUAGES, WITHDRAWN

_CODE = re.compile(r"([A-Za-z]{2,3})(?:[-_.@,;].*)?", re.DOTALL)
_NAME_WITH_MORE = re.compile(r"([^();]+?)(?:\s*\([^()]*\)|\s*;.*)")
"""``English (United States)``, and ISO's ``Spanish; Castilian``."""


def _index() -> dict[str, str]:
    """Returns the two letters for every code and, in lowercase, for every name."""
    found = dict(WITHDRAWN)
    for line in LANGUAGES.split("\n")[1:-1]:
        codes, _, names = line.partition(": ")
        two_letters = codes[:2]
        for known_as in (*codes.split(), *names.lower().split(", ")):
            found[known_as] = two_letters
    return found


_TWO_LETTERS = _index()


@lru_cache(maxsize=1024)
def iso_639_1(text: str) -> str | None:
    """Returns ``en`` for ``English``, ``en-US``, ``en_GB`` and ``eng``; None for unknown languages.

    Results are cached: converting an event costs one dictionary lookup.
    """
    text = text.strip().lower()
    known = _TWO_LETTERS.get(text)
    if known is None:
        form = _CODE.fullmatch(text) or _NAME_WITH_MORE.fullmatch(text)
        known = _TWO_LETTERS.get(form[1]) if form else None
    return known
