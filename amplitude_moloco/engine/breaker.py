"""The circuit breaker: while the server fails, nothing is sent but one probe at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from amplitude_moloco.engine.checks import is_count, is_positive
from amplitude_moloco.engine.unreadable import refusing_unreadable
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.transports.base import SendResult


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


class Circuit(Protocol):
    """Says whether anything may be sent. Safe from any thread, and never waits.

    A process has a ``CircuitBreaker`` of its own, unless its buffer lets it share one.
    """

    @property
    def is_open(self) -> bool: ...

    @property
    def is_passing(self) -> bool:
        """Whether the last answer was a success. If so, a failure is due to the event itself."""
        ...

    def delay_seconds(self) -> float | None:
        """Returns how long to wait before anything may be sent.

        0 if the circuit is closed or a probe is due; None while a probe is on its way.
        """
        ...

    def begin_probe(self) -> bool:
        """Take the probe that is due. Returns False if none is."""
        ...

    def succeeded(self) -> bool:
        """Record that the server works. Returns True if this has closed the circuit."""
        ...

    def failed(
        self, *, is_probe: bool = False, at_once: bool = False, result: SendResult | None = None
    ) -> bool:
        """Record that the server or the network failed. Returns True if this opened the circuit.

        ``at_once`` opens it without counting. ``result`` says why, for other processes.
        """
        ...


class BreakerState(NamedTuple):
    """All that a circuit breaker remembers. Its times are those of its clock."""

    failures: int = 0
    is_passing: bool = False
    is_open: bool = False
    is_probing: bool = False
    probes: int = 0
    probe_at: float = 0.0


_PASSING = BreakerState(is_passing=True)


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
        self.state = BreakerState()

    @property
    def is_open(self) -> bool:
        return self.state.is_open

    @property
    def is_passing(self) -> bool:
        return self.state.is_passing

    def delay_seconds(self) -> float | None:
        """As ``Circuit.delay_seconds``."""
        with self._lock:
            if not self.state.is_open:
                return 0.0
            if self.state.is_probing:
                return None
            return max(0.0, self.state.probe_at - self._monotonic())

    def begin_probe(self) -> bool:
        """As ``Circuit.begin_probe``."""
        with self._lock:
            state = self.state
            if not state.is_open or state.is_probing or self._monotonic() < state.probe_at:
                return False
            self.state = state._replace(is_probing=True)
            return True

    def abandon_probe(self) -> None:
        """The probe will not end: another one is due at once."""
        with self._lock:
            self.state = self.state._replace(is_probing=False)

    def succeeded(self) -> bool:
        """As ``Circuit.succeeded``."""
        if self.state is _PASSING:  # as nearly always
            return False
        with self._lock:
            was_open, self.state = self.state.is_open, _PASSING
            return was_open

    def failed(
        self, *, is_probe: bool = False, at_once: bool = False, result: SendResult | None = None
    ) -> bool:
        """As ``Circuit.failed``."""
        with self._lock:
            state = self.state
            self.state = state = state._replace(failures=state.failures + 1, is_passing=False)
            if not state.is_open:
                if state.failures <= self._policy.failures and not at_once:
                    return False
                self.state = state._replace(is_open=True, probes=0, probe_at=self._probe_at(0))
                return True
            if is_probe:
                probes = state.probes + 1
                probe_at = self._probe_at(probes)
                self.state = state._replace(is_probing=False, probes=probes, probe_at=probe_at)
            return False

    def _probe_at(self, probes: int) -> float:
        delays = self._policy.probe_delays_seconds
        delay = delays[probes] if probes < len(delays) else self._policy.then_seconds
        return self._monotonic() + delay
