"""How idle senders wait: one watches the time, the others sleep until they are woken."""

from __future__ import annotations

import threading
from math import inf

from amplitude_moloco.engine.runtime import Runtime
from amplitude_moloco.host.alarm import Alarm


class Wakeups:
    """Safe from any thread.

    No wake-up is lost between asking for work and waiting: it ends the next wait of the one that
    watches the time, who then asks again. ``wake`` waits for no lock, as ``Alarm.ring``.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._monotonic = runtime.monotonic
        self._wait = runtime.wait
        self._alarm = Alarm()  # one idle sender waits here, with a timeout
        self._lock = threading.RLock()  # for senders, and what ends them
        self._sleep = threading.Condition(self._lock)  # the other idle senders wait here
        self._has_watcher = False
        self._watch_ends_at = inf
        self._sleepers = 0
        self._dismissals = 0
        self._is_closed = False
        self.wake = self._alarm.ring
        """Something may be due sooner than the watcher knows."""

    def wait(self, seconds: float | None) -> bool:
        """Wait until woken, but no longer than this. Returns at once after ``close()``.

        Returns True if the caller is dismissed: there is too little to do for it.
        """
        ends_at = inf if seconds is None else self._monotonic() + seconds
        with self._lock:
            if self._is_closed:
                return False
            if self._has_watcher:
                return self._wait_for_others(ends_at)
            self._has_watcher, self._watch_ends_at = True, ends_at
        try:
            self._wait(self._alarm, seconds)
        finally:
            self._has_watcher = False
        return False

    def _wait_for_others(self, ends_at: float) -> bool:
        """Sleep until another sender needs this one. Returns whether it is dismissed instead.

        The caller holds the lock.
        """
        if ends_at < self._watch_ends_at:  # the watcher asks again, and learns of it
            self.wake()
        self._sleepers += 1
        dismissals = self._dismissals
        try:
            self._wait(self._sleep, None)
        finally:
            is_dismissed = self._dismissals != dismissals
            if not is_dismissed:
                self._sleepers -= 1
        return is_dismissed

    def dismiss_sleepers(self) -> None:
        """Wake all senders but the one that watches the time, to let them end."""
        with self._lock:
            self._dismissals += 1
            self._sleepers = 0  # from now on none of them can be handed anything
            self._sleep.notify_all()

    def hand_over(self, *, has_more: bool) -> bool:
        """Called before a sender goes to send. Returns True if another sender must be started.

        Another one is needed to watch the time, or for more work that is there.
        """
        with self._lock:
            if self._has_watcher and not has_more:
                return False
            if self._sleepers:
                self._sleep.notify()
                return False
            return not self._has_watcher or has_more

    def close(self) -> None:
        """Wake all senders, and let none wait again."""
        with self._lock:
            self._is_closed = True
            self._sleep.notify_all()
        self.wake()
