"""The paths that a JMESPath expression reads, from the event's attributes down."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import jmespath

Path = tuple[str, ...]
Node = Mapping[str, Any]
"""A node of a parsed expression."""

_CHAINS = frozenset({"subexpression", "pipe", "index_expression"})
_BRANCHES = frozenset(
    {
        "and_expression",
        "comparator",
        "function_expression",
        "key_val_pair",
        "multi_select_dict",
        "multi_select_list",
        "not_expression",
        "or_expression",
    }
)
_PROJECTIONS = frozenset({"filter_projection", "flatten", "projection", "value_projection"})
_MAX_KEYS = 1_000  # bounds the time of an explanation
_MAX_KEY_CHARACTERS = 64


def paths_of(node: Node) -> list[Path]:
    """Returns each path that a parsed expression reads, and each of its beginnings.

    Fields inside the elements of a list have no path.
    """
    found: list[Path] = []
    _collect(node, (), found)
    return found


def unknown_root(node: Node, roots: Collection[str]) -> str | None:
    """Returns the first root of a parsed expression that is none of ``roots``; else None."""
    # An absent field is null, so that == null works.
    known = {*roots, "null"}
    return next((path[0] for path in paths_of(node) if path[0] not in known), None)


def explain_nothing(source: str, attributes: Mapping[str, Any]) -> str:
    """Says which part of an expression is absent from an event, and which key resembles it.

    Empty if every part is there. Names keys of the event, and holds none of its values.
    """
    absent: list[str] = []
    for path in paths_of(jmespath.compile(source).parsed):
        holder: Any = attributes
        for name in path[:-1]:
            holder = holder.get(name) if isinstance(holder, Mapping) else None
        if not isinstance(holder, Mapping) or path[-1] in holder:
            continue
        place = ".".join(path[:-1])
        similar = close_key(path[-1], holder)
        if similar:
            return f"{place} has no {path[-1]!r}; did you mean {similar!r}?"
        absent.append(f"{place} has no {path[-1]!r}")
    return absent[0] if absent else ""


def close_key(name: str, keys: Iterable[object]) -> str | None:
    """Returns the key that ``name`` is probably meant for: another case or a slip of the pen."""
    usable = [
        key
        for key, _ in zip(keys, range(_MAX_KEYS), strict=False)
        if isinstance(key, str) and len(key) <= _MAX_KEY_CHARACTERS and key.isprintable()
    ]
    bare = plain(name)
    same = next((key for key in usable if bare and plain(key) == bare), None)
    return same or next(iter(get_close_matches(name, usable, n=1)), None)


def plain(name: str) -> str:
    """Returns the letters and digits of a name, without case: names that differ by a slip agree."""
    return "".join(filter(str.isalnum, name.casefold()))


def _collect(node: Node, base: Path | None, found: list[Path]) -> Path | None:
    """Adds a node's paths to ``found``. Returns the path of its result; None if it has none.

    ``base`` is the path of what the node is applied to.
    """
    kind = node["type"]
    if kind == "field" and base is not None:
        found.append((*base, node["value"]))
        return found[-1]
    if kind in ("current", "identity"):
        return base
    children = node["children"] if kind in _CHAINS or kind in _BRANCHES else ()
    if kind in _PROJECTIONS:
        children = node["children"][:1]
    path = base
    for child in children:
        path = _collect(child, path if kind in _CHAINS else base, found)
    return path if kind in _CHAINS else None
