"""Readers for single values: each turns an app's value into the form that MCM accepts. Pure.

A reader returns None for an absent value (None or blank text), raises :class:`InvalidValue` for a
value that it can't convert, and never changes its argument.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum
from math import isfinite
from numbers import Integral, Real
from typing import Any, TypeGuard

from amplitude_moloco.convert.problem import ProblemReason
from amplitude_moloco.host.interruption import pass_interruption
from amplitude_moloco.moloco.wire.language import iso_639_1
from amplitude_moloco.moloco.wire.problems import InvalidValue
from amplitude_moloco.moloco.wire.vocabulary import (
    ABSENT_IDENTIFIERS,
    MAX_CLOCK_SKEW_MILLIS,
    MAX_ID_CHARACTERS,
)

# Unix time in seconds stays below this range until the year 2286, and Unix time in microseconds
# has been above it since 1973.
_EARLIEST, _LATEST = 10**10, 10**14
_SCALARS = frozenset({str, int, float, bool})
# What JSON and its readers hold exactly as an integer: signed and unsigned 64 bits.
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**64 - 1
_MAX_LANGUAGE_CHARACTERS = 100  # no name is as long, and all that are looked up are cached
_EXACT_DIGITS = 15  # as many digits as any decimal may have for a float to keep them
_NUMERIC = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def describe(value: object) -> str:
    """Returns the kind of a value in words, without the value. Never raises."""
    try:
        return _describe(value)
    except Exception as error:  # from an object that raises when it is read
        pass_interruption(error)
        return f"a value of type {type(value).__name__}"


def _describe(value: object) -> str:
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
    """Same as ``isinstance(value, Mapping)``, but much faster for dicts and scalars."""
    kind = type(value)
    return kind is dict or (kind not in _SCALARS and isinstance(value, Mapping))


def text(value: object) -> str | None:
    """Reads text unchanged, and a whole number as its digits."""
    if type(value) is str:
        if not value.isascii():
            check_unicode(value)
        return value if value and not value.isspace() else None
    if value is None:
        return None
    if type(value) is int and _MIN_INTEGER <= value <= _MAX_INTEGER:
        return str(value)
    if isinstance(value, Enum):
        return text(value.value)
    if isinstance(value, str):
        return text(str.__str__(value))
    if isinstance(value, int) and not isinstance(value, bool):
        if _MIN_INTEGER <= value <= _MAX_INTEGER:
            return int.__repr__(value)
        raise InvalidValue(ProblemReason.WRONG_TYPE, "a whole number of over 64 bits", "use text")
    if isinstance(value, Integral) and not isinstance(value, int) and not _is_time(value):
        return text(int(value))  # numpy's, for example
    plain = scalar(value)
    if plain is not value:
        return text(plain)
    raise InvalidValue(ProblemReason.WRONG_TYPE, describe(value), "use text or a whole number")


def short_text(value: object) -> str | None:
    """Reads text of at most 128 characters."""
    word = text(value)
    return word if word is None or len(word) <= MAX_ID_CHARACTERS else check_id_length(word)


def check_id_length(value: str | None) -> str | None:
    """Returns the text itself. Raises InvalidValue if it is longer than MCM allows for an id."""
    if value is not None and len(value) > MAX_ID_CHARACTERS:
        raise InvalidValue(
            ProblemReason.TOO_LONG, describe(value), f"use at most {MAX_ID_CHARACTERS} characters"
        )
    return value


def check_unicode(value: str) -> None:
    """Raises InvalidValue for text that UTF-8 can't encode."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidValue(
            ProblemReason.NOT_UNICODE,
            "text that is not valid Unicode (a lone surrogate)",
            "use text that was decoded with the right encoding",
        ) from None


def one_of(choices: type[Enum], hint: str = "") -> Callable[[object], str | None]:
    """Returns a reader for the names of an enum, in any case. ``hint`` ends its message."""
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
        raise InvalidValue(ProblemReason.UNKNOWN_VALUE, describe(word), fix)

    return read


def language(value: object) -> str | None:
    """Reads a language as two letters. An unknown language is absent, not a problem."""
    if not isinstance(value, str):
        return None
    name = str.__str__(value)
    return iso_639_1(name) if len(name) <= _MAX_LANGUAGE_CHARACTERS else None


def advertising_id(value: object) -> str | None:
    """Reads an advertising id. Devices that opted out of tracking report all zeros: absent.

    So are the words that stand for no shopper.
    """
    word = text(value)
    if word is None or set(word) <= {"0", "-"} or word.strip().lower() in ABSENT_IDENTIFIERS:
        return None
    return word


def timestamp(now_millis: int, value: object) -> str | None:
    """Reads Unix milliseconds as text. A time up to five minutes ahead becomes ``now_millis``."""
    if type(value) is int and value <= now_millis and _EARLIEST <= value < _LATEST:
        return str(value)  # as nearly all
    moment = number(value)
    if moment is None:
        return None
    millis = int(moment)
    if not _EARLIEST <= millis < _LATEST:
        unit = "seconds" if millis < _EARLIEST else "microseconds or nanoseconds"
        raise InvalidValue(
            ProblemReason.NOT_MILLISECONDS,
            f"a number that looks like {unit}",
            "use Unix time in milliseconds, such as int(time.time() * 1000)",
        )
    ahead_millis = millis - now_millis
    if ahead_millis > MAX_CLOCK_SKEW_MILLIS:
        raise InvalidValue(
            ProblemReason.IN_FUTURE,
            f"a time {-(-ahead_millis // 1000)} seconds ahead",
            "use the time when the event happened; up to five minutes ahead are accepted as clock "
            "skew",
        )
    return str(millis if ahead_millis <= 0 else now_millis)


def number(value: object) -> int | float | None:
    """Reads an int, a float, a decimal or numeric text. 0 is a number; bool, NaN, infinity no.

    A whole number is exact, or refused. A fraction is the float that is closest to it.
    """
    if value is None or is_plain_number(value):
        return value  # type: ignore[return-value]  # a number
    if type(value) is float:
        result: int | float = value
    elif isinstance(value, Enum):
        return number(value.value)
    elif isinstance(value, str):
        digits = value.strip()
        if not digits:
            return None
        if not _NUMERIC.fullmatch(digits):
            raise _not_a_number(describe(value))
        is_short = len(digits) <= _EXACT_DIGITS
        result = _without_zero_fraction(float(digits)) if is_short else _finite(Decimal(digits))
    elif isinstance(value, (Real, Decimal)) and not (isinstance(value, bool) or _is_time(value)):
        result = _finite(value)
    else:
        plain = scalar(value)
        if plain is not value:
            return number(plain)
        raise _not_a_number(describe(value))
    if not isfinite(result):
        raise _not_a_number("NaN, infinity or a number too large", "use a finite number")
    return result


def is_plain_number(value: object) -> bool:
    """Whether :func:`number` returns the value itself: a finite float, or an int of 64 bits."""
    if type(value) is int:
        return _MIN_INTEGER <= value <= _MAX_INTEGER
    return type(value) is float and isfinite(value)


def quantity(value: object) -> int | None:
    """Reads a whole number of 32 bits."""
    if type(value) is int and -(2**31) <= value < 2**31:
        return value
    amount = number(value)
    if amount is None:
        return None
    if amount != int(amount) or not -(2**31) <= amount < 2**31:
        raise InvalidValue(
            ProblemReason.WRONG_TYPE,
            "a number that is not whole or needs more than 32 bits",
            "use a whole number of at most 32 bits",
        )
    return int(amount)


def scalar(value: object) -> object:
    """Returns Python's own value for a scalar of numpy's kind; anything else unchanged."""
    if getattr(value, "shape", None) != () or not callable(getattr(value, "item", None)):
        return value
    if isinstance(value, bytes) or _is_time(value):  # numpy's, too
        return value
    inner = value[()]  # type: ignore[index]  # an array without dimensions holds one scalar
    if type(inner) is type(value):
        inner = value.item()  # type: ignore[attr-defined]  # as above
    # A long double has no counterpart in Python, and is its own item.
    return value if type(inner) is type(value) else inner


def _is_time(value: object) -> bool:
    """Whether this is numpy's date or duration: neither is the whole number that it holds."""
    return getattr(getattr(value, "dtype", None), "kind", None) in ("m", "M")


def _finite(value: Any) -> int | float:
    """Returns the number; infinity for one that is too large, or no number at all."""
    try:
        return _read_real(value)
    except (OverflowError, ValueError):  # too large, or a signalling NaN
        return float("inf")


def _read_real(value: Any) -> int | float:
    if isinstance(value, Integral):
        return _exact(Decimal(int(value)))
    if isinstance(value, Decimal):
        return _exact(value)
    if not isinstance(value, float):
        # A float of 32 bits has fewer digits than one of 64 would show: 19.99, not 19.989999771.
        shortest = str(value)
        if _NUMERIC.fullmatch(shortest) and type(value)(float(shortest)) == value:
            return _without_zero_fraction(float(shortest))
    return _without_zero_fraction(float(value))


def _exact(value: Decimal) -> int | float:
    """Returns the same number. Raises OverflowError for a whole number that none can hold."""
    closest = float(value)
    if not isfinite(closest) or Decimal(repr(closest)) == value:
        return _without_zero_fraction(closest)
    if value != value.to_integral_value():
        return closest
    if _MIN_INTEGER <= value <= _MAX_INTEGER:
        return int(value)
    raise OverflowError


def _not_a_number(found: str, fix: str = "use a number, such as 12.34") -> InvalidValue:
    return InvalidValue(ProblemReason.NOT_A_NUMBER, found, fix)


def _without_zero_fraction(value: float) -> int | float:
    """Returns 12 for 12.0, as long as a float represents the whole number exactly."""
    return int(value) if value.is_integer() and abs(value) < 2**53 else value
