"""What measures the coverage of tests, and must not be interrupted by them."""

from __future__ import annotations

import inspect
import os
from types import FrameType


def unmeasured() -> dict[str, str]:
    """The environment for a process that is killed or interrupted: nothing measures it."""
    return {name: value for name, value in os.environ.items() if "COVERAGE" not in name}


def is_coverage_interrupted(frame: FrameType | None = None) -> bool:
    """Whether coverage was interrupted, which may hold a lock that nothing can then wait for.

    Args:
        frame: What a signal handler gets; by default the caller's.
    """
    if frame is None:
        frame = inspect.currentframe()
    while frame is not None and not frame.f_code.co_filename.endswith("coverage/collector.py"):
        frame = frame.f_back
    return frame is not None
