"""What the destination adds to ``track()``, against what ``track()`` costs with Amplitude alone.

    python benchmarks/track_cost.py [--events 5000] [--rounds 5]

Three clients track the same purchases of two items in one process, in turn: Amplitude alone, with
an empty destination plugin beside it, and with a MolocoDestination beside it. The SDK copies every
event for a second destination, whatever that does; so the destination's own work is the difference
to the empty one. Nothing is uploaded meanwhile, by either side.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import time
from collections.abc import Callable

from amplitude import Amplitude, BaseEvent, Config
from amplitude.plugin import DestinationPlugin

from amplitude_moloco import MolocoDestination, Sync

NOWHERE = "http://127.0.0.1:9/"
NEVER = 10**9
TURN = 100
"""Events that one client tracks before the next one has its turn."""


class EmptyDestination(DestinationPlugin):  # type: ignore[misc]  # the SDK has no types
    """Takes every event, and does nothing with it."""

    def execute(self, event: BaseEvent) -> None:
        """Do nothing."""


def moloco() -> MolocoDestination:
    """The syncs of the README, and nothing leaves the buffer."""
    return MolocoDestination(
        "key",
        "PLATFORM",
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
        base_url=NOWHERE,
        channel_type="SITE",
        flush_queue_size=NEVER,
        flush_interval_millis=NEVER,
    )


def purchase(number: int) -> BaseEvent:
    """A purchase of two items."""
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


def make_client(plugin: Callable[[], DestinationPlugin] | None) -> Amplitude:
    """A client that keeps everything, with a plugin beside Amplitude's own."""
    config = Config(server_url=NOWHERE, flush_queue_size=NEVER, flush_interval_millis=NEVER)
    client = Amplitude("key", config)
    if plugin:
        client.add(plugin())
    return client


def measure_round(events: int) -> list[float]:
    """The mean microseconds of one ``track()`` with each of the three.

    They take turns after every few events, so that a machine whose speed drifts is as slow, or as
    fast, for one as for the others.
    """
    clients = [make_client(plugin) for plugin in (None, EmptyDestination, moloco)]
    batches = [[purchase(number) for number in range(events)] for _ in clients]
    seconds = [0.0] * len(clients)
    gc.collect()
    gc.freeze()  # what was made before is not gone through again while this is measured
    for start in range(0, events, TURN):
        for index, (client, batch) in enumerate(zip(clients, batches, strict=True)):
            turn = batch[start : start + TURN]
            started = time.perf_counter()
            for event in turn:
                client.track(event)
            seconds[index] += time.perf_counter() - started
    return [each / events * 1e6 for each in seconds]


def main() -> None:
    """Measure, and print a line for each round, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{'':8}{'alone':>9}{'empty':>9}{'moloco':>9}{'own work':>10}{'ratio':>7}")
    rows = []
    for number in range(options.rounds):
        alone, empty, with_moloco = measure_round(options.events)
        own = with_moloco - empty
        rows.append((alone, empty, with_moloco, own, own / alone))
        print_row(f"round {number + 1}", rows[-1])
    print_row("median", tuple(map(statistics.median, zip(*rows, strict=True))))
    print("Microseconds for one track(); ratio is own work / alone.")
    os._exit(0)  # what was tracked is for nobody


def print_row(name: str, row: tuple[float, ...]) -> None:
    """One line of the table."""
    *micros, ratio = row
    print(f"{name:8}" + "".join(f"{each:9.1f}" for each in micros[:3]), end="")
    print(f"{micros[3]:10.1f}{ratio:7.2f}", flush=True)


if __name__ == "__main__":
    main()
