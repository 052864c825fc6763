"""Which values a reader returns unchanged, as most are: told in less time than by calling it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from amplitude_moloco.moloco.wire.money import known_currency
from amplitude_moloco.moloco.wire.values import number, quantity, short_text, text
from amplitude_moloco.moloco.wire.vocabulary import CURRENCIES, MAX_ID_CHARACTERS

_PLAIN_TEXT = "type({0}) is str and '!' <= {0} and {0}.isascii()"  # no white space follows "!"

UNCHANGED: Mapping[Callable[[object], Any], str] = {
    text: _PLAIN_TEXT,
    short_text: f"{_PLAIN_TEXT} and len({{0}}) <= {MAX_ID_CHARACTERS}",
    quantity: "type({0}) is int and 0 <= {0} < 2147483648",
    number: "type({0}) in NUMBERS and -1e15 < {0} < 1e15",
    known_currency: "type({0}) is str and {0} in CURRENCIES",
}
"""Expressions that are true only for values that the reader returns unchanged."""

OBJECTS: Mapping[str, object] = {"CURRENCIES": CURRENCIES, "NUMBERS": (float, int)}
"""What the expressions name."""
