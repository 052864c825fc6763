"""How fast are exported events read, and made MCM events?

    python benchmarks/history.py [--events 200000] [--rounds 3] [--seed 1] [--only STEP]
                                 [--folder FOLDER]

Writes an export (see ``exports.py``) and reads it in one process: the lines alone, with each record
made a ``BaseEvent``, with each event converted by the ready-made syncs, and with all of it counted,
as ``amplitude-moloco check`` does. The four take turns, or one is measured alone. CPU time counts.
The memory is how much the peak rises from the first tenth to the end. Ten million events take a
while to write: with ``--folder``, they are kept there for the next run with the same arguments.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from exports import write

from amplitude_moloco import ecommerce_syncs
from amplitude_moloco.cli.tally import Tally
from amplitude_moloco.history import read_export
from amplitude_moloco.history.members import open_members, read_lines
from amplitude_moloco.moloco.converter import Converter
from amplitude_moloco.moloco.wire.vocabulary import ChannelType

_PER_MB = 1024 * (1024 if sys.platform == "darwin" else 1)


def lines(path: Path) -> int:
    """Reads the lines."""
    with path.open("rb") as file:
        return sum(
            1
            for _, stream in open_members(file)
            if not isinstance(stream, ValueError)
            for _ in read_lines(stream)
        )


def events(path: Path) -> int:
    """Reads the events."""
    return sum(1 for _ in read_export(path))


def conversions(path: Path) -> int:
    """Reads and converts the events. Returns how many can be sent."""
    converter = Converter(ecommerce_syncs(), channel_type=ChannelType.SITE)
    now_millis = int(time.time() * 1000)
    return sum(
        not conversion.problems
        for _, event in read_export(path)
        for conversion in converter.convert(event, now_millis)
    )


def tallies(path: Path) -> int:
    """Reads, converts and counts the events, as ``check`` does. Returns how many can be sent."""
    tally = Tally(Converter(ecommerce_syncs(), channel_type=ChannelType.SITE))
    for place, event in read_export(path):
        tally.add(event, place)
    return sum(counts.sent for counts in tally.names.values())


STEPS = (lines, events, conversions, tallies)


def export(folder: Path, events: int, hours: int, seed: int) -> Path:
    """Returns the export in a folder. Writes it if it is not there."""
    path = folder / "export.zip"
    if not path.exists():
        (path,) = write(folder, events, hours, seed, as_zip=True)
    return path


def measure(read: Callable[[Path], int], path: Path) -> tuple[int, float]:
    """Returns what it counts, and the CPU time in seconds."""
    start = time.process_time()
    return read(path), time.process_time() - start


def peak() -> float:
    """Returns the peak of this process's memory, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _PER_MB


def main() -> None:
    """Prints the median of each step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    names = {step.__name__: step for step in STEPS}
    parser.add_argument("--only", choices=names, metavar="STEP", help=" or ".join(names))
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    steps = [names[given.only]] if given.only else STEPS
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        few = export(folder / "few", given.events // 10, 2, given.seed)
        all_of_them = export(folder / "all", given.events, 24, given.seed)
        for read in steps:
            read(few)
        before = peak()
        print(f"{'':24}{'us/event':>10}{'events/s':>12}")
        rounds = [[measure(read, all_of_them) for read in steps] for _ in range(given.rounds)]
        for read, results in zip(steps, zip(*rounds, strict=True), strict=True):
            micros = statistics.median(seconds for _, seconds in results) / given.events * 1e6
            print(f"{read.__name__:24}{micros:10.1f}{1e6 / micros:12,.0f}")
        print(f"{results[0][0]:,} of {given.events:,} events can be sent")
        print(f"memory: {peak():.1f} MB, {peak() - before:+.1f} MB from a tenth of the events")


if __name__ == "__main__":
    main()
