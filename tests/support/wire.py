"""MCM events, built from fields of the chart."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from support.events import NOW

from amplitude_moloco.convert.problem import Problem
from amplitude_moloco.moloco.wire.event import build
from amplitude_moloco.moloco.wire.identifiers import hashed_identifier
from amplitude_moloco.moloco.wire.vocabulary import EventType

Path = tuple[str, ...]
COMMON: dict[str, Any] = {
    "event_id": "event-1",
    "timestamp": NOW,
    "platform": "SITE",
    "user_id": "shopper-1",
}
"""The fields that every event needs."""
REQUIRED: dict[EventType, dict[str, Any]] = {
    EventType.HOME: {},
    EventType.LAND: {"referrer_page_id": "https://search.example/"},
    EventType.PAGE_VIEW: {"page_id": "/kitchen"},
    EventType.ITEM_PAGE_VIEW: {"items": [{"id": "SKU-1"}]},
    EventType.SEARCH: {"search_query": "kettle"},
    EventType.ADD_TO_CART: {"items": [{"id": "SKU-1"}]},
    EventType.ADD_TO_WISHLIST: {"items": [{"id": "SKU-1"}]},
    EventType.PURCHASE: {
        "items": [{"id": "SKU-1"}],
        "revenue_amount": 12.34,
        "revenue_currency": "USD",
    },
}
"""The fields that MCM requires of each type as well."""
IDENTIFIERS: dict[str, Path] = {
    "user_id": ("user_id",),
    "device_persistent_id": ("device", "persistent_id"),
    "custom_id": ("custom_id",),
}
SHORT_TEXTS: dict[str, Path] = {
    "event_id": ("id",),
    "page_id": ("page_id",),
    "referrer_page_id": ("referrer_page_id",),
    **IDENTIFIERS,
}
"""Fields of at most 128 characters, and where MCM's event has them."""
LONG_TEXTS: dict[str, Path] = {
    "search_query": ("search_query",),
    "domain": ("domain",),
    "decision_track_id": ("decision_track_id",),
    "os_name": ("device", "os"),
    "os_version": ("device", "os_version"),
    "device_type": ("device", "model"),
    "ip_address": ("device", "ip"),
    "library": ("device", "ua"),
    "advertising_id": ("device", "advertising_id"),
}
"""Fields without a limit, and where MCM's event has them."""


def build_event(
    event_type: EventType = EventType.HOME,
    /,
    *,
    default_currency: str | None = None,
    hash_identifier: Callable[[str], str] | None = None,
    **fields: Any,
) -> tuple[dict[str, Any], list[Problem]]:
    """The event, and all that can't be sent of it: the problems, then the omissions.

    Of a complete event with these fields instead of its own; None removes one.
    """
    result, problems, omissions = build_parts(
        event_type, default_currency=default_currency, hash_identifier=hash_identifier, **fields
    )
    return result, problems + omissions


def build_parts(
    event_type: EventType = EventType.HOME,
    /,
    *,
    default_currency: str | None = None,
    hash_identifier: Callable[[str], str] | None = None,
    id_less_fields: Collection[str] = (),
    platform_os: Callable[[], str | None] | None = None,
    **fields: Any,
) -> tuple[dict[str, Any], list[Problem], list[Problem]]:
    """The event, its problems, and its omissions."""
    settings: dict[str, Any] = {}
    if hash_identifier:
        settings["read_identifier"] = partial(hashed_identifier, hash_identifier)
    return build(
        event_type,
        {**COMMON, **REQUIRED[event_type], **fields},
        now_millis=NOW,
        default_currency=default_currency,
        id_less_fields=id_less_fields,
        platform_os=platform_os,
        **settings,
    )


def payload(event_type: EventType = EventType.HOME, /, **fields: Any) -> dict[str, Any]:
    """MCM's event, which must have no problems."""
    result, found = build_event(event_type, **fields)
    assert found == []
    return result


def problems(event_type: EventType = EventType.HOME, /, **fields: Any) -> list[tuple[str, str]]:
    """The field and the reason of each problem."""
    return [(each.field, each.reason) for each in build_event(event_type, **fields)[1]]


def problem(event_type: EventType = EventType.HOME, /, **fields: Any) -> Problem:
    """The only problem."""
    (found,) = build_event(event_type, **fields)[1]
    return found


def trimmed(event_type: EventType = EventType.HOME, /, **fields: Any) -> Problem:
    """The only omission of an event that is sent without it."""
    _, refused, (left_out,) = build_parts(event_type, **fields)
    assert refused == []
    return left_out


def at(result: dict[str, Any], path: Path) -> Any:
    """The value at a path in MCM's event; an empty object if there is none."""
    found: Any = result
    for key in path:
        found = found.get(key, {})
    return found
