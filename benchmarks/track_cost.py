"""What the destination adds to ``track()``, relative to the cost with Amplitude alone.

    python benchmarks/track_cost.py [--events 5000] [--rounds 5]

Three clients track the same purchases of two items in one process, in turn: with Amplitude alone,
with an empty destination plugin added, and with a MolocoDestination, first over one buffer and then
over the other. The SDK copies every event for any second destination, so the destination's own work
is the difference to the empty one. With SQLite it includes the commit: the event is in the file
when ``track()`` returns. During the measurement nothing is uploaded and no garbage is collected.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial

from amplitude import Amplitude, BaseEvent, Config
from amplitude.plugin import DestinationPlugin
from purchase import destination, purchase

NOWHERE = "http://127.0.0.1:9/"
NEVER = 10**9
TURN = 100
"""Events that one client tracks before the next client's turn."""


class EmptyDestination(DestinationPlugin):  # type: ignore[misc]  # the SDK has no types
    """Ignores every event."""

    def execute(self, event: BaseEvent) -> None:
        """Do nothing."""

    def flush(self) -> None:
        """Nothing waits."""


def make_client(plugin: Callable[[], DestinationPlugin] | None) -> Amplitude:
    """Returns a client that uploads nothing, with a plugin besides Amplitude's own."""
    config = Config(server_url=NOWHERE, flush_queue_size=NEVER, flush_interval_millis=NEVER)
    client = Amplitude("key", config)
    if plugin:
        client.add(plugin())
    return client


def measure(events: int, buffer: str) -> list[float]:
    """Returns the mean microseconds of one ``track()`` for each of the three clients.

    They take turns of a few events, so that a drift in the machine's speed affects all alike.
    """
    moloco = partial(
        destination, NOWHERE, flush_queue_size=NEVER, flush_interval_millis=NEVER, buffer=buffer
    )
    clients = [make_client(plugin) for plugin in (None, EmptyDestination, moloco)]
    batches = [[purchase(number) for number in range(events)] for _ in clients]
    seconds = [0.0] * len(clients)
    gc.collect()
    gc.disable()  # a collection in one client's turn would walk the objects of all three
    for start in range(0, events, TURN):
        for index, (client, batch) in enumerate(zip(clients, batches, strict=True)):
            turn = batch[start : start + TURN]
            started = time.perf_counter()
            for event in turn:
                client.track(event)
            seconds[index] += time.perf_counter() - started
    gc.enable()
    return [each / events * 1e6 for each in seconds]


def main() -> None:
    """Measure, and print a line for each round, and the medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{'':17}{'memory':>27}{'sqlite':>43}")
    print(f"{'':8}" + f"{'alone':>9}{'empty':>9}{'all':>9}{'own':>9}{'ratio':>7}" * 2)
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        for number in range(options.rounds):
            row = []
            for buffer in ("memory://", f"sqlite:///{directory}/{number}.db"):
                alone, empty, total = measure(options.events, buffer)
                row += [alone, empty, total, total - empty, (total - empty) / alone]
            rows.append(row)
            print_row(f"round {number + 1}", row)
        print_row("median", [statistics.median(column) for column in zip(*rows, strict=True)])
        print("Microseconds for one track(). own is all - empty, ratio is own / alone.", flush=True)
    os._exit(0)  # discards the tracked events


def print_row(name: str, row: list[float]) -> None:
    """Print one line of the table."""
    print(f"{name:8}", end="")
    for *micros, ratio in (row[:5], row[5:]):
        print("".join(f"{each:9.1f}" for each in micros) + f"{ratio:7.2f}", end="")
    print(flush=True)


if __name__ == "__main__":
    main()
