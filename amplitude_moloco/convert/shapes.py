"""What an expression can find, whatever the event holds: a part that never exists is a mistake."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from amplitude_moloco.convert.paths import Node
from amplitude_moloco.text import shown


@dataclass(frozen=True)
class _Shape:
    """What is known of a value before there is an event. ``ANY``: nothing."""

    words: str
    fields: Mapping[str, _Shape] | None = None
    """The fields of an object, if they are known."""
    is_object: bool = False
    parts: Sequence[_Shape] | None = None
    """The elements of a list, if each is known."""
    element: _Shape | None = None
    """What every element of a list is; None: it is no list."""


_ANY = _Shape("anything")
_NULL = _Shape("null")
_FLAG = _Shape("true or false")
_NOT = _Shape("true or false (!a.b means (!a).b; write !(a.b))")
_NUMBER = _Shape("a number")
_TEXT = _Shape("text")
_REFERENCE = _Shape("a reference (&)")
_LIST = _Shape("a list", element=_ANY)
_OBJECT = _Shape("an object", is_object=True)
_RESULTS = {
    **dict.fromkeys(("abs", "avg", "ceil", "floor", "length", "sum", "to_number"), _NUMBER),
    **dict.fromkeys(("contains", "ends_with", "starts_with"), _FLAG),
    **dict.fromkeys(("join", "to_string", "type"), _TEXT),
    **dict.fromkeys(("keys", "map", "sort", "sort_by", "to_array", "values"), _LIST),
    "merge": _OBJECT,
}
"""What a function returns, if it returns anything."""


class NeverFound(Exception):
    """An expression reads a part that no event can have. The text says which."""


def check_reads(node: Node, roots: Collection[str]) -> None:
    """Raises NeverFound if a parsed expression reads what can't be there in any event.

    ``roots`` are the attributes of an event, which may hold anything.
    """
    if _shape(node, _object(dict.fromkeys(roots, _ANY))) is _REFERENCE:
        raise NeverFound("is a reference (&), which only a function can use")


def _shape(node: Node, on: _Shape) -> _Shape:
    """Returns the shape of a node's result, if it is applied to this."""
    return _READERS[node["type"]](node, on)


def _same(node: Node, on: _Shape) -> _Shape:
    return on


def _field(node: Node, on: _Shape) -> _Shape:
    name: str = node["value"]
    if on is _ANY or (on.is_object and on.fields is None):
        return _ANY
    if name == "null":  # an absent field is null
        return _NULL
    if on.fields is None or name not in on.fields:
        raise NeverFound(f"reads {shown(name)} of {on.words}, which never has it")
    return on.fields[name]


def _chain(node: Node, on: _Shape) -> _Shape:
    for child in node["children"]:
        on = _shape(child, on)
    return on


def _index(node: Node, on: _Shape) -> _Shape:
    index: int = node["value"]
    element = _element(on, f"[{index}]")
    if on.parts is None:
        return element
    if not -len(on.parts) <= index < len(on.parts):
        raise NeverFound(f"reads [{index}] of a list of {len(on.parts)}, which never has it")
    return on.parts[index]


def _slice(node: Node, on: _Shape) -> _Shape:
    return _list(_element(on, "a slice"))


def _projection(node: Node, on: _Shape) -> _Shape:
    base, right, *condition = node["children"]
    element = _element(_shape(base, on), "the elements")
    for each in condition:
        _shape(each, element)
    return _list(_shape(right, element))


def _value_projection(node: Node, on: _Shape) -> _Shape:
    base, right = node["children"]
    found = _shape(base, on)
    if found is not _ANY and not found.is_object:
        raise NeverFound(f"reads the fields (*) of {found.words}, which never has any")
    return _list(_shape(right, _common([*(found.fields or {"": _ANY}).values()])))


def _flatten(node: Node, on: _Shape) -> _Shape:
    element = _element(_shape(node["children"][0], on), "the elements")
    return _list(element.element or element)


def _multi_select_dict(node: Node, on: _Shape) -> _Shape:
    pairs = node["children"]
    shapes = _some([pair["children"][0] for pair in pairs], on)
    return _object({pair["value"]: shape for pair, shape in zip(pairs, shapes, strict=True)})


def _multi_select_list(node: Node, on: _Shape) -> _Shape:
    return _known_list(_some(node["children"], on))


def _some(nodes: Sequence[Node], on: _Shape) -> list[_Shape]:
    """Returns the shapes of parts that are selected together. Raises if none can be found."""
    shapes: list[_Shape] = []
    reasons: list[NeverFound] = []
    for node in nodes:
        try:
            shapes.append(_shape(node, on))
        except NeverFound as reason:
            reasons.append(reason)
            shapes.append(_NULL)
    if len(reasons) == len(nodes):
        raise reasons[0]
    return shapes


def _literal(node: Node, on: _Shape) -> _Shape:
    return _of_value(node["value"])


def _of_value(value: Any) -> _Shape:
    if isinstance(value, dict):
        return _object({name: _of_value(each) for name, each in value.items()})
    if isinstance(value, list):
        return _known_list([*map(_of_value, value)])
    return _NULL if value is None else _OF_TYPE[type(value)]


_OF_TYPE = {bool: _FLAG, int: _NUMBER, float: _NUMBER, str: _TEXT}


def _truth(node: Node, on: _Shape) -> _Shape:
    for child in node["children"]:
        _shape(child, on)
    return _FLAG


def _not(node: Node, on: _Shape) -> _Shape:
    _truth(node, on)
    return _NOT


def _either(node: Node, on: _Shape) -> _Shape:
    return _common([_shape(child, on) for child in node["children"]])


def _function(node: Node, on: _Shape) -> _Shape:
    for child in node["children"]:
        _shape(child, on)
    return _RESULTS.get(node["value"], _ANY)


def _reference(node: Node, on: _Shape) -> _Shape:
    _shape(node["children"][0], _ANY)
    return _REFERENCE


def _element(on: _Shape, what: str) -> _Shape:
    """Returns what each element of a list is."""
    if on is not _ANY and on.element is None:
        raise NeverFound(f"reads {what} of {on.words}, which is no list")
    return on.element or _ANY


def _object(fields: Mapping[str, _Shape]) -> _Shape:
    names = ", ".join(map(shown, fields)) or "no field"
    return _Shape(f"an object with only {names}", fields, is_object=True)


def _list(element: _Shape) -> _Shape:
    return _Shape("a list", element=element)


def _known_list(parts: Sequence[_Shape]) -> _Shape:
    return _Shape("a list", parts=parts, element=_common(parts))


def _common(shapes: Sequence[_Shape]) -> _Shape:
    """Returns the shape that all have; ``ANY`` if they differ."""
    return shapes[0] if shapes and all(each == shapes[0] for each in shapes) else _ANY


_READERS: Mapping[str, Callable[[Node, _Shape], _Shape]] = {
    "and_expression": _either,
    "comparator": _truth,
    "current": _same,
    "expref": _reference,
    "field": _field,
    "filter_projection": _projection,
    "flatten": _flatten,
    "function_expression": _function,
    "identity": _same,
    "index": _index,
    "index_expression": _chain,
    "literal": _literal,
    "multi_select_dict": _multi_select_dict,
    "multi_select_list": _multi_select_list,
    "not_expression": _not,
    "or_expression": _either,
    "pipe": _chain,
    "projection": _projection,
    "slice": _slice,
    "subexpression": _chain,
    "value_projection": _value_projection,
}
