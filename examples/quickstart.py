"""One order, tracked once: Amplitude gets it, and Moloco Commerce Media gets it as a PURCHASE.

Needs no account: a local sandbox answers for both. In production, leave out the sandbox,
`server_url` and `base_url`, and use your own keys.
"""

import json

from amplitude import Amplitude, BaseEvent, Config

from amplitude_moloco import MolocoDestination, ecommerce_syncs
from amplitude_moloco.sandbox import Sandbox

ORDER = {
    "products": [
        {"product_id": "shoes-1", "price": 59.9, "quantity": 1},
        {"product_id": "socks-7", "price": 4.5, "quantity": 2},
    ],
    "revenue": 68.9,
    "currency": "USD",
}

with Sandbox() as sandbox:
    config = Config(server_url=sandbox.amplitude_url, flush_interval_millis=100)
    client = Amplitude("amplitude-key", config)
    destination = MolocoDestination(
        api_key="moloco-key",
        platform_id="MY_SHOP",
        base_url=sandbox.url,  # in production: platform_name="my-shop"
        channel_type="SITE",
        syncs=ecommerce_syncs(),
    )
    client.add(destination)

    client.track(BaseEvent("Order Completed", user_id="shopper-1", event_properties=ORDER))

    destination.flush().result(timeout=5)  # now MCM has it
    client.shutdown()  # now Amplitude has it, too
    print("Amplitude received", [event["event_type"] for event in sandbox.amplitude_events])
    print("MCM received", json.dumps(sandbox.moloco_events, indent=2))
