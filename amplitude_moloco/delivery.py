"""One entry's last step: send it, read the answer, and settle it.

The threads that do so are the dispatcher's. Nothing here knows what is in a body.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from amplitude_moloco.buffers import Buffer, DeadLetter, Entry
from amplitude_moloco.hooks import Buried, Delivered, Fact, Hooks, Retrying
from amplitude_moloco.retry import RetrySchedule
from amplitude_moloco.stats import Ledger
from amplitude_moloco.transports import SendResult, Transport, Verdict, classify

logger = logging.getLogger("amplitude_moloco")

_MAX_RETRY_AFTER_SECONDS = 3600.0


class Delivery:
    """One entry at a time: send it, and settle it by the answer. Safe to use from any thread."""

    def __init__(
        self,
        buffer: Buffer,
        transport: Transport,
        *,
        retry: RetrySchedule,
        ledger: Ledger,
        hooks: Hooks,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._buffer = buffer
        self._transport = transport
        self._retry = retry
        self._ledger = ledger
        self._hooks = hooks
        self._wall = wall
        self._is_misconfigured = False

    def deliver(self, entry: Entry) -> float | None:
        """Send a claimed entry, and take it out of the buffer or give it back.

        Returns in how many seconds it comes due again; None if it was the end of it.
        """
        try:
            result = self._transport.send(entry.body)
        except Exception as error:  # whatever it is, the event must not be lost by it
            logger.exception("The transport raised")
            result = SendResult(message=type(error).__name__)
        return self._settle(entry, result)

    def _settle(self, entry: Entry, result: SendResult) -> float | None:
        verdict = classify(result)
        if verdict is Verdict.DELIVERED:
            self._is_misconfigured = False
            status = result.status or 0
            if self._buffer.ack(entry):
                self._tell(Delivered(entry.sync, entry.id, entry.attempts + 1, status))
            return None
        if verdict is Verdict.REJECTED:
            self._bury(entry, "rejected", result)
            return None
        if verdict is Verdict.MISCONFIGURED:
            return self._keep(entry, result)
        return self._try_again(entry, result)

    def _try_again(self, entry: Entry, result: SendResult) -> float | None:
        attempts = entry.attempts + 1
        age_seconds = self._wall() - entry.accepted_at
        given_up = self._retry.gives_up(attempts, age_seconds)
        if given_up:
            self._bury(entry, given_up, result)
            return None
        asked_seconds = min(result.retry_after_seconds, _MAX_RETRY_AFTER_SECONDS)
        delay_seconds = self._retry.delay_seconds(attempts, asked_seconds)
        return self._reschedule(entry, attempts, delay_seconds, result)

    def _keep(self, entry: Entry, result: SendResult) -> float:
        """No event is used up by a wrong key: each waits, however often it was tried."""
        if not self._is_misconfigured:
            self._is_misconfigured = True
            logger.error(
                "MCM answers %s (%s): the API key, the platform id or the address is wrong. Events "
                "are kept and tried again later.",
                result.status,
                result.message,
            )
        attempts = max(entry.attempts, 1)  # one is remembered, so that it counts as tried
        return self._reschedule(entry, attempts, self._retry.longest_delay_seconds(), result)

    def _reschedule(
        self, entry: Entry, attempts: int, delay_seconds: float, result: SendResult
    ) -> float:
        if self._buffer.retry(entry, attempts, self._wall() + delay_seconds):
            self._tell(Retrying(entry.sync, entry.id, attempts, delay_seconds, result.reason))
        return delay_seconds

    def _bury(self, entry: Entry, reason: str, result: SendResult) -> None:
        letter = DeadLetter(entry, reason, result.status, result.message, self._wall())
        if self._buffer.bury(letter):
            attempts = entry.attempts + 1
            self._tell(
                Buried(entry.sync, entry.id, attempts, reason, result.status, result.message)
            )

    def _tell(self, fact: Fact) -> None:
        self._ledger.settled(fact)
        self._hooks.tell(fact)
