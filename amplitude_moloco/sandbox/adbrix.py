"""The answers of Adbrix's S2S Event API, by its documented fields and codes. Pure.

======  ===========  ===========================================================================
code    HTTP status  documented as
======  ===========  ===========================================================================
2000    200          accepted
4001    400          the API token is wrong
4002    400          the format of the request: here, what is required is missing or of another type
4007    400          a property: here, an attribute that is optional has another type, or no name
4003    403          not permitted
4006    429          too many requests
======  ===========  ===========================================================================

The form of a body is not documented: ``{"code": …, "message": …}`` is chosen here. What becomes of
an event is not documented either, so that nothing is attributed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import UUID

from amplitude_moloco.sandbox.answers import Answer
from amplitude_moloco.sandbox.document import parse
from amplitude_moloco.sandbox.faults import Fault

_CODES = {400: 4002, 403: 4003, 429: 4006}
Is = Callable[[Any], bool]


def adbrix(raw: bytes, *, headers: Mapping[str, str], known_token: str | None) -> Answer:
    """Returns the answer to an event. A known token of None accepts any."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme != "Bearer" or not token or known_token not in (None, token):
        return _refusal(4001, "Invalid API Token Error.")
    try:
        event = parse(raw)
    except ValueError:
        return _refusal(4002, "Invalid request format.")
    fault = next(_format_faults(event), None)
    if fault is not None:
        return _refusal(4002, f"Invalid request format: {fault}")
    fault = next(_property_faults(event["event_attributes"], _OF_ORDERS), None)
    if fault is not None:
        return _refusal(4007, f"Invalid property: {fault}")
    return Answer(200, {"code": 2000, "message": "OK"})


def adbrix_fault(fault: Fault) -> Answer:
    """Returns the answer to a request that gets a fault."""
    message = "a fault was requested"
    body = {"code": _CODES.get(fault.status, fault.status), "message": message}
    return Answer(fault.status, body, message, fault.retry_after)


def _refusal(code: int, message: str) -> Answer:
    return Answer(400, {"code": code, "message": message}, f"{code} {message}")


def _format_faults(event: Any) -> Iterator[str]:
    for group, names in _REQUIRED.items():
        found = event.get(group) if isinstance(event, dict) else None
        if not isinstance(found, dict):
            yield group
        else:
            yield from (name for name, is_right in names.items() if not is_right(found.get(name)))


def _property_faults(found: dict[str, Any], kinds: Mapping[str, Is]) -> Iterator[str]:
    for name, value in found.items():
        if name not in kinds or not kinds[name](value):
            yield name


def _is_uuid(value: Any) -> bool:
    try:
        return isinstance(value, str) and str(UUID(value)) == value.lower()
    except ValueError:
        return False


def _is_name(value: Any) -> bool:
    return _is_text(value) and bool(value.strip())


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or _is_whole(value)


def _is_millis(value: Any) -> bool:
    return _is_whole(value) and 10**12 <= value < 10**13


def _are_items(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, dict) and not any(_property_faults(item, _OF_ITEMS)) for item in value
    )


_REQUIRED: dict[str, dict[str, Is]] = {
    "event_attributes": {
        "event_id": _is_uuid,
        "event_name": _is_name,
        "event_datetime": _is_millis,
    },
    "user_attributes": {"user_id": _is_name},
}
_OF_ITEMS: dict[str, Is] = {
    **dict.fromkeys(("product_id", "product_name", "coupon_id"), _is_text),
    **{f"category{number}": _is_text for number in range(1, 6)},
    "quantity": _is_whole,
    "price": _is_number,
    "discount": _is_number,
}
_OF_ORDERS: dict[str, Is] = {
    **_REQUIRED["event_attributes"],
    "order_id": _is_text,
    "order_sales": _is_number,
    "payment_method": _is_text,
    "discount": _is_number,
    "items": _are_items,
}
