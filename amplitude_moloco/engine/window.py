"""How many requests may be in flight at a time."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

_FIRST = 16
_PATIENCE_SECONDS = 0.2
"""More may be in flight once a backlog has waited for answers for as long as this."""
_GAP_SECONDS = 0.1
"""Waiting is continuous if no more time than this lies between two parts of it."""
_REST_SECONDS = 10.0
"""After this long without a backlog that waits, the window is as small as in the beginning."""


class Window:
    """Begins with 16, and doubles while a backlog waits for answers. The caller holds a lock.

    So a server that is near gets few connections, and one that is far gets as many as it takes to
    keep the pace.

    Args:
        most: The largest size.
        monotonic: The clock.
        is_fixed: Whether it has its largest size from the beginning.
    """

    def __init__(
        self, most: int, monotonic: Callable[[], float], *, is_fixed: bool = False
    ) -> None:
        self._most = most
        self._monotonic = monotonic
        self._first = most if is_fixed else min(_FIRST, most)
        self._size = self._first
        self._waited_seconds = 0.0
        self._waited_at = -inf

    @property
    def size(self) -> int:
        """How many requests may be in flight now."""
        if self._size > self._first and self._monotonic() - self._waited_at > _REST_SECONDS:
            self._size = self._first
        return self._size

    def note_wait(self, seconds: float) -> None:
        """A backlog has just waited this long, with as many requests in flight as may be."""
        now = self._monotonic()
        if now - seconds - self._waited_at > _GAP_SECONDS:
            self._waited_seconds = 0.0
        self._waited_at = now
        self._waited_seconds += seconds
        if self._waited_seconds >= _PATIENCE_SECONDS:
            self._size = min(2 * self._size, self._most)
            self._waited_seconds = 0.0
