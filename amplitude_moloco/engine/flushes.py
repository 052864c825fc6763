"""Futures that are done once everything stored before them has been tried."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future

from amplitude_moloco.engine.ledger import Stats


class Flush:
    """One flush: first the buffer must have seen all outcomes, then the counters."""

    def __init__(self, is_tried: Callable[[], bool]) -> None:
        self.future: Future[Stats] = Future()
        self.future.set_running_or_notify_cancel()  # its events are on their way: no way back
        self.is_tried = is_tried
        """Whether the buffer knows that everything before has been tried. May raise."""
        self.uncounted: frozenset[Hashable] | None = None
        """The entries that the counters still lack; None until the buffer knows all."""


class Flushes:
    """The flushes that are not done yet. The caller holds a lock."""

    def __init__(self) -> None:
        self._pending: list[Flush] = []

    def __bool__(self) -> bool:
        return bool(self._pending)

    def add(self, flush: Flush) -> None:
        self._pending.append(flush)

    def unseen(self) -> list[Flush]:
        """The flushes that the buffer must still be asked about."""
        return [flush for flush in self._pending if flush.uncounted is None]

    def take_done(self, settling: frozenset[Hashable]) -> list[Flush]:
        """Remove and return the flushes that are done while these entries are being settled."""
        done = []
        for flush in self._pending:
            if flush.uncounted is not None:
                flush.uncounted &= settling
                if not flush.uncounted:
                    done.append(flush)
        self._pending = [flush for flush in self._pending if flush not in done]
        return done

    def take_all(self) -> list[Flush]:
        """Remove and return all flushes."""
        pending, self._pending = self._pending, []
        return pending
