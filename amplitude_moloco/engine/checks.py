"""Checks of settings that are numbers."""

from __future__ import annotations

from math import inf

from amplitude_moloco.errors import ConfigurationError


def is_positive(value: object) -> bool:
    """Whether this is a finite number above 0: a time to wait, a rate, a count."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < inf


def whole_number(name: str, value: int) -> int:
    """Returns a setting that is a whole number above 0. Raises ConfigurationError if it is not."""
    if isinstance(value, int) and is_positive(value):
        return value
    raise ConfigurationError(f"{name}: found {value!r}; use a whole number above 0")


def number(name: str, value: float) -> float:
    """Returns a setting that is a number above 0. Raises ConfigurationError if it is not."""
    if is_positive(value):
        return value
    raise ConfigurationError(f"{name}: found {value!r}; use a number above 0")
