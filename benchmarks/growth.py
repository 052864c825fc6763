"""Whether an event costs more when many wait: CPU time per event, for many and for a tenth.

    python benchmarks/growth.py [--events 100000] [--rounds 3] [--only WORD ...]

All events are tracked as fast as possible, so that nearly all of them wait at once. Each trial runs
in its own process; small and large ones take turns.
"""

from __future__ import annotations

import argparse
from statistics import median

import trial
from contestants import matching
from server import Server


def main() -> None:
    """Run all trials, and print a line for each contestant."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=["plugin requests"])
    options = parser.parse_args()
    counts = (options.events // 10, options.events)
    print("CPU us per event   " + "".join(f"{f'of {count:,}':>14}" for count in counts), end="")
    print(f"{'ratio':>8}{'MB':>8}")
    body = trial.body()
    with Server() as server:
        for name in matching(options.only):
            try:
                print_line(name, [pair(name, server, counts, body) for _ in range(options.rounds)])
            except trial.LeftOut as reason:
                print(f"{name} is left out: {reason}")
            except trial.Failed as reason:
                print(f"{name} FAILED: {reason}")


Pair = tuple[trial.Measurement, trial.Measurement]


def pair(name: str, server: Server, counts: tuple[int, int], body: str) -> Pair:
    """Run a small trial and a large one."""
    few, many = (
        trial.run(name, server, events=count, connections=16, body=body) for count in counts
    )
    return few, many


def print_line(name: str, pairs: list[Pair]) -> None:
    """Print the medians of all rounds."""
    few, many = (median(each.cpu_micros for each in side) for side in zip(*pairs, strict=True))
    ratio = median(many.cpu_micros / few.cpu_micros for few, many in pairs)
    size = median(many.memory_bytes for _, many in pairs)
    print(f"{name:25}{few:8.0f}{many:14.0f}{ratio:8.2f}", end="")
    print(f"{size / 1e6:8.1f}", flush=True)


if __name__ == "__main__":
    main()
