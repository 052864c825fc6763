"""A fact of each kind."""

from __future__ import annotations

from amplitude_moloco.convert.problem import Problem, ProblemReason
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
from amplitude_moloco.reasons import DeadLetterReason, DropReason, PauseReason

BODY = b'{"user_id":"me@example.com"}'
PROBLEM = Problem("search_query", ProblemReason.MISSING, "nothing", "use a text")
OTHER = Problem("items[1].price", ProblemReason.WRONG_TYPE, "a text", "use a number")
DELIVERED = Delivered("HOME", "id-1", 2, 202)
RETRYING = Retrying("HOME", "id-1", 3, 19.6, "503")
INVALID = Invalid("SEARCH", "id-1", "Products Searched", (PROBLEM, OTHER))
REJECTED = DeadLettered("HOME", "id-1", 1, DeadLetterReason.REJECTED, 400, "missing page_id")
EXPIRED = DeadLettered("HOME", "id-1", 9, DeadLetterReason.EXPIRED, None, "ReadTimeout")
DROPPED = Dropped("HOME", "id-1", DropReason.FULL, BODY)
OUTAGE = Paused(PauseReason.OUTAGE, 503, "try later")
MISCONFIGURED = Paused(PauseReason.MISCONFIGURED, 401, "")
DEGRADED = Degraded("the file is not there")
LOST = Lost(1, "a stored event was damaged", number=7)
THROTTLED = ThrottledIdentifier("5d41402a")
UNTOLD = Untold(7)
TRIMMED = Trimmed("HOME", "id-1", "Home Viewed", (OTHER,))
REPEATED = RepeatedId("HOME", "id-1")
TWICE = SentTwice("Home Viewed", "id-1-2", "the syncs 'HOME' and 'LAND'")
UNSELECTED = Unselected("order completed")
FACTS: list[Fact] = [
    DELIVERED,
    RETRYING,
    INVALID,
    REJECTED,
    EXPIRED,
    DROPPED,
    OUTAGE,
    MISCONFIGURED,
    Resumed(),
    DEGRADED,
    LOST,
    THROTTLED,
    UNTOLD,
    TRIMMED,
    REPEATED,
    TWICE,
    UNSELECTED,
]


def kind_of(value: object) -> str | None:
    """The name of a fact in a test's name."""
    return None if isinstance(value, (str, int)) else type(value).__name__
