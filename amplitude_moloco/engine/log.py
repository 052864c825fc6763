"""The hook that writes to the log, before all others."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable

from amplitude_moloco.convert.problem import Problem
from amplitude_moloco.engine.facts import (
    DeadLettered,
    Degraded,
    Delivered,
    Dropped,
    Fact,
    Invalid,
    Lost,
    Paused,
    RepeatedId,
    Resumed,
    Retrying,
    SentTwice,
    ThrottledIdentifier,
    Trimmed,
    Untold,
)
from amplitude_moloco.reasons import PauseReason
from amplitude_moloco.text import keep_record_on_one_line

logger = logging.getLogger(__name__)
logger.addFilter(keep_record_on_one_line)  # ids, names and the server's message come from outside

_MOST_FAILURES = 5
"""At most this many first failures are warnings in a minute: a server may fail every other time."""
_FAILURES_SECONDS = 60.0


class LogHook:
    """Logs what an operator needs to know, under the package's logger. Holds no value of an event.

    An event that is invalid, undeliverable or lost is a warning the first time that its reason
    occurs in a sync, and info from then on. A part that was left out is a warning the first time,
    and debug from then on. Attempts and deliveries are debug, but the first failed attempt after a
    success, or at the start, is a warning that says why.

    Args:
        server: The name of the partner's server, as log lines call it.
        access: What may be wrong if the server refuses all events: the key, for example.
        monotonic: The clock, in seconds.
    """

    def __init__(
        self, server: str, access: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._server = server
        self._access = access
        self._monotonic = monotonic
        self._is_failing = False
        self._failures_logged: deque[float] = deque(maxlen=_MOST_FAILURES)
        self._warned: set[tuple[str, str, str]] = set()

    def __call__(self, fact: Fact) -> None:
        server = self._server
        if isinstance(fact, Delivered):
            self._is_failing = False
            logger.debug("Delivered %s to %s (sync %s)", fact.id, server, fact.sync)
        elif isinstance(fact, Retrying):
            logger.debug(
                "Attempt %d of %s failed (sync %s, %s); next attempt in %.0f s",
                *(fact.attempts, fact.id, fact.sync, fact.reason, fact.delay_seconds),
            )
            self._log_first_failure(fact)
        elif isinstance(fact, Invalid):
            problems = "; ".join(map(str, fact.problems))
            self._log_traces(fact, fact.problems)
            self._log_end(fact, "Sync %s: %r is invalid: %s", fact.event_name, problems)
        elif isinstance(fact, Trimmed):
            self._log_trimmed(fact)
        elif isinstance(fact, DeadLettered):
            said = _said(fact)
            self._log_end(fact, "Sync %s: %s is a dead letter, %s: %s", fact.id, fact.reason, said)
        elif isinstance(fact, Dropped):
            self._log_end(fact, "Sync %s: %s was dropped, %s", fact.id, fact.reason)
        elif isinstance(fact, Degraded):
            logger.error("Degraded: %s", fact.message)
        elif isinstance(fact, Lost):
            number = "" if fact.number is None else f", number {fact.number}"
            logger.error("Stored events are lost (%d%s): %s", fact.events, number, fact.message)
        else:
            self._log_change(fact)

    def _log_first_failure(self, fact: Retrying) -> None:
        """Warn at once if this is the first failure of a row, unless there were many such."""
        if self._is_failing:
            return
        self._is_failing = True
        now, logged = self._monotonic(), self._failures_logged
        if len(logged) == _MOST_FAILURES and now - logged[0] < _FAILURES_SECONDS:
            return
        logged.append(now)
        logger.warning(
            "Sending to %s failed: %s. The event is kept, and sent again in %.0f s.",
            *(self._server, fact.cause or fact.reason, fact.delay_seconds),
        )

    def _log_change(
        self,
        fact: Paused | Resumed | RepeatedId | SentTwice | ThrottledIdentifier | Untold,
    ) -> None:
        """Log what concerns more than one event."""
        server = self._server
        if isinstance(fact, Paused):
            self._is_failing = True  # and has been logged here
        if isinstance(fact, Paused) and fact.reason is PauseReason.MISCONFIGURED:
            logger.error(
                "%s refuses all events (%s): %s is wrong. Events are kept, and sent once that is "
                "corrected.",
                *(server, _said(fact), self._access),
            )
        elif isinstance(fact, Paused):
            logger.error(
                "%s %s (%s). Events are kept, and sent when it works again.",
                *(server, "can't be reached" if fact.status is None else "fails", _said(fact)),
            )
        elif isinstance(fact, Resumed):
            logger.warning("%s accepts events again. Sending what was kept.", server)
        elif isinstance(fact, RepeatedId):
            logger.warning(
                "Sync %s: events of different users have the same id, %s; %s may keep only one of "
                "them. Use a new event object for each event, and ids that are unique among all "
                "users.",
                *(fact.sync, fact.id, server),
            )
        elif isinstance(fact, SentTwice):
            logger.warning(
                "%r is sent twice, by %s: %s may count it twice, or keep only one. Let one of them "
                "send it.",
                *(fact.event_name, fact.by, server),
            )
        elif isinstance(fact, ThrottledIdentifier):
            logger.warning(
                "%s throttles one identifier while others pass (fingerprint %s). Do many shoppers "
                "share it?",
                *(server, fact.identifier),
            )
        else:
            logger.warning("Hooks are too slow: %d facts were counted, but not told", fact.facts)

    def _log_traces(self, fact: Invalid | Trimmed, problems: Iterable[Problem]) -> None:
        """Log the lines that raised at debug level, for the first of a kind in a sync."""
        for problem in problems:
            seen = ("raised", fact.sync, problem.code)
            if problem.trace and seen not in self._warned:
                self._warned.add(seen)
                lines = (
                    f'  File "{each.file}", line {each.number}, in {each.function}'
                    for each in problem.trace
                )
                logger.debug(
                    "Sync %s: %r, %s: found %s",
                    *(fact.sync, fact.event_name, problem.field, problem.found),
                    extra={"trace": ("Traceback (most recent call last):", *lines)},
                )

    def _log_trimmed(self, fact: Trimmed) -> None:
        self._log_traces(fact, fact.omissions)
        for problem in fact.omissions:
            seen = ("Trimmed", fact.sync, problem.code)
            level = logging.DEBUG if seen in self._warned else logging.WARNING
            self._warned.add(seen)
            logger.log(
                level,
                "Sync %s: %r is sent without a part: %s",
                *(fact.sync, fact.event_name, problem),
                extra={"event_id": fact.id, "sync": fact.sync, "reason": problem.code},
            )

    def _log_end(self, fact: Invalid | DeadLettered | Dropped, message: str, *args: object) -> None:
        seen = (type(fact).__name__, fact.sync, fact.reason)
        level = logging.INFO if seen in self._warned else logging.WARNING
        self._warned.add(seen)
        logger.log(
            level,
            message,
            fact.sync,
            *args,
            extra={
                "event_id": fact.id,
                "sync": fact.sync,
                "reason": str(fact.reason),
            },
        )


def _said(fact: DeadLettered | Paused) -> str:
    cause = fact.cause if isinstance(fact, Paused) else ""
    return cause or f"{fact.status or ''} {fact.message}".strip()
