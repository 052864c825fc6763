"""What every benchmark sends: a purchase of two items, in Amplitude's form and in MCM's.

    python benchmarks/purchase.py

prints the body that MCM receives, for the loops that post it without the library.
"""

from __future__ import annotations

import sys
from typing import Any

from amplitude import BaseEvent

from amplitude_moloco import MolocoDestination, Sync

PLATFORM_ID = "SHOP"


def purchase(number: int) -> BaseEvent:
    """Returns a purchase of two items."""
    return BaseEvent(
        "Order Completed",
        user_id=f"user-{number}",
        device_id="device-1",
        platform="Web",
        event_properties={
            "total": 30.5,
            "currency": "USD",
            "products": [
                {"product_id": "a", "price": 10.25, "currency": "USD", "quantity": 2},
                {"product_id": "b", "price": 10.0, "currency": "USD", "quantity": 1},
            ],
        },
        user_properties={"plan": "gold", "age": 3},
    )


def destination(url: str, **settings: Any) -> MolocoDestination:
    """Returns a destination with the README's syncs."""
    return MolocoDestination(
        "key",
        PLATFORM_ID,
        [
            Sync("HOME", events=["Home Viewed"]),
            Sync(
                "SEARCH",
                events=["Products Searched"],
                mapping={"search_query": "event_properties.query"},
            ),
            Sync(
                "PURCHASE",
                events=["Order Completed"],
                where="event_properties.total > `0`",
                mapping={
                    "items": "event_properties.products[].{id: product_id, price: price, "
                    "currency: currency, quantity: quantity}",
                    "revenue_amount": "event_properties.total",
                    "revenue_currency": "event_properties.currency",
                },
            ),
        ],
        base_url=url,
        channel_type="SITE",
        **settings,
    )


def body() -> bytes:
    """Returns the purchase as MCM receives it."""
    (conversion,) = destination("http://127.0.0.1:9").preview(purchase(1))
    return conversion.body


if __name__ == "__main__":
    sys.stdout.buffer.write(body())
