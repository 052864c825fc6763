"""The hook that writes to the log, before all others."""

from __future__ import annotations

import logging
import threading
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
    Unselected,
    Untold,
)
from amplitude_moloco.engine.log_fields import fields
from amplitude_moloco.engine.summary import Repeated, Summary
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
    occurs in a sync, and so is a part that was left out. From then on each is a line at debug
    level, and counted for the summary. Attempts and deliveries are debug, but the first failed
    attempt after a success, or at the start, is a warning that says why.

    Every record has the fields ``event_id``, ``sync``, ``reason``, ``status`` and ``attempts``;
    those that don't apply are None.

    Args:
        server: The name of the partner's server, as log lines call it.
        access: What may be wrong if the server refuses all events: the key, for example.
        monotonic: The clock, in seconds.
        host: The server's host. A line about an answer names it; a network fault's cause does so.
        summary: Counts what repeats, for a :class:`Reporter` to write.
        near_name: Returns a configured name that an event's name nearly is, or empty text.
    """

    def __init__(
        self,
        server: str,
        access: str,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        host: str = "",
        summary: Summary | None = None,
        near_name: Callable[[str], str] = lambda name: "",
    ) -> None:
        self._server = server
        self._server_at_host = f"{server} at {host}" if host else server
        self._access = access
        self._summary = summary or Summary(monotonic)
        self._monotonic = monotonic
        self._near_name = near_name
        self._lock = threading.Lock()
        self._is_failing = False
        self._failures_logged: deque[float] = deque(maxlen=_MOST_FAILURES)

    def __call__(self, fact: Fact) -> None:
        if isinstance(fact, Delivered):
            self._is_failing = False
            message = "Delivered %s to %s (sync %s)"
            _debug(fact, message, fact.id, self._server, fact.sync)
        elif isinstance(fact, Retrying):
            message = "Attempt %d of %s failed (sync %s, %s); next attempt in %.0f s"
            about = (fact.attempts, fact.id, fact.sync, fact.reason, fact.delay_seconds)
            _debug(fact, message, *about)
            self._log_failure(fact)
        elif isinstance(fact, Invalid):
            problems = "; ".join(map(str, fact.problems))
            self._log_traces(fact, fact.problems)
            kind = Repeated("invalid", fact.sync, fact.reason)
            self._log_end(fact, kind, "Sync %s: %r is invalid: %s", fact.event_name, problems)
        elif isinstance(fact, Trimmed):
            self._log_trimmed(fact)
        elif isinstance(fact, DeadLettered):
            said, kind = _said(fact), Repeated("dead", fact.sync, fact.reason)
            message = "Sync %s: %s is a dead letter, %s: %s"
            self._log_end(fact, kind, message, fact.id, fact.reason, said, detail=said)
        elif isinstance(fact, Dropped):
            kind = Repeated("dropped", fact.sync, fact.reason)
            self._log_end(fact, kind, "Sync %s: %s was dropped, %s", fact.id, fact.reason)
        elif isinstance(fact, Unselected):
            self._log_unselected(fact)
        else:
            self._log_change(fact)

    def _log_failure(self, fact: Retrying) -> None:
        """Warn at once if this is the first failure of a row, unless there were many such."""
        cause = fact.cause or fact.reason
        if not self._begins_row():
            self._summary.add(Repeated("failed", "", fact.reason), cause, fact.status)
            return
        logger.warning(
            "Sending to %s failed: %s. The event is kept, and sent again in %.0f s.",
            *(self._answering(fact), cause, fact.delay_seconds),
            extra=fields(fact),
        )

    def _begins_row(self) -> bool:
        """Whether this failure is to be logged at once. Several senders may fail at one time."""
        now, logged = self._monotonic(), self._failures_logged
        with self._lock:
            are_many = len(logged) == _MOST_FAILURES and now - logged[0] < _FAILURES_SECONDS
            is_first = not (self._is_failing or are_many)
            self._is_failing = True
            if is_first:
                logged.append(now)
            return is_first

    def _answering(self, fact: Retrying | Paused) -> str:
        """Returns the server's name, and its host unless the cause of a network fault has it."""
        return self._server if fact.status is None else self._server_at_host

    def _log_change(
        self,
        fact: Paused
        | Resumed
        | Degraded
        | Lost
        | RepeatedId
        | SentTwice
        | ThrottledIdentifier
        | Untold,
    ) -> None:
        """Log what concerns more than one event."""
        server, extra = self._server, fields(fact)
        if isinstance(fact, Paused):
            self._log_pause(fact)
        elif isinstance(fact, Resumed):
            logger.warning("%s accepts events again. Sending what was kept.", server, extra=extra)
        elif isinstance(fact, Degraded):
            logger.error("Degraded: %s", fact.message, extra=extra)
        elif isinstance(fact, Lost):
            number = "" if fact.number is None else f", number {fact.number}"
            message = "Stored events are lost (%d%s): %s"
            logger.error(message, fact.events, number, fact.message, extra=extra)
        elif isinstance(fact, RepeatedId):
            logger.warning(
                "Sync %s: events of different users have the same id, %s; %s may keep only one of "
                "them. Use a new event object for each event, and ids that are unique among all "
                "users.",
                *(fact.sync, fact.id, server),
                extra=extra,
            )
        elif isinstance(fact, SentTwice):
            logger.warning(
                "%r is sent twice, by %s: %s may count it twice, or keep only one. Let one of them "
                "send it.",
                *(fact.event_name, fact.by, server),
                extra=extra,
            )
        elif isinstance(fact, ThrottledIdentifier):
            logger.warning(
                "%s throttles one identifier while others pass (fingerprint %s). Do many shoppers "
                "share it?",
                *(server, fact.identifier),
                extra=extra,
            )
        else:
            message = "Hooks are too slow: %d facts were counted, but not told"
            logger.warning(message, fact.facts, extra=extra)

    def _log_pause(self, fact: Paused) -> None:
        self._is_failing = True  # and is logged here
        if fact.reason is PauseReason.MISCONFIGURED:
            logger.error(
                "%s refuses all events (%s): %s is wrong. Events are kept, and sent once that is "
                "corrected.",
                *(self._answering(fact), _said(fact), self._access),
                extra=fields(fact),
            )
        else:
            trouble = "can't be reached" if fact.status is None else "fails"
            logger.error(
                "%s %s (%s). Events are kept, and sent when it works again.",
                *(self._answering(fact), trouble, _said(fact)),
                extra=fields(fact),
            )

    def _log_unselected(self, fact: Unselected) -> None:
        """Warn of a name that nearly is a configured one."""
        near_name = self._near_name(fact.event_name)
        if near_name:
            message = "No sync selects %r; did you mean %r?"
            about: tuple[object, ...] = (fact.event_name, near_name)
            logger.warning(message, *about, extra=fields(fact, reason="name"))
        else:
            _debug(fact, "No sync selects %r", fact.event_name)

    def _log_traces(self, fact: Invalid | Trimmed, problems: Iterable[Problem]) -> None:
        """Log the lines that raised at debug level, for the first of a kind in a sync."""
        for problem in problems:
            kind = Repeated("raised", fact.sync, problem.code)
            if problem.trace and self._summary.is_first(kind):
                lines = (
                    f'  File "{each.file}", line {each.number}, in {each.function}'
                    for each in problem.trace
                )
                message = "Sync %s: %r, %s: found %s"
                about = (fact.sync, fact.event_name, problem.field, problem.found)
                trace = ("Traceback (most recent call last):", *lines)
                logger.debug(
                    message, *about, extra={**fields(fact, reason=problem.code), "trace": trace}
                )

    def _log_trimmed(self, fact: Trimmed) -> None:
        self._log_traces(fact, fact.omissions)
        for problem in fact.omissions:
            kind = Repeated("trimmed", fact.sync, problem.code)
            message = "Sync %s: %r is sent without a part: %s"
            self._log_end(fact, kind, message, fact.event_name, problem)

    def _log_end(
        self,
        fact: Invalid | Trimmed | DeadLettered | Dropped,
        kind: Repeated,
        message: str,
        *args: object,
        detail: str = "",
    ) -> None:
        """Warn of the first of its kind. Leave the others to the summary."""
        extra = fields(fact, reason=str(kind.reason))
        if self._summary.is_first(kind):
            logger.warning(message, fact.sync, *args, extra=extra)
        else:
            logger.debug(message, fact.sync, *args, extra=extra)
            self._summary.add(kind, detail, getattr(fact, "status", None))


def _debug(fact: Fact, message: str, *args: object) -> None:
    """Log a line about one event. Costs next to nothing at other levels."""
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug(message, *args, extra=fields(fact))


def _said(fact: DeadLettered | Paused) -> str:
    cause = fact.cause if isinstance(fact, Paused) else ""
    return cause or f"{fact.status or ''} {fact.message}".strip()
