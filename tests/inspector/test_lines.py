from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco.inspector.lines import lines_of, text_line, words_in

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=30,
)


@given(JSON)
def test_lines_are_the_document(document: Any) -> None:
    """The lines of a document, one after the other, are that document's JSON."""
    text = "".join(line.key + line.value for line in lines_of(document))
    assert json.loads(text, parse_constant=float) == document


def test_places() -> None:
    """Each value has its path, and what closes an object has none."""
    found = lines_of({"items": [{"price": 12.5}, {}], "id": "a"})

    assert [(line.depth, line.place, line.key + line.value) for line in found] == [
        (0, "", "{"),
        (1, "items", '"items": ['),
        (2, "items[0]", "{"),
        (3, "items[0].price", '"price": 12.5'),
        (2, "", "},"),
        (2, "items[1]", "{}"),
        (1, "", "],"),
        (1, "id", '"id": "a"'),
        (0, "", "}"),
    ]


def test_numbers_are_whole() -> None:
    """A number that a browser would round is written in full."""
    assert lines_of(2**63 + 1)[0].value == "9223372036854775809"


def test_bounded() -> None:
    """A huge document has two thousand lines, and a huge text two thousand characters."""
    lines = lines_of(list(range(5_000)))

    assert len(lines) == 2_001
    assert lines[-1].value == "… (the rest is not shown)"
    assert lines_of("x" * 5_000)[0].value.endswith("x… (5,002 characters)")
    assert text_line("x" * 5_000)[0].value.endswith("x… (5,000 characters)")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"a": "red", "b": [1, {"c": None}]}, "red 1 null"),
        ({"a": "x" * 30}, "x" * 20),
        (["x" * 10] * 3, "x" * 10 + " " + "x" * 9),
        (["x" * 19, "y"], "x" * 19),
        ({}, ""),
    ],
)
def test_words(document: Any, words: str) -> None:
    """The values of a document are found in one short text."""
    assert words_in(document, 20) == words
