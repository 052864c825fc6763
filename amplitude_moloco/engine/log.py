"""The hook that writes to the log, before all others."""

from __future__ import annotations

import logging

from amplitude_moloco.engine.facts import (
    DeadLettered,
    Degraded,
    Delivered,
    Dropped,
    Fact,
    Invalid,
    Paused,
    Resumed,
    Retrying,
    ThrottledIdentifier,
    Untold,
)
from amplitude_moloco.reasons import PauseReason

logger = logging.getLogger(__name__)


class LogHook:
    """Logs what an operator needs to know, under the package's logger. Holds no value of an event.

    An event that is invalid, undeliverable or lost is a warning the first time that its reason
    occurs in a sync, and info from then on. Attempts and deliveries are debug.

    Args:
        server: The name of the partner's server, as log lines call it.
        access: What may be wrong if the server refuses all events: the key, for example.
    """

    def __init__(self, server: str, access: str) -> None:
        self._server = server
        self._access = access
        self._warned: set[tuple[str, str, str]] = set()

    def __call__(self, fact: Fact) -> None:
        server = self._server
        if isinstance(fact, Delivered):
            logger.debug("Delivered %s to %s (sync %s)", fact.id, server, fact.sync)
        elif isinstance(fact, Retrying):
            logger.debug(
                "Attempt %d of %s failed (sync %s, %s); next attempt in %.0f s",
                *(fact.attempts, fact.id, fact.sync, fact.reason, fact.delay_seconds),
            )
        elif isinstance(fact, Invalid):
            problems = "; ".join(map(str, fact.problems))
            self._log_end(fact, "Sync %s: %r is invalid: %s", fact.event_name, problems)
        elif isinstance(fact, DeadLettered):
            said = _said(fact)
            self._log_end(fact, "Sync %s: %s is a dead letter, %s: %s", fact.id, fact.reason, said)
        elif isinstance(fact, Dropped):
            self._log_end(fact, "Sync %s: %s was dropped, %s", fact.id, fact.reason)
        else:
            self._log_change(fact)

    def _log_change(self, fact: Paused | Resumed | Degraded | ThrottledIdentifier | Untold) -> None:
        """Log what concerns more than one event."""
        server = self._server
        if isinstance(fact, Paused) and fact.reason is PauseReason.MISCONFIGURED:
            logger.error(
                "%s refuses all events (%s): %s is wrong. Events are kept, and sent once that is "
                "corrected.",
                *(server, _said(fact), self._access),
            )
        elif isinstance(fact, Paused):
            logger.error(
                "%s fails (%s). Events are kept, and sent when it works again.",
                *(server, _said(fact)),
            )
        elif isinstance(fact, Resumed):
            logger.warning("%s accepts events again. Sending what was kept.", server)
        elif isinstance(fact, Degraded):
            logger.error("The buffer can't be opened; events wait in memory: %s", fact.message)
        elif isinstance(fact, ThrottledIdentifier):
            logger.warning(
                "%s throttles one identifier while others pass (fingerprint %s). Do many shoppers "
                "share it?",
                *(server, fact.identifier),
            )
        else:
            logger.warning("Hooks are too slow: %d facts were counted, but not told", fact.facts)

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
    return f"{fact.status or ''} {fact.message}".strip()
