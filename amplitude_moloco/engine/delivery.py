"""One entry's last step: send it, read the answer as Moloco's failure protocol wants it, settle it.

==================================  =============  ================================================
answer                              verdict        what follows
==================================  =============  ================================================
2xx                                 DELIVERED      it leaves the buffer
no answer, 1xx, 408, 5xx            RETRY          again after 5, 10, 20, 40, 80 s, then every 15
                                                   minutes; more than five in a row open the circuit
429                                 THROTTLED      again later; the pace of everything is halved
401, 403, 404, 3xx                  MISCONFIGURED  it stays; the circuit opens at once
400, 413, other 4xx                 REJECTED       it becomes a dead letter
==================================  =============  ================================================

The threads that do so are the dispatcher's. Nothing here knows what is in a body.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import cast

from amplitude_moloco.buffers.base import Buffer, DeadLetter, Entry
from amplitude_moloco.engine.breaker import CircuitBreaker
from amplitude_moloco.engine.facts import (
    Buried,
    Delivered,
    Fact,
    Hooks,
    Paused,
    Resumed,
    Retrying,
    ThrottledIdentifier,
)
from amplitude_moloco.engine.ledger import Ledger
from amplitude_moloco.engine.rate import Pacer
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.engine.verdict import Classify, Verdict
from amplitude_moloco.transports.base import ConcurrentTransport, SendResult, Transport

logger = logging.getLogger("amplitude_moloco")

_THROTTLES_TO_NAME = 3
_MAX_IDENTIFIERS = 1_000
_TROUBLE_SECONDS = 1.0


Taken = tuple[Entry, bool]
"""A claimed entry, and whether it is a probe."""


class Delivery:
    """One entry at a time, or many over a transport that can. Safe to use from any thread.

    Args:
        identify: Tells a body's identifier, unreadably; asked only when MCM throttles.
        wall: Unix time in seconds.
    """

    def __init__(
        self,
        buffer: Buffer,
        transport: Transport,
        *,
        classify: Classify,
        breaker: CircuitBreaker,
        pacer: Pacer,
        retry: RetrySchedule,
        ledger: Ledger,
        hooks: Hooks,
        identify: Callable[[bytes], str] | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._buffer = buffer
        self._transport = transport
        self._classify = classify
        self._breaker = breaker
        self._pacer = pacer
        self._retry = retry
        self._ledger = ledger
        self._hooks = hooks
        self._identify = identify
        self._wall = wall
        self._throttles: Counter[str] = Counter()

    @property
    def is_concurrent(self) -> bool:
        """Whether one thread can have many entries on their way."""
        return isinstance(self._transport, ConcurrentTransport)

    def deliver(self, entry: Entry, *, is_probe: bool = False) -> float | None:
        """Send a claimed entry, and take it out of the buffer or give it back.

        Returns in how many seconds it comes due again; None if it was the end of it.
        """
        try:
            result = self._transport.send(entry.body)
        except Exception as error:  # whatever it is, the event must not be lost by it
            logger.exception("The transport raised")
            result = SendResult(message=type(error).__name__)
        return self._settle(entry, result, is_probe=is_probe)

    def deliver_each(
        self,
        entry: Entry,
        take: Callable[[], Taken | float],
        settled: Callable[[Entry, bool, float | None], object],
        *,
        is_probe: bool = False,
    ) -> None:
        """Deliver this and what ``take`` gives, many at a time, until all of it is settled.

        Only where ``is_concurrent``. ``take`` may tell in how many seconds to ask again instead.
        ``settled`` is called for each entry with whether it was a probe, and what ``deliver``
        returns for one. What the two raise is logged.
        """
        first: Taken | None = (entry, is_probe)
        on_their_way: dict[int, Taken] = {entry.key: (entry, is_probe)}

        def take_request() -> tuple[bytes, Callable[[SendResult], None]] | float:
            nonlocal first
            taken, first = first, None
            if taken is None:
                try:
                    more = take()
                except Exception:
                    logger.exception("A sender failed, and goes on")
                    return _TROUBLE_SECONDS
                if isinstance(more, float):
                    return more
                taken = on_their_way[more[0].key] = more
            return taken[0].body, partial(answered, *taken)

        def answered(entry: Entry, is_probe: bool, result: SendResult) -> None:
            on_their_way.pop(entry.key, None)  # it may be there twice, if its lease has ended
            again: float | None = 0.0
            try:
                try:
                    again = self._settle(entry, result, is_probe=is_probe)
                finally:
                    settled(entry, is_probe, again)
            except Exception:  # one event's trouble must not become that of the others
                logger.exception("A sender failed, and goes on")

        try:
            cast(ConcurrentTransport, self._transport).send_each(take_request)
        except Exception as error:
            logger.exception("The transport raised")
            for left in list(on_their_way.values()):
                answered(*left, SendResult(message=type(error).__name__))

    def give_back(self, entry: Entry) -> None:
        """Let go of a claimed entry that was not sent. It is due at once, as if never claimed."""
        self._buffer.retry(entry, self._wall(), attempts=entry.attempts, strikes=entry.strikes)

    def _settle(self, entry: Entry, result: SendResult, *, is_probe: bool) -> float | None:
        verdict = self._classify(result)
        others_pass = self._breaker.is_passing
        self._learn(verdict, result, is_probe)
        if verdict is Verdict.DELIVERED:
            if self._buffer.ack(entry):
                status = result.status or 0
                self._tell(Delivered(entry.sync, entry.id, entry.attempts + 1, status))
            return None
        if verdict is Verdict.REJECTED:
            self._bury(entry, "rejected", result)
            return None
        if verdict is Verdict.MISCONFIGURED:
            # Not this event's fault: it keeps its place. That it was tried is remembered.
            return self._reschedule(entry, 0.0, result, attempts=max(1, entry.attempts))
        if verdict is Verdict.THROTTLED:
            self._watch_identifier(entry, others_pass)
            return self._try_again(entry, result, entry.strikes)
        return self._try_again(entry, result, entry.strikes + others_pass)

    def _learn(self, verdict: Verdict, result: SendResult, is_probe: bool) -> None:
        """What an answer says about MCM, whatever becomes of the event."""
        if verdict in (Verdict.RETRY, Verdict.MISCONFIGURED):
            is_misconfigured = verdict is Verdict.MISCONFIGURED
            if self._breaker.failed(is_probe=is_probe, at_once=is_misconfigured):
                reason = "misconfigured" if is_misconfigured else "outage"
                self._hooks.tell(Paused(reason, result.status, result.message))
            return
        if verdict is Verdict.THROTTLED:
            self._pacer.throttled()
            if not is_probe:
                return
        if self._breaker.succeeded():
            self._pacer.ramp()
            self._hooks.tell(Resumed())

    def _try_again(self, entry: Entry, result: SendResult, strikes: int) -> float | None:
        given_up = self._retry.gives_up(strikes, self._wall() - entry.accepted_at)
        if given_up:
            self._bury(entry, given_up, result)
            return None
        attempts = entry.attempts + 1
        delay_seconds = self._retry.delay_seconds(attempts, result.retry_after_seconds)
        return self._reschedule(entry, delay_seconds, result, attempts=attempts, strikes=strikes)

    def _reschedule(
        self,
        entry: Entry,
        delay_seconds: float,
        result: SendResult,
        *,
        attempts: int,
        strikes: int | None = None,
    ) -> float:
        due = self._wall() + delay_seconds
        strikes = entry.strikes if strikes is None else strikes
        if self._buffer.retry(entry, due, attempts=attempts, strikes=strikes):
            self._tell(Retrying(entry.sync, entry.id, attempts, delay_seconds, result.reason))
        return delay_seconds

    def _bury(self, entry: Entry, reason: str, result: SendResult) -> None:
        entry = entry._replace(attempts=entry.attempts + 1)
        letter = DeadLetter(entry, reason, result.status, result.message, self._wall())
        if self._buffer.bury(letter):
            self._tell(
                Buried(entry.sync, entry.id, entry.attempts, reason, result.status, result.message)
            )

    def _watch_identifier(self, entry: Entry, others_pass: bool) -> None:
        """Name an identifier that is throttled while others pass, once.

        One that many shoppers share is the usual cause, says Moloco.
        """
        if self._identify is None or not others_pass:
            return
        identifier = self._identify(entry.body)
        if identifier not in self._throttles and len(self._throttles) >= _MAX_IDENTIFIERS:
            return
        self._throttles[identifier] += 1
        if self._throttles[identifier] == _THROTTLES_TO_NAME:
            self._hooks.tell(ThrottledIdentifier(identifier))

    def _tell(self, fact: Fact) -> None:
        self._ledger.settled(fact)
        self._hooks.tell(fact)
