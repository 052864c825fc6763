"""The pace that a process shares with others."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from math import ceil, inf

from amplitude_moloco.engine.fleet_state import FleetState, Report, Throttled
from amplitude_moloco.engine.rate import max_rate_of

_AHEAD_SECONDS = 0.3
"""Turns are taken for this time ahead: more would be of no use to a process that ends."""
_LATE_SECONDS = 0.2
"""A turn that was not used for this time is lost: a process that was held up does not catch up."""
_MOST_TURNS = 200
_HOLD_SECONDS = 1.0
"""How long a sender waits for a turn that no process has. It is woken when there is one."""
STALE_SECONDS = 3.0
"""What was agreed on earlier than this is in doubt: nothing is sent until it is agreed on anew."""
LOOK_SECONDS = 1.0


class FleetPace:
    """As ``Pace``: turns are taken from the fleet's, a few at a time, and used here.

    The arguments are those of ``FleetCircuit``; ``max_rate`` is what this process allows.
    """

    def __init__(
        self,
        max_rate: float | None,
        monotonic: Callable[[], float],
        *,
        lock: threading.RLock,
        report: Callable[[Report], object],
        ask: Callable[[], object],
    ) -> None:
        self.max_rate = max_rate_of(max_rate)
        self._monotonic = monotonic
        self._lock = lock
        self._report = report
        self._ask = ask
        self._rate = max_rate
        self._share = max_rate
        self._turns: deque[float] = deque()
        self._met_at = -inf
        self._active_until = -inf
        self._sent = 0
        self._is_doubtful = True
        self._is_short = False
        self._short_until = -inf

    @property
    def rate(self) -> float | None:
        """As ``Pace.rate``: this process's share of the fleet's."""
        with self._lock:
            return self._share

    def set_max(self, max_requests_per_second: float | None) -> None:
        """As ``Pace.set_max``. The lowest maximum of all processes that send is the fleet's."""
        most = max_rate_of(max_requests_per_second)
        with self._lock:
            self.max_rate = most
            self._doubt()

    def take(self) -> float:
        """As ``Pace.take``. What is agreed on no longer is sent no longer."""
        with self._lock:
            now = self._monotonic()
            self._active_until = now + STALE_SECONDS
            if self._is_doubtful or now - self._met_at > STALE_SECONDS:
                self._doubt()
                return _HOLD_SECONDS
            if self._rate is None:
                self._sent += 1
                return 0.0
            turns = self._turns
            while turns and now - turns[0] > _LATE_SECONDS:
                turns.popleft()
            if turns and turns[0] <= now:
                turns.popleft()
                self._want_turns()
                return 0.0
            self._want_turns()
            return turns[0] - now if turns else _HOLD_SECONDS

    def throttled(self) -> None:
        """As ``Pace.throttled``."""
        with self._lock:
            self._report(Throttled())
            self._doubt()

    def ramp(self) -> None:
        """As ``Pace.ramp``: the report of the success does it for all."""
        with self._lock:
            self._doubt()

    def _doubt(self) -> None:
        """Send nothing until the fleet has agreed."""
        self._turns.clear()
        self._is_doubtful = True
        self._ask()

    def _want_turns(self) -> None:
        if not self._is_short and len(self._turns) <= self._block() // 2:
            self._is_short = True
            self._ask()

    def _block(self) -> int:
        """How many turns are this process's share of the time ahead."""
        return min(_MOST_TURNS, max(1, ceil((self._share or 0.0) * _AHEAD_SECONDS)))

    # -- the fleet ---------------------------------------------------------------------------

    def due_at(self) -> float:
        """Returns when the fleet is to agree again for this process; infinity for never."""
        times = [inf]
        if self._is_short:
            times.append(self._short_until)
        if self._active_until > self._monotonic():
            times.append(self._met_at + LOOK_SECONDS)
        return min(times)

    @property
    def is_used(self) -> bool:
        """Whether this process has something to send, at a rate that is limited."""
        is_limited = self._rate is not None or self.max_rate is not None
        return is_limited and self._active_until > self._monotonic()

    def propose(self, state: FleetState) -> tuple[list[float], int]:
        """Take turns. Returns the seconds until each, and how many requests are now counted."""
        sent = self._sent
        if sent:
            state.pace.count(sent)
        if not self._is_short:
            return [], sent
        return state.pace.reserve(self._block() - len(self._turns), _AHEAD_SECONDS), sent

    def adopt(self, state: FleetState, shift: float, taken: tuple[list[float], int]) -> bool:
        """Learn what the fleet has agreed on. Returns whether a sender may have a turn now."""
        turns, sent = taken
        now, rate = state.now + shift, state.pace.rate
        was_waiting = self._is_doubtful or self._is_short
        self._sent -= sent
        self._rate = rate
        self._share = None if rate is None else rate / max(1, len(state.members))
        if rate is None:
            self._turns.clear()
        self._turns.extend(now + seconds for seconds in turns)
        self._met_at, self._is_doubtful = now, False
        self._is_short = self._is_short and not turns and rate is not None
        next_at = state.pace.state.next_at + shift
        self._short_until = max(next_at - _AHEAD_SECONDS / 2, now + 0.01)
        return was_waiting
