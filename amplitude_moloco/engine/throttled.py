"""Identifiers that the server throttles while others pass."""

from __future__ import annotations

import threading
from collections import OrderedDict

_THROTTLES_TO_NAME = 3
_MAX_IDENTIFIERS = 1_000


class ThrottledIdentifiers:
    """Counts throttles by identifier, and names each one once. Safe from any thread.

    Remembers the thousand identifiers that were throttled last.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._throttles: OrderedDict[str, int] = OrderedDict()

    def count(self, identifier: str) -> bool:
        """Count one throttle. Returns True if the identifier is to be named now."""
        with self._lock:
            throttles = self._throttles.pop(identifier, 0) + 1
            self._throttles[identifier] = throttles
            if len(self._throttles) > _MAX_IDENTIFIERS:
                self._throttles.popitem(last=False)
            return throttles == _THROTTLES_TO_NAME
