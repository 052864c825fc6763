"""Names that are nearly configured ones."""

from __future__ import annotations

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco.convert.names import closest_pattern, matcher, near_pattern

CONFIGURED = ["Order Completed", "Product *", "* Viewed", "Cart"]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("order completed", "Order Completed"),
        (" Order  Completed ", "Order Completed"),
        ("order_completed", "Order Completed"),
        ("orderCompleted", "Order Completed"),
        ("Order\u00a0Completed", "Order Completed"),
        ("product added", "Product *"),
        ("PRODUCT_ADDED", "Product *"),
        ("page viewed ", "* Viewed"),
        ("CART", "Cart"),
        ("Order Complted", ""),
        ("Checkout", ""),
        ("!!!", ""),
        ("", ""),
        ("order completed" + " " * 300, ""),
    ],
)
def test_another_case_or_other_blanks_are_near(name: str, near: str) -> None:
    """A name that differs in case, blanks, hyphens or underscores alone is near."""
    assert near_pattern(name, CONFIGURED) == near


@pytest.mark.parametrize(
    ("name", "closest"),
    [
        ("Order Complted", "Order Completed"),
        ("Orders Completed", "Order Completed"),
        ("order completed", "Order Completed"),
        ("Checkout", ""),
        ("!!!", ""),
        ("Order Complted" + "d" * 300, ""),
    ],
)
def test_the_closest_may_be_a_slip_of_the_pen(name: str, closest: str) -> None:
    """An explanation also names what a name with a typing error was meant for."""
    assert closest_pattern(name, CONFIGURED) == closest


@given(st.text(max_size=30), st.lists(st.text("aB *_-", min_size=1, max_size=8), max_size=5))
def test_what_is_near_is_configured(name: str, patterns: list[str]) -> None:
    """A near or closest name is always one of the configured ones, or none."""
    assert near_pattern(name, patterns) in ["", *patterns]
    assert closest_pattern(name, patterns) in ["", *patterns]


@given(st.text(string.ascii_letters + " ", min_size=1, max_size=20))
def test_every_case_of_a_name_is_near(name: str) -> None:
    """However the letters of a configured name are written, it is found."""
    if name.strip():
        assert near_pattern(name.swapcase(), [name]) == name
        assert matcher([name])(name)


def test_no_search_takes_long() -> None:
    """A hundred patterns of many wildcards are searched in linear time."""
    dice = random.Random(7)  # noqa: S311  # no secret
    patterns = ["*".join(dice.choices("aab ", k=100)) + "c" for _ in range(100)]
    assert near_pattern("a" * 200, patterns) == ""
