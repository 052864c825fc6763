"""One circuit and one pace for all processes that share a buffer."""

from __future__ import annotations

import random
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from math import inf

from amplitude_moloco.buffers.base import Exchange, Storage
from amplitude_moloco.engine.breaker import BreakerPolicy, Circuit, CircuitBreaker
from amplitude_moloco.engine.facts import Paused, Resumed
from amplitude_moloco.engine.fleet_circuit import FleetCircuit
from amplitude_moloco.engine.fleet_pace import FleetPace
from amplitude_moloco.engine.fleet_state import FleetState, Report
from amplitude_moloco.engine.rate import Pace, RateLimiter

_TRIES = 5
_AGAIN_SECONDS = 0.02
"""The pause after other processes were faster, more or less."""


class Fleet:
    """A process's place in its fleet. Safe from any thread.

    Senders ask ``circuit`` and ``pace``, which wait for no network. A thread of the buffer's calls
    ``meet`` when ``due_in`` says so: it reads what all have agreed on, adds what this process has
    learned and wants, and repeats that if another process was faster.

    Args:
        wake: Called when a sender may have a turn.
        claim: Called when something may be claimed, or there are facts to take.
    """

    def __init__(
        self,
        policy: BreakerPolicy,
        max_rate: float | None,
        monotonic: Callable[[], float],
        *,
        wake: Callable[[], object],
        claim: Callable[[], object],
        id: str = "",
    ) -> None:
        self._id = id or uuid.uuid4().hex[:8]
        self._policy = policy
        self._monotonic = monotonic
        self._wake = wake
        self._claim = claim
        self._lock = threading.RLock()
        self._reports: deque[Report] = deque()
        self._is_asked = False
        self._again_at = self._met_at = -inf
        self._facts: deque[Paused | Resumed] = deque()
        self.call: Callable[[], object] = lambda: None
        """Called when ``meet`` is due sooner than it was."""
        self.circuit = FleetCircuit(
            self._id, policy, monotonic, lock=self._lock, report=self._report, ask=self._ask
        )
        self.pace = FleetPace(
            max_rate, monotonic, lock=self._lock, report=self._report, ask=self._ask
        )

    def take_facts(self) -> list[Paused | Resumed]:
        """Returns what other processes have done to the circuit since the last call."""
        with self._lock:
            facts = [*self._facts]
            self._facts.clear()
            return facts

    def _report(self, report: Report) -> None:
        self._reports.append(report)
        self._ask()

    def _ask(self) -> None:
        self._is_asked = True
        self.call()

    # -- the buffer's thread -----------------------------------------------------------------

    def due_in(self) -> float:
        """As ``Member.due_in``."""
        with self._lock:
            due_at = -inf if self._is_asked else self.pace.due_at()
            due_at = min(due_at, self._met_at + self.circuit.look_seconds)
            return max(0.0, max(due_at, self._again_at) - self._monotonic())

    def meet(self, exchange: Exchange) -> None:
        """As ``Member.meet``. Raises what the exchange raises: then all of it is still to do."""
        try:
            self._again_at = -inf if self._try_to_agree(exchange) else self._later()
        except BaseException:
            self._is_asked = True
            raise

    def _try_to_agree(self, exchange: Exchange) -> bool:
        """Returns False if other processes were faster each time."""
        agreement = exchange(-1, b"")
        for _ in range(_TRIES):
            read_at = self._monotonic()
            with self._lock:
                self._is_asked = False
                state = FleetState(agreement.text, self._policy, agreement.now)
                reports = [*self._reports]
                taken = self._propose(state, reports)
            text = state.encode()
            if text != agreement.text:
                agreement = exchange(agreement.version, text)
                if not agreement.is_stored:
                    continue
            self._adopt(state, len(reports), taken, read_at)
            return True
        self._is_asked = True
        return False

    def _later(self) -> float:
        pause_seconds = _AGAIN_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311  # no secret
        return self._monotonic() + pause_seconds

    def _propose(self, state: FleetState, reports: Iterable[Report]) -> tuple[list[float], int]:
        for report in reports:
            state.report(self._id, report)
        self.circuit.propose(state)
        if self.circuit.is_open or self.pace.is_used:
            state.join(self._id, self.pace.max_rate)
        return self.pace.propose(state)

    def _adopt(
        self, state: FleetState, count: int, taken: tuple[list[float], int], read_at: float
    ) -> None:
        shift = read_at - state.now
        with self._lock:
            for _ in range(count):
                self._reports.popleft()
            self._met_at = self._monotonic()
            has_turn = self.pace.adopt(state, shift, taken)
            has_changed, fact = self.circuit.adopt(state, shift, [*self._reports])
            if fact is not None:
                self._facts.append(fact)
        if has_turn:
            self._wake()
        if has_changed or fact is not None:
            self._claim()


def limits_of(
    buffer: Storage,
    policy: BreakerPolicy,
    max_rate: float | None,
    monotonic: Callable[[], float],
    *,
    wake: Callable[[], object],
    claim: Callable[[], object],
) -> tuple[Circuit, Pace, Fleet | None]:
    """Returns the circuit and the pace of a process: its own, or those of its buffer's fleet."""
    join: Callable[[Fleet], Callable[[], object]] | None = getattr(buffer, "join_fleet", None)
    if join is None:
        return CircuitBreaker(policy, monotonic), RateLimiter(max_rate, monotonic), None
    fleet = Fleet(policy, max_rate, monotonic, wake=wake, claim=claim)
    fleet.call = join(fleet)
    return fleet.circuit, fleet.pace, fleet
