"""Processes that agree on a circuit and a pace, in one process and without a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from amplitude_moloco.buffers.base import Agreement
from amplitude_moloco.engine.breaker import BreakerPolicy
from amplitude_moloco.engine.fleet import Fleet

EPOCH = 500.0
"""What the board's clock is ahead of the processes'."""


class Monotonic(Protocol):
    """A clock."""

    def monotonic(self) -> float: ...


class Board:
    """Keeps the text of a fleet in memory, and has a clock of its own."""

    def __init__(self, clock: Monotonic) -> None:
        self.clock = clock
        self.ahead_seconds = EPOCH
        self.version = 0
        self.text = b""
        self.is_away = False
        self.before_store: Callable[[], object] = lambda: None
        """Called once a process is about to store something."""

    def exchange(self, version: int, text: bytes) -> Agreement:
        if self.is_away:
            raise OSError("the board is away")
        if version != -1:
            self.before_store()
        is_stored = version == self.version
        if is_stored:
            self.version, self.text = version + 1, text
        now = self.clock.monotonic() + self.ahead_seconds
        return Agreement(self.version, self.text, now, is_stored)


class Ship:
    """A process of a fleet, whose buffer's thread is the test."""

    def __init__(
        self,
        board: Board,
        id: str,
        max_rate: float | None = None,
        policy: BreakerPolicy | None = None,
    ) -> None:
        self.board = board
        self.wakes = self.claims = self.calls = 0
        policy = policy or BreakerPolicy()
        self.fleet = Fleet(
            *(policy, max_rate, board.clock.monotonic), wake=self._wake, claim=self._claim, id=id
        )
        self.fleet.call = self._call
        self.circuit, self.pace = self.fleet.circuit, self.fleet.pace

    def _wake(self) -> None:
        self.wakes += 1

    def _claim(self) -> None:
        self.claims += 1

    def _call(self) -> None:
        self.calls += 1

    def step(self) -> None:
        """As the buffer's thread does: agree with the others, if that is due."""
        if self.fleet.due_in() == 0:
            self.fleet.meet(self.board.exchange)

    def take(self) -> float:
        """Take a turn, for which the others may have to be asked."""
        self.pace.take()
        self.step()
        return self.pace.take()
