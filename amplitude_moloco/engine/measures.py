"""What the senders measure: how attempts end, how long requests take, how late events arrive."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

from amplitude_moloco.reasons import Reason
from amplitude_moloco.transports.base import SendResult

REQUEST_BOUNDS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Those that OpenTelemetry recommends for the duration of HTTP requests."""
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
DELAY_BOUNDS_SECONDS = (
    *(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15),
    *(_MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 6 * _HOUR, _DAY, 7 * _DAY),
)
"""Up to the seven days after which an event expires."""


class AttemptOutcome(Reason):
    """How one request ended."""

    SUCCESS = "success"
    """The server accepted the event."""
    TIMEOUT = "timeout"
    """There was no complete answer in time."""
    NO_ANSWER = "no_answer"
    """No connection, no TLS, a broken connection, or an answer that is not the server's."""
    THROTTLED = "429"
    CLIENT_ERROR = "4xx"
    """But 429."""
    SERVER_ERROR = "5xx"
    OTHER = "other"
    """A redirect, for example."""


_SUCCESS = str(AttemptOutcome.SUCCESS)


@dataclass(frozen=True)
class Distribution:
    """How values are distributed."""

    bounds: tuple[float, ...]
    """The upper bounds of the buckets, each included. One more bucket has all that is greater."""
    counts: tuple[int, ...]
    """How many values each bucket holds: those between its bound and the one before."""
    total: float
    """The sum of the values."""


@dataclass(frozen=True)
class Measurements:
    """What the senders of this process have measured, at one moment."""

    attempts: Mapping[str, int]
    """Requests that have ended, by :class:`AttemptOutcome`."""
    request_seconds: Distribution
    """How long requests took, whatever their outcome."""
    delay_seconds: Distribution
    """How old events were when they were delivered."""


class Measures:
    """Collects measurements. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        # By text: the hash of an enum's member takes longer than all the rest.
        self._attempts = dict.fromkeys(map(str, AttemptOutcome), 0)
        self._requests = _Buckets(REQUEST_BOUNDS_SECONDS)
        self._delays = _Buckets(DELAY_BOUNDS_SECONDS)

    def failed(self, result: SendResult, seconds: float) -> None:
        """A request has failed, after this time."""
        outcome = str(_outcome_of_failure(result))
        with self._lock:
            self._attempts[outcome] += 1
            self._requests.add(seconds)

    def succeeded(self, seconds: float, delay_seconds: float | None) -> None:
        """A request has succeeded, after this time, and this long after its event was tracked.

        Without a delay, the buffer did not take note: another process may have the event by then.
        """
        with self._lock:
            self._attempts[_SUCCESS] += 1
            self._requests.add(seconds)
            if delay_seconds is not None:
                self._delays.add(delay_seconds)

    def measurements(self) -> Measurements:
        """Returns what was measured until now."""
        with self._lock:
            return Measurements(
                attempts=dict(self._attempts),
                request_seconds=self._requests.distribution(),
                delay_seconds=self._delays.distribution(),
            )


class _Buckets:
    """Counts values by size. The caller holds a lock."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def distribution(self) -> Distribution:
        return Distribution(self._bounds, tuple(self._counts), self._total)


def _outcome_of_failure(result: SendResult) -> AttemptOutcome:
    status = result.status
    if status is None:
        is_timeout = "timeout" in result.message.lower()
        return AttemptOutcome.TIMEOUT if is_timeout else AttemptOutcome.NO_ANSWER
    if status == 429:
        return AttemptOutcome.THROTTLED
    by_hundred = {4: AttemptOutcome.CLIENT_ERROR, 5: AttemptOutcome.SERVER_ERROR}
    return by_hundred.get(status // 100, AttemptOutcome.OTHER)
