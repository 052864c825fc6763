"""What an expression reads in an event."""

from __future__ import annotations

from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco.convert.reads import ReadValue, values_read

ATTRIBUTES: dict[str, Any] = {
    "user_id": None,
    "event_type": "Order Completed",
    "event_properties": {
        "total": 0,
        "plan": "gold",
        "coupon": None,
        "products": [{"price": 1}],
        "Tags": ["sale"],
    },
}


def read(source: str) -> list[str]:
    return [str(each) for each in values_read(source, ATTRIBUTES)]


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        ("event_properties.total > `0`", ["event_properties.total is 0 (int)"]),
        ("event_properties.plan == 'Gold'", ["event_properties.plan is 'gold' (str)"]),
        ("event_properties.coupon == null", ["event_properties.coupon is None (NoneType)"]),
        ("event_properties.brand == 'a'", ["event_properties.brand is absent"]),
        ("user_id == 'u'", ["user_id is absent"]),
        (
            "contains(event_properties.tags, 'sale')",
            ["event_properties.tags is absent; did you mean 'Tags'?"],
        ),
        (
            "event_properties.products[0].price > `1`",
            ["event_properties.products is [{'price': 1}] (list)"],
        ),
        ("event_properties.plan.name == 'a'", ["event_properties.plan.name is absent"]),
        (
            "event_properties.total > `0` && event_properties.total < `9`",
            ["event_properties.total is 0 (int)"],
        ),
        ("`true`", []),
    ],
)
def test_each_value_that_is_read_is_shown_once(source: str, texts: list[str]) -> None:
    """A value has its place and its type; an absent one, the key that resembles it."""
    assert read(source) == texts


def test_a_repr_hides_the_value() -> None:
    """Only the text of a read value shows it."""
    (found,) = values_read("event_properties.plan", ATTRIBUTES)
    assert found == ReadValue("event_properties.plan", is_present=True, type="str", value="gold")
    assert "gold" not in repr(found)


class Hostile(dict[str, Any]):
    """An object of an app that raises when it is read."""

    def __contains__(self, key: object) -> bool:
        raise RuntimeError


def test_what_raises_when_it_is_read_counts_as_absent() -> None:
    """An object that raises when it is read spoils no explanation."""
    (found,) = values_read("event_properties.total", {"event_properties": Hostile(total=1)})
    assert str(found) == "event_properties.total is absent"


KEYS = st.sampled_from(["total", "plan", "Plan", "event_properties", "a b"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
    max_leaves=5,
)


@given(st.lists(KEYS, min_size=1, max_size=3), st.dictionaries(KEYS, VALUES))
def test_what_is_absent_finds_nothing(keys: list[str], attributes: dict[str, Any]) -> None:
    """A value that is present is what JMESPath finds, and it finds nothing for an absent one."""
    source = ".".join(f'"{key}"' for key in keys)
    (found,) = values_read(source, attributes)
    assert found.path == ".".join(keys)
    expected = jmespath.search(source, attributes)
    assert found.value == expected
    assert found.is_present or expected is None
    assert found.type == (type(expected).__name__ if found.is_present else "")
