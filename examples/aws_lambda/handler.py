"""An AWS Lambda function behind an HTTP API: it tracks each order that is posted to it.

Between two calls a function is frozen: nothing is sent then. So each call sends what it has tracked
before it returns. It waits for that two seconds at most, also when Moloco does not answer.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import wait
from pathlib import Path
from typing import Any

from amplitude import Amplitude, BaseEvent, Config

from amplitude_moloco import MolocoDestination

PATIENCE_SECONDS = 2.0

# Made once for each instance of the function, and kept for all of its calls.
client = Amplitude(
    os.environ["AMPLITUDE_API_KEY"],
    # Amplitude's SDK may hold up the end of a process for as long as flush_interval_millis.
    Config(server_url=os.environ.get("AMPLITUDE_URL"), flush_interval_millis=1_000),
)
client.add(MolocoDestination.from_file(Path(__file__).with_name("moloco.toml")))


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Handle a call, in the format 2.0 of API Gateway."""
    order = json.loads(event["body"])
    client.track(
        BaseEvent(
            "Order Completed",
            # The same id for each call about the order, so that it counts once.
            insert_id=f"order-{order['id']}",
            user_id=order["user_id"],
            platform="Web",
            ip=event["requestContext"]["http"]["sourceIp"],
            user_agent=event["requestContext"]["http"]["userAgent"],
            event_properties={
                "products": order["products"],
                "revenue": order["cents"] / 100,
                "currency": order["currency"],
            },
        )
    )
    wait([future for future in client.flush() if future], timeout=PATIENCE_SECONDS)
    return {"statusCode": 204}
