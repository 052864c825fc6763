"""Mappings that no expression can say: functions that compute a field, a filter or the items.

Needs no account: a local sandbox answers for Amplitude and Moloco. Needs
`pip install 'amplitude-moloco[sandbox]'`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from amplitude import Amplitude, BaseEvent, Config

from amplitude_moloco import MolocoDestination, Sync
from amplitude_moloco.sandbox import Sandbox

STAFF = frozenset({"staff-1", "staff-2"})
SELLERS = {"shoes": "acme", "socks": "woolly"}  # in a real shop: from a cache. Never from a network

# All of these run inside track(): keep them quick. An exception makes the event invalid, and the
# log and the hooks name the function, its file and the line.


def is_of_a_shopper(event: BaseEvent) -> bool:
    """Leave out what the shop's own people do."""
    return event.user_id not in STAFF


def paid_items(event: BaseEvent) -> Iterator[Mapping[str, Any]]:
    """Leave out what was free, take amounts in cents, and look up each product's seller."""
    for line in event.event_properties["lines"]:
        if line["cents"]:
            yield {
                "id": line["sku"],
                "price": line["cents"] / 100,
                "currency": event.event_properties["currency"],
                "quantity": line["count"],
                "seller_id": SELLERS.get(line["sku"].partition("-")[0]),
            }


def revenue(event: BaseEvent) -> float:
    """Add up in cents, so that no fraction is rounded twice."""
    cents: int = sum(line["cents"] * line["count"] for line in event.event_properties["lines"])
    return cents / 100


def ordered_at(event: BaseEvent) -> int | None:
    """Use the time of the order, which a job may report later. None: the event's own time."""
    text = event.event_properties.get("ordered_at")
    return int(datetime.fromisoformat(text).timestamp() * 1000) if text else None


PURCHASES = Sync(
    "PURCHASE",
    events=["Order Paid"],
    where=is_of_a_shopper,
    mapping={
        "items": lambda event: [*paid_items(event)],
        "revenue_amount": revenue,
        "revenue_currency": "event_properties.currency",  # expressions go well with functions
        "timestamp": ordered_at,
    },
)
ORDER = {
    "ordered_at": datetime(2026, 1, 31, 9, 30, tzinfo=timezone.utc).isoformat(),
    "currency": "USD",
    "lines": [
        {"sku": "shoes-1", "cents": 5990, "count": 1},
        {"sku": "socks-7", "cents": 450, "count": 2},
        {"sku": "sticker-1", "cents": 0, "count": 1},
    ],
}

with Sandbox() as sandbox:
    client = Amplitude("amplitude-key", Config(server_url=sandbox.amplitude_url))
    destination = MolocoDestination(
        api_key="moloco-key",
        platform_id="MY_SHOP",
        base_url=sandbox.url,  # in production: platform_name="my-shop"
        channel_type="SITE",
        syncs=PURCHASES,
    )
    client.add(destination)

    client.track(BaseEvent("Order Paid", user_id="shopper-1", event_properties=ORDER))
    client.track(BaseEvent("Order Paid", user_id="staff-1", event_properties=ORDER))
    destination.flush(5)
    client.shutdown()
    print("MCM received", json.dumps(sandbox.moloco_events, indent=2))
    print("Left out by the filter:", dict(destination.stats().filtered))
