"""Reads a JSON document as strictly as a server does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

_MAX_DEPTH = 100


def parse(raw: bytes) -> Any:
    """Returns the value of a JSON document in UTF-8.

    Raises ValueError if it is not JSON, holds a number too large for a double, or is nested more
    than 100 levels deep.
    """
    value = orjson.loads(raw)
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
