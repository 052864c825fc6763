"""The expressions that stand in for readers, in code that is written at run time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import Color, Fractional, Level, Text, Whole, Word

from amplitude_moloco.convert.code import Code
from amplitude_moloco.moloco.chart import BLANK_TEXT, is_present
from amplitude_moloco.moloco.wire.identifiers import identifier
from amplitude_moloco.moloco.wire.money import known_currency
from amplitude_moloco.moloco.wire.unchanged import OBJECTS, UNCHANGED
from amplitude_moloco.moloco.wire.values import number, quantity, short_text, text
from amplitude_moloco.moloco.wire.vocabulary import ABSENT_IDENTIFIERS

USUAL: dict[Callable[..., Any], list[Any]] = {
    text: ["plain", "x" * 129, "!", "null"],
    short_text: ["plain", "x" * 128],
    identifier: [
        *("user-1", "4711", "me@shop.example.com", "umbra", "x" * 128),
        *("550e8400-e29b-41d4-a716-446655440000", "ABCDEF12-3456-7890-ABCD-EF1234567890"),
    ],
    quantity: [0, 1, 2**31 - 1],
    number: [0, -7, 12.5, 10.0, 999_999_999_999_999],
    known_currency: ["USD", "KRW"],
}
UNUSUAL: list[Any] = [
    *(None, True, False, "", " ", "\0", " padded", "padded ", "USD ", "usd", "XYZ", "é", "\ud800"),
    *(float("nan"), float("inf"), float("-inf"), -0.0, 1e300, 10**15, 2**31, 2**64, -1, 10**400),
    *(Text("plain"), Text("USD"), Whole(7), Fractional(1.5), Color.RED, Word.SALE, b"plain"),
    *(Level.TWO, [], ["a"], {}, {"a": 1}, object(), 1j, "x" * 200),
]
VALUES = [*chain(*USUAL.values()), *UNUSUAL]
AROUND = [
    "{}",
    " {}",
    "{} ",
    "{}\0",
    "'{}'",
    "{}1",
    "1{}",
    "a-{}",
    "{}-{}",
    "id={}",
    "b'{}'",
    "0{}",
]


def condition(expression: str, **objects: object) -> Callable[[Any], bool]:
    """The expression as a function of one value."""
    code = Code("holds(value)")
    code.bind(**{**OBJECTS, **objects})
    code.add(f"return bool({expression.format('value')})")
    return code.compile("a condition")


IS_UNCHANGED = {read: condition(expression) for read, expression in UNCHANGED.items()}


def check(value: Any) -> None:
    """Each reader whose expression is true for the value returns it."""
    for read, is_unchanged in IS_UNCHANGED.items():
        if is_unchanged(value):
            assert read(value) is value, (read, value)


@pytest.mark.parametrize("read", UNCHANGED)
def test_a_usual_value_is_told_without_its_reader(read: Callable[..., Any]) -> None:
    """The expression of each reader is true for values as most apps have them."""
    assert [each for each in USUAL[read] if not IS_UNCHANGED[read](each)] == []


@pytest.mark.parametrize("value", VALUES)
def test_a_value_that_is_told_is_returned(value: Any) -> None:
    """A reader returns the value itself wherever its expression is true."""
    check(value)


def test_a_word_for_nobody_is_never_told_to_identify() -> None:
    """No word for nobody, in any case and with anything around it, is taken for an identifier."""
    starts = (
        "none null undefined nan nil b' urn:uuid: 00 0: 0. 0- 0x guest %s ${x} [object]".split()
    )
    for word, around in product([*ABSENT_IDENTIFIERS, *starts], AROUND):
        for each in (word, word.upper(), word.title()):
            check(around.format(each, each))


@given(
    st.text()
    | st.text("0123456789abcdefnulNUL-_:. '{}()[]", max_size=12)
    | st.integers()
    | st.floats()
)
def test_any_value_that_is_told_is_returned(value: Any) -> None:
    """A reader returns any text and any number for which its expression is true."""
    check(value)


def test_a_word_that_a_destination_adds_does_not_identify() -> None:
    """The expression asks the words of its own destination."""
    is_unchanged = condition(UNCHANGED[identifier], absent={"user-1"})
    assert not is_unchanged("USER-1")
    assert is_unchanged("USER-2")


@pytest.mark.parametrize("value", [*VALUES, "\u3000", "\n", Text(" ")])
def test_blank_text_is_what_is_not_present(value: Any) -> None:
    """The chart's expression and its function agree on what an event has."""
    assert is_present(value) == (value is not None and not condition(BLANK_TEXT)(value))
