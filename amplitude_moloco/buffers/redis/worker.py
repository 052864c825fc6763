"""The thread of a buffer: it starts when there is work, and ends when there is none for long."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from amplitude_moloco.host.alarm import Alarm
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
        self._lock = threading.RLock()  # held while the thread is started
        self._alarm = Alarm()
        self.is_awake = False
        """Whether the thread will look again: then there is no need to wake it."""
        self._is_stopped = False
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """There is work. Never raises but what strikes from outside.

        Waits for no lock: a signal handler or a finalizer may call it amid any other code, whose
        thread may hold a lock that others wait for.
        """
        if not self.is_awake:
            self.is_awake = True
            self._alarm.ring()
            self._start(is_patient=False)

    def _start(self, *, is_patient: bool) -> None:
        """Start the thread unless it runs; unless it ``is_patient``, or another one starts it."""
        if not self._lock.acquire(blocking=is_patient):
            return
        try:
            if self._is_stopped or self.is_running:
                return
            self._thread = self._new_thread(target=self._run, name=self._name, daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # no more threads, or the interpreter is ending
                self._thread, self.is_awake = None, False
        finally:
            self._lock.release()

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
            thread = self._thread
        self._alarm.ring()
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
            left = idle_since + self._idle_seconds - now
            if left <= 0:
                self._end()
                return
            self._alarm.wait(0.0 if self.is_awake else min(seconds, left))
            if self._is_stopped:
                return
            if self.is_awake or not seconds:
                self._alarm.wait(_GATHER_SECONDS)

    def _end(self) -> None:
        self._thread = None
        if self.is_awake:  # by one that may have seen the thread run
            self._start(is_patient=True)

    def _try_step(self) -> float:
        try:
            return self._step()
        except Exception:
            logger.exception("The buffer's thread failed, and goes on")
            return _TROUBLE_SECONDS
