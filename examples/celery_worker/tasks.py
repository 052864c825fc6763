"""A task that tracks an event, in the forked children of a Celery worker.

Start one with ``celery -A tasks worker --pool=prefork --concurrency=2``.
"""

from __future__ import annotations

import os
from pathlib import Path

from amplitude import Amplitude, BaseEvent, Config
from celery import Celery
from celery.signals import worker_process_shutdown

from amplitude_moloco import MolocoDestination

app = Celery("tasks", config_source="celeryconfig")

# Made in the parent. Each child starts afresh, with threads and connections of its own, as soon as
# it tracks something.
client = Amplitude(
    os.environ["AMPLITUDE_API_KEY"],
    # Amplitude's SDK may hold up the end of a process for as long as flush_interval_millis.
    Config(server_url=os.environ.get("AMPLITUDE_URL"), flush_interval_millis=1_000),
)
client.add(MolocoDestination.from_file(Path(__file__).with_name("moloco.toml")))


@worker_process_shutdown.connect
def shut_down(**_: object) -> None:
    """Send what waits for Amplitude when a child ends. What waits for Moloco is sent anyway."""
    client.shutdown()


# Acknowledged when it is done. If its child is killed, it runs again.
@app.task(acks_late=True)
def complete_order(
    order_id: str, user_id: str, lines: list[dict[str, object]], cents: int, currency: str = "USD"
) -> None:
    """Do what an order needs, and track it."""
    client.track(
        BaseEvent(
            "Order Completed",
            # The same id whenever the task runs again, so that the order counts once.
            insert_id=f"order-{order_id}",
            user_id=user_id,
            platform="Web",  # where the shopper was, not the worker
            event_properties={"products": lines, "revenue": cents / 100, "currency": currency},
        )
    )
