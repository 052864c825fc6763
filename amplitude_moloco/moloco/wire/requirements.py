"""The fields that MCM requires for each event type. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from amplitude_moloco.convert.problem import ProblemReason
from amplitude_moloco.moloco.wire.apps import app_os
from amplitude_moloco.moloco.wire.items import ITEM_FIX
from amplitude_moloco.moloco.wire.problems import Problems
from amplitude_moloco.moloco.wire.values import describe
from amplitude_moloco.moloco.wire.vocabulary import ChannelType, EventType

PlatformOs = Callable[[], str | None] | None


class _Requirement(NamedTuple):
    """A key that MCM requires, the field of the chart that fills it, and how to fill it."""

    key: str
    field: str
    fix: str


APP = ChannelType.APP.value  # read once: an enum's value is a property, and slow
_ALWAYS = (
    _Requirement("id", "event_id", "set the event's insert_id or event_id, or map event_id"),
    _Requirement("timestamp", "timestamp", "set the event's time, or map timestamp"),
    _Requirement(
        "channel_type",
        "platform",
        "set the event's platform (iOS, Android, Web), or a channel_type "
        f"({', '.join(ChannelType.__members__)}) on the sync or the destination",
    ),
)
_ITEMS = _Requirement("items", "items", ITEM_FIX)
_REFERRER = _Requirement(
    "referrer_page_id", "referrer_page_id", "map it to where the shopper came from"
)
_PAGE = _Requirement("page_id", "page_id", "map page_id to what identifies the page")
_QUERY = _Requirement("search_query", "search_query", "map search_query to what the shopper typed")
_REVENUE = _Requirement(
    "revenue", "revenue_amount", "map revenue_amount to the sum of price x quantity"
)
_APP_OS_FIX = (
    "for channel APP the os_name must contain ios or android: set the event's os_name, or map "
    "it, as in \"'ios'\""
)
# Keyed by text, because hashing a member of an enum calls Python code.
_REQUIREMENTS = {
    EventType.HOME.value: _ALWAYS,
    EventType.LAND.value: (*_ALWAYS, _REFERRER),
    EventType.PAGE_VIEW.value: (*_ALWAYS, _PAGE),
    EventType.ITEM_PAGE_VIEW.value: (*_ALWAYS, _ITEMS),
    EventType.SEARCH.value: (*_ALWAYS, _QUERY),
    EventType.ADD_TO_CART.value: (*_ALWAYS, _ITEMS),
    EventType.ADD_TO_WISHLIST.value: (*_ALWAYS, _ITEMS),
    EventType.PURCHASE.value: (*_ALWAYS, _ITEMS, _REVENUE),
}


def check_requirements(
    problems: Problems, payload: dict[str, Any], platform_os: PlatformOs = None
) -> None:
    """Adds a problem for each required or recommended key that ``payload`` lacks.

    For channel APP, writes the os as MCM knows it; ``platform_os`` returns the platform's.
    """
    for requirement in _REQUIREMENTS[payload["event_type"]]:
        if requirement.key not in payload:
            _add_missing(problems, requirement)
    if payload.get("channel_type") == APP:
        _check_app_os(problems, payload, platform_os)


def required_keys(event_type: EventType) -> tuple[str, ...]:
    """Returns the keys that are required or recommended for a type."""
    return tuple(requirement.key for requirement in _REQUIREMENTS[event_type.value])


def is_app_os(os: str) -> bool:
    """Whether MCM knows the os of an app by this name."""
    name = os.lower()
    return "ios" in name or "android" in name


def _add_missing(problems: Problems, requirement: _Requirement) -> None:
    key, field, fix = requirement
    is_known = any(known.field == field or known.field.startswith(key) for known in problems)
    if key == "revenue":  # its amount may be there, and the event's currency unusable
        is_known = is_known or any(known.field == "currency" for known in problems)
    if not is_known:  # a value that is present but can't be used has its own problem
        problems.add(field, ProblemReason.MISSING, "nothing", fix)


def _check_app_os(problems: Problems, payload: dict[str, Any], platform_os: PlatformOs) -> None:
    os = payload.get("device", {}).get("os")
    if os is not None:
        if is_app_os(os):
            return
        known = app_os(os)
        if known:
            payload["device"]["os"] = known
            return
    implied = platform_os() if platform_os else None
    if implied is None:
        problems.add("os_name", ProblemReason.APP_OS, describe(os), _APP_OS_FIX)
        return
    payload.setdefault("device", {})["os"] = implied
    if os is not None:
        fix = "use an os_name that contains ios or android; the platform's is sent instead"
        problems.add("os_name", ProblemReason.UNKNOWN_VALUE, describe(os), fix)
