"""Checks of settings that are numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from amplitude_moloco import ConfigurationError, MolocoSettings, Sync
from amplitude_moloco.engine.checks import (
    MOST,
    Checks,
    bounded,
    callable_of_none,
    callables_of_one,
    listed,
    number,
    number_or_none,
    whole_number,
)


def refusal(check: Callable[..., object], *arguments: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        check(*arguments)
    return str(caught.value)


def test_numbers_above_zero_are_accepted() -> None:
    """A whole number above 0, or any number above 0, is returned unchanged."""
    assert whole_number("connections", 1) == 1
    assert number("timeout_seconds", 0.5) == 0.5
    assert number("timeout_seconds", 3) == 3


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "1", None], ids=repr)
def test_other_whole_numbers_are_refused(value: Any) -> None:
    """Anything but a whole number above 0 is refused with the setting's name."""
    assert refusal(whole_number, "connections", value) == (
        f"connections: found {value!r}; use a whole number above 0"
    )


@pytest.mark.parametrize("value", [0, -0.5, float("nan"), float("inf"), True, "1", None], ids=repr)
def test_other_numbers_are_refused(value: Any) -> None:
    """Anything but a finite number above 0 is refused with the setting's name."""
    assert refusal(number, "timeout_seconds", value) == (
        f"timeout_seconds: found {value!r}; use a number above 0"
    )


def test_a_number_may_be_left_out() -> None:
    """None is returned unchanged where a setting may be left out."""
    assert number_or_none("flush_timeout_seconds", None) is None
    assert number_or_none("flush_timeout_seconds", 0.5) == 0.5
    assert refusal(number_or_none, "flush_timeout_seconds", 0).startswith("flush_timeout_seconds: ")


def test_a_number_that_is_too_large_is_refused_with_the_limit() -> None:
    """A number that no clock or store can keep is refused with the largest that can be used."""
    assert whole_number("connections", MOST) == MOST
    assert refusal(whole_number, "connections", MOST + 1) == (
        f"connections: found {MOST + 1}; use a whole number above 0, at most {MOST}"
    )
    assert refusal(number, "timeout_seconds", 1e300) == (
        f"timeout_seconds: found 1e+300; use a number above 0, at most {MOST}"
    )


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.5, 0.5), (MOST, MOST), (MOST + 1, MOST), (math.inf, MOST), (10**20, MOST)]
    + [(each, 0.0) for each in (0, -1, -math.inf, math.nan)],
)
def test_any_time_to_wait_can_be_waited(seconds: float, expected: float) -> None:
    """What is beyond all clocks is a long time, and what is no time is none."""
    assert bounded(seconds) == expected


def test_a_callable_without_arguments() -> None:
    """A callable that needs no argument is accepted, and any other refused."""
    assert callable_of_none("buffer", list) is list
    assert refusal(callable_of_none, "buffer", lambda path: path) == (
        "buffer: found a callable that needs arguments; use one that takes none"
    )
    assert refusal(callable_of_none, "buffer", 5) == "buffer: found int; use a callable"


def test_the_same_error_is_raised_once() -> None:
    """Two checks that find the same give one error."""
    checks = Checks()
    for value in (0, 0, 1):
        checks.run(whole_number, "connections", value)
    with pytest.raises(ConfigurationError) as caught:
        checks.raise_errors()
    assert caught.value.errors == ("connections: found 0; use a whole number above 0",)


class NoArray:
    """Seems to be iterable, as numpy's array without dimensions."""

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("iteration over a 0-d array")


def test_a_list_that_can_not_be_read_is_refused() -> None:
    """Whatever it raises, it is named."""
    expected = "a: found NoArray, which can't be read (TypeError); use a list"
    assert refusal(listed, "a", NoArray()) == expected
    assert refusal(callables_of_one, "a", NoArray(), "one fact") == expected
    assert listed("a", iter("ab")) == ["a", "b"]


@pytest.mark.parametrize("name", ["syncs", "absent_identifiers", "id_less_fields", "events"])
def test_a_setting_that_can_not_be_read_is_named(name: str) -> None:
    """Lists of all kinds are read in one way."""
    make: Any = Sync if name == "events" else MolocoSettings
    with pytest.raises(ConfigurationError, match=f"{name}: found NoArray, which can't be read"):
        make("HOME", **{name: NoArray()})
