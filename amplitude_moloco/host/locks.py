"""What an exception that may strike between any two instructions does to a lock."""

from __future__ import annotations

import threading
from contextlib import suppress


def release_fully(lock: threading.RLock) -> None:
    """Release a lock as often as the calling thread holds it; that may be never.

    A ``with`` statement is not quite safe from an exception that a signal handler or a debugger
    raises: it may strike when the block has ended, and before the lock is released.
    """
    with suppress(RuntimeError):  # the calling thread does not hold it
        while True:
            lock.release()
