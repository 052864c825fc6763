"""The thread of a buffer: it starts when there is work, and ends when there is none for long."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from amplitude_moloco.host.locks import release_fully
from amplitude_moloco.text import keep_record_on_one_line

logger = logging.getLogger(__name__)
logger.addFilter(keep_record_on_one_line)

_GATHER_SECONDS = 0.01
"""The pause between two steps, in which a batch gathers."""
_TROUBLE_SECONDS = 1.0


class Worker:
    """Runs one function in a thread. Safe from any thread.

    Args:
        step: Does what is due, and returns the seconds until more is.
        is_idle: Whether nothing needs the thread.
        name: What a debugger calls the thread.
        new_thread: Makes a thread that is not started yet.
        idle_seconds: How long the thread waits for work before it ends.
    """

    def __init__(
        self,
        step: Callable[[], float],
        is_idle: Callable[[], bool],
        *,
        name: str,
        new_thread: Callable[..., threading.Thread] = threading.Thread,
        idle_seconds: float = 60.0,
    ) -> None:
        self._step = step
        self._is_idle = is_idle
        self._name = name
        self._new_thread = new_thread
        self._idle_seconds = idle_seconds
        self._lock = threading.RLock()  # a signal handler may call wake() in the midst of it
        self._woken = threading.Condition(self._lock)
        self.is_awake = False
        """Whether the thread will look again: then there is no need to wake it."""
        self._is_stopped = False
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """There is work. Never waits, and never raises but what strikes from outside."""
        if self.is_awake:  # read without the lock: it looks again
            return
        with self._lock:
            self.is_awake = True
            self._woken.notify()
            if self._is_stopped or (self._thread is not None and self._thread.is_alive()):
                return
            self._thread = self._new_thread(target=self._run, name=self._name, daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # no more threads, or the interpreter is ending
                self._thread, self.is_awake = None, False

    def recover(self) -> None:
        """Call it after an exception that may have struck anywhere in ``wake``."""
        release_fully(self._lock)
        self.is_awake = False

    @property
    def is_running(self) -> bool:
        thread = self._thread
        return thread is not None and thread.is_alive()

    def stop(self, timeout_seconds: float) -> None:
        """End the thread after its current step, and wait for that no longer than this."""
        with self._lock:
            self._is_stopped = True
            self._woken.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_seconds)

    def _run(self) -> None:
        idle_since = time.monotonic()
        while True:
            self.is_awake = False  # before the step: what comes during it needs another one
            seconds = self._try_step()
            now = time.monotonic()
            if not self._is_idle():
                idle_since = now
            with self._lock:
                if not (self.is_awake or self._is_stopped):
                    left = idle_since + self._idle_seconds - now
                    if left <= 0:
                        self._thread = None
                        return
                    self._woken.wait(min(seconds, left))
                if self._is_stopped:
                    return
                if self.is_awake or not seconds:
                    self._woken.wait(_GATHER_SECONDS)

    def _try_step(self) -> float:
        try:
            return self._step()
        except Exception:
            logger.exception("The buffer's thread failed, and goes on")
            return _TROUBLE_SECONDS
