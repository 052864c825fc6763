"""A long outage with a durable buffer: a million events come in, and go out when MCM recovers.

    python benchmarks/backlog.py [--events 1000000]

Prints what ``track()`` costs at the beginning and at the end of the outage, how memory grows, how
fast the backlog drains, and whether every event arrived.
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

from amplitude_moloco import BreakerPolicy, MolocoDestination, Sync

_PART = 10_000
_START_SECONDS = 30.0
"""Covers the pause until the next probe, and the gentle start after it."""
_ITEMS = "[event_properties.{id: id, price: price, currency: currency}]"


def resident_megabytes() -> float:
    """Returns the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def event(number: int) -> BaseEvent:
    """Returns an event with a few fields of each kind."""
    return BaseEvent(
        "Product Viewed",
        user_id=f"user-{number}",
        device_id="device-1",
        insert_id=f"event-{number}",
        time=1_700_000_000_000,
        event_properties={"id": "a", "price": 10.25, "currency": "USD"},
    )


def track(destination: MolocoDestination, first: int, count: int) -> float:
    """Returns the mean microseconds of the destination's own work per event."""
    events = [event(number) for number in range(first, first + count)]
    started = time.perf_counter()
    for each in events:
        destination.execute(each)
    return (time.perf_counter() - started) / count * 1e6


def buffered(destination: MolocoDestination) -> int:
    """Returns how many events the file holds that are not delivered yet."""
    state = destination.buffer_state()
    return state.waiting + state.claimed


def drain(destination: MolocoDestination) -> tuple[float, float]:
    """Wait until the buffer is empty.

    Returns the events per second of the whole time, and those after the gentle start.
    """
    started = time.perf_counter()
    before = left = buffered(destination)
    start_seconds = 0.0
    while now := buffered(destination):
        elapsed = time.perf_counter() - started
        if elapsed < _START_SECONDS:
            start_seconds, left = elapsed, now
        time.sleep(0.2)
    elapsed = time.perf_counter() - started
    return before / elapsed, left / (elapsed - start_seconds)


def open_destination(url: str, directory: str, total: int) -> MolocoDestination:
    """Returns a destination over a file with room for twice as many events."""
    return MolocoDestination(
        "key",
        "SHOP",
        [Sync("ITEM_PAGE_VIEW", events=["Product Viewed"], mapping={"items": _ITEMS})],
        base_url=url,
        channel_type="SITE",
        buffer=f"sqlite:///{directory}/moloco.db?max_events={2 * total}",
        breaker=BreakerPolicy(then_seconds=5),
    )


def fill(destination: MolocoDestination, total: int) -> None:
    """Track the events of the outage, and print what that cost."""
    track(destination, total, _PART)  # warms up, and opens the circuit
    gc.collect()
    before = resident_megabytes()
    costs = [track(destination, first, _PART) for first in range(0, total, _PART)]
    gc.collect()
    after = resident_megabytes()
    print(f"track(): first {_PART} {costs[0]:.1f} us, last {costs[-1]:.1f} us each,", end=" ")
    print(f"ratio {costs[-1] / costs[0]:.2f}")
    print(f"memory: {before:.1f} MB before, {after:.1f} MB with {total} events in the file")


def empty(destination: MolocoDestination, total: int) -> None:
    """Wait until the backlog is delivered, then deliver new events; print both rates."""
    rate, rate_after_start = drain(destination)
    print(f"drained at {rate:.0f} events/s, after the first {_START_SECONDS:.0f} s", end=" ")
    print(f"at {rate_after_start:.0f}; memory {resident_megabytes():.1f} MB")
    started = time.perf_counter()
    track(destination, total + _PART, 2 * _PART)
    drain(destination)
    new_rate = 2 * _PART / (time.perf_counter() - started)
    print(f"new events: {new_rate:.0f} events/s, ratio {rate / new_rate:.2f}", end=" ")
    print(f"and {rate_after_start / new_rate:.2f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    total = parser.parse_args().events
    with tempfile.TemporaryDirectory() as directory, Server() as server:
        server.set("status", 503)
        destination = open_destination(server.url, directory, total)
        fill(destination, total)
        server.set("status", 200)
        empty(destination, total)
        stats = destination.stats()
        print(f"accepted {stats.accepted}, delivered {stats.delivered}, taken {server.taken}")
    os._exit(0)


if __name__ == "__main__":
    main()
