"""What happened to an event: facts, and the hooks that are told of them.

A hook is a callable that gets one fact. Hooks run in the sender threads, never in the app's
thread and never under a lock; several may run at a time. While one runs, its thread sends nothing.
A hook that raises is logged and changes nothing. A hook may track, flush and read the stats, but
must not wait for a flush.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amplitude_moloco.convert.problem import Problem

logger = logging.getLogger("amplitude_moloco")

_MAX_POSTED = 10_000
_PAUSED = {
    "outage": "MCM fails (%s). Events are kept, and sent when it works again.",
    "misconfigured": "MCM refuses all events (%s): the API key, the platform id or the address is "
    "wrong. Events are kept, and sent when that is mended.",
}


@dataclass(frozen=True)
class Delivered:
    """MCM has taken the event: its end."""

    sync: str
    id: str
    attempts: int
    """How often it was sent, this time included."""
    status: int


@dataclass(frozen=True)
class Retrying:
    """MCM could not take the event; it stays in the buffer and is sent again."""

    sync: str
    id: str
    attempts: int
    delay_seconds: float
    reason: str
    """The status, or the kind of the network's fault."""


@dataclass(frozen=True)
class Rejected:
    """The event can't become an MCM event, and was never sent: its end."""

    sync: str
    id: str | None
    event_name: str
    """Amplitude's event type."""
    problems: tuple[Problem, ...]

    @property
    def reason(self) -> str:
        """What it is counted under: the code of its first problem."""
        return self.problems[0].code


@dataclass(frozen=True)
class Buried:
    """The event lies with the dead letters: its end, unless it is resent."""

    sync: str
    id: str
    attempts: int
    reason: str
    """``rejected`` by MCM, ``exhausted`` or ``expired``."""
    status: int | None
    message: str
    """What MCM said about it, or the kind of the network's fault."""


@dataclass(frozen=True)
class Dropped:
    """The event is gone: its end. The body is handed over, so that the app may keep it."""

    sync: str
    id: str
    reason: str
    """The buffer was ``full``, the destination was ``closed``, or there was no time to send it
    at ``shutdown``."""
    body: bytes
    """The request that was not sent. Holds personal data: not for a log."""

    def __repr__(self) -> str:
        return f"Dropped(sync={self.sync!r}, id={self.id!r}, reason={self.reason!r})"


@dataclass(frozen=True)
class Paused:
    """Nothing more is sent but a probe now and then; everything is kept. No event's end."""

    reason: str
    """``outage``: more than five failures in a row. ``misconfigured``: MCM does not know the key
    or the platform, or the address is wrong."""
    status: int | None
    message: str


@dataclass(frozen=True)
class Resumed:
    """MCM takes events again after a pause. No event's end."""


@dataclass(frozen=True)
class Degraded:
    """A forked process can't open the durable buffer, and keeps its events in memory instead.

    No event's end.
    """

    message: str


@dataclass(frozen=True)
class ThrottledIdentifier:
    """One identifier is throttled while others pass: many shoppers may share it. No event's end."""

    identifier: str
    """Hashed: of the same identifier always the same."""


Fact = (
    Delivered
    | Retrying
    | Rejected
    | Buried
    | Dropped
    | Paused
    | Resumed
    | Degraded
    | ThrottledIdentifier
)
Hook = Callable[[Fact], object]


class Hooks:
    """Tells facts to every hook; the log comes first. May be used from any thread."""

    def __init__(self, hooks: Sequence[Hook] = ()) -> None:
        self._hooks: tuple[Hook, ...] = (LogHook(), *hooks)
        self._posted: deque[Fact] = deque(maxlen=_MAX_POSTED)

    def post(self, fact: Fact) -> None:
        """Leave a fact for a sender thread to tell. Calls no hook; of too many, the oldest go."""
        self._posted.append(fact)

    def tell_posted(self) -> None:
        """Tell what was left here."""
        with contextlib.suppress(IndexError):  # none is left
            while True:
                self.tell(self._posted.popleft())

    def tell(self, fact: Fact) -> None:
        """Call every hook. Never raises."""
        for hook in self._hooks:
            try:
                hook(fact)
            except Exception:
                logger.exception("A hook raised on %s", type(fact).__name__)


class LogHook:
    """Logs what an operator wants to know, to the logger ``amplitude_moloco``.

    What was refused or lost is a warning the first time that its reason turns up in a sync, and
    then info; what was sent or will be is debug. Holds no value of an event.
    """

    def __init__(self) -> None:
        self._warned: set[tuple[str, str, str]] = set()

    def __call__(self, fact: Fact) -> None:
        if isinstance(fact, Delivered):
            logger.debug("Delivered %s to MCM (sync %s)", fact.id, fact.sync)
        elif isinstance(fact, Retrying):
            logger.debug(
                "MCM did not take %s (sync %s, %s), attempt %d; again in %.0f s",
                fact.id,
                fact.sync,
                fact.reason,
                fact.attempts,
                fact.delay_seconds,
            )
        elif isinstance(fact, Rejected):
            problems = "; ".join(map(str, fact.problems))
            self._log(fact, "Sync %s: %r can't be sent to MCM: %s", fact.event_name, problems)
        elif isinstance(fact, Buried):
            said = f"{fact.status or ''} {fact.message}".strip()
            self._log(fact, "Sync %s: %s became a dead letter, %s: %s", fact.id, fact.reason, said)
        elif isinstance(fact, Dropped):
            self._log(fact, "Sync %s: %s was dropped, %s", fact.id, fact.reason)
        elif isinstance(fact, Paused):
            said = f"{fact.status or ''} {fact.message}".strip()
            logger.error(_PAUSED.get(fact.reason, _PAUSED["outage"]), said)
        elif isinstance(fact, Resumed):
            logger.warning("MCM takes events again; what was kept is being sent")
        elif isinstance(fact, Degraded):
            logger.error("Events wait in memory, since there is no other buffer: %s", fact.message)
        else:
            logger.warning(
                "MCM throttles one identifier while others pass (%s, hashed): do many shoppers "
                "share it?",
                fact.identifier,
            )

    def _log(self, fact: Rejected | Buried | Dropped, message: str, *args: object) -> None:
        seen = (type(fact).__name__, fact.sync, fact.reason)
        level = logging.INFO if seen in self._warned else logging.WARNING
        self._warned.add(seen)
        logger.log(
            level,
            message,
            fact.sync,
            *args,
            extra={"moloco_id": fact.id, "moloco_sync": fact.sync, "moloco_reason": fact.reason},
        )
