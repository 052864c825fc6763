"""A JSON document, read as strictly as a server reads it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NoReturn

_MAX_DEPTH = 100


def parse(raw: bytes) -> Any:
    """What a body of UTF-8 says. Raises ValueError if it is not JSON or nested too deeply."""
    try:
        value = _DECODER.decode(raw.decode())
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if _is_deep(value):
        raise ValueError(_TOO_DEEP)
    return value


def _is_deep(value: object) -> bool:
    """Whether it is nested so deeply that whoever walks or encodes it could run out of stack."""
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


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


# Python reads NaN and Infinity unless it is told not to. Made once: json.loads() would make a new
# decoder for each call.
_DECODER = json.JSONDecoder(parse_constant=_refuse)
_TOO_DEEP = f"nested deeper than {_MAX_DEPTH} levels"
