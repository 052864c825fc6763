"""Compiled JMESPath expressions: the same results as jmespath's own search."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import FunctionType
from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco import ConfigurationError
from amplitude_moloco.convert.expression import compile_expression, is_true

# A slow machine must not fail a test.
# Few names and values, so that expressions often find something and comparisons are often true.
NAMES = ("a", "b", "c d")
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 2)
    | st.sampled_from([0.0, 1.0, 2.5])
    | st.sampled_from(["", "a", "b"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    ),
    max_leaves=12,
)
EVENT = {
    "platform": "Web",
    "user_id": None,
    "event_properties": {
        "total": 12.5,
        "count": 0,
        "coupon": "",
        "tags": [],
        "Product Name": "Kettle",
        "currency": "USD",
        "products": [
            {"product_id": "a", "price": 1.5, "variants": [{"sku": "a1"}, {"sku": "a2"}]},
            {"product_id": "b", "price": 2, "variants": [{"sku": "b1"}, {"name": "b2"}]},
            7,
            None,
        ],
        "flags": [{"on": True}, {"on": False}, {"on": 0}, {"on": ""}, {"on": None}, {}],
    },
}

Source = st.SearchStrategy[str]


def larger(inner: Source) -> Source:
    """Expressions of the compiled shapes, built from smaller ones."""
    part = inner.map("({})".format)
    name = st.sampled_from([".a", ".b", '."c d"'])
    pair = st.tuples(st.sampled_from(["a", "x"]), inner).map(": ".join)
    multi_select = st.lists(pair, min_size=1, max_size=3).map(lambda all_: f"{{{', '.join(all_)}}}")
    list_ = st.lists(inner, min_size=1, max_size=3).map(lambda all_: f"[{', '.join(all_)}]")
    step = (
        name
        | st.sampled_from(["[]", "[*]", "[0]", "[-1]", "[2]"])
        | (multi_select | list_).map(".{}".format)
        | inner.map("[?{}]".format)
    )
    steps = st.lists(step, min_size=1, max_size=4).map("".join)
    operator = st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "&&", "||", "|"])
    return (
        st.tuples(part | st.sampled_from(NAMES[:2]), steps).map("".join)
        | st.tuples(st.sampled_from(["[]", "[*]"]), steps).map("".join)
        | multi_select
        | list_
        | st.tuples(part, operator, part).map(" ".join)
    )


def uncompiled(inner: Source) -> Source:
    """Expressions of other shapes, which jmespath interprets."""
    shapes = [
        "!({0})",
        "({0})[:1].a",
        "({0})[?!{1}].b",
        "({0}).*",
        "length({0})",
        "not_null({0}, {1})",
    ]
    return st.tuples(st.sampled_from(shapes), inner, inner).map(
        lambda all_: all_[0].format(*all_[1:])
    )


LEAVES = st.sampled_from(
    ["a", "b", '"c d"', "@", "a.b", "a[].b", "b[*].a", "a[0]", "'a'", r"'it\'s'"]
) | JSON.map(lambda value: f"`{json.dumps(value)}`")
COMPILED = st.recursive(LEAVES, larger, max_leaves=6)
ANY = st.recursive(LEAVES, lambda inner: larger(inner) | uncompiled(inner), max_leaves=6)


def outcome(search: Callable[[Any], Any], value: Any) -> str:
    """The result of a search, including types of numbers and the order of keys."""
    try:
        return repr(search(value))
    except Exception as error:
        return f"raised {type(error).__name__}"


@given(source=COMPILED, value=JSON)
def test_compiled_shapes_find_what_jmespath_finds(source: str, value: Any) -> None:
    """Expressions of these shapes are compiled, and give the same results as jmespath.

    Those nested too deeply for Python's own loops are interpreted.
    """
    expression = compile_expression(source, "where")
    is_deep = sum(map(source.count, "[{(")) > 4
    assert isinstance(expression, FunctionType) or is_deep
    assert outcome(expression, value) == outcome(jmespath.compile(source).search, value)


@given(source=ANY, value=JSON)
def test_other_shapes_are_interpreted(source: str, value: Any) -> None:
    """Every other expression gives the same result as jmespath."""
    expression = compile_expression(source, "where")
    assert outcome(expression, value) == outcome(jmespath.compile(source).search, value)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("platform", "Web"),
        ("user_id", None),
        ("nothing", None),
        ("event_properties.total", 12.5),
        ("event_properties.nothing.at.all", None),
        ('event_properties."Product Name"', "Kettle"),
        ("event_properties.products[].product_id", ["a", "b"]),
        ("event_properties.products[*].price", [1.5, 2]),
        ("event_properties.products[].variants[].sku", ["a1", "a2", "b1"]),
        (
            "event_properties.products[].{id: product_id, price: price, at: 'shop'}",
            [
                {"id": "a", "price": 1.5, "at": "shop"},
                {"id": "b", "price": 2, "at": "shop"},
                {"id": None, "price": None, "at": "shop"},
            ],
        ),
        (
            "event_properties.products[].{id: variants[].sku}",
            [{"id": ["a1", "a2"]}, {"id": ["b1"]}, {"id": None}],
        ),
        ("event_properties.flags[].on", [True, False, 0, ""]),
        ("event_properties.flags[0].on > `0`", None),
        ("`true` > `0`", None),
        ("user_id.{id: a, of: b.c}", None),
        ("user_id.{id: a}", None),
        ("event_properties.{a: total, a: count}", {"a": 0}),
        ("event_properties.products[:1].product_id", ["a"]),
        ("event_properties.total > `12`", True),
        ("event_properties.tags > `12`", None),
        ("event_properties.count || `5`", 0),
        ("event_properties.coupon || 'none'", "none"),
        ("event_properties.tags && 'some'", []),
        ("event_properties.total && 'some'", "some"),
        ("'constant'", "constant"),
        ("event_properties.[nothing, currency][?@] | [0]", "USD"),
        ("event_properties.[nothing, coupon][?@] | [0]", None),
        ("event_properties.products[-1]", None),
        ("event_properties.products[0].variants[1].sku", "a2"),
        ("event_properties.products[9]", None),
        ("event_properties.total[0]", None),
        ("event_properties.products[?price > `1`].product_id", ["a", "b"]),
        ("event_properties.products[?price > `1`] | [1].product_id", "b"),
        ("user_id.[a, b.c]", None),
        ("event_properties.[total, nothing.at]", [12.5, None]),
        ("@.platform", "Web"),
        ("length(event_properties.products)", 4),
    ],
)
def test_expressions_that_apps_write(source: str, found: object) -> None:
    """Typical expressions of mappings and filters find their values in an event."""
    assert compile_expression(source, "where")(EVENT) == found


@pytest.mark.parametrize(
    "source",
    [
        "(a[:1]).a",
        "a[:1][]",
        "(a[:1])[*].a",
        "a[*].b[:1]",
        "a[?b[:1]]",
        "(a[:1])[0]",
        "a[:1] | [0]",
        "[b, a[:1]]",
        "{x: a[:1]}",
        "a[:1] == b",
        "a[:1] < `2`",
        "a[:1] && b",
        "a[:1] || b",
    ],
)
@pytest.mark.parametrize(
    "value",
    [
        None,
        {"a": [1, {"b": [2]}], "b": 1},
        {"a": [{"a": 0}]},
        {"a": [[1, [2]], 3]},
        {"a": [{"b": [7, 8]}, {"b": 9}]},
    ],
    ids=str,
)
def test_an_expression_with_an_interpreted_part_is_interpreted(source: str, value: object) -> None:
    """A compiled shape around any other shape is interpreted by jmespath."""
    expression = compile_expression(source, "where")
    assert not isinstance(expression, FunctionType)
    assert outcome(expression, value) == outcome(jmespath.compile(source).search, value)


def test_text_and_numbers_have_no_order() -> None:
    """Comparing text with a number raises, as in jmespath."""
    source = "event_properties.coupon > `0`"
    with pytest.raises(TypeError):
        compile_expression(source, "where")(EVENT)
    with pytest.raises(TypeError):
        jmespath.search(source, EVENT)


@pytest.mark.parametrize("value", [None, False, "", [], {}], ids=repr)
def test_null_false_and_empty_values_are_false(value: object) -> None:
    """JMESPath's false values are null, false, and an empty text, list or object."""
    assert not is_true(value)


@pytest.mark.parametrize("value", [True, 0, 0.0, 1, " ", "false", [None], {"a": None}], ids=repr)
def test_other_values_are_true(value: object) -> None:
    """Every other value is true in JMESPath, the number 0 included."""
    assert is_true(value)


@pytest.mark.parametrize(
    "source",
    [
        "",
        "event_properties.",
        "event_properties.Product Name",
        "event_properties.total > `0",
        "event_properties.total > 0",
        "a[",
        "{a}",
        "a = b",
        "?",
        "a b",
    ],
)
def test_text_that_is_not_an_expression_is_refused(source: str) -> None:
    """Text that is not an expression is refused with its place and the text, in one line."""
    with pytest.raises(ConfigurationError) as caught:
        compile_expression(source, "syncs[1].where")
    message = str(caught.value)
    assert message.startswith(f"syncs[1].where: {source!r} is not a JMESPath expression (")
    assert "\n" not in message
    assert "double quotes" in message
    assert "single quotes" in message


def test_a_plain_number_is_refused_with_the_backticks() -> None:
    """A comparison with a plain number is refused with the way to write a number."""
    with pytest.raises(ConfigurationError) as caught:
        compile_expression("event_properties.total > 0", "where")
    assert "`0`" in str(caught.value)


@pytest.mark.parametrize(
    "source",
    ["containz(event_properties.tags, 'sale')", "a && b[?!lower(@)]"],
)
def test_an_unknown_function_is_refused(source: str) -> None:
    """A call of a function that JMESPath does not have is refused."""
    with pytest.raises(ConfigurationError, match="where: "):
        compile_expression(source, "where")


def test_an_expression_that_is_nested_too_deeply_is_refused() -> None:
    """An expression that is nested too deeply to be parsed is refused."""
    with pytest.raises(ConfigurationError, match=r"^where: "):
        compile_expression("(" * 5000, "where")


@pytest.mark.parametrize(
    "source",
    ["!" * 300 + "a", "||".join("a" * 300), "[" * 300 + "a" + "]" * 300],
    ids=["not", "or", "lists"],
)
def test_an_expression_that_could_exhaust_the_stack_is_refused(source: str) -> None:
    """An expression of 300 levels is refused at construction, however it is nested."""
    with pytest.raises(ConfigurationError, match=r"^where: the expression is nested too deeply"):
        compile_expression(source, "where")


@pytest.mark.parametrize("source", ["||".join("a" * 90), "!" * 90 + "a"], ids=["or", "not"])
def test_long_expressions_work(source: str) -> None:
    """An expression of 90 levels is evaluated."""
    assert compile_expression(source, "where")({"a": None}) == jmespath.search(source, {"a": None})


def test_a_number_of_any_length_is_no_raw_error() -> None:
    """An index of thousands of digits is refused as any other text that is not an expression."""
    with pytest.raises(ConfigurationError, match=r"^where: "):
        compile_expression(f"a[{'9' * 5000}]", "where")


@pytest.mark.parametrize("part", ["user_id||", "user_id&&", "!", "("])
def test_an_expression_of_thousands_of_characters_is_refused(part: str) -> None:
    """An expression that would take long to compile is refused at once."""
    with pytest.raises(ConfigurationError, match=r"^where: the expression has \d+ characters; use"):
        compile_expression(part * 10_001, "where")
