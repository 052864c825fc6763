"""MCM's user event, built from the fields of the chart. Pure.

The contract, as Moloco publishes it. User Event API: ``POST
{base}/rmp/event/v1/platforms/{platform_id}/userevents``; one event is one JSON object.

==================  ==========================================================================
``event_type``      one of the eight of :class:`EventType`
``channel_type``    one of the four of :class:`ChannelType`
``timestamp``       **text** that holds Unix milliseconds, never in the future
``id``              text, 128 characters; MCM suppresses a second event with the same id
``user_id``         text, 128 characters  ┐ at least one of the three is required, except with
``device``          ``persistent_id``     │ the ``personalization_mode`` ``ID_LESS``, which
``custom_id``       text, 128 characters  ┘ allows none of them
``device``          also ``os``, ``os_version``, ``model``, ``ua``, ``language`` (ISO 639-1),
                    ``ip``, ``advertising_id`` (never all zeros); channel ``APP`` requires
                    an ``os`` that contains ``ios`` or ``android``
``items``           list of ``{id and/or item_group_id, price, quantity, seller_id,
                    price_seller}``; required by ITEM_PAGE_VIEW, ADD_TO_CART, ADD_TO_WISHLIST
                    and PURCHASE
``revenue``         Money; required by PURCHASE
``shipping_charge`` Money
``page_id``         text, 128 characters; required by PAGE_VIEW
``referrer_page_id``  text, 128 characters; recommended for LAND
``search_query``    text; required by SEARCH
``domain``          text
``decision_track_id``  text
``personalization_mode``  one of the three of :class:`PersonalizationMode`
==================  ==========================================================================

Money is ``{"currency": …, "amount": …}``, always both, the amount in whole units (12.34 is
$12.34). 0 is an amount. All Money of one event has one currency; see ``money.py``. A PURCHASE
without an amount of revenue has the sum of price x quantity, if each item has both.

An identifier that reads ``null``, ``undefined``, ``invalid`` or ``nil`` counts as absent. MCM
tolerates further fields, so the user properties are sent as ``user_properties``. Absent values are
left out: no null and no empty text is ever sent. What can't be sent as it is costs the
event only where the event needs it; see ``omissions.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from amplitude_moloco.convert.json import dumps
from amplitude_moloco.convert.problem import Problem, ProblemReason
from amplitude_moloco.moloco.wire import values
from amplitude_moloco.moloco.wire.identifiers import (
    IdentifierReader,
    identifier,
    read_identifiers,
)
from amplitude_moloco.moloco.wire.items import read_items
from amplitude_moloco.moloco.wire.money import (
    check_currencies,
    common_currency,
    is_blank,
    read_money,
    sum_of_items,
)
from amplitude_moloco.moloco.wire.omissions import is_sent_whole, split
from amplitude_moloco.moloco.wire.problems import InvalidValue, Problems, unreadable
from amplitude_moloco.moloco.wire.requirements import check_requirements
from amplitude_moloco.moloco.wire.user_properties import read_user_properties
from amplitude_moloco.moloco.wire.vocabulary import ChannelType, EventType, PersonalizationMode

READERS: dict[str, tuple[bool, str, Callable[[object], Any]]] = {
    "event_id": (False, "id", values.short_text),
    "platform": (
        False,
        "channel_type",
        values.one_of(ChannelType, ", or set channel_type on the sync or the destination"),
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
}
"""Field of the chart: whether it belongs to the device, its key in MCM's event, and its reader."""
MONEY = (
    ("revenue", "revenue_amount", "revenue_currency"),
    ("shipping_charge", "shipping_charge_amount", "shipping_charge_currency"),
)
"""Key in MCM's event, and the fields of the chart for its amount and its currency."""
MONEY_FIELDS = frozenset({"items", *(field for _, *pair in MONEY for field in pair)})
"""Fields of the chart that hold an amount, or a currency of one."""
_PURCHASE = EventType.PURCHASE.value  # read once, as ID_LESS
ID_LESS = PersonalizationMode.ID_LESS.value  # read once: an enum's value is a property, and slow
ID_LESS_FIELDS = ("ip_address", "advertising_id", "user_properties")
"""Fields of the chart that may tell who a shopper is: not sent with ID_LESS unless asked for."""
encode: Callable[[Mapping[str, Any]], bytes] = dumps
"""Returns a request's body: JSON in UTF-8. The same payload always gives the same bytes."""


def build(
    event_type: EventType,
    fields: Mapping[str, Any],
    *,
    now_millis: int,
    default_currency: str | None = None,
    read_identifier: IdentifierReader = identifier,
    id_less_fields: Collection[str] = (),
    platform_os: Callable[[], str | None] | None = None,
) -> tuple[dict[str, Any], list[Problem], list[Problem]]:
    """Returns MCM's event for the fields of the chart, its problems, and its omissions.

    The problems prevent sending it. The omissions are the parts that could not be sent, and that
    the event does without. The event is complete only if there are no problems. Changes none of
    its arguments.

    Args:
        event_type: The event's type.
        fields: Raw values by the names of the chart's fields (and ``user_properties``).
        now_millis: The current Unix time in milliseconds.
        default_currency: The currency of amounts if the event states none.
        read_identifier: Reads, and may hash, each of the three identifiers.
        id_less_fields: Those of :data:`ID_LESS_FIELDS` that are sent with ID_LESS too.
        platform_os: Returns the os that the platform implies; called if no other is usable.
    """
    problems = Problems()
    payload: dict[str, Any] = {"event_type": event_type.value}
    device: dict[str, Any] = {}
    _read_fields(problems, fields, payload, device)
    timestamp = _read_timestamp(problems, fields.get("timestamp"), now_millis)
    if timestamp is not None:
        payload["timestamp"] = timestamp
    if payload.get("personalization_mode") == ID_LESS:
        remove_identifying(payload, device, id_less_fields)
    else:
        read_identifiers(problems, fields, read_identifier, payload, device)
    if device:
        payload["device"] = device
    _read_items_and_money(problems, fields, default_currency, payload)
    check_requirements(problems, payload, platform_os)
    if not problems:
        return payload, problems, []
    return payload, *split(problems, payload)


def _read_fields(
    problems: Problems,
    fields: Mapping[str, Any],
    payload: dict[str, Any],
    device: dict[str, Any],
) -> None:
    for field, value in fields.items():
        entry = READERS.get(field)
        if entry is None or value is None:
            continue
        in_device, key, read = entry
        try:
            part = read(value)
        except InvalidValue as invalid:
            if invalid.reason is ProblemReason.TOO_LONG and is_sent_whole(
                payload["event_type"], field
            ):
                payload[key] = values.text(value)
                continue
            problems.add_invalid(field, invalid)
            continue
        except Exception as error:  # from an object that raises when it is read
            problems.add_invalid(field, unreadable(error))
            continue
        if part is not None:
            (device if in_device else payload)[key] = part
    user_properties = fields.get("user_properties")
    if user_properties is not None:
        sent, left_out = read_user_properties(user_properties)
        if sent is not None:
            payload["user_properties"] = sent
        for reason in left_out:
            problems.add_invalid("user_properties", reason)


def remove_identifying(
    payload: dict[str, Any], device: dict[str, Any], asked_for: Collection[str]
) -> None:
    """Removes the fields of an ID_LESS event that may tell who a shopper is."""
    if "ip_address" not in asked_for:
        device.pop("ip", None)
    if "advertising_id" not in asked_for:
        device.pop("advertising_id", None)
    if "user_properties" not in asked_for:
        payload.pop("user_properties", None)


def _read_timestamp(problems: Problems, value: object, now_millis: int) -> str | None:
    try:
        return values.timestamp(now_millis, value)
    except InvalidValue as invalid:
        problems.add_invalid("timestamp", invalid)
    except Exception as error:
        problems.add_invalid("timestamp", unreadable(error))
    return None


def _read_items_and_money(
    problems: Problems,
    fields: Mapping[str, Any],
    default_currency: str | None,
    payload: dict[str, Any],
) -> None:
    if MONEY_FIELDS.isdisjoint(fields):
        return
    currency = common_currency(fields, default_currency)
    items = fields.get("items")
    if items is not None and (items := read_items(problems, items, currency)):
        payload["items"] = items
    _read_money_fields(problems, fields, currency, payload)
    check_currencies(problems, payload)


def _read_money_fields(
    problems: Problems,
    fields: Mapping[str, Any],
    default_currency: object,
    payload: dict[str, Any],
) -> None:
    for key, amount_field, currency_field in MONEY:
        amount, currency = fields.get(amount_field), fields.get(currency_field)
        if key == "revenue" and payload["event_type"] == _PURCHASE and is_blank(amount):
            amount = sum_of_items(payload.get("items", ()), fields.get("items"))
        if amount is None and currency is None:
            continue
        money = read_money(
            problems,
            amount_field,
            amount,
            currency_field,
            currency,
            default_currency=default_currency,
        )
        if money:
            payload[key] = money
