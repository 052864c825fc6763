"""Waits in Redis until something can be claimed, so that nobody has to ask again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import inf

from amplitude_moloco.buffers.redis.address import RedisAddress
from amplitude_moloco.buffers.redis.link import connect

LISTEN_SECONDS = 10.0
_ANSWER_SECONDS = 5.0
_DEAF_SECONDS = 10.0
"""After a failure the caller asks for itself for this long."""


class Bell:
    """One connection that waits, in a thread of its own. Safe from any thread.

    The scripts leave one token in Redis when there is something to claim. Redis gives it to the
    process that has listened longest; what that one leaves, rings for the next.

    Args:
        address: Where Redis is.
        ring: Called when something can be claimed, or when this can't be known any more.
        monotonic: The clock, in seconds.
        new_thread: Makes a thread that is not started yet.
        seconds: How long it listens at a time.
    """

    def __init__(
        self,
        address: RedisAddress,
        ring: Callable[[], object],
        monotonic: Callable[[], float],
        new_thread: Callable[..., threading.Thread] = threading.Thread,
        *,
        seconds: float = LISTEN_SECONDS,
    ) -> None:
        self._client = connect(address, _ANSWER_SECONDS + seconds)
        self._seconds = seconds
        self._key = address.layout.bell
        self._ring = ring
        self._monotonic = monotonic
        self._new_thread = new_thread
        self._thread: threading.Thread | None = None
        self._is_wanted = threading.Event()
        self._deaf_until = -inf
        self._is_closed = False

    def listen(self) -> bool:
        """Ring once something can be claimed, for the next ten seconds. Never waits.

        For one thread at a time. Returns False if that is not possible now.
        """
        if self._is_closed or self._monotonic() < self._deaf_until:
            return False
        if self._thread is None:
            thread = self._new_thread(target=self._run, name="redis-bell", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more threads, or the interpreter is ending
                return False
            self._thread = thread
        self._is_wanted.set()
        return True

    def close(self) -> None:
        """Listen no longer."""
        self._is_closed = True
        self._is_wanted.set()
        self._client.close()

    def _run(self) -> None:
        while True:
            self._is_wanted.wait()
            self._is_wanted.clear()
            if self._is_closed:
                return
            if self._has_heard():
                self._ring()

    def _has_heard(self) -> bool:
        try:
            return self._client.blpop([self._key], self._seconds) is not None
        except Exception:  # many kinds, where it is closed meanwhile; the caller learns why
            self._deaf_until = self._monotonic() + _DEAF_SECONDS
            return True
