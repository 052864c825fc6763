"""The size of a request: which parts of an event that is too big are left out. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from amplitude_moloco.convert.json import dumps
from amplitude_moloco.convert.problem import Problem, ProblemReason
from amplitude_moloco.moloco.wire.omissions import is_needed
from amplitude_moloco.moloco.wire.vocabulary import MAX_SIZE, ChannelType

_APP = ChannelType.APP.value
_TEXTS = ("domain", "decision_track_id", "page_id", "referrer_page_id", "search_query")
# Key of MCM's device, and the field of the chart that fills it.
_DEVICE = (
    ("os", "os_name"),
    ("os_version", "os_version"),
    ("model", "device_type"),
    ("ip", "ip_address"),
    ("ua", "library"),
    ("advertising_id", "advertising_id"),
)
_MANY_BYTES = 1_000  # a smaller field of an item is not what makes an event too big
_FIX = f"use at most {MAX_SIZE} bytes"


def shrink(payload: dict[str, Any], body: bytes) -> tuple[bytes, list[Problem]]:
    """Returns a smaller body, and a problem for each part that ``payload`` no longer has.

    ``body`` is the payload's, and too big. Optional parts are left out, the biggest first. If that
    is not enough, the only problem is the event's.
    """
    excess = len(body) - MAX_SIZE
    found = f"an event of {len(body)} bytes"
    parts = [
        (len(dumps(holder[key])), field, holder, key) for field, holder, key in _parts(payload)
    ]
    problems: list[Problem] = []
    for size, field, holder, key in sorted(parts, key=lambda part: -part[0]):
        if excess <= 0:
            break
        del holder[key]
        excess -= size
        problems.append(Problem(field, ProblemReason.TOO_BIG, found, _FIX))
    if payload.get("device") == {}:
        del payload["device"]
    smaller = dumps(payload)
    if len(smaller) > MAX_SIZE:
        return smaller, [Problem("event", ProblemReason.TOO_BIG, f"{len(smaller)} bytes", _FIX)]
    return smaller, problems


def _parts(payload: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yields the chart's field, the holder and the key of each part that may be left out."""
    event_type = payload["event_type"]
    for key in ("user_properties", "items", *_TEXTS):
        if key in payload and not is_needed(event_type, key):
            yield key, payload, key
    device = payload.get("device", {})
    for key, field in _DEVICE:
        if key in device and not (key == "os" and payload["channel_type"] == _APP):
            yield field, device, key
    if is_needed(event_type, "items"):
        for index, item in enumerate(payload["items"]):
            for key in ("seller_id", "item_group_id"):
                if len(item.get(key, "")) > _MANY_BYTES and "id" in item:
                    yield f"items[{index}].{key}", item, key
