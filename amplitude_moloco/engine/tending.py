"""Decides when a buffer that needs care gets it, and reports what has happened to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from amplitude_moloco.buffers.base import News, Storage
from amplitude_moloco.engine.ledger import Ledger


class Tending:
    """``begin_in`` is called under a lock; the rest is safe from any thread.

    Args:
        beats: Called each time, and at least every ``beat_seconds``, whatever the buffer needs.
        may_drain: Whether the end may wait for what waits in a durable buffer that asks for it.
            Otherwise not even what is claimed, and not on its way, is sent then.
    """

    def __init__(
        self,
        buffer: Storage,
        ledger: Ledger,
        monotonic: Callable[[], float],
        *,
        beats: Sequence[Callable[[], object]] = (),
        beat_seconds: float = inf,
        may_drain: bool = True,
    ) -> None:
        self._buffer = buffer
        self._tend: Callable[[], list[News]] | None = getattr(buffer, "tend", None)
        self._beats = beats
        self._is_wanted = self._tend is not None or bool(beats)
        tend_seconds: float = getattr(buffer, "tend_seconds", inf)
        self._every_seconds = min(tend_seconds, beat_seconds) if beats else tend_seconds
        self._ledger = ledger
        self._monotonic = monotonic
        self._due_at = -inf
        self.may_drain = may_drain
        is_asked = bool(getattr(buffer, "drain_at_exit", False))
        self.drains_at_exit = may_drain and (is_asked or not buffer.is_durable)
        """Whether the end waits for what waits in the buffer: else it is safe there."""

    def __bool__(self) -> bool:
        """Whether something is to be done, even while all senders wait for answers."""
        return self._is_wanted

    @property
    def is_resting(self) -> bool:
        """Whether nothing is to be done for now, and the buffer holds nothing."""
        return not self._beats and bool(getattr(self._buffer, "may_rest", False))

    @property
    def is_needed(self) -> bool:
        """Whether some sender must run for it."""
        return bool(self) and not self.is_resting

    def call_when_needed(self, begin: Callable[[], object]) -> None:
        """Call this once the buffer has rested, and needs care again."""
        call = getattr(self._buffer, "call_when_needed", None)
        if call is not None:
            call(begin)

    def begin_in(self) -> float:
        """Returns the seconds until it is due; infinity if never. If it is 0, the caller tends."""
        if not self._is_wanted:
            return inf
        now = self._monotonic()
        if now < self._due_at:
            return self._due_at - now
        if self.is_resting:
            return inf
        self._due_at = now + self._every_seconds
        return 0.0

    def tend(self) -> bool:
        """Do what the buffer needs, and tell what has happened to it.

        Returns whether it holds something that is due and that this process did not put just now.
        """
        if self._tend is not None:
            for news in self._tend():
                self._ledger.record(news)
        for beat in self._beats:
            beat()
        return bool(getattr(self._buffer, "has_due", False))
