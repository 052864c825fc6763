"""A clock that stands still until a test moves it."""

from __future__ import annotations

import time

NOW = 1_700_000_000.0
"""Where a clock starts, in Unix seconds."""


class Clock:
    """A wall clock and a monotonic clock. They stand still until the test moves them."""

    def __init__(self) -> None:
        self._wall = NOW
        self._monotonic = 1000.0

    def wall(self) -> float:
        return self._wall

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._wall += seconds
        self._monotonic += seconds

    def set_wall(self, wall: float) -> None:
        """Set the wall clock, as an administrator or a time server does. No time passes."""
        self._wall = wall


class RealClock(Clock):
    """The system's own time."""

    def wall(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()
