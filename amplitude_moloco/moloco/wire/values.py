"""What a value that an app has becomes on the wire: text, a number, a currency, plain JSON. Pure.

Each function gives None for what counts as absent (None and blank text), raises
:class:`Unusable` for what can't become what is wanted, and never changes what it is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum
from math import isfinite
from numbers import Real
from typing import Any, TypeGuard

from amplitude_moloco.moloco.wire.language import iso_639_1
from amplitude_moloco.moloco.wire.vocabulary import (
    MAX_CLOCK_SKEW_MILLIS,
    MAX_ID_CHARACTERS,
    NULL_LIKE,
)

MAX_SIZE = 1_000_000
"""Characters in all texts of an object, and bytes in a request's body. Ours, not MCM's, which
names no limit: an event of a megabyte is a mistake."""
MAX_VALUES = 10_000
"""Values in an object, and items in a list. Ours as well; it also ends what holds itself."""
MAX_DEPTH = 64

# What counts seconds stays below this range until the year 2286, and what counts microseconds is
# above it since 1973.
_MILLIS = range(10**10, 10**14)
_SCALARS = frozenset({str, int, float, bool})
_NUMERIC = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class Unusable(Exception):
    """A value that can't be sent. Tells what kind of value it is, never the value."""

    def __init__(self, reason: str, found: str, fix: str) -> None:
        super().__init__(reason, found, fix)
        self.reason, self.found, self.fix = reason, found, fix


def describe(value: object) -> str:
    """What kind of thing ``value`` is, without telling it."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"text of {len(value)} characters"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if isinstance(value, Mapping):
        return "an object"
    return f"a value of type {type(value).__name__}"


def is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    """As isinstance does, at a fraction of its cost for what nearly all values are."""
    kind = type(value)
    return kind is dict or (kind not in _SCALARS and isinstance(value, Mapping))


def text(value: object) -> str | None:
    """Text as it is, a whole number as its digits."""
    if type(value) is str:
        if not value.isascii():
            _check_unicode(value)
        return value if value and not value.isspace() else None
    if value is None:
        return None
    if isinstance(value, Enum):
        return text(value.value)
    if isinstance(value, str):
        return text(str.__str__(value))
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return int.__repr__(value)
    raise Unusable("wrong_type", describe(value), "use text or a whole number")


def short_text(value: object) -> str | None:
    """Text of at most 128 characters."""
    return check_length(text(value))


def check_length(value: str | None) -> str | None:
    """The text itself, if MCM takes an id or an identifier of its length."""
    if value is not None and len(value) > MAX_ID_CHARACTERS:
        raise Unusable("too_long", describe(value), f"use at most {MAX_ID_CHARACTERS} characters")
    return value


def one_of(choices: type[Enum], hint: str = "") -> Callable[[object], str | None]:
    """Reads one of MCM's words, in any case."""
    words = frozenset(choices.__members__)

    def read(value: object) -> str | None:
        if type(value) is str and value in words:
            return value
        word = text(value)
        if word is None or word in words:
            return word
        upper = word.strip().upper()
        if upper in words:
            return upper
        fix = f"use one of {', '.join(choices.__members__)}{hint}"
        raise Unusable("unknown_value", describe(word), fix)

    return read


def language(value: object) -> str | None:
    """Two letters; what can't be told is left out."""
    return iso_639_1(str.__str__(value)) if isinstance(value, str) else None


def advertising_id(value: object) -> str | None:
    """A device whose user declines answers with zeros, the same ones for everybody: no value."""
    word = text(value)
    return None if word is None or set(word) <= {"0", "-"} else word


def identifier(value: object) -> str | None:
    """Text of at most 128 characters that identifies."""
    return check_length(_identifying(value))


def hashed_identifier(hash_identifier: Callable[[str], str], value: object) -> str | None:
    """The hash of text that identifies, however long it is."""
    plain = _identifying(value)
    return None if plain is None else check_length(hash_identifier(plain))


def timestamp(now_millis: int, value: object) -> str | None:
    """Unix milliseconds as text. A clock that is a little ahead is set to now."""
    moment = number(value)
    if moment is None:
        return None
    millis = int(moment)
    if millis not in _MILLIS:
        unit = "seconds" if millis < _MILLIS.start else "microseconds or nanoseconds"
        raise Unusable(
            "not_milliseconds",
            f"a number that may be {unit}",
            "use Unix time in milliseconds, as int(time.time() * 1000) gives it",
        )
    ahead_millis = millis - now_millis
    if ahead_millis > MAX_CLOCK_SKEW_MILLIS:
        raise Unusable(
            "in_future",
            f"a time that is {-(-ahead_millis // 1000)} seconds ahead",
            "use the time at which it happened; up to five minutes are taken for clock skew",
        )
    return str(millis if ahead_millis <= 0 else now_millis)


def number(value: object) -> int | float | None:
    """Ints, floats, decimals and numeric text; neither bool nor NaN nor infinity. 0 is a number."""
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    if type(value) is float:
        result: int | float = value
    elif value is None:
        return None
    elif isinstance(value, Enum):
        return number(value.value)
    elif isinstance(value, str):
        digits = value.strip()
        if not digits:
            return None
        if not _NUMERIC.fullmatch(digits):
            raise Unusable("not_a_number", describe(value), "use a number, such as 12.34")
        result = _shortest(float(digits))
    elif isinstance(value, (Real, Decimal)) and not isinstance(value, bool):
        try:
            result = _shortest(float(value))
        except (OverflowError, ValueError):  # too large an int, a signalling NaN
            result = float("inf")
    else:
        raise Unusable("not_a_number", describe(value), "use a number, such as 12.34")
    if not isfinite(result):
        raise Unusable("not_a_number", "NaN, infinity or a number too large", "use a finite number")
    return result


def quantity(value: object) -> int | None:
    """A whole number of 32 bits."""
    if type(value) is int and -(2**31) <= value < 2**31:
        return value
    amount = number(value)
    if amount is None:
        return None
    if amount != int(amount) or not -(2**31) <= amount < 2**31:
        raise Unusable(
            "wrong_type", "a number that is not whole or needs over 32 bits", "use a whole number"
        )
    return int(amount)


def json_object(value: object) -> dict[str, Any] | None:
    """A copy that JSON can hold, without nulls, empty texts, empty lists and empty objects."""
    if not is_mapping(value):
        raise Unusable("wrong_type", describe(value), "use an object")
    return _JsonCopy().mapping(value, MAX_DEPTH)


class _JsonCopy:
    """Copies one object, and gives up on what is too big, too deep or without an end."""

    def __init__(self) -> None:
        self._room = MAX_SIZE

    def mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any] | None:
        self._check_room(len(value), depth)
        copy: dict[str, Any] = {}
        for key, part in value.items():
            name = key if type(key) is str and key.isascii() else _key(key)
            present = self._part(part, depth - 1)
            if present is not None:
                copy[name] = present
                self._room -= len(name)
        self._check_room(0, depth)
        return copy or None

    def _list(self, value: list[Any] | tuple[Any, ...], depth: int) -> list[Any] | None:
        self._check_room(len(value), depth)
        parts = [self._part(part, depth - 1) for part in value]
        self._check_room(0, depth)
        return [part for part in parts if part is not None] or None

    def _part(self, value: object, depth: int) -> Any:
        if type(value) is str:
            self._room -= len(value)
            return text(value)
        if value is None or type(value) is bool:
            return value
        if isinstance(value, (int, float)):
            return self._number(value)
        if is_mapping(value):
            return self.mapping(value, depth)
        if isinstance(value, (list, tuple)):
            return self._list(value, depth)
        if isinstance(value, Enum):
            return self._part(value.value, depth)
        if isinstance(value, str):
            return self._part(str.__str__(value), depth)
        return self._number(value)

    def _number(self, value: object) -> int | float | None:
        try:
            return number(value)
        except Unusable as unusable:
            raise Unusable(
                "not_json", f"{unusable.found} inside", "use text, finite numbers, bools and lists"
            ) from None

    def _check_room(self, values: int, depth: int) -> None:
        self._room -= values * (MAX_SIZE // MAX_VALUES)
        if self._room < 0 or depth < 0:
            raise Unusable(
                "too_big",
                "an object that is too big, too deep or holds itself",
                f"use at most {MAX_SIZE} characters, each value counting for "
                f"{MAX_SIZE // MAX_VALUES} more, and {MAX_DEPTH} levels",
            )


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise Unusable("not_json", f"a key that is {describe(key)}", "use text for every key")
    _check_unicode(key)
    return str.__str__(key)


def _identifying(value: object) -> str | None:
    plain = text(value)
    return None if plain is None or plain.strip().lower() in NULL_LIKE else plain


def _shortest(value: float) -> int | float:
    """12.0 is written as 12, as long as a float holds it exactly."""
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _check_unicode(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Unusable(
            "not_unicode", "text that is not valid Unicode (a lone surrogate)", "mend its decoding"
        ) from None
