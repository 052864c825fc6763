"""Which values a reader returns unchanged, as most are: told in less time than by calling it."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from typing import Any

from amplitude_moloco.moloco.wire.identifiers import (
    LAST_OF_ENDS,
    SUSPICIOUS_SIGNS,
    SUSPICIOUS_STARTS,
    identifier,
)
from amplitude_moloco.moloco.wire.money import known_currency
from amplitude_moloco.moloco.wire.values import number, quantity, short_text, text
from amplitude_moloco.moloco.wire.vocabulary import (
    ABSENT_IDENTIFIERS,
    CURRENCIES,
    MAX_ID_CHARACTERS,
)

_PLAIN_TEXT = "type({0}) is str and '!' <= {0} and {0}.isascii()"  # no white space follows "!"
_SHORT_TEXT = f"{_PLAIN_TEXT} and len({{0}}) <= {MAX_ID_CHARACTERS}"

UNCHANGED: Mapping[Callable[..., Any], str] = {
    text: _PLAIN_TEXT,
    short_text: _SHORT_TEXT,
    identifier: (
        f"{_SHORT_TEXT} and (word := {{0}}.lower()) not in absent "
        "and word[0] not in SUSPICIOUS_SIGNS and not word.startswith(SUSPICIOUS_STARTS) "
        "and word[-1] in PLAIN_ENDS"
    ),
    quantity: "type({0}) is int and 0 <= {0} < 2147483648",
    number: "type({0}) in NUMBERS and -1e15 < {0} < 1e15",
    known_currency: "type({0}) is str and {0} in CURRENCIES",
}
"""Expressions that are true only for values that the reader returns unchanged."""

OBJECTS: Mapping[str, object] = {
    "CURRENCIES": CURRENCIES,
    "NUMBERS": (float, int),
    "PLAIN_ENDS": frozenset(string.ascii_lowercase + string.digits) - LAST_OF_ENDS,
    "SUSPICIOUS_SIGNS": SUSPICIOUS_SIGNS,
    "SUSPICIOUS_STARTS": SUSPICIOUS_STARTS,
    "absent": ABSENT_IDENTIFIERS,
}
"""What the expressions name. A reader's own parameter has its default here."""
