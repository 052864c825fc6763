"""A long outage with a durable buffer: a million events come in, and go out when MCM is back.

    python benchmarks/backlog.py [--events 1000000]

Prints what ``track()`` costs at the beginning and at the end of the outage, how the memory grows,
how fast the backlog drains, and whether every event arrived.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import tempfile
import time
from pathlib import Path

from amplitude import BaseEvent
from server import Server

from amplitude_moloco import BreakerSettings, MolocoDestination, Sync

_PART = 10_000
_START_SECONDS = 30.0
"""What the pause until the next probe takes, and the gentle start after it."""


def resident_megabytes() -> float:
    """The memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def event(number: int) -> BaseEvent:
    """An event with a little of everything."""
    return BaseEvent(
        "Product Viewed",
        user_id=f"user-{number}",
        device_id="device-1",
        insert_id=f"event-{number}",
        time=1_700_000_000_000,
        event_properties={"id": "a", "price": 10.25, "currency": "USD"},
    )


def track(destination: MolocoDestination, first: int, count: int) -> float:
    """The mean microseconds of the destination's own work, over so many events."""
    events = [event(number) for number in range(first, first + count)]
    started = time.perf_counter()
    for each in events:
        destination.execute(each)
    return (time.perf_counter() - started) / count * 1e6


def drain(destination: MolocoDestination) -> tuple[float, float]:
    """Wait until nothing is left. Returns the events per second, and those after the start."""
    started = time.perf_counter()
    before = left = destination.stats().buffered
    start_seconds = 0.0
    while buffered := destination.stats().buffered:
        elapsed = time.perf_counter() - started
        if elapsed < _START_SECONDS:
            start_seconds, left = elapsed, buffered
        time.sleep(0.2)
    elapsed = time.perf_counter() - started
    return before / elapsed, left / (elapsed - start_seconds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    total = parser.parse_args().events
    with tempfile.TemporaryDirectory() as directory, Server() as server:
        server.set("status", 503)
        destination = MolocoDestination(
            "key",
            "SHOP",
            [Sync("ITEM_PAGE_VIEW", events=["Product Viewed"], mapping={"items": _ITEMS})],
            base_url=server.url,
            channel_type="SITE",
            buffer=f"sqlite://{directory}/moloco.db?max_events={2 * total}",
            breaker=BreakerSettings(then_seconds=5),
        )
        track(destination, total, _PART)  # warms up, and opens the circuit
        gc.collect()
        before = resident_megabytes()
        costs = [track(destination, first, _PART) for first in range(0, total, _PART)]
        gc.collect()
        after = resident_megabytes()
        print(f"track(): first {_PART} {costs[0]:.1f} us, last {costs[-1]:.1f} us each,", end=" ")
        print(f"ratio {costs[-1] / costs[0]:.2f}")
        print(f"memory: {before:.1f} MB before, {after:.1f} MB with {total} events in the file")

        server.set("status", 200)
        rate, rate_after_start = drain(destination)
        print(f"drained at {rate:.0f} events/s, after the first {_START_SECONDS:.0f} s", end=" ")
        print(f"at {rate_after_start:.0f}; memory {resident_megabytes():.1f} MB")
        started = time.perf_counter()
        track(destination, total + _PART, 2 * _PART)
        drain(destination)
        fresh_rate = 2 * _PART / (time.perf_counter() - started)
        print(f"fresh ones go at {fresh_rate:.0f} events/s, ratio {rate / fresh_rate:.2f}", end=" ")
        print(f"and {rate_after_start / fresh_rate:.2f}")
        stats = destination.stats()
        print(f"accepted {stats.accepted}, delivered {stats.delivered}, taken {server.taken}")
    os._exit(0)


_ITEMS = "[event_properties.{id: id, price: price, currency: currency}]"

if __name__ == "__main__":
    main()
