"""Compares the library with its peers, against a server on this machine.

    python benchmarks/compare.py [--events 5000] [--rounds 3] [--only WORD ...]
                                 [--delay-millis 0] [--connections 16]

In each round, the contestants run one after another, each in its own process. The program prints
the medians of all rounds; a ratio is the median of the ratios within each round.
"""

from __future__ import annotations

import argparse
import sys

import table
import trial
from contestants import matching
from server import Server

_CONNECTOR = (
    "A reference connector in JavaScript (Node, axios, 16 in flight), measured elsewhere and not\n"
    "run here: 4,500 events/s, 285 us of CPU time each."
)

_SURPLUS = 1.25
"""If there is an ideal rate, events are tracked a little faster than that: one is always ready to
send, and the app, which is nearly idle, leaves the processor to the senders."""


def main() -> None:
    """Run all trials, and print the table."""
    options = _options()
    with Server() as server:
        server.set("delay_millis", options.delay_millis)
        ideal_rate = None
        if options.delay_millis:
            ideal_rate = options.connections * 1000 / options.delay_millis
        rounds = _run(server, options, ideal_rate)
        counts = server.counts
    if ideal_rate:
        print(f"With {options.connections} connections and answers after", end=" ")
        print(f"{options.delay_millis} ms, the ideal is {ideal_rate:.0f} events/s.")
    print(f"{options.events} events each, medians of {options.rounds} rounds.\n")
    table.show(rounds, ideal_rate)
    answers = counts.taken + counts.uploaded / 200
    print(f"\nThe server took {counts.cpu_seconds / answers * 1e6:.1f} us of CPU time per answer.")
    print(_CONNECTOR)


def _run(
    server: Server, options: argparse.Namespace, ideal_rate: float | None
) -> list[table.Round]:
    """Run all rounds. A contestant that can't take part in one is left out of the rest."""
    names = matching(options.only)
    body = trial.body()
    rounds: list[table.Round] = []
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        rounds.append({})
        for name in list(names):
            try:
                rounds[-1][name] = trial.run(
                    name,
                    server,
                    events=options.events,
                    connections=options.connections,
                    body=body,
                    rate=ideal_rate and _SURPLUS * ideal_rate,
                )
            except trial.LeftOut as reason:
                print(f"{name} is left out: {reason}")
                names.remove(name)
            except trial.Failed as reason:
                print(f"{name} FAILED: {reason}")
                names.remove(name)
    return rounds


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], help="words in the contestants' names")
    parser.add_argument("--delay-millis", type=int, default=0, help="delay of each answer")
    parser.add_argument("--connections", type=int, default=16)
    return parser.parse_args()


if __name__ == "__main__":
    main()
