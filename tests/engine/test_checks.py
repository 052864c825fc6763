"""Checks of settings that are numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from amplitude_moloco import ConfigurationError
from amplitude_moloco.engine.checks import (
    MOST,
    Checks,
    callable_of_none,
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
