"""How fast MCM is called: as fast as it can take it, found by halving and growing (AIMD)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from amplitude_moloco.engine.retry import is_positive
from amplitude_moloco.errors import ConfigurationError

_MIN_RATE = 0.5
_MIN_MAX_RATE = 0.1
"""Slower, and what waits for its moment would be taken for lost by other processes."""
_MIN_SECONDS_BETWEEN_CUTS = 1.0
_LATE_SECONDS = 0.05
# After a throttle: half the rate, then a twentieth of the old one more every second, until twice
# the old one has been borne.
_RECOVERY_PER_SECOND = 0.05
_RECOVERED_AT = 2.0
# After an outage: a gentle start, whatever the backlog is.
_RAMP_START = 10.0
_RAMP_PER_SECOND = 50.0
_RAMP_END = 1000.0


class Pacer:
    """Gives every request its moment. Without a maximum and a throttle, that is at once.

    Safe to use from any thread; never waits itself. ``monotonic`` is the clock, in seconds.
    """

    def __init__(
        self,
        max_requests_per_second: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_requests_per_second is not None and (
            not is_positive(max_requests_per_second) or max_requests_per_second < _MIN_MAX_RATE
        ):
            raise ConfigurationError(
                f"max_requests_per_second: use a number from {_MIN_MAX_RATE} on, or None"
            )
        self._max_rate = max_requests_per_second
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._rate = max_requests_per_second
        self._growth = 0.0
        self._ceiling = 0.0
        self._grown_at = self._next_at = monotonic()
        self._cut_at: float | None = None
        self._window_at, self._window_requests, self._measured = self._next_at, 0, 0.0

    @property
    def rate(self) -> float | None:
        """Requests per second now; None if they are not limited."""
        with self._lock:
            self._grow()
            return self._rate

    def reserve(self, *, only_now: bool = False) -> float:
        """Take the next moment for a request. Returns in how many seconds it is.

        ``only_now``: take it only if it has come, that is if 0.0 is returned.
        """
        with self._lock:
            now = self._monotonic()
            self._grow()
            if self._rate is not None:
                moment = max(now, self._next_at)
                if only_now and moment > now:
                    return moment - now
                interval = 1 / self._rate
                if only_now and now - self._next_at < max(interval, _LATE_SECONDS):
                    # Who looks now and then comes a little late, and does not put off the others.
                    moment = self._next_at
                self._next_at = moment + interval
            self._measure(now)
            return 0.0 if self._rate is None else max(0.0, moment - now)

    def throttled(self) -> None:
        """MCM says that it is too fast: halve the rate, once for all that were on their way."""
        with self._lock:
            now = self._monotonic()
            if self._cut_at is not None and now - self._cut_at < _MIN_SECONDS_BETWEEN_CUTS:
                return
            self._cut_at = now
            self._grow()
            rate = self._measured_rate(now) if self._rate is None else self._rate
            self._set(
                max(min(_MIN_RATE, rate), rate / 2),
                rate * _RECOVERY_PER_SECOND,
                rate * _RECOVERED_AT,
            )

    def ramp(self) -> None:
        """MCM works again after an outage: start gently."""
        with self._lock:
            self._grow()
            start = _RAMP_START if self._rate is None else min(_RAMP_START, self._rate)
            self._set(start, _RAMP_PER_SECOND, _RAMP_END)

    def _set(self, rate: float, growth: float, ceiling: float) -> None:
        self._rate, self._growth, self._ceiling = rate, growth, ceiling
        self._grown_at = self._next_at = self._monotonic()

    def _grow(self) -> None:
        if self._rate is None or not self._growth:
            return
        now = self._monotonic()
        self._rate += self._growth * (now - self._grown_at)
        self._grown_at = now
        if self._rate >= min(self._ceiling, self._max_rate or self._ceiling):
            self._rate, self._growth = self._max_rate, 0.0

    def _measure(self, now: float) -> None:
        """Count requests by the second, so that there is a rate to halve."""
        if now - self._window_at >= 1:
            self._measured = self._window_requests / (now - self._window_at)
            self._window_at, self._window_requests = now, 0
        self._window_requests += 1

    def _measured_rate(self, now: float) -> float:
        return max(self._measured, self._window_requests / max(1.0, now - self._window_at))
