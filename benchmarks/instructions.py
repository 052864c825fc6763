"""What the destination adds to ``track()``, in instructions: the same on a busy machine.

    python benchmarks/instructions.py [--events 100]

Needs valgrind. Four clients track purchases of two items, as in ``track_cost.py``: with Amplitude
alone, with an empty destination, and with a MolocoDestination over memory and over a SQLite buffer.
Callgrind counts what each step executes, after a few events to warm up. Then the conversion is
counted in a tight loop, with and without its shortcut, and the encoder.
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from amplitude import Amplitude, BaseEvent
from amplitude.plugin import DestinationPlugin
from purchase import destination, purchase
from track_cost import NEVER, NOWHERE, EmptyDestination, make_client

from amplitude_moloco import MolocoDestination
from amplitude_moloco.moloco.converter import Converter
from amplitude_moloco.moloco.wire.event import encode
from amplitude_moloco.moloco.wire.vocabulary import ChannelType

MARK = "getppid"  # a function of the C library that nothing else here calls
WARM_UP = 10
_TOTAL = re.compile(r"^(?:summary|totals): (\d+)", re.MULTILINE)
_NEW: Callable[..., MolocoDestination] = partial(
    destination, NOWHERE, flush_queue_size=NEVER, flush_interval_millis=NEVER
)


def steps(events: int) -> Iterator[tuple[str, Callable[[int], object]]]:
    """Yields the name of each step, and what does it for the event of a number."""
    numbers = range(events + WARM_UP)
    folder = tempfile.mkdtemp(dir=os.environ["BENCHMARK_FOLDER"])
    durable = partial(_NEW, buffer=f"sqlite:///{folder}/moloco.db")
    plugins: tuple[tuple[str, Callable[[], DestinationPlugin] | None], ...] = (
        ("alone", None),
        ("empty", EmptyDestination),
        ("all", _NEW),
        ("all, durable", durable),
    )
    for name, plugin in plugins:
        client = make_client(plugin)
        batch = [purchase(number) for number in numbers]
        yield name, partial(track, client, batch)
    for name, plugin in (("empty", EmptyDestination), ("all", _NEW)):
        others = [purchase(number) for number in numbers]
        for event in others:
            event.event_type = "Page Closed"
        yield f"{name}, unselected", partial(track, make_client(plugin), others)
    converter = Converter(_NEW().syncs, channel_type=ChannelType.SITE)
    slow = Converter(converter.syncs, channel_type=ChannelType.SITE, has_shortcuts=False)
    made, now_millis = batch[0], int(time.time() * 1000)  # tracked, so that it has time and id
    (conversion,) = converter.convert(made, now_millis)
    yield "conversion", lambda number: converter.convert(made, now_millis)
    yield "without its shortcut", lambda number: slow.convert(made, now_millis)
    yield "the encoder", lambda number: encode(conversion.payload)


def track(client: Amplitude, batch: list[BaseEvent], number: int) -> None:
    """Track the event of a number."""
    client.track(batch[number])


def run(events: int) -> None:
    """Do all steps, with a mark before and after each. Runs inside valgrind."""
    gc.disable()
    for name, step in steps(events):
        for number in range(WARM_UP):
            step(number)
        os.getppid()
        for number in range(WARM_UP, WARM_UP + events):
            step(number)
        os.getppid()
        print(name, flush=True)
    os._exit(0)  # discards the tracked events


def count(events: int) -> dict[str, int]:
    """Returns the instructions for one event in each step."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        sys.exit("valgrind is not installed")
    with tempfile.TemporaryDirectory() as folder:
        result = subprocess.run(
            [
                *(valgrind, "--tool=callgrind", f"--dump-before={MARK}"),
                f"--callgrind-out-file={folder}/out",
                *(sys.executable, __file__, "--inside", "--events", str(events)),
            ],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "BENCHMARK_FOLDER": folder},
        )
        # Each mark ends a dump: every other one is a step, after what precedes it.
        dumps = [Path(folder, f"out.{2 * at + 2}") for at in range(len(result.stdout.splitlines()))]
        totals = [_TOTAL.search(dump.read_text()) for dump in dumps]
    names = result.stdout.splitlines()
    return {
        name: int(total[1]) // events for name, total in zip(names, totals, strict=True) if total
    }


def main() -> None:
    """Count, and print a line for each step."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=100)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        run(options.events)
    counted = count(options.events)
    counted["own"] = counted["all"] - counted["empty"]
    counted["own, durable"] = counted["all, durable"] - counted["empty"]
    counted["own, unselected"] = counted["all, unselected"] - counted["empty, unselected"]
    print(f"{'instructions':24}{'an event':>10}{'/ alone':>9}{'/ encoder':>11}")
    for name, instructions in counted.items():
        alone, encoder = counted["alone"], counted["the encoder"]
        print(
            f"{name:24}{instructions:10,}{instructions / alone:9.3f}{instructions / encoder:11.1f}"
        )


if __name__ == "__main__":
    main()
