"""MCM's user event: its vocabulary, its limits, its rules, and its bytes. Pure.

The contract, as Moloco publishes it (User Event API, ``POST {base}/rmp/event/v1/platforms/
{platform_id}/userevents``; one event is one JSON object):

==================  ==========================================================================
``event_type``      one of the eight of :class:`EventType`
``channel_type``    one of the four of :class:`ChannelType`
``timestamp``       **text** that holds Unix milliseconds, never in the future
``id``              text, 128 characters; MCM suppresses a second event with the same id
``user_id``         text, 128 characters  ┐
``device``          ``persistent_id``     │ at least one of the three; none may be sent
``custom_id``       text, 128 characters  ┘ with ``personalization_mode`` ``ID_LESS``
``device``          also ``os``, ``os_version``, ``model``, ``ua``, ``language`` (ISO 639-1),
                    ``ip``, ``advertising_id`` (never all zeros); channel ``APP`` needs an
                    ``os`` that contains ``ios`` or ``android``
``items``           list of ``{id and/or item_group_id, price, quantity, seller_id,
                    price_seller}``; needed by ITEM_PAGE_VIEW, ADD_TO_CART, ADD_TO_WISHLIST
                    and PURCHASE
``revenue``         Money; needed by PURCHASE
``shipping_charge`` Money
``page_id``         text, 128 characters; needed by PAGE_VIEW
``referrer_page_id``  text, 128 characters; needed by LAND
``search_query``    text; needed by SEARCH
``domain``          text
``decision_track_id``  text
``personalization_mode``  one of the three of :class:`PersonalizationMode`
==================  ==========================================================================

Money is ``{"currency": …, "amount": …}``, always both, the amount in whole units (12.34 is
$12.34); 0 is an amount. An identifier that reads ``null``, ``undefined``, ``invalid`` or ``nil``
is no value. Further fields are tolerated, so the user properties go along as
``user_properties``. What is absent stays absent: no null and no empty text is ever sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson

from amplitude_moloco.convert.problem import Problem
from amplitude_moloco.moloco.wire import values
from amplitude_moloco.moloco.wire.items import ITEM_FIX, read_items, read_money
from amplitude_moloco.moloco.wire.problems import Problems
from amplitude_moloco.moloco.wire.vocabulary import (
    ChannelType,
    EventType,
    PersonalizationMode,
)

__all__ = [
    "ChannelType",
    "EventType",
    "PersonalizationMode",
    "build",
    "encode",
]


def build(
    event_type: EventType,
    fields: Mapping[str, Any],
    *,
    now_millis: int,
    default_currency: str | None = None,
    identifier: Callable[[object], str | None] = values.identifier,
) -> tuple[dict[str, Any], list[Problem]]:
    """Make MCM's object of the chart's fields, and find everything that forbids to send it.

    The object is sound only if there is no problem. ``fields`` maps names of the mapping chart (and
    ``user_properties``) to whatever the app has there; none of it is changed. ``default_currency``
    is for amounts that come without one, ``identifier`` reads the three identifiers, and may hash
    them.
    """
    problems = Problems()
    payload: dict[str, Any] = {"event_type": event_type.value}
    device: dict[str, Any] = {}
    for field, value in fields.items():
        plain = _PLAIN.get(field)
        if plain and value is not None:
            is_of_device, key, as_what = plain
            try:
                part = as_what(value)
            except values.Unusable as unusable:
                problems.note_unusable(field, unusable)
                continue
            if part is not None:
                (device if is_of_device else payload)[key] = part
    moment = _read_moment(problems, fields.get("timestamp"), now_millis)
    if moment is not None:
        payload["timestamp"] = moment
    if payload.get("personalization_mode") == _ID_LESS:
        device.pop("advertising_id", None)
    else:
        _read_identifiers(problems, fields, identifier, payload, device)
    if device:
        payload["device"] = device
    items = fields.get("items")
    if items is not None and (items := read_items(problems, items, default_currency)):
        payload["items"] = items
    for key, amount_field, currency_field in _MONEY:
        amount, currency = fields.get(amount_field), fields.get(currency_field)
        if amount is not None or currency is not None:
            fields_and_values = (amount_field, amount, currency_field, currency)
            money = read_money(problems, *fields_and_values, default_currency=default_currency)
            if money:
                payload[key] = money
    _check_needs(problems, payload)
    return payload, problems


def encode(payload: Mapping[str, Any]) -> bytes:
    """The bytes of a request's body: JSON in UTF-8. The same payload gives the same bytes."""
    return orjson.dumps(payload)


# Field of the chart: whether it belongs to the device, its key, and what its value is read as.
_PLAIN: dict[str, tuple[bool, str, Callable[[object], Any]]] = {
    "event_id": (False, "id", values.short_text),
    "platform": (
        False,
        "channel_type",
        values.one_of(ChannelType, ", or give the sync or the destination a channel_type"),
    ),
    "os_name": (True, "os", values.text),
    "os_version": (True, "os_version", values.text),
    "device_type": (True, "model", values.text),
    "language": (True, "language", values.language),
    "ip_address": (True, "ip", values.text),
    "library": (True, "ua", values.text),
    "advertising_id": (True, "advertising_id", values.advertising_id),
    "page_id": (False, "page_id", values.short_text),
    "referrer_page_id": (False, "referrer_page_id", values.short_text),
    "search_query": (False, "search_query", values.text),
    "domain": (False, "domain", values.text),
    "decision_track_id": (False, "decision_track_id", values.text),
    "personalization_mode": (False, "personalization_mode", values.one_of(PersonalizationMode)),
    "user_properties": (False, "user_properties", values.json_object),
}
# Read once: a member's value, and its hash as well, take a call of Python code each.
_APP = ChannelType.APP.value
_ID_LESS = PersonalizationMode.ID_LESS.value
_IDENTIFIERS = (
    ("user_id", False, "user_id"),
    ("device_persistent_id", True, "persistent_id"),
    ("custom_id", False, "custom_id"),
)
_MONEY = (
    ("revenue", "revenue_amount", "revenue_currency"),
    ("shipping_charge", "shipping_charge_amount", "shipping_charge_currency"),
)


def _read_moment(problems: Problems, value: object, now_millis: int) -> str | None:
    try:
        return values.timestamp(now_millis, value)
    except values.Unusable as unusable:
        problems.note_unusable("timestamp", unusable)
        return None


def _read_identifiers(
    problems: Problems,
    fields: Mapping[str, Any],
    identifier: Callable[[object], str | None],
    payload: dict[str, Any],
    device: dict[str, Any],
) -> None:
    known_problems = len(problems)
    is_identified = is_given = False
    for field, is_of_device, key in _IDENTIFIERS:
        value = fields.get(field)
        if value is not None:
            is_given = True
            text = problems.read(field, identifier, value)
            if text is not None:
                is_identified = True
                (device if is_of_device else payload)[key] = text
    if not is_identified and len(problems) == known_problems:
        problems.note(
            "user_id",
            "no_identifier",
            "only what stands for nothing (blank, null, undefined, invalid, nil)"
            if is_given
            else "no identifier",
            "give at least one of user_id, device_persistent_id (Amplitude's device_id) and "
            "custom_id, or the personalization_mode ID_LESS",
        )


class _Need(NamedTuple):
    """A key that MCM requires, the field of the chart that fills it, and how to fill it."""

    key: str
    field: str
    fix: str


_ALWAYS = (
    _Need("id", "event_id", "set the event's insert_id or event_id, or map event_id"),
    _Need("timestamp", "timestamp", "set the event's time, or map timestamp"),
    _Need(
        "channel_type",
        "platform",
        "set the event's platform (iOS, Android, Web), or a channel_type "
        f"({', '.join(ChannelType.__members__)}) on the sync or the destination",
    ),
)
_ITEMS = (_Need("items", "items", ITEM_FIX),)
_NEEDS = {
    EventType.HOME.value: _ALWAYS,
    EventType.LAND.value: (
        *_ALWAYS,
        _Need("referrer_page_id", "referrer_page_id", "map it to where the shopper came from"),
    ),
    EventType.PAGE_VIEW.value: (
        *_ALWAYS,
        _Need("page_id", "page_id", "map page_id to what identifies the page"),
    ),
    EventType.ITEM_PAGE_VIEW.value: _ALWAYS + _ITEMS,
    EventType.SEARCH.value: (
        *_ALWAYS,
        _Need("search_query", "search_query", "map search_query to what the shopper typed"),
    ),
    EventType.ADD_TO_CART.value: _ALWAYS + _ITEMS,
    EventType.ADD_TO_WISHLIST.value: _ALWAYS + _ITEMS,
    EventType.PURCHASE.value: (
        *_ALWAYS,
        *_ITEMS,
        _Need("revenue", "revenue_amount", "map revenue_amount to the sum of price x quantity"),
    ),
}


def _check_needs(problems: Problems, payload: Mapping[str, Any]) -> None:
    for need in _NEEDS[payload["event_type"]]:
        if need.key not in payload:
            _note_missing(problems, need)
    if payload.get("channel_type") == _APP:
        os = payload.get("device", {}).get("os")
        if os is None or not ("ios" in os.lower() or "android" in os.lower()):
            problems.note(
                "os_name",
                "app_os",
                values.describe(os),
                "for channel APP the os_name must contain ios or android: set the event's "
                "os_name, or map it, as in \"'ios'\"",
            )


def _note_missing(problems: Problems, need: _Need) -> None:
    # What is there but can't be used has been told already.
    if not any(told.field == need.field or told.field.startswith(need.key) for told in problems):
        problems.note(need.field, "missing", "nothing", need.fix)
