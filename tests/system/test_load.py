"""Thousands of purchases through each transport, to a server in another process."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from amplitude import Amplitude, BaseEvent, Config
from support.repeats import repeats

from amplitude_moloco import MolocoDestination, ecommerce_syncs

PURCHASES = repeats(1_000, 10_000)
TRANSPORTS = ["requests", pytest.param("curl", marks=pytest.mark.torture)]


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """The address of a sandbox in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-m", "amplitude_moloco", "sandbox", "--port", "0"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        found = re.search(r"http://[\d.:]+", server.stdout.readline())
        assert found
        yield found[0]
        server.terminate()
        server.communicate(timeout=20)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_thousands_of_purchases_arrive_once(url: str, transport: str) -> None:
    """Of thousands of purchases of two items none is lost and none comes twice, on either side."""
    client = Amplitude("amplitude-key", Config(server_url=f"{url}/2/httpapi"))
    destination = MolocoDestination(
        "key", "SHOP", ecommerce_syncs(), base_url=url, channel_type="SITE", transport=transport
    )
    client.add(destination)
    products = [
        {"product_id": "a", "price": 10.25, "currency": "USD", "quantity": 2},
        {"product_id": "b", "price": 10.0, "currency": "USD", "quantity": 1},
    ]
    for number in range(PURCHASES):
        client.track(
            BaseEvent(
                "Order Completed",
                user_id=f"shopper-{number}",
                insert_id=f"order-{number}",
                event_properties={"products": products, "revenue": 30.5, "currency": "USD"},
            )
        )
    stats = destination.flush(200).result()
    client.shutdown()
    assert (stats.accepted, stats.delivered, stats.buffered) == (PURCHASES, PURCHASES, 0)
    received = requests.get(f"{url}/events", timeout=20).json()
    orders = [f"order-{number}" for number in range(PURCHASES)]
    assert sorted(each["body"]["id"] for each in received["moloco"]) == sorted(orders)
    assert sorted(each["insert_id"] for each in received["amplitude"]) == sorted(orders)
