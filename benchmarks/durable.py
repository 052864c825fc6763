"""What a durable buffer costs, and how soon another process sends what a killed one had.

    python benchmarks/durable.py [--events 5000] [--rounds 20] [--processes 8]

Prints the price of one put in each way of writing, the CPU time of a ``track()`` in one process and
in many that share a file, and the time from kill -9 until the last event of the killed process has
arrived, by a running neighbour and by the next start.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from amplitude import Amplitude, Config
from purchase import body, destination, purchase
from server import Server

from amplitude_moloco import MolocoDestination
from amplitude_moloco.buffers.base import Buffer
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer

NOWHERE = "http://127.0.0.1:9/"
MODES = ("OFF", "1s", "FULL")


def puts(folder: str, events: int, rounds: int) -> None:
    """Print the microseconds of one put: medians over rounds in which all take turns."""
    payload = body()
    buffers: dict[str, Callable[[int], Buffer]] = {
        "memory": lambda number: MemoryBuffer(),
        **{
            mode: lambda number, mode=mode: SqliteBuffer(  # type: ignore[misc]
                f"{folder}/{mode}-{number}.db", target="t", synchronous=mode
            )
            for mode in MODES
        },
    }
    micros: dict[str, list[float]] = {name: [] for name in buffers}
    for number in range(rounds):
        for name, make in buffers.items():
            buffer = make(number)
            started = time.perf_counter()
            for each in range(events):
                buffer.put(str(each), "PURCHASE", payload)
            micros[name].append((time.perf_counter() - started) / events * 1e6)
            buffer.close()
    for name, found in micros.items():
        print(f"put, {name:8}{statistics.median(found):8.1f} us")


def track(url: str, file: str, events: int, *, is_ended: bool) -> None:
    """Track, and print the CPU microseconds of one; then wait to be killed, or end."""
    ours = destination(url, buffer=f"sqlite:///{file}", flush_interval_millis=50)
    batch = [purchase(number) for number in range(events)]
    for number, event in enumerate(batch):  # what the SDK's client does
        event.insert_id, event.time = f"{os.getpid()}-{number}", int(time.time() * 1000)
    started = time.thread_time()
    for event in batch:
        ours.execute(event)
    print((time.thread_time() - started) / max(1, events) * 1e6, flush=True)
    if is_ended:
        sys.stdin.readline()
        ours.shutdown()
    else:
        time.sleep(1000)  # until it is killed


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start this program in a process that tracks."""
    return subprocess.Popen(
        [sys.executable, __file__, "--inside", *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # it warns that nothing answers
        text=True,
    )


def micros_of(children: list[subprocess.Popen[str]]) -> float:
    """Returns the median of what these processes print, and ends them."""
    found = [float(child.stdout.readline()) for child in children if child.stdout]
    for child in children:
        child.communicate("end\n")
    return statistics.median(found)


def sharing(folder: str, events: int, processes: int) -> None:
    """Print the CPU time of a ``track()`` in one process, and in many at a time."""
    numbers = range(processes)
    alone = micros_of([start(NOWHERE, f"{folder}/alone.db", events, 1)])
    apart = micros_of([start(NOWHERE, f"{folder}/{number}.db", events, 1) for number in numbers])
    shared = micros_of([start(NOWHERE, f"{folder}/shared.db", events, 1) for _ in numbers])
    print(f"track(), CPU: one process {alone:.1f} us; {processes} with a file each", end=" ")
    print(f"{apart:.1f} us, on one file {shared:.1f} us, ratio {shared / apart:.2f}")


def open_heir(url: str, file: str) -> MolocoDestination:
    """Returns a destination that a client has, which tracks nothing."""
    heir = destination(url, buffer=f"sqlite:///{file}", flush_interval_millis=50)
    Amplitude("key", Config(server_url=NOWHERE)).add(heir)
    return heir


def takeover(server: Server, file: str, *, by_neighbour: bool) -> float:
    """Returns the seconds from kill -9 until the heir's last delivery."""
    server.set("delay_millis", 20_000)  # nothing is answered in time
    victim = start(server.url, file, 50, 0)
    assert victim.stdout is not None  # noqa: S101  # for mypy: it is a pipe
    victim.stdout.readline()
    heir = None
    if by_neighbour:
        heir = open_heir(server.url, file)
        time.sleep(random.uniform(1.0, 2.0))  # noqa: S311  # it looks about once a second
    victim.kill()
    victim.wait()
    server.set("delay_millis", 0)
    before = server.taken  # counted when they arrive
    killed = time.perf_counter()
    if heir is None:
        heir = open_heir(server.url, file)
    while server.taken < before + 50:
        time.sleep(0.01)
    last = time.perf_counter()
    heir.shutdown()
    return last - killed


def takeovers(folder: str, rounds: int) -> None:
    """Print the times of both kinds of takeover."""
    for name, by_neighbour in (("the next start", False), ("a running neighbour", True)):
        seconds = []
        for number in range(rounds):
            with Server() as server:
                file = f"{folder}/{by_neighbour}-{number}.db"
                seconds.append(takeover(server, file, by_neighbour=by_neighbour))
        median, worst = statistics.median(seconds), max(seconds)
        print(f"50 events of a killed process, sent by {name}:", end=" ")
        print(f"median {median:.2f} s, worst of {rounds} {worst:.2f} s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--inside", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        url, file, events, is_ended = options.inside
        track(url, file, int(events), is_ended=is_ended == "1")
        os._exit(0)
    with tempfile.TemporaryDirectory() as folder:
        puts(folder, options.events, min(5, options.rounds))
        sharing(folder, options.events, options.processes)
        takeovers(folder, options.rounds)


if __name__ == "__main__":
    main()
