"""JMESPath expressions over an event, compiled once.

Expressions in the shapes that mappings and filters usually have (``event_properties.total > `0```,
``event_properties.products[].{id: product_id, price: price}``,
``event_properties.[query, term][?@] | [0]``) are written as Python, which takes a tenth of the time
of jmespath's interpreter. All other expressions run in that interpreter. The
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

from amplitude_moloco.convert.code import Code
from amplitude_moloco.convert.paths import Node, close_key, unknown_root
from amplitude_moloco.convert.shapes import NeverFound, check_reads
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.text import one_line

Expression = Callable[[Any], Any]
_ORDERED = frozenset({int, float, str})
_Node = dict[str, Any]
_MAX_WRITTEN_DEPTH = 15  # Python can't nest twenty loops
_MAX_CHARACTERS = 10_000  # compiling takes longer than a second beyond
_MAX_DEPTH = 100  # evaluating takes a few frames for each level, inside the app's own stack


def compile_event_expression(source: str, place: str, roots: Collection[str]) -> Expression:
    """Returns what :func:`compile_expression` returns, for an expression that can find something.

    ``roots`` are the attributes of an event.

    Raises:
        ConfigurationError: As there, or the expression reads what no event can have.
    """
    search = compile_expression(source, place)
    parsed = jmespath.compile(source).parsed
    root = unknown_root(parsed, roots)
    if root is None:
        try:
            check_reads(parsed, roots)
        except NeverFound as reason:
            raise ConfigurationError(
                f"{place}: {source!r} {reason}; use an expression that can find something"
            ) from None
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
    return one_line(str(error).split("\n", 1)[0]).rstrip(": ")


class _NeedsInterpreter(Exception):
    """The expression has a part that is not written as Python."""


def _compile(node: _Node) -> Expression | None:
    """Returns the node as a function of its own; None if a part of it needs the interpreter."""
    if _depth(node) > _MAX_WRITTEN_DEPTH:
        return None
    code = Code("search(value)")
    try:
        code.add(f"return {_Writer(code).write(node, 'value')}")
    except _NeedsInterpreter:
        return None
    return code.compile("expression")


class _Writer:
    """Writes an expression as lines of Python. Each method returns where its result is."""

    def __init__(self, code: Code) -> None:
        self._code = code
        self._variables = 0
        code.bind(has_order=_has_order, is_true=is_true, merge=_merge, nothing=_get_nothing)

    def write(self, node: _Node, value: str) -> str:
        """Writes a node that is applied to ``value``."""
        write = _WRITERS.get(node["type"])
        if write is None:
            raise _NeedsInterpreter
        return write(self, node, value)

    def identity(self, node: _Node, value: str) -> str:
        return value

    def field(self, node: _Node, value: str) -> str:
        return self._path([node["value"]], value)

    def subexpression(self, node: _Node, value: str) -> str:
        names = _field_names(node)
        return self._path(names, value) if names else self.sequence(node, value)

    def sequence(self, node: _Node, value: str) -> str:
        for child in node["children"]:
            value = self.write(child, value)
        return value

    def index(self, node: _Node, value: str) -> str:
        found = self._variable("None")
        with self._code.block(f"if isinstance({value}, list):"):
            self._code.add("try:", f"    {found} = {value}[{node['value']}]")
            self._code.add("except IndexError:", "    pass")
        return found

    def _path(self, names: list[str], value: str) -> str:
        found = self._variable()
        steps = "".join(f".get({name!r})" for name in names)
        self._code.add("try:", f"    {found} = {value}{steps}")
        self._code.add("except AttributeError:", f"    {found} = None")  # only objects have fields
        return found

    def flatten(self, node: _Node, value: str) -> str:
        base = self.write(node["children"][0], value)
        return self._variable(f"merge({base})")

    def projection(self, node: _Node, value: str) -> str:
        base, each, *wanted = node["children"]  # wanted: of a filter
        several = self.write(base, value)
        found, element = self._variable("None"), self._variable()
        with self._code.block(f"if isinstance({several}, list):"):
            self._code.add(f"{found} = []")
            with self._code.block(f"for {element} in {several}:"):
                for condition in wanted:
                    is_wanted = self.write(condition, element)
                    self._code.add(f"if not is_true({is_wanted}):", "    continue")
                result = self.write(each, element)
                self._code.add(f"if {result} is not None:", f"    {found}.append({result})")
        return found

    def multi_select_list(self, node: _Node, value: str) -> str:
        found = self._variable("None")
        with self._code.block(f"if {value} is not None:"):
            parts = self._parts(node["children"], value)
            self._code.add(f"{found} = [{', '.join(parts)}]")
        return found

    def multi_select_dict(self, node: _Node, value: str) -> str:
        names = [pair["value"] for pair in node["children"]]
        found = self._variable("None")
        with self._code.block(f"if {value} is not None:"):
            parts = self._parts([pair["children"][0] for pair in node["children"]], value)
            pairs = [f"{name!r}: {part}" for name, part in zip(names, parts, strict=True)]
            self._code.add(f"{found} = {{{', '.join(pairs)}}}")
        return found

    def _parts(self, parts: list[_Node], value: str) -> list[str]:
        if any(part["type"] != "field" for part in parts):
            return [self.write(part, value) for part in parts]
        get = self._variable(f"getattr({value}, 'get', nothing)")  # as in most mappings of items
        return [f"{get}({part['value']!r})" for part in parts]

    def literal(self, node: _Node, value: str) -> str:
        return self._bind("constant", node["value"])

    def comparator(self, node: _Node, value: str) -> str:
        left, right = node["children"]
        a, b = self.write(left, value), self.write(right, value)
        compare = self._bind("compare", TreeInterpreter.COMPARATOR_FUNC[node["value"]])
        ordered = "" if node["value"] in ("eq", "ne") else f"has_order({a}) and has_order({b})"
        if right["type"] == "literal" and _has_order(right["value"]) and ordered:
            ordered = f"has_order({a})"
        return self._variable(f"{compare}({a}, {b})" + (ordered and f" if {ordered} else None"))

    def and_expression(self, node: _Node, value: str) -> str:
        return self._either(node, value, "if is_true({}):")

    def or_expression(self, node: _Node, value: str) -> str:
        return self._either(node, value, "if not is_true({}):")

    def _either(self, node: _Node, value: str, goes_on: str) -> str:
        left, right = node["children"]
        found = self._variable(self.write(left, value))
        with self._code.block(goes_on.format(found)):
            self._code.add(f"{found} = {self.write(right, value)}")
        return found

    def _variable(self, value: str = "") -> str:
        """Returns a new variable. Sets it if there is a value."""
        self._variables += 1
        name = f"v{self._variables}"
        if value:
            self._code.add(f"{name} = {value}")
        return name

    def _bind(self, kind: str, value: object) -> str:
        name = f"{kind}_{self._variables}"
        self._variables += 1
        self._code.bind(**{name: value})
        return name


_WRITERS: dict[str, Callable[[_Writer, _Node, str], str]] = {
    "identity": _Writer.identity,
    "current": _Writer.identity,
    "field": _Writer.field,
    "subexpression": _Writer.subexpression,
    "pipe": _Writer.sequence,
    "index_expression": _Writer.sequence,
    "index": _Writer.index,
    "flatten": _Writer.flatten,
    "projection": _Writer.projection,
    "filter_projection": _Writer.projection,
    "multi_select_list": _Writer.multi_select_list,
    "multi_select_dict": _Writer.multi_select_dict,
    "literal": _Writer.literal,
    "comparator": _Writer.comparator,
    "and_expression": _Writer.and_expression,
    "or_expression": _Writer.or_expression,
}


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


def _merge(found: object) -> list[Any] | None:
    """Returns the elements of a list, and those of the lists in it; None for all else."""
    if not isinstance(found, list):
        return None
    merged: list[Any] = []
    for element in found:
        if isinstance(element, list):
            merged.extend(element)
        else:
            merged.append(element)
    return merged


def _get_nothing(field: str) -> None:
    """Stands in for ``dict.get`` on a value that is not an object: it has no fields."""


def _has_order(value: object) -> bool:
    kind = type(value)
    # The first check covers nearly all values, and takes a fraction of the time of the second.
    return kind in _ORDERED or (isinstance(value, (Number, str)) and kind is not bool)
