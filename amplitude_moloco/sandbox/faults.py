"""Faults on demand: errors and delays, regardless of the request.

A fault is for the next few requests to an API. Conditions hold for all, until they are changed.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock
from typing import get_args

from amplitude_moloco.sandbox.record import Target

_STATUSES = range(400, 600)
_MAX_PENDING = 10_000
_MAX_LATENCY_MILLIS = 3_600_000


@dataclass(frozen=True)
class Fault:
    """An HTTP status for the next ``times`` requests to ``target``.

    Raises ValueError for a value that can't be answered.
    """

    status: int
    times: int = 1
    retry_after: int | None = None
    """Seconds for the header ``Retry-After``. None leaves it out."""
    target: Target = "moloco"
    after_storing: bool = False
    """True stores what the request brings, so that only its answer is lost. For ``mmp`` alone."""

    def __post_init__(self) -> None:
        if not isinstance(self.status, int) or self.status not in _STATUSES:
            raise ValueError(f"status must be from 400 to 599, not {self.status!r}")
        if not isinstance(self.times, int) or self.times < 1:
            raise ValueError(f"times must be 1 or more, not {self.times!r}")
        if self.retry_after is not None and (
            not isinstance(self.retry_after, int) or self.retry_after < 0
        ):
            raise ValueError(f"retry_after must be whole seconds, not {self.retry_after!r}")
        if self.target not in get_args(Target):
            raise ValueError(
                f"target must be one of {', '.join(get_args(Target))}, not {self.target!r}"
            )
        if self.after_storing and self.target != "mmp":
            raise ValueError("after_storing is for the target mmp only")


@dataclass(frozen=True)
class Conditions:
    """What holds for each request.

    Raises ValueError for a value that can't be used.
    """

    rate: float = 0.0
    """The share of requests to MCM, from 0 to 1, that get a fault without one in the queue."""
    status: int = 503
    """Their HTTP status."""
    latency_millis: float = 0
    """How long each answer of each API is delayed."""

    def __post_init__(self) -> None:
        if not _is_number(self.rate) or not 0 <= self.rate <= 1:
            raise ValueError(f"the rate of faults must be from 0 to 1, not {self.rate!r}")
        if not isinstance(self.status, int) or self.status not in _STATUSES:
            raise ValueError(f"status must be from 400 to 599, not {self.status!r}")
        is_number = _is_number(self.latency_millis)
        if not is_number or not 0 <= self.latency_millis <= _MAX_LATENCY_MILLIS:
            raise ValueError(
                f"latency_millis must be from 0 to {_MAX_LATENCY_MILLIS}, "
                f"not {self.latency_millis!r}"
            )


class Faults:
    """A queue of faults for each API, and the conditions. Safe to use from any thread.

    Args:
        conditions: What holds until it is changed; None: no faults, no delay.
        chance: Gives numbers from 0 to 1.
    """

    def __init__(
        self,
        conditions: Conditions | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.conditions = conditions or Conditions()
        self._chance = chance
        self._pending: dict[Target, deque[Fault]] = {name: deque() for name in get_args(Target)}
        self._lock = Lock()

    def add(self, fault: Fault) -> None:
        """Appends a fault to the queue of its target. Raises ValueError if that is full."""
        with self._lock:
            if len(self._pending[fault.target]) >= _MAX_PENDING:
                raise ValueError(f"{_MAX_PENDING} faults are pending already")
            self._pending[fault.target].append(fault)

    def take(self, target: Target) -> Fault | None:
        """Returns the fault for the next request to ``target``, or None."""
        with self._lock:
            pending = self._pending[target]
            if not pending:
                rate, status = self.conditions.rate, self.conditions.status
                is_due = target == "moloco" and rate > 0 and self._chance() < rate
                return Fault(status) if is_due else None
            fault = pending.popleft()
            if fault.times > 1:
                pending.appendleft(replace(fault, times=fault.times - 1))
            return fault

    def pending(self) -> list[Fault]:
        """Returns the faults that are still to be answered, in their order for each target."""
        with self._lock:
            return [fault for faults in self._pending.values() for fault in faults]

    def clear(self) -> None:
        """Discards the faults that are pending."""
        with self._lock:
            for faults in self._pending.values():
                faults.clear()


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
