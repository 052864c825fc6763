"""The clock of deadlines."""

from __future__ import annotations

import time


class RealClock:
    """The real monotonic clock, taken at import.

    Libraries that freeze time, such as freezegun, replace ``time.monotonic`` and what modules have
    imported of it, but no attribute of a class. A request in flight must not time out by that.
    """

    monotonic = staticmethod(time.monotonic)
