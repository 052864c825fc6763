"""Why an event ended as it did. Each member is its own text, as counters and logs show it."""

from __future__ import annotations

from enum import Enum


class Reason(str, Enum):
    """A reason, counted and logged under its text."""

    def __str__(self) -> str:
        return str.__str__(self)

    def __repr__(self) -> str:  # so that counters and facts are easy to read
        return str.__repr__(self)

    def __format__(self, format_spec: str) -> str:
        return str.__format__(self, format_spec)


class DropReason(Reason):
    """Why an event found no room or no time: it is lost, and handed to the hooks."""

    FULL = "full"
    """The buffer has reached a bound, or its disk is full."""
    CLOSED = "closed"
    """It was tracked after ``close()``."""
    SHUTDOWN = "shutdown"
    """It waited in memory, and the time of ``close()`` was over."""
    FORKED = "forked"
    """The buffer was opened by the parent of this process."""
    UNAVAILABLE = "unavailable"
    """The buffer can't store anything: an error of the disk, for example."""


class DeadLetterReason(Reason):
    """Why an event became a dead letter: it is kept, and can be sent again."""

    REJECTED = "rejected"
    """The server refused it, and would refuse it again."""
    EXHAUSTED = "exhausted"
    """It failed as often as the retry schedule allows, while other events passed."""
    EXPIRED = "expired"
    """It failed at an age beyond the retry schedule's."""


class PauseReason(Reason):
    """Why sending pauses. Everything is kept meanwhile."""

    OUTAGE = "outage"
    """The server or the network failed too often in a row."""
    MISCONFIGURED = "misconfigured"
    """The server does not know the credentials or the address."""
