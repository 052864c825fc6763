"""Shows JSON as lines, each with the place of its value, and finds the words in it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

_MAX_LINES = 2_000
_MAX_CHARACTERS = 2_000


class Line(NamedTuple):
    """One line of indented JSON."""

    depth: int
    place: str
    """The path of the value: ``items[0].price``. Empty for the whole document, and for what closes
    an object or a list."""
    key: str
    """The key with its colon, or empty."""
    value: str
    """The value, or the brackets that open and close it. With a comma if another value follows."""


def lines_of(document: object) -> list[Line]:
    """Returns a document of parsed JSON as lines: at most 2,000, of about 2,000 characters.

    Numbers are written in full, whatever a browser would make of them.
    """
    lines = list(islice(_lines(document, 0, "", "", ""), _MAX_LINES + 1))
    if len(lines) > _MAX_LINES:
        lines[_MAX_LINES] = Line(0, "", "", "… (the rest is not shown)")
    return lines


def text_line(text: str) -> list[Line]:
    """Returns a text that is not JSON as one line."""
    return [Line(0, "", "", _short(text))]


def words_in(document: object, limit: int) -> str:
    """Returns the values in a document in one text of at most ``limit`` characters."""
    found: list[str] = []
    rest = limit
    for leaf in _leaves(document):
        found.append(leaf[:rest])
        rest -= len(found[-1]) + 1
        if rest <= 0:
            break
    return " ".join(found)


def _lines(value: object, depth: int, place: str, key: str, comma: str) -> Iterator[Line]:
    if not isinstance(value, (dict, list)):
        yield Line(depth, place, key, _short(_written(value)) + comma)
        return
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    if not value:
        yield Line(depth, place, key, opening + closing + comma)
        return
    yield Line(depth, place, key, opening)
    last = len(value) - 1
    for i, (name, part) in enumerate(_parts(value)):
        inner = f"{place}[{i}]" if isinstance(value, list) else f"{place}.{name}".lstrip(".")
        inner_key = "" if isinstance(value, list) else f"{_short(_written(name))}: "
        yield from _lines(part, depth + 1, inner, inner_key, "" if i == last else ",")
    yield Line(depth, "", "", closing + comma)


def _parts(value: dict[str, Any] | list[Any]) -> Iterable[tuple[str, Any]]:
    return value.items() if isinstance(value, dict) else (("", part) for part in value)


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, (dict, list)):
        for _, part in _parts(value):
            yield from _leaves(part)
    else:
        yield value if isinstance(value, str) else _written(value)


def _written(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _short(text: str) -> str:
    if len(text) <= _MAX_CHARACTERS:
        return text
    return f"{text[:_MAX_CHARACTERS]}… ({len(text):,} characters)"
