"""Checks of settings that are numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from amplitude_moloco import ConfigurationError
from amplitude_moloco.engine.checks import number, whole_number


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
