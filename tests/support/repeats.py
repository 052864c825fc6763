"""How often a test tries what chance decides: a few times, or very often with ``TORTURE`` set."""

from __future__ import annotations

import os

IS_TORTURE = bool(os.environ.get("TORTURE"))


def repeats(quick: int, torture: int) -> int:
    """Returns the number for the suite that runs."""
    return torture if IS_TORTURE else quick
