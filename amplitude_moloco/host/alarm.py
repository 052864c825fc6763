"""Wakes a thread from anywhere, even from amid the code of a lock."""

from __future__ import annotations

import threading
from contextlib import suppress


class Alarm:
    """One thread waits until any other rings. A ring that no one waits for ends the next wait.

    ``ring`` waits for no lock, so that a signal handler or a finalizer may ring wherever it runs.
    With a ``threading.Condition`` it would wait for whoever is about to wait, or rings himself, and
    that thread may wait, by way of a finalizer of its own, for a lock that this one holds.
    """

    def __init__(self) -> None:
        # Locked while no one has rung. Any thread may unlock a lock of this kind.
        self._silence = threading.Lock()
        self._silence.acquire()

    def ring(self) -> None:
        with suppress(RuntimeError):  # no one has heard the last ring yet
            self._silence.release()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for a ring, no longer than this. Returns whether one came. For one thread at a time.

        None: wait until one comes.
        """
        timeout_seconds = -1 if seconds is None else max(0.0, seconds)
        return self._silence.acquire(timeout=timeout_seconds)
