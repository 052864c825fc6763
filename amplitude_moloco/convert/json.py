"""JSON in UTF-8: by orjson, or by the standard library where orjson is not installed.

orjson has no wheels for some systems, such as free-threaded Pythons. Both write the same bytes, so
that events in a buffer, their ids and their copies don't depend on what is installed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import Any

_EXPONENT = re.compile(r"[:,\[]-?[0-9.]+e")
_PADDED_EXPONENT = re.compile(r"e-0")
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def dumps_without_orjson(value: Any) -> bytes:
    """Returns a value of dicts, lists, text, finite numbers, booleans and None as JSON.

    Raises TypeError for any other, and UnicodeEncodeError for text that UTF-8 can't hold.
    """
    text = _ENCODER.encode(value)
    if isinstance(value, float) or _EXPONENT.search(
        text
    ):  # in a number, or in a text: only numbers are written differently
        text = _written(value)
    return text.encode()


def _written(value: Any) -> str:
    """Returns the same text, but the numbers as orjson writes them."""
    if isinstance(value, dict):
        pairs = (f"{encode_basestring(key)}:{_written(each)}" for key, each in value.items())
        return f"{{{','.join(pairs)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(_written, value))}]"
    if isinstance(value, float):
        return _number(value)
    return _ENCODER.encode(value)


def _number(value: float) -> str:
    """Returns a float as orjson writes it: 0.00001, 1e-6 and 1e+16."""
    text = _PADDED_EXPONENT.sub("e-", repr(value))
    digits, is_small, exponent = text.partition("e-")
    if is_small and exponent == "5":
        sign = "-" if digits.startswith("-") else ""
        return f"{sign}0.0000{digits.lstrip('-').replace('.', '')}"
    return text


def _best() -> Callable[[Any], bytes]:
    try:
        import orjson
    except ImportError:
        return dumps_without_orjson
    dumps: Callable[[Any], bytes] = orjson.dumps
    return dumps


dumps = _best()
