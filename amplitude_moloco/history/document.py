"""From the bytes of a line to a record: a dict, with every whole number exact."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from amplitude_moloco.history.place import Unreadable

_KINDS = {list: "a list", str: "text", bool: "true or false", type(None): "null"}


def parse_exactly(line: bytes) -> dict[str, Any]:
    """Returns the record in a line. Whole numbers of any size are exact. Raises Unreadable."""
    try:
        record = json.loads(line)
    except UnicodeDecodeError:
        raise Unreadable("not text in UTF-8") from None
    except RecursionError:
        raise Unreadable("JSON that is nested too deeply") from None
    except ValueError as error:
        if not line.endswith(b"\n"):
            raise Unreadable("not JSON, and the last line: the file may be cut off here") from None
        position = f", at character {error.pos + 1}" if hasattr(error, "pos") else ""
        raise Unreadable(f"not JSON{position}") from None
    if type(record) is not dict:
        found = _KINDS.get(type(record), "a number")
        raise Unreadable(f"found {found}; use lines of one JSON object each, as Amplitude exports")
    return record


def fast_parser(otherwise: Callable[[bytes], Any] = json.loads) -> Callable[[bytes], Any]:
    """Returns orjson's parser, or another one where orjson is not installed.

    orjson reads whole numbers of more than 64 bits as floats, and refuses some documents that
    :func:`parse_exactly` takes.
    """
    try:
        import orjson
    except ImportError:
        return otherwise
    loads: Callable[[bytes], Any] = orjson.loads
    return loads


parse_fast = fast_parser()
