"""The daemon threads of an engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from amplitude_moloco.host.locks import release_fully


class Threads:
    """Threads that run one function, started as they are needed. Safe from any thread.

    Args:
        run: The function. A thread ends when it returns.
        most: How many may run at a time.
        name: What a debugger calls each of them.
        new_thread: Makes a thread that is not started yet.
        is_needed: Returns whether some thread must run. Asked when the last one has returned, and
            when any has ended by an exception: then another one is started.
    """

    def __init__(
        self,
        run: Callable[[], object],
        *,
        most: int,
        name: str,
        new_thread: Callable[..., threading.Thread],
        is_needed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._target = run
        self._most = most
        self._name = name
        self._new_thread = new_thread
        self._is_needed = is_needed
        self._lock = threading.RLock()
        self._starting: set[threading.Thread] = set()
        self._running: set[threading.Thread] = set()  # each adds itself: what never ran is not here

    def __bool__(self) -> bool:
        return bool(self._running or self._starting)

    @property
    def alive(self) -> int:
        """How many run. Never waits for work that they do."""
        return sum(thread.is_alive() for thread in self._running | self._starting)

    def start_first(self) -> None:
        """Start one, unless there is one. Waits for no lock.

        If another thread has the lock, that one starts a thread just now, or it ends, and asks then
        whether some thread is needed.
        """
        if not (self._running or self._starting):
            self.start_one(is_patient=False)

    def start_one(self, *, is_patient: bool = True) -> bool:
        """Start one more, unless there are enough. Returns False if no thread can be started.

        Unless it ``is_patient``, not either while another thread starts one, or ends.
        """
        thread = self._new_thread(target=self._run, name=self._name, daemon=True)
        try:
            if not (self._lock.acquire(blocking=is_patient) and self._note_start(thread)):
                return True
            thread.start()
        except RuntimeError:  # no more threads, or the interpreter is ending
            self._starting.discard(thread)
            return False
        except BaseException:  # from a signal handler: the thread may run, and may not
            release_fully(self._lock)
            self._starting.discard(thread)
            raise
        return True

    def _note_start(self, thread: threading.Thread) -> bool:
        """Note that a thread is about to start, unless there are enough. Releases the lock."""
        try:
            if len(self._running) + len(self._starting) >= self._most:
                return False
            self._starting.add(thread)
            return True
        finally:
            self._lock.release()

    def recover(self) -> None:
        """Call it after an exception that may have struck anywhere in ``start_one``."""
        release_fully(self._lock)

    def join(self, timeout_seconds: float) -> None:
        """Wait for all threads but the calling one to end, but no longer than this."""
        ends_at = time.monotonic() + timeout_seconds
        others = self._running | self._starting
        threads = others - {threading.current_thread()}  # a hook may close the engine
        for thread in threads:
            with suppress(RuntimeError):  # it has not quite started, and will find nothing to do
                thread.join(max(0.0, ends_at - time.monotonic()))

    def _run(self) -> None:
        thread = threading.current_thread()
        has_returned = False
        try:
            with self._lock:
                self._running.add(thread)
                self._starting.discard(thread)
            self._target()
            has_returned = True
        finally:
            with self._lock:
                self._running.discard(thread)
            # Work may have come just now, or an exception may have left some. While others run, one
            # that returned has left nothing to them that they don't know of.
            if not (has_returned and self) and self._is_needed():
                self.start_one()
