"""A clock that stands still until a test moves it."""

from __future__ import annotations


class Clock:
    """Call it for the time, in seconds."""

    def __init__(self, now: float = 1_000.0) -> None:
        self._now = now

    def __call__(self) -> float:
        return self._now

    def pass_seconds(self, seconds: float) -> None:
        self._now += seconds
