"""Claims what is due, where this process delivers."""

from __future__ import annotations

import threading
from math import inf

from amplitude_moloco.buffers.base import Entry, Storage
from amplitude_moloco.engine.breaker import Circuit
from amplitude_moloco.engine.delivery import Delivery
from amplitude_moloco.engine.in_flight import AHEAD_SECONDS, InFlight
from amplitude_moloco.engine.ledger import Ledger
from amplitude_moloco.engine.rate import Pace

_FLUSH_POLL_SECONDS = 0.05
_LOOK_SECONDS = 30.0


class Claimer:
    """Claims no more than circuit, rate and window let go soon. For one thread at a time.

    Args:
        lock: Guards ``in_flight``.
        drains_at_exit: Whether what waits is claimed at the end, too: else it is safe there.
        flush_interval_seconds: Send at the latest this long after an event was stored.
    """

    def __init__(
        self,
        buffer: Storage,
        lock: threading.RLock,
        in_flight: InFlight,
        drains_at_exit: bool,
        flush_interval_seconds: float,
        *,
        breaker: Circuit,
        rate: Pace,
        ledger: Ledger,
        delivery: Delivery,
    ) -> None:
        self._buffer = buffer
        self._lock = lock
        self._in_flight = in_flight
        self._breaker = breaker
        self._rate = rate
        self._ledger = ledger
        self._delivery = delivery
        self._drains_at_exit = drains_at_exit
        self._flush_interval_seconds = flush_interval_seconds
        self.checkpoint = buffer.checkpoint
        """As ``Buffer.checkpoint``: whether all that was stored before has been tried."""

    def claim(self, *, is_closing: bool, is_flushing: bool) -> tuple[list[Entry], float]:
        """Claim a batch. Returns it, and the seconds until the next claim."""
        is_durable = self._buffer.is_durable
        if is_closing and not self._drains_at_exit:
            return [], inf
        delay_seconds = self._breaker.delay_seconds()
        if delay_seconds != 0:
            return [], inf if delay_seconds is None else delay_seconds
        with self._lock:
            limit = 1 if self._breaker.is_open else self._in_flight.limit(self._rate.rate)
        if limit <= 0:
            return [], AHEAD_SECONDS / 10
        newest = 0 if self._breaker.is_open else self._in_flight.newest(limit)
        entries, next_seconds = self._buffer.claim(limit, newest=newest)
        if is_durable:
            self._ledger.take_over(len(entries))
        claimed, entries = len(entries), self._delivery.without_barred(entries)
        again_seconds = inf if next_seconds is None else next_seconds
        if next_seconds == 0 and claimed < limit:
            # It was stored just now, so that put() sets the time, or has set it already.
            again_seconds = self._flush_interval_seconds
        if len(entries) < claimed:  # what is behind them in their lanes may go
            again_seconds = 0.0
        # Other processes store, send and leave entries there. The end waits for none of that.
        if is_durable and (is_flushing or not is_closing):
            look_seconds = _FLUSH_POLL_SECONDS if is_flushing else _LOOK_SECONDS
            again_seconds = min(again_seconds, look_seconds)
        return entries, again_seconds
