"""How the events of a backfill ended."""

from __future__ import annotations

from typing import NamedTuple

from amplitude_moloco.reasons import Reason


class Outcome(Reason):
    """How one event ended for one sync."""

    DELIVERED = "delivered"
    INVALID = "invalid"
    """It can't be sent as it is."""
    REFUSED = "refused"
    """The server refused it, or it failed too often."""
    DUPLICATE = "duplicate"
    """An event with its id is in the range already."""


class Ended(NamedTuple):
    """The outcome of one event for one sync. What is counted together is equal."""

    sync: str
    outcome: Outcome
    reason: str = ""
    """The code of the first problem, or why it was refused."""


class Refusal(NamedTuple):
    """One event that was sent, and not accepted."""

    place: str
    """Where the export has it."""
    sync: str
    id: str
    reason: str
    status: int | None
    message: str
