"""How an engine reads the time, waits and makes threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Awaited(Protocol):
    """A ``threading.Condition``, whose lock the caller holds, or an ``Alarm``."""

    def wait(self, seconds: float | None, /) -> bool:
        """Wait no longer than this. Returns False if nothing came."""
        ...


def _wait(awaited: Awaited, seconds: float | None) -> bool:
    return awaited.wait(seconds)


@dataclass(frozen=True)
class Runtime:
    """The real one by default. Tests hand in their own."""

    monotonic: Callable[[], float] = time.monotonic
    """The clock, in seconds."""
    wait: Callable[[Awaited, float | None], object] = _wait
    """Waits no longer than a timeout."""
    new_thread: Callable[..., threading.Thread] = threading.Thread
    """Makes a thread that is not started yet."""
    idle_seconds: float = 60.0
    """How long senders wait for work before they end."""
