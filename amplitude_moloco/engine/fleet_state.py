"""What the processes of a fleet agree on: one circuit and one pace, as a short text."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, NamedTuple

from amplitude_moloco.engine.breaker import BreakerPolicy, BreakerState, CircuitBreaker
from amplitude_moloco.engine.facts import Paused
from amplitude_moloco.engine.rate import RateLimiter, RateState
from amplitude_moloco.reasons import PauseReason

_FORMAT = 1
_AHEAD_SECONDS = 1.0
"""More than turns are taken ahead."""
PROBE_SECONDS = 10.0
"""A probe whose process is not heard of for this time is another one's."""
MEMBER_SECONDS = 15.0
"""A process that is not heard of for this time has no share of the pace."""


class Failed(NamedTuple):
    """A request has failed."""

    is_probe: bool
    at_once: bool
    status: int | None
    message: str
    cause: str


class Succeeded(NamedTuple):
    """A request has succeeded, after some had failed."""


class Throttled(NamedTuple):
    """The server has refused the present rate."""


Report = Failed | Succeeded | Throttled


class Seen(NamedTuple):
    """A process of the fleet."""

    at: float
    max_rate: float | None


class FleetState:
    """The circuit and the pace of a fleet, at one moment of the clock that all share.

    For one thread. It decides with the circuit breaker and the rate limiter of a single process.

    Args:
        text: What ``encode`` has returned; anything else stands for a fleet that has just begun.
        now: The time in seconds. A clock that was set back delays nothing for longer than before.
    """

    def __init__(self, text: bytes, policy: BreakerPolicy, now: float) -> None:
        self.now = now
        self._policy = policy
        self.breaker = CircuitBreaker(policy, self._clock)
        self.pace = RateLimiter(None, self._clock)
        self.prober, self._prober_until = "", 0.0
        self.last_prober = ""
        """The process whose probe has failed last."""
        self.members: dict[str, Seen] = {}
        self._why: tuple[int | None, str, str] | None = None
        self._is_misconfigured = False
        with suppress(ValueError, TypeError, KeyError):
            self._read(json.loads(text))
        if self.prober and self._prober_until <= now:
            self._end_probe()

    def _clock(self) -> float:
        return self.now

    def encode(self) -> bytes:
        """Returns the text that stands for this state."""
        data = {
            "format": _FORMAT,
            "circuit": self.breaker.state,
            "pace": self.pace.state,
            "probe": (self.prober, self._prober_until, self.last_prober),
            "members": self.members,
            "why": self._why,
            "misconfigured": self._is_misconfigured,
        }
        return json.dumps(data, separators=(",", ":")).encode()

    def _read(self, data: Any) -> None:
        if data["format"] != _FORMAT:
            return
        now, delays = self.now, (*self._policy.probe_delays_seconds, self._policy.then_seconds)
        circuit, pace = BreakerState(*data["circuit"]), RateState(*data["pace"])
        prober, prober_until, last_prober = data["probe"]
        members = {id: Seen(*each) for id, each in data["members"].items()}
        why, is_misconfigured = data["why"], data["misconfigured"]
        self.breaker.state = circuit._replace(probe_at=min(circuit.probe_at, now + max(delays)))
        self.pace.state = pace._replace(
            grown_at=min(pace.grown_at, now),
            next_at=min(pace.next_at, now + _AHEAD_SECONDS + 1 / (pace.rate or 1.0)),
            cut_at=pace.cut_at and min(pace.cut_at, now),
            window_at=min(pace.window_at, now),
        )
        self.prober, self._prober_until = prober, min(prober_until, now + PROBE_SECONDS)
        self.last_prober, self._why = last_prober, why and tuple(why)
        self._is_misconfigured = is_misconfigured
        self.members = {
            id: each for id, each in members.items() if abs(now - each.at) < MEMBER_SECONDS
        }

    # -- what a process does -----------------------------------------------------------------

    def join(self, id: str, max_rate: float | None) -> None:
        """A process sends, and allows this rate. The lowest of all is the fleet's."""
        self.members[id] = Seen(self.now, max_rate)
        rates = [each.max_rate for each in self.members.values() if each.max_rate is not None]
        lowest = min(rates, default=None)
        if lowest != self.pace.state.max_rate:
            self.pace.set_max(lowest)

    def report(self, id: str, report: Report) -> None:
        """A process has learned something about the server."""
        if isinstance(report, Throttled):
            self.pace.throttled()
        elif isinstance(report, Succeeded):
            if self.breaker.succeeded():
                self.pace.ramp()
            self.prober = self.last_prober = ""
        else:
            is_probe = report.is_probe and self.prober == id
            if self.breaker.failed(is_probe=is_probe, at_once=report.at_once):
                self._why = report.status, report.message, report.cause
                self._is_misconfigured = report.at_once
            if is_probe:
                self.prober, self.last_prober = "", id

    def begin_probe(self, id: str) -> None:
        """Give the probe to this process, if one is due and no process has it."""
        if self.breaker.begin_probe():
            self.prober = id
            self.renew_probe()

    def renew_probe(self) -> None:
        """The process that has the probe lives."""
        self._prober_until = self.now + PROBE_SECONDS

    def abandon_probe(self, id: str) -> None:
        """The process has nothing to send, or ends: let another one probe."""
        if self.prober == id:
            self._end_probe()

    def _end_probe(self) -> None:
        self.prober = ""
        self.breaker.abandon_probe()

    # -- what is known -----------------------------------------------------------------------

    def paused(self) -> Paused:
        """Returns why the circuit is open."""
        reason = PauseReason.MISCONFIGURED if self._is_misconfigured else PauseReason.OUTAGE
        return Paused(reason, *(self._why or (None, "", "")))
