"""MCM's checks of a user event, according to its published contract. Pure.

Written from the contract, independently of the code that makes the events: where the two disagree,
one of them is wrong, and a test fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

_ENUMS = {
    "event_type": (
        "HOME",
        "LAND",
        "PAGE_VIEW",
        "ITEM_PAGE_VIEW",
        "SEARCH",
        "ADD_TO_CART",
        "ADD_TO_WISHLIST",
        "PURCHASE",
    ),
    "channel_type": ("APP", "SITE", "DESKTOP_SITE", "MOBILE_SITE"),
    "personalization_mode": ("STANDARD", "METRIC_ONLY", "ID_LESS"),
}
_REQUIRED_ENUMS = ("event_type", "channel_type")

_REQUIRED = {
    "PAGE_VIEW": ("page_id",),
    "ITEM_PAGE_VIEW": ("items",),
    "SEARCH": ("search_query",),
    "ADD_TO_CART": ("items",),
    "ADD_TO_WISHLIST": ("items",),
    "PURCHASE": ("items", "revenue"),
}

_MAX_OBJECTIONS = 100
_MAX_ID_CHARACTERS = 128
_ID_TEXTS = ("id", "user_id", "custom_id", "session_id")
_TEXTS = ("page_id", "referrer_page_id", "search_query", "domain", "decision_track_id")
_DEVICE_ID_TEXTS = ("persistent_id", "unique_device_id")
_DEVICE_TEXTS = ("os", "os_version", "model", "ua", "language", "ip", "advertising_id")
_ITEM_TEXTS = ("id", "item_group_id", "seller_id")

_NULL_LIKE = frozenset({"null", "undefined", "invalid", "nil"})
_NO_ADVERTISING_ID = "00000000-0000-0000-0000-000000000000"
_LANGUAGE = re.compile(r"[A-Za-z]{2}")

_INT64_TEXT = re.compile(r"[0-9]{1,19}")
# A timestamp in seconds stays below this until the year 2286.
_FIRST_MILLIS = 10**10
# The clocks of two machines always differ a little.
_FUTURE_ALLOWANCE_MILLIS = 5_000

_INT32 = range(-(2**31), 2**31)
# A tuple and not a set, since values of unhashable types are looked up in it.
_CURRENCIES = (
    *("AED", "AUD", "BRL", "CAD", "CHF", "CNY", "DKK", "EUR", "GBP", "HKD", "IDR", "INR", "JPY"),
    *("KRW", "MYR", "PHP", "PLN", "RUB", "SEK", "SGD", "THB", "TRY", "USD", "VES", "VND"),
)


class Objection(NamedTuple):
    """One thing that MCM objects to."""

    place: str
    """The path of the field: ``items[0].price``. Empty for the whole body."""
    message: str


def objection(event: object, *, now_millis: int) -> str | None:
    """Returns MCM's message of refusal, or None if it accepts the event.

    ``event`` is any parsed JSON. Fields that the contract does not name are ignored.
    """
    first = next(_objections(event, now_millis), None)
    return None if first is None else first.message


def objections(event: object, *, now_millis: int) -> list[Objection]:
    """Returns everything that MCM objects to, a hundred at most. Its message is the first."""
    return list(islice(_objections(event, now_millis), _MAX_OBJECTIONS))


def _objections(event: object, now_millis: int) -> Iterator[Objection]:
    if not isinstance(event, dict):
        yield Objection("", "the body must be a JSON object")
        return
    # Each check works whatever the others object to.
    yield from _blanks(event)
    yield from _enums(event)
    yield from _timestamp(event.get("timestamp"), now_millis)
    yield from _texts(event, "", _ID_TEXTS, _TEXTS)
    device = event.get("device", {})
    if not isinstance(device, dict):
        yield Objection("device", "device must be an object")
        device = {}
    yield from _texts(device, "device.", _DEVICE_ID_TEXTS, _DEVICE_TEXTS)
    yield from _identifiers(event, device)
    yield from _device(event.get("channel_type"), device)
    yield from _required(event)
    yield from _items(event.get("items", []))
    for field in ("revenue", "shipping_charge"):
        if field in event:
            yield from _money(event[field], field)


def _blanks(value: object, place: str = "") -> Iterator[Objection]:
    """Objects to nulls and empty strings at any depth."""
    if value is None:
        yield Objection(place, f"{place} must not be null")
    elif value == "":
        yield Objection(place, f"{place} must not be empty")
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _blanks(part, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for i, part in enumerate(value):
            yield from _blanks(part, f"{place}[{i}]")


def _enums(event: dict[str, Any]) -> Iterator[Objection]:
    for field, words in _ENUMS.items():
        if field not in event:
            if field in _REQUIRED_ENUMS:
                yield Objection(field, f"missing {field}")
        elif event[field] not in words:
            yield Objection(field, f"invalid {field}: must be one of {', '.join(words)}")


def _timestamp(timestamp: object, now_millis: int) -> Iterator[Objection]:
    if (
        not isinstance(timestamp, str)
        or not _INT64_TEXT.fullmatch(timestamp)
        or not _FIRST_MILLIS <= int(timestamp) <= now_millis + _FUTURE_ALLOWANCE_MILLIS
    ):
        yield Objection("timestamp", "invalid timestamp")


def _texts(
    holder: dict[str, Any], prefix: str, ids: tuple[str, ...], others: tuple[str, ...]
) -> Iterator[Objection]:
    for field in (*ids, *others):
        value, place = holder.get(field, ""), f"{prefix}{field}"
        if not isinstance(value, str):
            yield Objection(place, f"{place} must be a string")
        elif field in ids and len(value) > _MAX_ID_CHARACTERS:
            yield Objection(place, f"{place} must be {_MAX_ID_CHARACTERS} characters or fewer")


def _identifiers(event: dict[str, Any], device: dict[str, Any]) -> Iterator[Objection]:
    sent = [
        value
        for value in (event.get("user_id"), device.get("persistent_id"), event.get("custom_id"))
        if value is not None
    ]
    if event.get("personalization_mode") == "ID_LESS":
        if sent:
            yield Objection(
                "personalization_mode",
                "personalization_mode ID_LESS forbids user_id, device.persistent_id and custom_id",
            )
    elif not any(map(_identifies, sent)):
        message = "no available valid identifier to construct Moloco advertising ID"
        yield Objection("user_id", message)


def _identifies(value: object) -> bool:
    return (
        isinstance(value, str) and bool(value.strip()) and value.strip().lower() not in _NULL_LIKE
    )


def _device(channel_type: object, device: dict[str, Any]) -> Iterator[Objection]:
    os = str(device.get("os")).lower()
    if channel_type == "APP" and "ios" not in os and "android" not in os:
        message = "device os must contain ios or android for the app channel type"
        yield Objection("device.os", message)
    if not _LANGUAGE.fullmatch(str(device.get("language", "en"))):
        message = "device.language must be an ISO 639-1 code of two letters"
        yield Objection("device.language", message)
    if device.get("advertising_id") == _NO_ADVERTISING_ID:
        message = "device.advertising_id must not be all zeros"
        yield Objection("device.advertising_id", message)


def _required(event: dict[str, Any]) -> Iterator[Objection]:
    for field in _REQUIRED.get(str(event.get("event_type")), ()):
        if not event.get(field):
            yield Objection(field, f"missing {field}")


def _items(items: object) -> Iterator[Objection]:
    if isinstance(items, list):
        for i, item in enumerate(items):
            yield from _item(item, f"items[{i}]")
    else:
        yield Objection("items", "items must be a list")


def _item(item: object, place: str) -> Iterator[Objection]:
    if isinstance(item, dict):
        if "id" not in item and "item_group_id" not in item:
            yield Objection(place, "invalid item: either id or item_group_id must be set")
        yield from _texts(item, f"{place}.", (), _ITEM_TEXTS)
        quantity = item.get("quantity", 1)
        if type(quantity) is not int or quantity not in _INT32:  # isinstance would accept a bool
            yield Objection(f"{place}.quantity", f"{place}.quantity must be an int32")
        for field in ("price", "price_seller"):
            if field in item:
                yield from _money(item[field], f"{place}.{field}")
    else:
        yield Objection(place, f"{place} must be an object")


def _money(money: object, place: str) -> Iterator[Objection]:
    if not isinstance(money, dict) or "currency" not in money or "amount" not in money:
        yield Objection(place, f"{place} must be an object with currency and amount")
    elif money["currency"] not in _CURRENCIES:
        message = f"{place}.currency must be one of the currencies that MCM knows"
        yield Objection(f"{place}.currency", message)
    elif type(money["amount"]) not in (int, float):  # isinstance would accept a bool
        yield Objection(f"{place}.amount", f"{place}.amount must be a number")
