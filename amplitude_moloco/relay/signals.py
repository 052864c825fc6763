"""Signals as numbers that one thread reads: nothing is done while a handler runs."""

from __future__ import annotations

import os
import select
import signal
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

WOKEN = 0
"""What is read after ``wake()``."""
_NAMES = ("SIGHUP", "SIGINT", "SIGTERM")


class Signals:
    """SIGHUP, SIGINT and SIGTERM, in the order in which they came. Entered in the main thread.

    Python itself writes the number of each into a pipe, at any moment and in any state of the
    program.
    """

    def __init__(self) -> None:
        self._known = {int(getattr(signal, name)) for name in _NAMES}
        self._lock = threading.Lock()
        self._is_open = False

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe()
        self._is_open = True
        for descriptor in (self._reader, self._writer):
            os.set_blocking(descriptor, False)
        self._wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, _pass) for number in self._known}
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        with self._lock:  # another file may get their numbers
            self._is_open = False
            os.close(self._reader)
            os.close(self._writer)

    def wait(self) -> int:
        """Returns the next signal, or ``WOKEN``. Waits for it."""
        while True:
            select.select([self._reader], [], [])
            (number,) = os.read(self._reader, 1)
            if number in self._known or number == WOKEN:  # an app's own handlers write here, too
                return number

    def wake(self) -> None:
        """Let ``wait`` return, from any thread. After the end, it has no effect."""
        with self._lock, suppress(BlockingIOError):  # the pipe is full, so it returns anyway
            if self._is_open:
                os.write(self._writer, bytes([WOKEN]))


def _pass(number: int, frame: FrameType | None) -> None:
    """A handler has to be there, or the signal would end the process."""
