"""An app that tracks a product view each second, and leaves delivery to the relay.

Its settings are those of the relay. MOLOCO_DELIVER=false in its environment keeps it from sending,
so it needs no key of Moloco's.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from amplitude import Amplitude, BaseEvent

from amplitude_moloco import MolocoDestination

client = Amplitude(os.environ["AMPLITUDE_API_KEY"])
destination = MolocoDestination.from_file("moloco.toml")
client.add(destination)
print(destination, flush=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit())

for number in range(int(os.environ.get("VIEWS", "1000000"))):
    product = {"product_id": f"sku-{number % 100}", "price": 30.5, "currency": "USD"}
    client.track(
        BaseEvent("Product Viewed", user_id=f"shopper-{number % 10}", event_properties=product)
    )
    time.sleep(float(os.environ.get("PAUSE_SECONDS", "1")))
client.shutdown()
