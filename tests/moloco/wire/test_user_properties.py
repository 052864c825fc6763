"""User properties: the copy that is sent, and what is refused."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from support.values import Color, Level, OwnMapping, Text, Word

from amplitude_moloco.moloco.wire.problems import InvalidValue
from amplitude_moloco.moloco.wire.user_properties import read_user_properties


def copied(value: object) -> Any:
    """The copy, of which nothing was left out."""
    copy, missing = read_user_properties(value)
    assert list(missing) == []
    return copy


def left_out(value: object) -> InvalidValue:
    """The only reason why something was left out."""
    (reason,) = read_user_properties(value)[1]
    return reason


def nested(levels: int) -> dict[str, Any]:
    """An object with this many levels of objects in it."""
    innermost: dict[str, Any] = {"a": 1}
    for _ in range(levels):
        innermost = {"a": innermost}
    return innermost


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": 1, "b": 1.5, "c": True, "d": False}, {"a": 1, "b": 1.5, "c": True, "d": False}),
        ({"a": None, "b": "", "c": " ", "d": [], "e": {}, "f": [None, ""], "z": 0}, {"z": 0}),
        ({"a": [1, None, "", "x"]}, {"a": [1, "x"]}),
        ({"a": (1, [2, (3,)])}, {"a": [1, [2, [3]]]}),
        ({"a": Decimal("1.50"), "b": Color.RED, "c": Level.TWO}, {"a": 1.5, "b": "red", "c": 2}),
        ({"a": Color.NONE, "b": Word.SALE, "c": Text("x")}, {"b": "sale", "c": "x"}),
        ({"größe": "ß"}, {"größe": "ß"}),
        pytest.param({Text("k"): OwnMapping(x=1)}, {"k": {"x": 1}}, id="own types"),
        ({Word.SALE: 1}, {"sale": 1}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    ],
    ids=repr,
)
def test_an_object_is_copied_as_json(value: Mapping[Any, Any], expected: dict[str, Any]) -> None:
    """The copy is JSON without nulls, empty texts, empty lists and empty objects."""
    result = copied(value)
    assert repr(result) == repr(expected)


def test_an_object_without_values_is_absent() -> None:
    """An object without any value to send counts as absent."""
    assert copied({}) is None
    assert copied({"a": {"b": [None]}}) is None


@pytest.mark.parametrize(
    ("value", "reason", "found"),
    [
        ("text", "wrong_type", "text of 4 characters"),
        ([1], "wrong_type", "a list of 1"),
        (None, "wrong_type", "nothing"),
        ({1: "a"}, "not_json", "a key that is a value of type int"),
        ({None: "a"}, "not_json", "a key that is nothing"),
        ({"\ud800": "a"}, "not_unicode", None),
        ({"a": "\ud800"}, "not_unicode", None),
        ({"a": float("nan")}, "not_json", "NaN, infinity or a number too large inside"),
        ({"a": 10**400}, "not_json", "NaN, infinity or a number too large inside"),
        ({"a": [b"x"]}, "not_json", "a value of type bytes inside"),
        ({"a": {"b": {1, 2}}}, "not_json", "a value of type set inside"),
        pytest.param({"a": object()}, "not_json", "a value of type object inside", id="object"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_values_that_json_cannot_represent_are_refused(
    value: object, reason: str, found: str | None
) -> None:
    """A key or a value that JSON can't represent is refused; the refusal names its type."""
    refused = left_out(value)
    assert refused.reason == reason
    assert found is None or refused.found == found


def test_64_levels_are_deep_enough() -> None:
    """64 levels of objects inside an object are copied, 65 are refused."""
    assert copied(nested(64)) == nested(64)
    refused = left_out(nested(65))
    assert refused.reason == "too_big"
    assert refused.fix == (
        "use at most 1000000 characters (each value counts as 100 more) and 64 levels"
    )


def test_an_object_that_contains_itself_is_refused() -> None:
    """An object that contains itself, once or many times, is refused."""
    once: dict[str, Any] = {}
    once["self"] = once
    many: list[Any] = []
    many += [many] * 50
    for value in (once, {"list": many}):
        assert left_out(value).reason == "too_big"


@pytest.mark.parametrize(
    ("fits", "too_big"),
    [
        ({"a": "x" * (1_000_000 - 101)}, {"a": "x" * (1_000_000 - 99)}),
        ({"x" * 999_900: 1}, {"x" * 999_901: 1}),
        ({"a": [1] * 9_998}, {"a": [1] * 10_000}),
        ({str(i): None for i in range(10_000)}, {str(i): None for i in range(10_001)}),
    ],
    ids=["characters", "characters of a key", "list", "keys"],
)
def test_a_megabyte_is_big_enough(fits: dict[str, Any], too_big: dict[str, Any]) -> None:
    """An object may have a million characters, of which each value takes 100."""
    copied(fits)
    assert left_out(too_big).reason == "too_big"


def test_copying_changes_nothing() -> None:
    """Copying leaves the original unchanged and shares no list or object with it."""
    original = {"a": [1, None, {"b": ""}], "c": {"d": [2]}}
    copy = copied(original)
    assert original == {"a": [1, None, {"b": ""}], "c": {"d": [2]}}
    assert copy == {"a": [1], "c": {"d": [2]}}
    assert copy["c"] is not original["c"]
