"""A number that is given as an option."""

from __future__ import annotations

from math import isfinite

import typer


def finite(value: float | None) -> float | None:
    """Returns the value of an option. Raises BadParameter for nan, which click takes, and inf."""
    if value is None or isfinite(value):
        return value
    raise typer.BadParameter(f"{value} is no number; use one such as 0.5")
