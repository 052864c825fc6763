"""What the result of a request does to its entry, to the circuit and to the rate."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from amplitude_moloco.buffers.base import Entry, Storage
from amplitude_moloco.engine.births import Births
from amplitude_moloco.engine.breaker import Circuit
from amplitude_moloco.engine.facts import (
    DeadLettered,
    Delivered,
    Paused,
    Resumed,
    Retrying,
    ThrottledIdentifier,
)
from amplitude_moloco.engine.ledger import Ledger
from amplitude_moloco.engine.measures import Measures
from amplitude_moloco.engine.rate import Pace
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.engine.throttled import ThrottledIdentifiers
from amplitude_moloco.engine.verdict import Classify, Refusal, Verdict
from amplitude_moloco.reasons import DeadLetterReason, PauseReason
from amplitude_moloco.transports.base import SendResult


class Delivery:
    """Settles claimed entries by the results of their requests. Safe from any thread.

    Args:
        classify: Reads a result as the partner's failure protocol wants it.
        identify: Returns a one-way fingerprint of a body's identifier. Called only when the server
            throttles.
        why_not: Returns why a body must not be sent any more; None if it may be.
        refused: Told of each body that the server refuses for good.
        measures: Learns how each attempt ended, and how long it took.
        monotonic: Gives seconds that never go back.
    """

    def __init__(
        self,
        buffer: Storage,
        *,
        classify: Classify,
        breaker: Circuit,
        rate: Pace,
        retry: RetrySchedule,
        ledger: Ledger,
        identify: Callable[[bytes], str] | None = None,
        why_not: Callable[[bytes], Refusal | None] | None = None,
        refused: Callable[[bytes, SendResult], None] | None = None,
        measures: Measures | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._buffer = buffer
        self._classify = classify
        self._breaker = breaker
        self._rate = rate
        self._retry = retry
        self._ledger = ledger
        self._identify = identify
        self._why_not = why_not
        self._refused = refused
        self._measures = measures or Measures()
        # Of our own: an app that seeds Python's random numbers counts on each of them.
        self._chance = random.Random().random  # noqa: S311  # no secret: it spreads retries
        self._throttled = ThrottledIdentifiers()
        self._births = Births(monotonic)

    def remember(self, id: str) -> None:
        """This process has stored an event, now: its age does not depend on the wall clock."""
        self._births.add(id)

    def settle(
        self,
        entry: Entry,
        result: SendResult,
        seconds: float = 0.0,
        *,
        is_probe: bool = False,
    ) -> float | None:
        """Acknowledge, return or bury a claimed entry, as the result of its request demands.

        The request took ``seconds``, and the entry has the age with which it was handed out.
        Returns the seconds until it is due again; None if it is not. Raises what the buffer
        raises: then the claim ends with this process.
        """
        try:
            verdict = self._classify(result)
            if verdict is Verdict.DELIVERED:
                self._acknowledge(entry, result, seconds)
                return None
            self._measures.failed(result, seconds)
            return self._settle_failure(entry, verdict, result, is_probe)
        except Exception:
            self._let_go()
            raise

    def without_barred(self, entries: list[Entry]) -> list[Entry]:
        """Bury the claimed entries that must not be sent any more. Returns the others."""
        if self._why_not is None:
            return entries
        free = []
        for entry in entries:
            refusal = self._why_not(entry.body)
            if refusal is None:
                free.append(entry)
            else:
                self._bury(entry, refusal.reason, None, refusal.text)
        return free

    def give_back(self, entry: Entry) -> None:
        """Return a claimed entry that was not sent. It is due at once, as if never claimed."""
        try:
            self._buffer.retry(entry, 0.0, attempts=entry.attempts, strikes=entry.strikes)
        finally:
            self._let_go()

    def _settle_failure(
        self, entry: Entry, verdict: Verdict, result: SendResult, is_probe: bool
    ) -> float | None:
        others_pass = self._breaker.is_passing
        self._learn(verdict, result, is_probe)
        if verdict is Verdict.REJECTED:
            if self._refused is not None:
                self._refused(entry.body, result)
            self._bury_tried(entry, DeadLetterReason.REJECTED, result)
            return None
        if verdict is Verdict.UNKNOWN:
            self._bury_tried(entry, DeadLetterReason.EXHAUSTED, result)
            return None
        if verdict is Verdict.MISCONFIGURED:
            # Not this event's fault: it keeps its place, and is remembered as tried.
            attempts = max(1, entry.attempts)
            return self._reschedule(entry, 0.0, result, attempts, entry.strikes)
        if verdict is Verdict.THROTTLED:
            self._name_throttled(entry, others_pass)
            return self._try_again(entry, result, entry.strikes)
        return self._try_again(entry, result, entry.strikes + others_pass)

    def _learn(self, verdict: Verdict, result: SendResult, is_probe: bool) -> None:
        """Update circuit and rate: what an answer says about the server."""
        if verdict in (Verdict.RETRY, Verdict.MISCONFIGURED, Verdict.UNKNOWN):
            is_misconfigured = verdict is Verdict.MISCONFIGURED
            if self._breaker.failed(is_probe=is_probe, at_once=is_misconfigured, result=result):
                reason = PauseReason.MISCONFIGURED if is_misconfigured else PauseReason.OUTAGE
                self._ledger.record(Paused(reason, result.status, result.message, result.cause))
            return
        if verdict is Verdict.THROTTLED:
            self._rate.throttled()
            if not is_probe:
                return
        self._learn_that_it_works()

    def _learn_that_it_works(self) -> None:
        if self._breaker.succeeded():
            self._rate.ramp()
            self._ledger.record(Resumed())

    def _acknowledge(self, entry: Entry, result: SendResult, seconds: float) -> None:
        self._learn_that_it_works()
        delay_seconds = None
        try:
            if self._buffer.ack(entry):
                age_seconds = entry.age_seconds + seconds
                delay_seconds = max(0.0, self._births.age_seconds(entry.id, at_most=age_seconds))
        finally:  # the request has succeeded, whatever the buffer says
            self._measures.succeeded(seconds, delay_seconds)
        if delay_seconds is None:
            self._let_go()
            return
        status, attempts = result.status or 0, entry.attempts + 1
        self._ledger.record(Delivered(entry.sync, entry.id, attempts, status, delay_seconds))

    def _try_again(self, entry: Entry, result: SendResult, strikes: int) -> float | None:
        age_seconds = self._births.age_seconds(entry.id, at_most=entry.age_seconds)
        given_up = self._retry.gives_up(strikes, age_seconds)
        if given_up:
            self._bury_tried(entry, given_up, result)
            return None
        attempts = entry.attempts + 1
        delay_seconds = self._retry.delay_seconds(
            attempts, result.retry_after_seconds, self._chance()
        )
        return self._reschedule(entry, delay_seconds, result, attempts, strikes)

    def _reschedule(
        self, entry: Entry, delay_seconds: float, result: SendResult, attempts: int, strikes: int
    ) -> float:
        is_ours = self._buffer.retry(entry, delay_seconds, attempts=attempts, strikes=strikes)
        self._let_go()
        if is_ours:
            self._ledger.record(
                Retrying(
                    entry.sync,
                    entry.id,
                    attempts,
                    delay_seconds,
                    result.reason,
                    result.explanation,
                    result.status,
                )
            )
        return delay_seconds

    def _bury_tried(self, entry: Entry, reason: DeadLetterReason, result: SendResult) -> None:
        entry = entry._replace(attempts=entry.attempts + 1)
        self._bury(entry, reason, result.status, result.message)

    def _bury(
        self, entry: Entry, reason: DeadLetterReason, status: int | None, message: str
    ) -> None:
        if self._buffer.bury(entry, reason, status=status, message=message):
            self._ledger.record(
                DeadLettered(entry.sync, entry.id, entry.attempts, reason, status, message)
            )
        else:
            self._let_go()

    def _let_go(self) -> None:
        """This process holds the entry no longer, but its durable buffer or another process."""
        if self._buffer.is_durable:
            self._ledger.hand_on()

    def _name_throttled(self, entry: Entry, others_pass: bool) -> None:
        """Name an identifier that is throttled while others pass, once.

        The usual cause is one that many shoppers share.
        """
        if self._identify is not None and others_pass:
            identifier = self._identify(entry.body)
            if self._throttled.count(identifier):
                self._ledger.record(ThrottledIdentifier(identifier))
