"""The daemon threads of an engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress


class Threads:
    """Threads that run one function, started as they are needed. Safe from any thread.

    Args:
        run: The function. A thread ends when it returns.
        most: How many may run at a time.
        name: What a debugger calls each of them.
        new_thread: Makes a thread that is not started yet.
    """

    def __init__(
        self,
        run: Callable[[], object],
        *,
        most: int,
        name: str,
        new_thread: Callable[..., threading.Thread],
    ) -> None:
        self._target = run
        self._most = most
        self._name = name
        self._new_thread = new_thread
        self._lock = threading.RLock()
        self._threads: set[threading.Thread] = set()

    def __bool__(self) -> bool:
        return bool(self._threads)

    def start_one(self) -> bool:
        """Start one more, unless there are enough. Returns False if no thread can be started."""
        with self._lock:
            if len(self._threads) >= self._most:
                return True
            thread = self._new_thread(target=self._run, name=self._name, daemon=True)
            self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:  # no more threads, or the interpreter is ending
            with self._lock:
                self._threads.discard(thread)
            return False
        return True

    def join(self, timeout_seconds: float) -> None:
        """Wait for all threads but the calling one to end, but no longer than this."""
        ends_at = time.monotonic() + timeout_seconds
        with self._lock:
            threads = self._threads - {threading.current_thread()}  # a hook may close the engine
        for thread in threads:
            with suppress(RuntimeError):  # it has not quite started, and will find nothing to do
                thread.join(max(0.0, ends_at - time.monotonic()))

    def _run(self) -> None:
        try:
            self._target()
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())
