"""JMESPath expressions over an event, compiled once.

Expressions in the shapes that mappings and filters usually have (``event_properties.total > `0```,
``event_properties.products[].{id: product_id, price: price}``) become closures, which take about a
fifth of the time of jmespath's interpreter. All other expressions run in that interpreter. The
results are the same for every event.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from numbers import Number
from typing import Any, cast

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.visitor import TreeInterpreter

from amplitude_moloco.convert.paths import Node, close_key, unknown_root
from amplitude_moloco.errors import ConfigurationError

Expression = Callable[[Any], Any]
_ORDERED = frozenset({int, float, str})
_Node = dict[str, Any]
_MAX_CHARACTERS = 10_000  # compiling takes longer than a second beyond
_MAX_DEPTH = 100  # evaluating takes a few frames for each level, inside the app's own stack


def compile_event_expression(source: str, place: str, roots: Collection[str]) -> Expression:
    """Returns what :func:`compile_expression` returns, for an expression that can find something.

    ``roots`` are the attributes of an event.

    Raises:
        ConfigurationError: As there, or the expression begins with what no event has.
    """
    search = compile_expression(source, place)
    root = unknown_root(jmespath.compile(source).parsed, roots)
    if root is None:
        return search
    if root in ("true", "false"):
        raise ConfigurationError(f"{place}: {source!r} reads a field {root}; use `{root}`")
    similar = close_key(root, roots) or f"event_properties.{root}"
    raise ConfigurationError(
        f"{place}: {source!r} reads {root!r}, which is no attribute of an event; did you mean "
        f"{similar}? Use one of {', '.join(sorted(roots))}; put constant text in single quotes"
    )


def compile_expression(source: str, place: str) -> Expression:
    """Returns a function that evaluates ``source`` over an event's attributes (a dict).

    The function is pure, and safe to call from any thread. It raises what jmespath raises.

    Raises:
        ConfigurationError: ``source`` is not a JMESPath expression, or is nested too deeply. The
            text names ``place``.
    """
    if len(source) > _MAX_CHARACTERS:
        raise ConfigurationError(
            f"{place}: the expression has {len(source)} characters; use at most {_MAX_CHARACTERS}, "
            f"or a callable"
        )
    try:
        compiled = jmespath.compile(source)
        if _depth(compiled.parsed) > _MAX_DEPTH:
            raise RecursionError
    except RecursionError:
        raise ConfigurationError(
            f"{place}: the expression is nested too deeply (more than {_MAX_DEPTH} levels, or as "
            f"many operators in a row); use a shorter one, or a callable"
        ) from None
    except (JMESPathError, ValueError) as error:  # ValueError: a number of thousands of digits
        raise ConfigurationError(
            f"{place}: {source!r} is not a JMESPath expression ({_first_line(error)}); use double "
            f"quotes around names with characters other than letters, digits and _, as in "
            f'event_properties."Product Name", single quotes around constant text, and backticks '
            f"around numbers, true, false and null, as in `0`"
        ) from None
    unknown = sorted(_functions(compiled.parsed) - Functions.FUNCTION_TABLE.keys())
    if unknown:
        raise ConfigurationError(
            f"{place}: {source!r} calls {unknown[0]}(), which is not a JMESPath function; use one "
            f"of {', '.join(sorted(Functions.FUNCTION_TABLE))}"
        )
    return _compile(cast(_Node, compiled.parsed)) or compiled.search


def is_true(result: object) -> bool:
    """Whether a result is true in JMESPath: all but null, false and empty values. 0 is true."""
    if result is True or result is False:  # the result of most filters
        return result
    return not (result is None or result in ("", [], {}))


def _functions(node: Any) -> set[str]:
    """Returns the names of all functions called in a node."""
    if not isinstance(node, dict):  # the children of a slice are numbers
        return set()
    called: set[str] = set().union(*map(_functions, node.get("children", ())))
    return called | {node["value"]} if node["type"] == "function_expression" else called


def _depth(node: Node) -> int:
    """Returns how deeply a node is nested, without recursion."""
    depth, level = 0, [node]
    while level:
        depth += 1
        level = [child for each in level for child in each.get("children", ()) if child]
        level = [child for child in level if isinstance(child, dict)]  # a slice has numbers
    return depth


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0].rstrip(": ")


def _compile(node: _Node) -> Expression | None:
    """Returns the node as a closure; None if it, or a part of it, needs the interpreter."""
    compiler = _COMPILERS.get(node["type"])
    return compiler(node) if compiler else None


def _compile_all(nodes: list[_Node]) -> list[Expression] | None:
    compiled = [_compile(node) for node in nodes]
    return [each for each in compiled if each] if all(compiled) else None


def _identity(node: _Node) -> Expression:
    return lambda value: value


def _field(node: _Node) -> Expression:
    return _path([node["value"]])


def _subexpression(node: _Node) -> Expression | None:
    names = _field_names(node)
    if names:
        return _path(names)
    steps = _compile_all(node["children"])
    if not steps:
        return None

    def search(value: Any) -> Any:
        for step in steps:
            value = step(value)
        return value

    return search


def _field_names(node: _Node) -> list[str] | None:
    """Returns the names of a dotted path; None for anything else."""
    if node["type"] == "field":
        return [node["value"]]
    if node["type"] != "subexpression":
        return None
    names: list[str] = []
    for child in node["children"]:
        more = _field_names(child)
        if more is None:
            return None
        names += more
    return names


def _path(names: list[str]) -> Expression:
    def search(value: Any) -> Any:
        try:
            for name in names:
                value = value.get(name)
        except AttributeError:  # only objects have fields
            return None
        return value

    return search


def _flatten(node: _Node) -> Expression | None:
    base = _compile(node["children"][0])
    if not base:
        return None

    def search(value: Any) -> Any:
        found = base(value)
        if not isinstance(found, list):
            return None
        merged: list[Any] = []
        for element in found:
            if isinstance(element, list):
                merged.extend(element)
            else:
                merged.append(element)
        return merged

    return search


def _projection(node: _Node) -> Expression | None:
    steps = _compile_all(node["children"])
    if not steps:
        return None
    base, each = steps

    def search(value: Any) -> Any:
        found = base(value)
        if not isinstance(found, list):
            return None
        return [result for element in found if (result := each(element)) is not None]

    return search


def _multi_select_dict(node: _Node) -> Expression | None:
    pairs = node["children"]
    if all(pair["children"][0]["type"] == "field" for pair in pairs):
        return _pick({pair["value"]: pair["children"][0]["value"] for pair in pairs})
    steps = _compile_all([pair["children"][0] for pair in pairs])
    if not steps:
        return None
    named = list(zip((pair["value"] for pair in pairs), steps, strict=True))

    def search(value: Any) -> Any:
        return None if value is None else {name: step(value) for name, step in named}

    return search


def _pick(fields: dict[str, str]) -> Expression:
    """Returns a multi-select of plain fields, the usual mapping of items."""
    named = list(fields.items())

    def search(value: Any) -> Any:
        if value is None:
            return None
        get = getattr(value, "get", _get_nothing)
        return {name: get(field) for name, field in named}

    return search


def _get_nothing(field: str) -> None:
    """Stands in for ``dict.get`` on a value that is not an object: it has no fields."""


def _literal(node: _Node) -> Expression:
    constant = node["value"]
    return lambda value: constant


def _comparator(node: _Node) -> Expression | None:
    sides = _compile_all(node["children"])
    if not sides:
        return None
    left, right = sides
    compare = TreeInterpreter.COMPARATOR_FUNC[node["value"]]
    if node["value"] in ("eq", "ne"):
        return lambda value: compare(left(value), right(value))
    constant = node["children"][1].get("value")
    if node["children"][1]["type"] == "literal" and _has_order(constant):
        return lambda value: compare(a, constant) if _has_order(a := left(value)) else None

    def search(value: Any) -> Any:
        a, b = left(value), right(value)
        return compare(a, b) if _has_order(a) and _has_order(b) else None

    return search


def _and(node: _Node) -> Expression | None:
    sides = _compile_all(node["children"])
    if not sides:
        return None
    left, right = sides
    return lambda value: right(value) if is_true(found := left(value)) else found


def _or(node: _Node) -> Expression | None:
    sides = _compile_all(node["children"])
    if not sides:
        return None
    left, right = sides
    return lambda value: found if is_true(found := left(value)) else right(value)


def _has_order(value: object) -> bool:
    kind = type(value)
    # The first check covers nearly all values, and takes a fraction of the time of the second.
    return kind in _ORDERED or (isinstance(value, (Number, str)) and kind is not bool)


_COMPILERS: dict[str, Callable[[_Node], Expression | None]] = {
    "identity": _identity,
    "field": _field,
    "subexpression": _subexpression,
    "flatten": _flatten,
    "projection": _projection,
    "multi_select_dict": _multi_select_dict,
    "literal": _literal,
    "comparator": _comparator,
    "and_expression": _and,
    "or_expression": _or,
}
