"""The buffer of a backfill, beside those of a live app: each outcome is noted as it is known."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue

from amplitude_moloco.buffers.base import Entry
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.history.outcome import Outcome
from amplitude_moloco.history.state import State
from amplitude_moloco.reasons import DeadLetterReason
from amplitude_moloco.text import one_line

_BOUND = 2**62
MOST_REFUSALS = 20
"""After this many refusals in a row, the server is assumed to refuse all the others, too."""


class Lane(MemoryBuffer):
    """Durable, since the export has all events, and the state knows which are done."""

    is_durable = True

    def __init__(self, state: State) -> None:
        super().__init__(_BOUND, _BOUND)
        self._state = state
        self._refusals = 0
        # Not a condition: Ctrl-C in its midst would become a RuntimeError.
        self._changed: SimpleQueue[None] = SimpleQueue()
        self._awaited = -1  # wait() waits until no more events than this are under way
        self.problem = ""
        """Why nothing more should be sent; empty if there is no reason."""

    def ack(self, entry: Entry) -> bool:
        is_ours = super().ack(entry)
        if is_ours:
            self._refusals = 0
            self._note(lambda: self._state.settle(entry.sync, entry.id, Outcome.DELIVERED))
        return is_ours

    def bury(
        self, entry: Entry, reason: DeadLetterReason, *, status: int | None, message: str
    ) -> bool:
        # Not kept in memory as well.
        is_ours = super().ack(entry)
        if is_ours:
            refusal = partial(self._state.refuse, status=status, message=message)
            self._note(lambda: refusal(entry.sync, entry.id, reason.value))
            self._refusals += reason is DeadLetterReason.REJECTED
            if self._refusals == MOST_REFUSALS:
                self.stop(
                    f"{MOST_REFUSALS} events in a row were refused, the last one with {status}: "
                    f"{message or 'no message'}"
                )
        return is_ours

    def stop(self, problem: str) -> None:
        """Have nothing more sent, and say why."""
        self.problem = self.problem or one_line(problem)
        self._changed.put(None)

    def wait(self, most: int, timeout_seconds: float) -> bool:
        """Wait until no more events than this are under way, for one thread at a time.

        Returns whether that is so. It may end sooner, as it does if there is a problem.
        """
        self._awaited = most
        if self._state.window > most and not self.problem:
            with suppress(Empty):
                self._changed.get(timeout=timeout_seconds)
        self._awaited = -1
        return self._state.window <= most

    def _note(self, note: Callable[[], None]) -> None:
        try:
            note()
        except sqlite3.Error as error:
            self.stop(f"the state can't be written: {error}")
        if self._state.window <= self._awaited:
            self._awaited = -1
            self._changed.put(None)
