"""User properties: a copy that JSON can hold, within limits of size and depth. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from amplitude_moloco.convert.problem import ProblemReason
from amplitude_moloco.moloco.wire.problems import InvalidValue
from amplitude_moloco.moloco.wire.values import check_unicode, describe, is_mapping, number, text
from amplitude_moloco.moloco.wire.vocabulary import MAX_SIZE, MAX_VALUES

_MAX_DEPTH = 64
_CHARACTERS_PER_VALUE = MAX_SIZE // MAX_VALUES


def read_user_properties(value: object) -> dict[str, Any] | None:
    """Reads an object as a JSON copy without nulls, empty texts, empty lists and empty objects.

    Returns None if nothing is left. Raises InvalidValue if it is not an object, if JSON can't
    represent a part of it, or if it is too big, too deep or contains itself.
    """
    if not is_mapping(value):
        raise InvalidValue(ProblemReason.WRONG_TYPE, describe(value), "use an object")
    return _JsonCopy().copy_mapping(value, _MAX_DEPTH)


class _JsonCopy:
    """Copies one object, and stops at the limits."""

    def __init__(self) -> None:
        self._remaining = MAX_SIZE

    def copy_mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any] | None:
        self._take_values(len(value), depth)
        copy: dict[str, Any] = {}
        for key, part in value.items():
            name = key if type(key) is str and key.isascii() else _read_key(key)
            present = self._copy_part(part, depth - 1)
            if present is not None:
                copy[name] = present
                self._remaining -= len(name)
        self._take_values(0, depth)
        return copy or None

    def _copy_list(self, value: list[Any] | tuple[Any, ...], depth: int) -> list[Any] | None:
        self._take_values(len(value), depth)
        parts = [self._copy_part(part, depth - 1) for part in value]
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
            return self.copy_mapping(value, depth)
        if isinstance(value, (list, tuple)):
            return self._copy_list(value, depth)
        if isinstance(value, Enum):
            return self._copy_part(value.value, depth)
        if isinstance(value, str):
            return self._copy_part(str.__str__(value), depth)
        return _read_number(value)

    def _take_values(self, count: int, depth: int) -> None:
        """Subtracts this many values from what remains. Raises InvalidValue beyond the limits."""
        self._remaining -= count * _CHARACTERS_PER_VALUE
        if self._remaining < 0 or depth < 0:
            raise InvalidValue(
                ProblemReason.TOO_BIG,
                "an object that is too big, too deeply nested or contains itself",
                f"use at most {MAX_SIZE} characters (each value counts as "
                f"{_CHARACTERS_PER_VALUE} more) and {_MAX_DEPTH} levels",
            )


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
