"""The MMP's clock, which its user moves."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

_MOST_SECONDS = 10 * 365 * 24 * 3600


class VirtualClock:
    """Runs as the real clock does, ahead of it or behind it. Safe to use from any thread.

    Args:
        real: Returns the real time in Unix seconds.
    """

    def __init__(self, real: Callable[[], float] = time.time) -> None:
        self._real = real
        self._ahead_seconds = 0.0
        self._lock = Lock()

    def now(self) -> float:
        """Returns the MMP's time in Unix seconds."""
        return self._real() + self._ahead_seconds

    def move(self, seconds: float) -> None:
        """Moves the clock on, or back if ``seconds`` is negative.

        Raises ValueError if that is further than ten years from the real time.
        """
        with self._lock:
            ahead_seconds = self._ahead_seconds + seconds
            if not abs(ahead_seconds) <= _MOST_SECONDS:  # as no NaN is
                raise ValueError(f"the clock can't be moved by {seconds!r} seconds")
            self._ahead_seconds = ahead_seconds

    def reset(self) -> None:
        """Sets the clock to the real time."""
        with self._lock:
            self._ahead_seconds = 0.0

    @property
    def ahead_seconds(self) -> float:
        """How far the clock is ahead of the real one; negative if it is behind."""
        return self._ahead_seconds
