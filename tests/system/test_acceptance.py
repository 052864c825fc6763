"""Moloco's acceptance matrix for real-time events, from the SDK's client to MCM's wire."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from amplitude import Amplitude, BaseEvent, Config

from amplitude_moloco import MolocoDestination, ecommerce_syncs
from amplitude_moloco.sandbox import Sandbox

GOLDEN = Path(__file__).parent / "golden"
MICROWAVE = {"product_id": "SKU-1", "price": 89.5, "currency": "USD", "quantity": 1}
KETTLE = {"product_id": 4711, "price": 20, "currency": "USD", "quantity": 2}

ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "home page": ("Home Viewed", {}),
    "other page": ("Page Viewed", {"path": "/categories/kitchen"}),
    "item from a list": ("Product Viewed", MICROWAVE),
    "item from a search": ("Product Viewed", {**MICROWAVE, "referrer": "/search?q=microwave"}),
    "cart button": ("Product Added", MICROWAVE),
    "wishlist button": ("Product Added to Wishlist", MICROWAVE),
    "search from the main box": ("Products Searched", {"query": "micro wave 微波炉"}),
    "search from a category page": (
        "Products Searched",
        {"query": "kettle", "referrer": "/categories/kitchen"},
    ),
    "purchase": (
        "Order Completed",
        {"products": [MICROWAVE, KETTLE], "revenue": 129.5, "currency": "USD", "shipping": 0},
    ),
    "landing": ("Landed", {"referrer": "https://search.example/?q=kettle"}),
}


@pytest.fixture(scope="module")
def strict_sandbox() -> Iterator[Sandbox]:
    """A sandbox that accepts one key and one platform only."""
    with Sandbox(api_key="moloco-key", platform_id="MOLOCO_DEMO_TEST") as sandbox:
        yield sandbox


@pytest.mark.parametrize("transport", ["requests", "curl"])
@pytest.mark.parametrize("row", ROWS)
def test_every_row_arrives_as_the_golden_bytes_say(
    strict_sandbox: Sandbox, row: str, transport: str
) -> None:
    """Each row of the matrix reaches MCM once, accepted, as the very bytes of its golden file."""
    sandbox = strict_sandbox
    sandbox.clear()
    client = Amplitude("amplitude-key", Config(server_url=sandbox.amplitude_url))
    client.add(
        destination := MolocoDestination(
            "moloco-key",
            "MOLOCO_DEMO_TEST",
            ecommerce_syncs(),
            base_url=sandbox.url,
            hash_identifiers={"salt": "pepper"},
            transport=transport,
        )
    )
    name, properties = ROWS[row]
    client.track(
        BaseEvent(
            name,
            user_id="shopper-1",
            device_id="device-1",
            time=1_700_000_000_000,
            insert_id=f"event of {row}",
            platform="Web",
            language="en-US",
            user_agent="Mozilla/5.0",
            event_properties=properties,
            user_properties={"tier": "gold"},
        )
    )
    destination.flush(10).result()
    client.shutdown()

    (request,) = [each for each in sandbox.requests if each.target == "moloco"]
    assert request.status == 200
    assert request.raw == (GOLDEN / f"{row}.json").read_bytes().rstrip(b"\n")
    (received,) = sandbox.moloco_events
    assert received["user_id"] == sha256(b"peppershopper-1").hexdigest()
    assert received["device"]["persistent_id"] == sha256(b"pepperdevice-1").hexdigest()
    assert [event["event_type"] for event in sandbox.amplitude_events] == [name]
