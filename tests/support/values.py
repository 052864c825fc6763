"""Values of unusual classes, and readers that refuse them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum, IntEnum
from typing import Any

import pytest

from amplitude_moloco.moloco.wire.problems import InvalidValue


class Color(Enum):
    """An enum with values of several kinds."""

    RED = "red"
    NONE = None
    NUMBER = 12


class Word(str, Enum):
    """An enum that is text."""

    SALE = "sale"


class Level(IntEnum):
    """An enum that is a number."""

    TWO = 2


class Text(str):
    """Text whose str() is something else."""

    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class Whole(int):
    """A whole number whose repr() is something else."""

    def __repr__(self) -> str:
        return "something else"


class Fractional(float):
    """A number whose repr() is something else, such as numpy's."""

    def __repr__(self) -> str:
        return "something else"


class OwnMapping(Mapping[str, Any]):
    """A mapping that is not a dict."""

    def __init__(self, **parts: Any) -> None:
        self._parts = parts

    def __getitem__(self, key: str) -> Any:
        return self._parts[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


def refusal(read: Callable[[object], object], value: object) -> InvalidValue:
    """What the reader raises for a value that it refuses."""
    with pytest.raises(InvalidValue) as caught:
        read(value)
    return caught.value
