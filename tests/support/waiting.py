"""Waiting for what other threads and processes do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def await_that(condition: Callable[[], object], seconds: float = 100) -> None:
    """Wait until a condition holds that other threads or processes bring about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)
