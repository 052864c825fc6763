"""Expressions that can find nothing in any event are refused when they are configured."""

from __future__ import annotations

from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco import ConfigurationError, Sync
from amplitude_moloco.convert.expression import compile_event_expression
from amplitude_moloco.convert.shapes import NeverFound, check_reads

ROOTS = ("event_properties", "user_id", "device_id")


def refusal(source: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        compile_event_expression(source, "where", ROOTS)
    return str(caught.value).partition("; use an expression")[0]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{a: user_id} | typo", "reads 'typo' of an object with only 'a'"),
        ("{a: user_id, b: device_id}.c", "reads 'c' of an object with only 'a', 'b'"),
        ("{a: {b: user_id}}.a.c", "reads 'c' of an object with only 'b'"),
        ('`{"a": 1}`.b', "reads 'b' of an object with only 'a'"),
        ("`{}`.b", "reads 'b' of an object with only no field"),
        ("{a: user_id}.[b, c]", "reads 'b' of an object with only 'a'"),
        ("{a: user_id}.{b: b, c: c}", "reads 'b' of an object with only 'a'"),
        ("'text'.a", "reads 'a' of text"),
        ("`1`.a", "reads 'a' of a number"),
        ("`1.5`.a", "reads 'a' of a number"),
        ("`true`.a", "reads 'a' of true or false"),
        ("`null`.a", "reads 'a' of null"),
        ("null.a", "reads 'a' of null"),
        ("[user_id].a", "reads 'a' of a list"),
        ("event_properties.a[].a | b", "reads 'b' of a list"),
        ("event_properties.a[?{b: c}.d].e", "reads 'd' of an object with only 'b'"),
        ("event_properties.a[*].{b: c} | [].d", "reads 'd' of an object with only 'b'"),
        ("sort_by(event_properties.a, &{b: c}.d)", "reads 'd' of an object with only 'b'"),
        ("event_properties.a || 'x'.b", "reads 'b' of text"),
        ("event_properties.a == 'x'.b", "reads 'b' of text"),
        ("(event_properties.a == 'x').b", "reads 'b' of true or false"),
        ("('x' || 'y').b", "reads 'b' of text"),
        ("length(event_properties.a).b", "reads 'b' of a number"),
        ("to_string(user_id).b", "reads 'b' of text"),
        ("keys(event_properties).b", "reads 'b' of a list"),
        ("contains(event_properties.a, 'x').b", "reads 'b' of true or false"),
        ("!event_properties.a", "reads 'a' of true or false (!a.b means (!a).b; write !(a.b))"),
    ],
)
def test_a_field_that_can_not_be_there_is_refused(source: str, reason: str) -> None:
    """The refusal says what is read, and of what."""
    assert refusal(source) == f"where: {source!r} {reason}, which never has it"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("'text'[0]", "reads [0] of text, which is no list"),
        ("{a: user_id}[0]", "reads [0] of an object with only 'a', which is no list"),
        (
            "merge(event_properties, event_properties)[0]",
            "reads [0] of an object, which is no list",
        ),
        ("[user_id, device_id][2]", "reads [2] of a list of 2, which never has it"),
        ("[user_id][-2]", "reads [-2] of a list of 1, which never has it"),
        ("'text'[:2]", "reads a slice of text, which is no list"),
        ("'text'[*]", "reads the elements of text, which is no list"),
        ("'text'[]", "reads the elements of text, which is no list"),
        ("'text'[?a]", "reads the elements of text, which is no list"),
        ("'text'.*", "reads the fields (*) of text, which never has any"),
        ("[user_id].*", "reads the fields (*) of a list, which never has any"),
        ("&user_id", "is a reference (&), which only a function can use"),
    ],
)
def test_any_other_part_that_can_not_be_there_is_refused(source: str, reason: str) -> None:
    """Elements of what is no list, fields of what is no object."""
    assert refusal(source) == f"where: {source!r} {reason}"


@pytest.mark.parametrize(
    "source",
    [
        *("{a: user_id}.a", "{a: user_id}.a.b", "{a: user_id} | null", '`{"a": [1]}`.a[0]'),
        *("[user_id, device_id][1]", "[user_id][0].name", "[[user_id], [device_id]][].a"),
        *("event_properties.a[0].b", "event_properties.a[1:].b", "event_properties.a[].b[].c"),
        *("event_properties.*.a", "*.typo", "{a: user_id, b: device_id}.*.c", "`{}`.*"),
        *("(event_properties.a || 'x').b", "(event_properties.a && `[]`)[0]", "`[]` | [].a"),
        *("max_by(event_properties.a, &b).c", "merge(event_properties, `{}`).b"),
        *("not_null(event_properties.a, 'x').b", "map(&a, event_properties.b)[0].c", "@.user_id"),
        *("{a: user_id}.[a, b]", "{a: user_id}.{a: a, b: b}"),
        *("!(event_properties.a)", "event_properties.a == null", "event_properties.a[?b == null]"),
    ],
)
def test_what_some_event_may_have_is_accepted(source: str) -> None:
    """Only what is certain is refused."""
    compile_event_expression(source, "where", ROOTS)


def test_a_sync_names_each_place() -> None:
    """A filter and a mapping are refused together."""
    with pytest.raises(ConfigurationError) as caught:
        Sync("HOME", "Home", where="!user_id.a", mapping={"page_id": "'text'.a"})
    assert [each.split(":")[0] for each in caught.value.errors] == ["where", "mapping.page_id"]


NAMES = st.sampled_from(["a", "b", "user_id", "event_properties"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["", "a"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=6,
)
EVENTS = st.fixed_dictionaries(dict.fromkeys(ROOTS, VALUES))
TAILS = st.sampled_from(
    [
        *(
            ".a",
            ".b",
            "[0]",
            "[1]",
            "[-1]",
            "[:1]",
            "[*]",
            "[]",
            "[?a]",
            ".*",
            ".{a: b}",
            ".{b: @}",
        ),
        *(".{b: @}", ".[a, b]", " | a", " | [0]", " | {a: b}", " | [a]", " | @"),
    ]
)
HEADS = ["event_properties", "user_id", "'x'", "`[[1], 2]`", "{a: user_id}", "[user_id]"]
SOURCES = st.builds(
    lambda head, tails: head + "".join(tails), st.sampled_from(HEADS), st.lists(TAILS, max_size=5)
)


@given(SOURCES, st.lists(EVENTS, min_size=3, max_size=3))
def test_what_is_refused_finds_nothing_in_any_event(
    source: str, events: list[dict[str, Any]]
) -> None:
    """A path that is refused gives nothing but null, and lists and objects of nothing."""
    compiled = jmespath.compile(source)
    try:
        check_reads(compiled.parsed, ROOTS)
    except NeverFound:
        for event in events:
            assert not holds_something(compiled.search(event))


def holds_something(result: object) -> bool:
    if isinstance(result, dict):
        return any(map(holds_something, result.values()))
    if isinstance(result, list):
        return any(map(holds_something, result))
    return result is not None
