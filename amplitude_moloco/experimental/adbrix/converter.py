"""From an Amplitude event to the JSON of Adbrix's S2S Event API.

==========================================  =============================================
field                                       from
==========================================  =============================================
event_attributes.event_id (required)        ``insert_id`` if it is a UUID, else one that is
                                            made of it, the same on every attempt
event_attributes.event_name (required)      the AdbrixEvent's ``name``
event_attributes.event_datetime (required)  ``time``, in milliseconds
user_attributes.user_id (required)          ``user_id``: the app must log in with it
order_id, order_sales, payment_method,      the expressions of the AdbrixEvent
discount, items[]
==========================================  =============================================

The API has no field for a device, a currency or properties of one's own. What can't be sent is left
out, if it is not required.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf, isfinite
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from amplitude_moloco.convert.conversion import Conversion
from amplitude_moloco.convert.json import dumps
from amplitude_moloco.convert.problem import Problem, ProblemReason
from amplitude_moloco.experimental.adbrix.event import AdbrixEvent
from amplitude_moloco.host.interruption import pass_interruption
from amplitude_moloco.partner.converter import Failed, PartConverter, raised
from amplitude_moloco.partner.number import finite_decimal

_NAMESPACE = uuid5(NAMESPACE_URL, "amplitude-moloco/adbrix")
_MOST_MILLIS = 10**14


class Converter(PartConverter[AdbrixEvent]):
    """Converts events by the AdbrixEvents that select them. Safe from any thread."""

    def _convert(self, event: Any, each: AdbrixEvent, now_millis: int, earlier: int) -> Conversion:
        values, omissions = vars(event), list[Problem]()
        user_id, time = values.get("user_id"), values.get("time")
        if not isinstance(user_id, str) or not user_id.strip():
            raise Failed(
                "user_id",
                ProblemReason.NO_IDENTIFIER,
                "no user_id",
                "track with the user_id that the app gives Adbrix's login; Adbrix knows no other",
            )
        if isinstance(time, bool) or not isinstance(time, int) or not 0 < time < _MOST_MILLIS:
            raise Failed(
                "event_datetime",
                ProblemReason.NOT_MILLISECONDS,
                type(time).__name__,
                "use Unix time in milliseconds",
            )
        id = str(values.get("insert_id")) + (f"-{earlier + 1}" if earlier else "")
        attributes = {
            "event_id": _event_id(id),
            "event_name": each.adbrix_name,
            "event_datetime": time,
            **_read(each.attributes, event, omissions),
        }
        payload = {"event_attributes": attributes, "user_attributes": {"user_id": user_id}}
        return Conversion(each.name, id, payload, dumps(payload), (), tuple(omissions))


def _event_id(id: str) -> str:
    """Returns the id if it is a UUID, else one that is made of it."""
    try:
        return str(UUID(id))
    except ValueError:
        return str(uuid5(_NAMESPACE, id))


def _read(
    reads: Mapping[str, Callable[[Any], Any]], event: Any, omissions: list[Problem]
) -> dict[str, Any]:
    """Returns the attributes of an order. What can't be sent is left out."""
    found: dict[str, Any] = {}
    for name, read in reads.items():
        try:
            value = read(event)
        except Exception as error:
            pass_interruption(error)
            problem = replace(raised(error), field=name, reason=ProblemReason.MAPPING_FAILED)
            omissions.append(problem)
            continue
        if name != "items":
            _put(found, name, name, value, omissions)
        elif value is not None:
            items = _items(value, omissions)
            found |= {name: items} if items else {}
    return found


def _items(value: Any, omissions: list[Problem]) -> list[dict[str, Any]]:
    items = []
    for index, each in enumerate(value if isinstance(value, (list, tuple)) else [value]):
        place = f"items[{index}]"
        if not isinstance(each, Mapping):
            omissions.append(_wrong(place, each, "a dict with attributes such as product_id"))
            continue
        item: dict[str, Any] = {}
        for name, attribute in each.items():
            if name in _ITEM_KINDS:
                _put(item, name, f"{place}.{name}", attribute, omissions)
            else:
                known = ", ".join(_ITEM_KINDS)
                fix = f"use one of {known}"
                omissions.append(Problem(place, ProblemReason.UNKNOWN_VALUE, "a name", fix))
        items += [item] if item else []
    return items


def _put(into: dict[str, Any], name: str, place: str, value: Any, omissions: list[Problem]) -> None:
    """Add a value under this name, or say why it is left out. None is absent."""
    if value is None:
        return
    make, wanted = _KINDS[name]
    made = make(value)
    if made is None:
        omissions.append(_wrong(place, value, wanted))
    else:
        into[name] = made


def _wrong(place: str, value: object, wanted: str) -> Problem:
    return Problem(place, ProblemReason.WRONG_TYPE, type(value).__name__, f"use {wanted}")


def _text(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value.strip() and _is_unicode(value) else None


def _is_unicode(value: str) -> bool:
    return not any("\ud800" <= each <= "\udfff" for each in value)


def _number(value: object) -> float | None:
    """Returns a finite number, or text that holds one; None for all else."""
    found = finite_decimal(value)
    number = inf if found is None else float(found)
    return number if isfinite(number) else None


def _count(value: object) -> int | None:
    found = _number(value)
    return int(found) if found is not None and found == int(found) else None


_TEXT = _text, "text"
_NUMBER = _number, "a finite number"
_ITEM_KINDS: dict[str, tuple[Callable[[object], Any], str]] = {
    "product_id": _TEXT,
    "product_name": _TEXT,
    "category1": _TEXT,
    "category2": _TEXT,
    "category3": _TEXT,
    "category4": _TEXT,
    "category5": _TEXT,
    "quantity": (_count, "a whole number"),
    "price": _NUMBER,
    "discount": _NUMBER,
    "coupon_id": _TEXT,
}
_KINDS = {
    **_ITEM_KINDS,
    "order_id": _TEXT,
    "order_sales": _NUMBER,
    "payment_method": _TEXT,
}
