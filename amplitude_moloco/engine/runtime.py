"""How an engine reads the time, waits and makes threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Runtime:
    """The real one by default. Tests hand in their own."""

    monotonic: Callable[[], float] = time.monotonic
    """The clock, in seconds."""
    wait: Callable[[threading.Condition, float | None], object] = threading.Condition.wait
    """Waits for a condition, no longer than a timeout. Holds its lock before and after."""
    new_thread: Callable[..., threading.Thread] = threading.Thread
    """Makes a thread that is not started yet."""
    idle_seconds: float = 60.0
    """How long senders wait for work before they end."""
