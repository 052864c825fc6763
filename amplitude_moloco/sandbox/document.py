"""Reads a JSON document as strictly as a server does."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

_MAX_DEPTH = 100
_WHOLE = range(-(2**63), 2**64)
"""The whole numbers that stay whole; others are read as a double."""


def parse(raw: bytes) -> Any:
    """Returns the value of a JSON document in UTF-8.

    Raises ValueError if it is not JSON, holds a number too large for a double, or is nested more
    than 100 levels deep.
    """
    value = _loads(raw)
    if _is_deep(value):
        raise ValueError(f"nested deeper than {_MAX_DEPTH} levels")
    return value


def _is_deep(value: object) -> bool:
    """Whether recursive code that walks this value, or encodes it, could exhaust the stack."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [part for holder in level for part in _parts(holder)]
        if not level:
            return False
    return True


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def loads_without_orjson(raw: bytes) -> Any:
    """Reads a document as strictly as orjson does. Raises ValueError."""
    try:
        value = json.loads(
            raw.decode(), parse_constant=_refuse, parse_float=_finite, parse_int=_whole
        )
        json.dumps(value, ensure_ascii=False).encode()  # no half of a surrogate pair
    except RecursionError:
        raise ValueError("nested too deep") from None
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError("a number is too large for a double")
    return number


def _whole(digits: str) -> float:
    if len(digits) <= 20 and int(digits) in _WHOLE:
        return int(digits)
    return _finite(digits)


def _best() -> Callable[[bytes], Any]:
    try:  # it has no wheels for some systems, such as free-threaded Pythons
        import orjson
    except ImportError:
        return loads_without_orjson
    loads: Callable[[bytes], Any] = orjson.loads
    return loads


_loads = _best()
