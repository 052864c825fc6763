"""Which problems cost the event, and which cost only a part of it. Pure.

What MCM does not require of the event's type, and what can't be sent as it is, is left out; the
event goes. What is required and can't be sent refuses the event, and so does what would make it
wrong: money that contradicts itself, or a mode of personalization that can't be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amplitude_moloco.convert.problem import Problem, ProblemReason
from amplitude_moloco.moloco.wire.problems import Problems
from amplitude_moloco.moloco.wire.vocabulary import EventType, PersonalizationMode

_ID_LESS = PersonalizationMode.ID_LESS.value
_ALWAYS = frozenset({"event_id", "timestamp", "platform", "personalization_mode"})
_ITEMS = frozenset({"items"})
_NEEDED: dict[str, frozenset[str]] = {
    EventType.PAGE_VIEW.value: frozenset({"page_id"}),
    EventType.SEARCH.value: frozenset({"search_query"}),
    EventType.ITEM_PAGE_VIEW.value: _ITEMS,
    EventType.ADD_TO_CART.value: _ITEMS,
    EventType.ADD_TO_WISHLIST.value: _ITEMS,
    EventType.PURCHASE.value: _ITEMS | {"revenue_amount", "revenue_currency", "currency"},
}
_SENT_WHOLE = {
    EventType.PAGE_VIEW.value: "page_id",
    EventType.LAND.value: "referrer_page_id",
}
"""Fields that a type is about: over MCM's recommended length they are sent whole."""
_IDENTIFIERS = frozenset({"user_id", "device_persistent_id", "custom_id"})
_NO_AMOUNT = frozenset({ProblemReason.MISSING, ProblemReason.HALF_MONEY})
_REFUSING = frozenset(
    {ProblemReason.NO_IDENTIFIER, ProblemReason.APP_OS, ProblemReason.MIXED_CURRENCIES}
)


def is_sent_whole(event_type: str, field: str) -> bool:
    """Whether a field over the recommended length is sent as it is, for this type."""
    return _SENT_WHOLE.get(event_type) == field


def is_needed(event_type: str, field: str) -> bool:
    """Whether this type requires the field, apart from those that all types require."""
    return field in _NEEDED.get(event_type, ())


def split(problems: Problems, payload: Mapping[str, Any]) -> tuple[list[Problem], list[Problem]]:
    """Returns the problems that refuse the event, and those that only cost a part of it.

    ``payload`` is the event as far as it could be built.
    """
    needed = _ALWAYS | _NEEDED.get(payload["event_type"], frozenset())
    if not _is_identified(payload):
        needed |= _IDENTIFIERS
    has_items = "items" in payload
    lacks_sum = any(
        problem.field == "revenue_amount" and problem.reason in _NO_AMOUNT for problem in problems
    )
    refusals: list[Problem] = []
    omissions: list[Problem] = []
    for problem in problems:
        field = problem.field
        if field.startswith("items["):
            # Without revenue, an item that has no price or quantity is what the sum lacks.
            field = "an item" if has_items and not lacks_sum else "items"
        refuses = field in needed or problem.reason in _REFUSING
        (refusals if refuses else omissions).append(problem)
    return refusals, omissions


def _is_identified(payload: Mapping[str, Any]) -> bool:
    return (
        "user_id" in payload
        or "custom_id" in payload
        or "persistent_id" in payload.get("device", ())
        or payload.get("personalization_mode") == _ID_LESS
    )
