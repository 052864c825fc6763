"""What happens to events: facts, each told to every hook.

A hook is a callable that gets one fact. Hooks run in background threads, never inside ``track()``
and never under a lock; several threads may call one at the same time. A slow hook delays requests.
An exception from a hook is logged and changes nothing. A hook may track, flush and read the
counters, but must not wait for a flush.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from amplitude_moloco.buffers.base import Degraded, Lost
from amplitude_moloco.convert.problem import Problem
from amplitude_moloco.reasons import DeadLetterReason, DropReason, PauseReason

__all__ = [
    "DeadLettered",
    "Degraded",
    "Delivered",
    "Dropped",
    "Fact",
    "Hook",
    "Invalid",
    "Lost",
    "Paused",
    "RepeatedId",
    "Resumed",
    "Retrying",
    "ThrottledIdentifier",
    "Trimmed",
    "Untold",
]


@dataclass(frozen=True)
class Delivered:
    """The server has accepted the event. Final."""

    sync: str
    id: str
    attempts: int
    """How often it was sent, the last time included."""
    status: int
    delay_seconds: float | None = field(default=None, compare=False)
    """How long ago it was tracked; None if that is not known."""


@dataclass(frozen=True)
class Retrying:
    """An attempt failed. The event stays in the buffer and is sent again."""

    sync: str
    id: str
    attempts: int
    delay_seconds: float
    reason: str
    """The HTTP status, or the kind of the network fault."""
    cause: str = ""
    """The same in words: for a network fault the host, what happened and what to check."""
    status: int | None = None
    """The HTTP status; None for a network fault."""


@dataclass(frozen=True)
class Invalid:
    """The event can't be converted, and was never sent. Final."""

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
class Trimmed:
    """Parts of the event could not be sent, and were left out. The event itself goes."""

    sync: str
    id: str
    event_name: str
    """Amplitude's event type."""
    omissions: tuple[Problem, ...]
    """What was left out, and why."""


@dataclass(frozen=True)
class Unselected:
    """No sync selects an event of this name. Reported once for each of the first hundred names."""

    event_name: str
    """Amplitude's event type."""


@dataclass(frozen=True)
class RepeatedId:
    """Two shoppers' events have the same id, and the server may suppress one. Reported once."""

    sync: str
    id: str


@dataclass(frozen=True)
class SentTwice:
    """One event is sent twice, and may count twice. Reported once for each two that send it."""

    event_name: str
    """Amplitude's event type."""
    id: str
    """The id of the second one."""
    by: str
    """The two syncs of one type, or two destinations of one address, that send it."""


@dataclass(frozen=True)
class DeadLettered:
    """The event can't be delivered, and is kept as a dead letter. Final, unless it is resent."""

    sync: str
    id: str
    attempts: int
    reason: DeadLetterReason
    status: int | None
    message: str
    """The server's message, or the kind of the network fault."""


@dataclass(frozen=True)
class Dropped:
    """The event is lost. Final. The body is handed over, so that the app may keep it."""

    sync: str
    id: str
    reason: DropReason
    body: bytes
    """The request that was not sent. It holds personal data: keep it out of logs."""

    def __repr__(self) -> str:
        return f"Dropped(sync={self.sync!r}, id={self.id!r}, reason={self.reason!r})"


@dataclass(frozen=True)
class Paused:
    """Sending pauses, and everything is kept. One probe at a time checks for recovery."""

    reason: PauseReason
    status: int | None
    message: str
    """The server's message, or the kind of the network fault."""
    cause: str = ""
    """A network fault in words: the host, what happened and what to check. Empty otherwise."""


@dataclass(frozen=True)
class Resumed:
    """The server accepts events again after a pause."""


@dataclass(frozen=True)
class ThrottledIdentifier:
    """The server throttles one identifier while others pass: many shoppers may share it."""

    identifier: str
    """A one-way fingerprint of the identifier."""


@dataclass(frozen=True)
class Untold:
    """Facts came faster than the hooks took them. These were counted, and not told."""

    facts: int
    """How many, since the last fact of this kind."""


Fact = (
    Delivered
    | Retrying
    | Invalid
    | Trimmed
    | Unselected
    | RepeatedId
    | SentTwice
    | DeadLettered
    | Dropped
    | Paused
    | Resumed
    | Degraded
    | Lost
    | ThrottledIdentifier
    | Untold
)
Hook = Callable[[Fact], object]
