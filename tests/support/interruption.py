"""An exception that strikes before one chosen step of the library, as a signal handler's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

PACKAGE = "amplitude_moloco"
# Python 3.12.1 crashes if a tracer raises before an instruction, and 3.13.0 does not call it there.
STEP = "line" if sys.version_info >= (3, 12) else "opcode"
MANY = 30 if STEP == "line" else 100
"""The library takes more steps than this for an event."""


class TimeLimit(Exception):
    """What a signal handler raises."""


class Interrupter:
    """Raises TimeLimit before one step of the library, in this thread alone.

    Args:
        at: Which one; 0 is the first.
        places: Parts of the paths of the files whose steps count.
    """

    def __init__(self, at: int, *places: str) -> None:
        self._left = at
        self._places = places or (PACKAGE,)

    @property
    def has_struck(self) -> bool:
        return self._left < 0

    def __enter__(self) -> None:
        self._before = sys.gettrace()  # that of coverage
        sys.settrace(self._trace)

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        path = frame.f_code.co_filename
        if self.has_struck or not any(place in path for place in self._places):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = STEP == "opcode", STEP == "line"
        if event == STEP:
            self._left -= 1
            if self.has_struck:
                raise TimeLimit
        return self._trace


def interrupt(work: Callable[[], object], at: int, *places: str) -> bool:
    """Interrupt a piece of work at one step. Returns False if it has fewer."""
    interrupter = Interrupter(at, *places)
    try:
        with interrupter:
            work()
    except TimeLimit:
        return True
    assert not interrupter.has_struck, "the app has not seen its exception"
    return False
