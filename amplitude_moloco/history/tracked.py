"""Reads events in the form in which apps track them, beside exported ones.

::

    {"event_type": "Order Completed", "user_id": "u-1", "event_properties": {"total": 30.5}}

The keys are the attributes of ``BaseEvent``, or the names that they have in Amplitude's HTTP API.
"""

from __future__ import annotations

import time
import uuid
from difflib import get_close_matches
from typing import Any

from amplitude import BaseEvent

from amplitude_moloco.history.place import Unreadable
from amplitude_moloco.history.record import Record, event_of
from amplitude_moloco.text import shown

_EXPORTED = frozenset({"event_time", "client_event_time", "$insert_id"})
_ATTRIBUTES = frozenset(vars(BaseEvent("any"))) - {"event_callback"}
_NAMES_IN_API = {"productId": "product_id", "revenueType": "revenue_type"}


def event_of_any(
    record: Record, *, keep_event_id: bool = False, is_exact: bool = True
) -> BaseEvent:
    """Returns the event of a record, exported or as an app would track it. Raises Unreadable.

    Amplitude's SDK checks what an app tracks: it may empty the properties. Without a time the event
    happens now, and without an ``insert_id`` it has a new one, as in ``track()``.
    """
    if not _EXPORTED.isdisjoint(record):
        return event_of(record, keep_event_id=keep_event_id, is_exact=is_exact)
    attributes: dict[str, Any] = {}
    for key, value in record.items():
        name = _NAMES_IN_API.get(key, key)
        if name not in _ATTRIBUTES:
            closest = get_close_matches(name, _ATTRIBUTES, n=1)
            hint = f"did you mean {closest[0]!r}?" if closest else "use attributes of BaseEvent"
            raise Unreadable(f"{shown(key)}: no attribute of an event; {hint}")
        if value is not None:
            attributes[name] = value
    event = BaseEvent(**attributes)
    for name, value in attributes.items():
        if event[name] is None and type(value) is not dict:  # in a dict, the SDK checks each value
            raise Unreadable(f"{name}: found {type(value).__name__}, which Amplitude's SDK drops")
    if event.time is None:
        event["time"] = int(time.time() * 1000)
    if event.insert_id is None:
        event["insert_id"] = str(uuid.uuid4())
    return event
