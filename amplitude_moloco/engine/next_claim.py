"""When a sender should claim next."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from amplitude_moloco.engine.tally import Tally


class NextClaim:
    """``ask`` and ``note_stored`` are safe from any thread, and wait for no lock.

    A caller of the rest holds a lock.

    Args:
        flush_queue_size: Claim as soon as this many events were stored since the last claim.
        flush_interval_seconds: Claim at the latest this long after the first of them.
        monotonic: The clock, in seconds.
        wake: Called whenever it may be sooner than the senders were told.
    """

    def __init__(
        self,
        flush_queue_size: int,
        flush_interval_seconds: float,
        *,
        monotonic: Callable[[], float],
        wake: Callable[[], object],
    ) -> None:
        self._flush_queue_size = flush_queue_size
        self._flush_interval_seconds = flush_interval_seconds
        self._monotonic = monotonic
        self._wake = wake
        self._is_asked_for = False
        self._planned_at = self._fresh_due_at = inf
        self._fresh = Tally()  # events stored since the last claim

    @property
    def at(self) -> float:
        """By the monotonic clock; minus infinity for at once, infinity for never."""
        return -inf if self._is_asked_for else min(self._planned_at, self._fresh_due_at)

    def ask(self) -> None:
        """Claim as soon as a sender is free."""
        if not self._is_asked_for:
            self.insist()

    def insist(self) -> None:
        """As ``ask``, after an exception that may have struck anywhere in it."""
        self._is_asked_for = True
        self._wake()

    def note_stored(self) -> None:
        """An event was stored just now."""
        fresh = self._fresh.add() + 1
        if fresh == self._flush_queue_size:
            self.ask()
        elif fresh == 1:
            self._fresh_due_at = due_at = self._monotonic() + self._flush_interval_seconds
            if due_at < self._planned_at:
                self._wake()

    def plan(self, at: float) -> bool:
        """Claim no later than this. Returns whether it would have been later."""
        is_sooner = at < self.at
        self._planned_at = min(self._planned_at, at)
        return is_sooner

    def begin(self) -> None:
        """A claim begins. What is stored, or asked for, from now on makes another one due."""
        self._is_asked_for = False
        self._planned_at = self._fresh_due_at = inf
        self._fresh = Tally()  # last: its first event sets the time above
