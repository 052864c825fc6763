"""How fast the server is called: as fast as it allows, found by halving and growing (AIMD)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from math import inf
from typing import NamedTuple, Protocol

from amplitude_moloco.engine.checks import is_positive
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.text import shown

_MIN_RATE = 0.5
_MIN_MAX_RATE = 0.1
"""At a slower rate, claimed events would wait where no other process can send them."""
_MIN_SECONDS_BETWEEN_CUTS = 1.0
_LATE_SECONDS = 0.05
# After a throttle: half the rate, then a twentieth of the old one more every second. Beyond the
# rate that was refused: a twentieth of the present one, and only while it is made use of.
_RECOVERY_PER_SECOND = 0.05
# After an outage: a gentle start, however large the backlog.
_RAMP_START = 10.0
_RAMP_PER_SECOND = 50.0
_FREE_RATE = 10_000.0
"""More than one process can send: here the limit goes, and with it nothing that would be felt."""


def max_rate_of(max_requests_per_second: float | None) -> float | None:
    """Returns the highest rate that is allowed; None for no limit. Raises ConfigurationError."""
    if max_requests_per_second is None or (
        is_positive(max_requests_per_second) and max_requests_per_second >= _MIN_MAX_RATE
    ):
        return max_requests_per_second
    raise ConfigurationError(
        f"max_requests_per_second: found {shown(max_requests_per_second)}; use a number of at "
        f"least {_MIN_MAX_RATE}, or None"
    )


class Pace(Protocol):
    """Says how fast this process may send. Safe from any thread, and never waits.

    A process has a ``RateLimiter`` of its own, unless its buffer lets it share one.
    """

    @property
    def rate(self) -> float | None:
        """Requests per second that this process may send now; None if unlimited."""
        ...

    def set_max(self, max_requests_per_second: float | None) -> None:
        """Change the maximum. Raises ConfigurationError if it is no number of at least 0.1."""
        ...

    def take(self) -> float:
        """Take the next turn if it has come. Returns 0.0 if so, else the seconds until it comes."""
        ...

    def throttled(self) -> None:
        """The server has refused the present rate."""
        ...

    def ramp(self) -> None:
        """Start gently, now that an outage is over."""
        ...


class RateState(NamedTuple):
    """All that a rate limiter remembers. Its times are those of its clock."""

    max_rate: float | None
    rate: float | None
    growth: float
    """Requests per second, every second."""
    refused: float
    """The last rate that the server refused."""
    grown_at: float
    next_at: float
    cut_at: float | None
    window_at: float
    window_requests: int
    measured: float


class RateLimiter:
    """Gives every request its turn. Without a maximum and a throttle, that is at once.

    Safe from any thread, and never waits. ``monotonic`` is the clock, in seconds.

    Raises:
        ConfigurationError: The maximum is no number of at least 0.1.
    """

    def __init__(
        self,
        max_requests_per_second: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_rate = max_rate_of(max_requests_per_second)
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._rate = max_requests_per_second
        self._growth = 0.0  # requests per second, every second
        self._refused = inf  # the last rate that the server refused
        self._grown_at = self._next_at = monotonic()
        self._cut_at: float | None = None
        self._window_at, self._window_requests, self._measured = self._next_at, 0, 0.0

    @property
    def state(self) -> RateState:
        """All that it remembers: another one with this state does the same from now on."""
        with self._lock:
            return RateState(
                *(self._max_rate, self._rate, self._growth, self._refused),
                *(self._grown_at, self._next_at, self._cut_at),
                *(self._window_at, self._window_requests, self._measured),
            )

    @state.setter
    def state(self, state: RateState) -> None:
        with self._lock:
            self._max_rate, self._rate, self._growth, self._refused = state[:4]
            self._grown_at, self._next_at, self._cut_at = state[4:7]
            self._window_at, self._window_requests, self._measured = state[7:]

    @property
    def rate(self) -> float | None:
        """As ``Pace.rate``."""
        with self._lock:
            self._grow()
            return self._rate

    def set_max(self, max_requests_per_second: float | None) -> None:
        """Change the maximum. A rate that a throttle or an outage has cut still grows to it.

        Raises ConfigurationError as the constructor.
        """
        most = max_rate_of(max_requests_per_second)
        with self._lock:
            self._grow()
            self._max_rate = most
            if not self._growth or (most is not None and most <= (self._rate or inf)):
                self._rate, self._growth, self._refused = most, 0.0, inf
            if self._rate is not None:  # the next turn may have been far away
                self._next_at = min(self._next_at, self._monotonic() + 1 / self._rate)

    def take(self) -> float:
        """As ``Pace.take``."""
        with self._lock:
            now = self._monotonic()
            self._grow()
            if self._rate is not None:
                if self._next_at > now:
                    return self._next_at - now
                self._advance(now, self._rate)
            self._measure(now)
            return 0.0

    def reserve(self, most: int, ahead_seconds: float) -> list[float]:
        """Take turns of a limited rate that come in this time. Returns the seconds until each."""
        with self._lock:
            now, turns = self._monotonic(), list[float]()
            self._grow()
            while self._rate and len(turns) < most and self._next_at - now < ahead_seconds:
                turns.append(max(0.0, self._next_at - now))
                self._advance(now, self._rate)
                self._measure(now)
            return turns

    def count(self, requests: int) -> None:
        """Requests were sent without asking for turns, while there was no limit."""
        with self._lock:
            self._measure(self._monotonic(), requests)

    def throttled(self) -> None:
        """Halve the rate, once for all the requests that were on their way."""
        with self._lock:
            now = self._monotonic()
            if self._cut_at is not None and now - self._cut_at < _MIN_SECONDS_BETWEEN_CUTS:
                return
            self._cut_at = now
            self._grow()
            # What was refused is what was sent, which may be far less than was allowed.
            measured = self._measured_rate(now)
            rate = measured if self._rate is None else min(self._rate, measured or self._rate)
            self._refused = rate
            self._set(
                max(min(_MIN_RATE, rate), rate / 2),
                min(rate * _RECOVERY_PER_SECOND, _RAMP_PER_SECOND),
            )

    def ramp(self) -> None:
        """Start gently, now that an outage is over."""
        with self._lock:
            self._grow()
            start = _RAMP_START if self._rate is None else min(_RAMP_START, self._rate)
            self._set(start, _RAMP_PER_SECOND)

    def _set(self, rate: float, growth: float) -> None:
        self._rate, self._growth = rate, growth
        self._grown_at = self._next_at = self._monotonic()

    def _grow(self) -> None:
        if self._rate is None or not self._growth:
            return
        now = self._monotonic()
        seconds, self._grown_at = now - self._grown_at, now
        if self._rate < self._refused:
            self._rate = min(self._rate + self._growth * seconds, self._refused)
        elif self._measured_rate(now) >= self._rate / 2:
            growth = min(self._rate * _RECOVERY_PER_SECOND, _RAMP_PER_SECOND)
            self._rate += growth * min(seconds, 1.0)
        if self._rate >= (self._max_rate or _FREE_RATE):
            self._rate, self._growth, self._refused = self._max_rate, 0.0, inf

    def _advance(self, now: float, rate: float) -> None:
        """Set the time of the turn after the next one."""
        interval = 1 / rate
        # A caller that waits arrives slightly late; do not delay the others for it.
        is_slightly_late = now - self._next_at < max(interval, _LATE_SECONDS)
        self._next_at = (self._next_at if is_slightly_late else now) + interval

    def _measure(self, now: float, requests: int = 1) -> None:
        """Count requests per second, so that there is a rate to halve."""
        if now - self._window_at >= 1:
            self._measured = self._window_requests / (now - self._window_at)
            self._window_at, self._window_requests = now, 0
        self._window_requests += requests

    def _measured_rate(self, now: float) -> float:
        return max(self._measured, self._window_requests / max(1.0, now - self._window_at))
