"""The circuit that a process shares with others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from math import inf

from amplitude_moloco.engine.breaker import BreakerPolicy, CircuitBreaker
from amplitude_moloco.engine.facts import Paused, Resumed
from amplitude_moloco.engine.fleet_state import Failed, FleetState, Report, Succeeded
from amplitude_moloco.transports.base import SendResult

_UNUSED_SECONDS = 5.0
"""A probe for which nothing was found to send goes to another process."""
_POLITE_SECONDS = 0.5
"""After a failed probe, others go first: this process's own network may be the trouble."""

_PROBED_SECONDS = 1.0
"""While a probe is on its way, its process is looked at this often, and shows that it lives."""
_PAUSED_SECONDS = 10.0
"""Between probes, only an answer that comes late could close the circuit."""


class FleetCircuit:
    """As ``Circuit``: what this process has learned counts at once, and for all others soon.

    Only one process of the fleet gets a probe, and only from what all agree on.

    Args:
        id: Names this process.
        lock: Guards this object; the fleet's own.
        report: Has the fleet learn something. Called with the lock.
        ask: Has the fleet agree soon. Called with the lock.
    """

    def __init__(
        self,
        id: str,
        policy: BreakerPolicy,
        monotonic: Callable[[], float],
        *,
        lock: threading.RLock,
        report: Callable[[Report], object],
        ask: Callable[[], object],
    ) -> None:
        self._id = id
        self._monotonic = monotonic
        self._lock = lock
        self._report = report
        self._ask = ask
        self._mirror = CircuitBreaker(policy, monotonic)
        self._is_told_open = False
        self.wants_probe = False
        self._has_probe = self._is_probing = False
        self._probe_since = self._polite_until = 0.0

    @property
    def is_open(self) -> bool:
        return self._mirror.is_open

    @property
    def is_passing(self) -> bool:
        return self._mirror.is_passing

    def delay_seconds(self) -> float | None:
        """As ``Circuit.delay_seconds``. None also while the fleet is asked for the probe."""
        with self._lock:
            if self._has_probe and not self._is_probing:
                return 0.0
            delay_seconds = self._mirror.delay_seconds()
            if delay_seconds is None or not self._mirror.is_open:
                return delay_seconds
            delay_seconds = max(delay_seconds, self._polite_until - self._monotonic())
            if delay_seconds > 0:
                return delay_seconds
            if not self.wants_probe:
                self.wants_probe = True
                self._ask()
            return None

    def begin_probe(self) -> bool:
        """As ``Circuit.begin_probe``."""
        with self._lock:
            is_begun = self._has_probe and not self._is_probing
            self._is_probing = self._has_probe
            return is_begun

    def succeeded(self) -> bool:
        """As ``Circuit.succeeded``."""
        with self._lock:
            before = self._mirror.state
            is_closed = self._mirror.succeeded()
            if before.failures or before.is_open or not before.is_passing:
                self._report(Succeeded())
            self._has_probe = self._is_probing = False
            self._is_told_open = self._is_told_open and not is_closed
            return is_closed

    def failed(
        self, *, is_probe: bool = False, at_once: bool = False, result: SendResult | None = None
    ) -> bool:
        """As ``Circuit.failed``."""
        with self._lock:
            is_opened = self._mirror.failed(is_probe=is_probe, at_once=at_once)
            why = result or SendResult()
            self._report(Failed(is_probe, at_once, why.status, why.message, why.cause))
            if is_probe:
                self._has_probe = self._is_probing = False
            self._is_told_open = self._is_told_open or is_opened
            return is_opened

    @property
    def look_seconds(self) -> float:
        """How often the fleet's circuit is to be looked at; infinity if it is closed."""
        if not self._mirror.is_open:
            return inf
        return _PROBED_SECONDS if self._mirror.state.is_probing else _PAUSED_SECONDS

    # -- the fleet ---------------------------------------------------------------------------

    def propose(self, state: FleetState) -> None:
        """Ask for the probe, keep it, or leave it to others."""
        if self._is_probing:
            state.renew_probe()
        elif self._has_probe and self._monotonic() - self._probe_since > _UNUSED_SECONDS:
            state.abandon_probe(self._id)
            self._polite_until = self._monotonic() + _UNUSED_SECONDS
        elif self.wants_probe:
            state.begin_probe(self._id)

    def adopt(
        self, state: FleetState, shift: float, later: Sequence[Report]
    ) -> tuple[bool, Paused | Resumed | None]:
        """Learn what the fleet has agreed on, and add what came later.

        ``shift`` is this process's clock less the fleet's. Returns whether something is to be
        claimed now, and what is to be told.
        """
        before, wanted = self._mirror.state, self.wants_probe
        circuit = state.breaker.state
        self._mirror.state = circuit._replace(probe_at=circuit.probe_at + shift)
        for each in later:
            if isinstance(each, Failed):
                self._mirror.failed(is_probe=each.is_probe, at_once=each.at_once)
            elif isinstance(each, Succeeded):
                self._mirror.succeeded()
        self.wants_probe = False
        self._learn_of_probe(state, has_ended=any(map(_ends_probe, later)))
        after = self._mirror.state
        is_changed = (before.is_open, before.is_probing) != (after.is_open, after.is_probing)
        is_told, self._is_told_open = self._is_told_open, after.is_open
        fact = None
        if after.is_open != is_told:
            fact = state.paused() if after.is_open else Resumed()
        return is_changed or wanted, fact

    def _learn_of_probe(self, state: FleetState, *, has_ended: bool) -> None:
        had_probe = self._has_probe
        self._has_probe = state.prober == self._id and not has_ended
        self._is_probing = self._is_probing and self._has_probe
        if self._has_probe and not had_probe:
            self._probe_since = self._monotonic()
        if state.last_prober == self._id and len(state.members) > 1:
            self._polite_until = self._mirror.state.probe_at + _POLITE_SECONDS


def _ends_probe(report: Report) -> bool:
    return isinstance(report, Succeeded) or (isinstance(report, Failed) and report.is_probe)
