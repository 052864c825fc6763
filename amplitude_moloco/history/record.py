"""From an exported record to the event that live code would have tracked.

========================================================  ==========================================
exported                                                  attribute of the event
========================================================  ==========================================
``event_type``, ``user_id``, ``device_id``,               the same
``session_id``, ``platform``, ``os_name``, ``os_version``,
``device_brand``, ``device_manufacturer``,
``device_model``, ``language``, ``country``, ``region``,
``city``, ``dma``, ``location_lat``, ``location_lng``,
``idfa``, ``adid``, ``library``, ``groups``,
``group_properties``, ``event_properties``,
``user_properties``
``$insert_id``, else ``uuid``                             ``insert_id``
``event_time``, else ``client_event_time``                ``time``
``ip_address``                                            ``ip``
``device_carrier``                                        ``carrier``
``version_name``                                          ``version_name``, ``app_version``
``$revenue``, ``$price``, ``$quantity``, ``$productId``,  ``revenue``, ``price``, ``quantity``,
``$revenueType``, ``$currency`` in ``event_properties``   ``product_id``, ``revenue_type``,
                                                          ``currency``; the properties stay
``event_id``                                              the same, only on request
========================================================  ==========================================

Everything else describes the row and the merged user, and is not read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from amplitude import BaseEvent

from amplitude_moloco.history.place import Unreadable
from amplitude_moloco.history.times import parse_millis

Record = dict[str, Any]

REVENUE_EVENT = "revenue_amount"
"""The name that ``client.revenue()`` gives its events. Their properties hold the money."""
_EMPTY = "EMPTY"  # stands for no value in user properties such as initial_utm_source
_LARGEST = 2.0**63
_NESTED = (dict, list)
_BLANK = dict(vars(BaseEvent("any")))


def _text(value: Any) -> str | None:
    if type(value) is int:
        return str(value)
    return value if type(value) is str and value else None


def _whole(value: Any) -> int | None:
    if type(value) is float and value.is_integer() and -_LARGEST < value < _LARGEST:
        return int(value)
    return value if type(value) is int else None


def _number(value: Any) -> float | None:
    """Returns a float, which is all that the SDK takes for a number with decimals."""
    try:
        number = float(value) if type(value) in (int, float) else math.nan
    except OverflowError:  # a whole number of more than 308 digits
        return None
    return number if math.isfinite(number) else None


Reader = Callable[[Any], Any]
_ATTRIBUTES: tuple[tuple[str, tuple[str, ...], Reader], ...] = (
    *(
        (name, (name,), _text)
        for name in (
            *("user_id", "device_id", "platform", "os_name", "os_version", "device_brand"),
            *("device_manufacturer", "device_model", "language", "country", "region", "city"),
            *("dma", "idfa", "adid", "library"),
        )
    ),
    ("ip_address", ("ip",), _text),
    ("device_carrier", ("carrier",), _text),
    ("version_name", ("version_name", "app_version"), _text),
    ("session_id", ("session_id",), _whole),
    ("location_lat", ("location_lat",), _number),
    ("location_lng", ("location_lng",), _number),
)
_MONEY: tuple[tuple[str, str, Reader], ...] = (
    ("$revenue", "revenue", _number),
    ("$price", "price", _number),
    ("$quantity", "quantity", _whole),
    ("$productId", "product_id", _text),
    ("$revenueType", "revenue_type", _text),
    ("$currency", "currency", _text),
)
_MONEY_PROPERTIES = frozenset(name for name, _, _ in _MONEY)


class Inexact(Exception):
    """A number may have been a whole one of more than 64 bits. Parse the line exactly."""


def event_type_of(record: Record) -> str:
    """Returns the name of a record's event. Raises Unreadable if it has none."""
    name = record.get("event_type")
    if type(name) is not str or not name:
        raise Unreadable("event_type: found no text; use events as Amplitude exports them")
    return name


def event_of(record: Record, *, keep_event_id: bool = False, is_exact: bool = True) -> BaseEvent:
    """Returns the event that live code would have tracked. The record may not be used again.

    The id is the ``insert_id``, which live code sends. ``event_id`` is left out unless it is asked
    for: it counts the events of a user or, where the sender set none, is an arbitrary number.
    ``user_properties`` are the whole state of the user, which is more than live events carry.

    Raises Unreadable for a record without a name or a time. The time is never that of the reading.
    With ``is_exact=False``, raises Inexact for a number that :data:`parse_fast` may have rounded.
    """
    values = {**_BLANK, "event_type": event_type_of(record), "time": _time_of(record)}
    get = record.get
    for name, attributes, read in _ATTRIBUTES:
        value = get(name)
        if value is not None:
            value = read(value)
            for attribute in attributes:
                values[attribute] = value
    values["insert_id"] = _text(get("$insert_id")) or _text(get("uuid"))
    if keep_event_id:
        values["event_id"] = _whole(get("event_id"))
    for name in ("event_properties", "user_properties", "groups", "group_properties"):
        value = get(name)
        if value and type(value) is dict:
            _remove_nulls(value, is_exact=is_exact)
            if name == "user_properties":
                _remove_empty_words(value)
            values[name] = value or None
    properties = values["event_properties"]
    if properties and values["event_type"] != REVENUE_EVENT:
        _add_money(values, properties)
    event = BaseEvent.__new__(BaseEvent)
    # Past the checks of the SDK, which empty all properties for one list in a list.
    event.__dict__ = values
    return event


def _time_of(record: Record) -> int:
    for name in ("event_time", "client_event_time"):
        value = record.get(name)
        if value is not None:
            break
    else:
        raise Unreadable("event_time: found nothing; an event without its time can't be sent")
    try:
        return parse_millis(value)
    except (TypeError, ValueError, OverflowError):
        raise Unreadable(
            f"{name}: found no time like '2026-01-31 18:00:00.000000', which is in UTC"
        ) from None


def _remove_nulls(value: Any, *, is_exact: bool) -> None:
    """Removes nulls from a dict or a list, and from those in it."""
    if type(value) is dict:
        parts = value.values()
        if None in parts:
            for name in [name for name, part in value.items() if part is None]:
                del value[name]
    else:
        parts = value
        if None in value:
            value[:] = [part for part in value if part is not None]
    for part in parts:
        kind = type(part)
        if kind in _NESTED:
            _remove_nulls(part, is_exact=is_exact)
        elif kind is float and not (is_exact or -_LARGEST < part < _LARGEST):
            raise Inexact


def _remove_empty_words(properties: Record) -> None:
    """Removes Amplitude's word for no value from the user properties in which it writes it."""
    if _EMPTY in properties.values():
        for name in [name for name, value in properties.items() if value == _EMPTY]:
            if name.startswith("initial_"):
                del properties[name]


def _add_money(values: Record, properties: Record) -> None:
    """Fills the attributes that Amplitude keeps as properties: it exports no others of money."""
    if not _MONEY_PROPERTIES.isdisjoint(properties):
        for name, attribute, read in _MONEY:
            values[attribute] = read(properties.get(name))
