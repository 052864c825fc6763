"""Does a backfill deliver as fast as an app that tracks the same events?

    python benchmarks/backfill.py [--events 3000] [--rounds 5]

Needs pycurl. Writes an export (see ``exports.py``). In each round, one process tracks its events
with Amplitude's SDK and a ``MolocoDestination``, another one runs a ``Backfill`` of it without a
pace. Both convert by the ready-made syncs, and send over curl to a server on this machine. Prints
the medians of all rounds; a ratio is the median of the ratios within each round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from amplitude import Amplitude, Config
from exports import write
from server import Server

from amplitude_moloco import MolocoDestination, MolocoSettings, ecommerce_syncs
from amplitude_moloco.history import Backfill, read_export

_PATIENCE_SECONDS = 300


def _settings(url: str) -> MolocoSettings:
    return MolocoSettings(
        "key", "SHOP", ecommerce_syncs(), channel_type="SITE", base_url=url, transport="curl"
    )


def track(url: str, export: Path) -> tuple[float, float, int]:
    """Returns the seconds, the CPU seconds, and how many events were delivered."""
    events = [event for _, event in read_export(export)]
    destination = MolocoDestination(**vars(_settings(url)))
    client = Amplitude("key", Config(server_url=f"{url}/2/httpapi"))
    client.add(destination)
    started, cpu_started = time.monotonic(), time.process_time()
    for event in events:
        client.track(event)
    for future in client.flush():
        if future:
            future.result(_PATIENCE_SECONDS)
    seconds, cpu_seconds = time.monotonic() - started, time.process_time() - cpu_started
    return seconds, cpu_seconds, destination.stats().delivered


def backfill(url: str, export: Path) -> tuple[float, float, int]:
    """As ``track``."""
    job = Backfill(_settings(url), read_export(export), state=export / "state.db", rate=None)
    started, cpu_started = time.monotonic(), time.process_time()
    counts = job.run().counts
    seconds, cpu_seconds = time.monotonic() - started, time.process_time() - cpu_started
    (export / "state.db").unlink()
    return seconds, cpu_seconds, sum(counts.values())


WAYS = {"track": track, "backfill": backfill}


def in_a_process(way: str, url: str, export: Path, events: int) -> tuple[float, float]:
    """Returns events a second, and microseconds of CPU time an event."""
    command = [sys.executable, __file__, "--way", way, "--url", url, "--export", str(export)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    seconds, cpu_seconds, delivered = json.loads(done.stdout)
    if delivered != events:
        raise RuntimeError(f"{way}: {delivered} of {events} events were delivered")
    return events / seconds, cpu_seconds / events * 1e6


def compare(events: int, rounds: int) -> None:
    """Prints the table."""
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        export = Path(folder, "export")
        write(export, events, 2, 1, as_zip=True)
        found = [
            {way: in_a_process(way, server.url, export, events) for way in WAYS}
            for _ in range(rounds)
        ]
    print(f"{'':12}{'events/s':>10}{'us of CPU':>12}")
    for way in WAYS:
        rates, micros = zip(*(each[way] for each in found), strict=True)
        print(f"{way:12}{statistics.median(rates):10,.0f}{statistics.median(micros):12.0f}")
    faster = statistics.median(each["backfill"][0] / each["track"][0] for each in found)
    dearer = statistics.median(each["backfill"][1] / each["track"][1] for each in found)
    print(f"{'ratio':12}{faster:10.2f}{dearer:12.2f}")


def main() -> None:
    """Compares, or goes one way in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=5)
    for name in ("--way", "--url"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--export", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way is None:
        compare(given.events, given.rounds)
        return
    print(json.dumps(WAYS[given.way](given.url, given.export)), flush=True)
    os._exit(0)  # the SDK's threads would wait for their next batch


if __name__ == "__main__":
    main()
