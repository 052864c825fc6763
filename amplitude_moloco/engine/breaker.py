"""The circuit breaker: while the server fails, nothing is sent but one probe at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from amplitude_moloco.engine.checks import is_count, is_positive
from amplitude_moloco.engine.unreadable import refusing_unreadable
from amplitude_moloco.errors import ConfigurationError


@dataclass(frozen=True)
class BreakerPolicy:
    """When the circuit opens, and when it is probed.

    The first probes come early, since most outages are short; later ones at a fixed interval.
    """

    failures: int = 5
    """Failures in a row that leave the circuit closed. One more opens it."""
    probe_delays_seconds: tuple[float, ...] = (5, 10, 20, 40, 80)
    then_seconds: float = 900

    def __post_init__(self) -> None:
        with refusing_unreadable(vars(self)):
            self._check()

    def _check(self) -> None:
        errors = []
        is_list = isinstance(self.probe_delays_seconds, (tuple, list))
        if not is_list:
            errors.append("breaker: probe_delays_seconds must be a tuple of seconds")
        delays = (*(self.probe_delays_seconds if is_list else ()), self.then_seconds)
        if not (is_count(self.failures) and all(map(is_positive, delays))):
            errors.append(
                "breaker: failures must be at least 1, every delay a number of seconds above 0"
            )
        if errors:
            raise ConfigurationError(*errors)


class CircuitBreaker:
    """Closed while the server works. Open, it allows one probe at a time, until one succeeds.

    Safe from any thread, and never waits. ``monotonic`` is the clock, in seconds.
    """

    def __init__(
        self,
        policy: BreakerPolicy | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy or BreakerPolicy()
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._failures = 0
        self._is_passing = False
        self._is_open = False
        self._is_probing = False
        self._probes = 0
        self._probe_at = 0.0

    @property
    def is_open(self) -> bool:
        return self._is_open

    @property
    def is_passing(self) -> bool:
        """Whether the last answer was a success. If so, a failure is due to the event itself."""
        return self._is_passing

    def delay_seconds(self) -> float | None:
        """Returns how long to wait before anything may be sent.

        0 if the circuit is closed or a probe is due; None while a probe is on its way.
        """
        with self._lock:
            if not self._is_open:
                return 0.0
            if self._is_probing:
                return None
            return max(0.0, self._probe_at - self._monotonic())

    def begin_probe(self) -> bool:
        """Take the probe that is due. Returns False if none is."""
        with self._lock:
            if not self._is_open or self._is_probing or self._monotonic() < self._probe_at:
                return False
            self._is_probing = True
            return True

    def succeeded(self) -> bool:
        """Record that the server works. Returns True if this has closed the circuit."""
        with self._lock:
            was_open = self._is_open
            self._failures = 0
            self._is_passing = True
            self._is_open = self._is_probing = False
            return was_open

    def failed(self, *, is_probe: bool = False, at_once: bool = False) -> bool:
        """Record that the server or the network failed. Returns True if this opened the circuit.

        ``at_once`` opens it without counting.
        """
        with self._lock:
            self._failures += 1
            self._is_passing = False
            if not self._is_open:
                if self._failures <= self._policy.failures and not at_once:
                    return False
                self._is_open = True
                self._probes = 0
                self._schedule_probe()
                return True
            if is_probe:
                self._is_probing = False
                self._probes += 1
                self._schedule_probe()
            return False

    def _schedule_probe(self) -> None:
        delays = self._policy.probe_delays_seconds
        delay = delays[self._probes] if self._probes < len(delays) else self._policy.then_seconds
        self._probe_at = self._monotonic() + delay
