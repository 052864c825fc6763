"""What an answer means for an event."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from amplitude_moloco.transports.base import SendResult


class Verdict(Enum):
    """What an answer means for the event."""

    DELIVERED = auto()
    RETRY = auto()
    """Moloco's side or the network failed: again later."""
    THROTTLED = auto()
    """Too fast: again later."""
    MISCONFIGURED = auto()
    """The key, the platform or the address is wrong: every event would fare the same."""
    REJECTED = auto()
    """MCM will never take this event."""


Classify = Callable[[SendResult], Verdict]
"""Reads the result of a request as the partner's failure protocol wants it."""
