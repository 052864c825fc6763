"""A wait in a thread that signal handlers may interrupt."""

from __future__ import annotations

import time


def pause(seconds: float) -> None:
    """Wait. What a signal handler raises meanwhile is raised here as it is.

    The wait of an event or a condition may raise a RuntimeError in its place: it releases its lock,
    which it does not hold then.
    """
    time.sleep(seconds)  # noqa: TID251  # there is nothing to wait for
