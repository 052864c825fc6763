"""What an answer means for an event."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple

from amplitude_moloco.reasons import DeadLetterReason
from amplitude_moloco.transports.base import SendResult


class Verdict(Enum):
    """What an answer means for the event."""

    DELIVERED = auto()
    RETRY = auto()
    """The server or the network failed: again later."""
    THROTTLED = auto()
    """Too fast: again later, and everything slower."""
    MISCONFIGURED = auto()
    """The credentials or the address are wrong: no event would fare better."""
    REJECTED = auto()
    """The server will never accept this event."""
    UNKNOWN = auto()
    """The server may have accepted it, and must not get it twice: it is given up."""


Classify = Callable[[SendResult], Verdict]
"""Reads the result of a request as the partner's failure protocol wants it."""


class Refusal(NamedTuple):
    """Why a body must not be sent any more."""

    reason: DeadLetterReason
    text: str
