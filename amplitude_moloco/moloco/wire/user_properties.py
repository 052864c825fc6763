"""User properties: a copy that JSON can hold, within limits of size and depth. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import Enum
from itertools import islice
from numbers import Real
from typing import Any

from amplitude_moloco.convert.problem import ProblemReason
from amplitude_moloco.moloco.wire.problems import InvalidValue, unreadable
from amplitude_moloco.moloco.wire.values import (
    check_unicode,
    describe,
    is_mapping,
    is_plain_number,
    number,
    scalar,
    text,
)
from amplitude_moloco.moloco.wire.vocabulary import MAX_SIZE, MAX_VALUES

_MAX_DEPTH = 64
_CHARACTERS_PER_VALUE = MAX_SIZE // MAX_VALUES
_MAX_PLAIN = 500  # properties, and characters in each of their names and texts
_MAX_TOO_BIG = 20  # properties that are too big, each of which may take milliseconds to read
_TOO_BIG = InvalidValue(
    ProblemReason.TOO_BIG,
    "an object that is too big, too deeply nested or contains itself",
    f"use at most {MAX_SIZE} characters (each value counts as {_CHARACTERS_PER_VALUE} more) and "
    f"{_MAX_DEPTH} levels",
)


def read_user_properties(value: object) -> tuple[dict[str, Any] | None, Iterable[InvalidValue]]:
    """Returns a JSON copy of an object, and why parts of it were left out: each reason once.

    The copy has no nulls, empty texts, empty lists and empty objects; None if nothing is left. A
    key or value that JSON can't represent is left out alone. A property that is too big, too deep
    or contains itself, or that raises when it is read, is left out as a whole.
    """
    if type(value) is dict and len(value) <= _MAX_PLAIN and _is_plain(value):
        return dict(value) or None, ()
    copy = _JsonCopy()
    try:
        return copy.copy_properties(value), copy.left_out.values()
    except Exception as error:  # from an object that raises when it is read
        copy.leave_out(unreadable(error))
        return None, copy.left_out.values()


def _is_plain(value: dict[Any, Any]) -> bool:
    """Whether an object is its own copy: a few short texts and numbers, far below all limits."""
    for key, part in value.items():
        if type(key) is not str or not key.isascii() or len(key) > _MAX_PLAIN:
            return False
        if type(part) is str:
            if not part.isascii() or len(part) > _MAX_PLAIN or not part.strip():
                return False
        elif type(part) is not bool and not is_plain_number(part):
            return False
    return True


class _JsonCopy:
    """Copies one object, and stops at the limits."""

    def __init__(self) -> None:
        self._remaining = MAX_SIZE
        self.left_out: dict[tuple[str, str], InvalidValue] = {}

    def leave_out(self, invalid: InvalidValue) -> None:
        self.left_out.setdefault((invalid.reason, invalid.found), invalid)

    def copy_properties(self, value: object) -> dict[str, Any] | None:
        """Returns a copy of the outermost object, without the properties that can't be copied."""
        if not is_mapping(value):
            self.leave_out(InvalidValue(ProblemReason.WRONG_TYPE, describe(value), "use an object"))
            return None
        copy: dict[str, Any] = {}
        too_big = 0
        if len(value) > MAX_VALUES:
            self.leave_out(_TOO_BIG)
        for key, part in islice(value.items(), MAX_VALUES):
            before = self._remaining
            try:
                self._take_values(1, _MAX_DEPTH)
                name = key if type(key) is str and key.isascii() else _read_key(key)
                present = self._copy_part(part, _MAX_DEPTH - 1)
                if present is not None:
                    self._remaining -= len(name)
                self._take_values(0, _MAX_DEPTH)
            except Exception as error:
                invalid = error if isinstance(error, InvalidValue) else unreadable(error)
                self.leave_out(invalid)
                too_big += invalid.reason is ProblemReason.TOO_BIG
                self._remaining = before if too_big < _MAX_TOO_BIG else -1
                continue
            if present is not None:
                copy[name] = present
        return copy or None

    def _copy_mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any] | None:
        self._take_values(len(value), depth)
        copy: dict[str, Any] = {}
        for key, part in value.items():
            try:
                name = key if type(key) is str and key.isascii() else _read_key(key)
                present = self._copy_part(part, depth - 1)
            except InvalidValue as invalid:
                self._survive(invalid)
                continue
            if present is not None:
                copy[name] = present
                self._remaining -= len(name)
        self._take_values(0, depth)
        return copy or None

    def _copy_list(self, value: list[Any] | tuple[Any, ...], depth: int) -> list[Any] | None:
        self._take_values(len(value), depth)
        parts = []
        for part in value:
            try:
                parts.append(self._copy_part(part, depth - 1))
            except InvalidValue as invalid:
                self._survive(invalid)
        self._take_values(0, depth)
        return [part for part in parts if part is not None] or None

    def _copy_part(self, value: object, depth: int) -> Any:
        if type(value) is str:
            self._remaining -= len(value)
            return text(value)
        if value is None or type(value) is bool:
            return value
        if isinstance(value, (int, float)):
            return _read_number(value)
        if is_mapping(value):
            return self._copy_mapping(value, depth)
        if isinstance(value, (list, tuple)):
            return self._copy_list(value, depth)
        if isinstance(value, Enum):
            return self._copy_part(value.value, depth)
        if isinstance(value, str):
            return self._copy_part(str.__str__(value), depth)
        if isinstance(value, (Real, Decimal)):  # read as it is: a scalar has other digits
            return _read_number(value)
        plain = scalar(value)
        return _read_number(value) if plain is value else self._copy_part(plain, depth)

    def _survive(self, invalid: InvalidValue) -> None:
        """Leaves out one value. Raises again if the whole property is too big."""
        if invalid.reason is ProblemReason.TOO_BIG:
            raise invalid
        self.leave_out(invalid)

    def _take_values(self, count: int, depth: int) -> None:
        """Subtracts this many values from what remains. Raises InvalidValue beyond the limits."""
        self._remaining -= count * _CHARACTERS_PER_VALUE
        if self._remaining < 0 or depth < 0:
            raise InvalidValue(_TOO_BIG.reason, _TOO_BIG.found, _TOO_BIG.fix)


def _read_key(key: object) -> str:
    if not isinstance(key, str):
        raise InvalidValue(
            ProblemReason.NOT_JSON, f"a key that is {describe(key)}", "use text for every key"
        )
    check_unicode(key)
    return str.__str__(key)


def _read_number(value: object) -> int | float | None:
    try:
        return number(value)
    except InvalidValue as invalid:
        raise InvalidValue(
            ProblemReason.NOT_JSON,
            f"{invalid.found} inside",
            "use text, finite numbers, booleans, lists and objects",
        ) from None
