"""A shop that tracks all day long, to a server that fails now and then.

Slow, and not run by default: ``tox -e torture``. It takes as long as MOLOCO_SOAK_SECONDS says.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pytest
from support.faulty_server import Exchange, FaultyServer, Received, StartServer, Step

SECONDS = float(os.environ.get("MOLOCO_SOAK_SECONDS", "60"))

pytestmark = [pytest.mark.torture, pytest.mark.timeout(SECONDS + 300)]

# Tracks 200 events a second. Each second it tells its memory, open files and threads.
SHOP = """
import os, sys, threading, time
from contextlib import suppress
from amplitude import Amplitude, BaseEvent, Config
from amplitude_moloco import (
    BreakerPolicy, DeadLettered, Delivered, Dropped, MolocoDestination, RetrySchedule, Sync
)

moloco_url, amplitude_url, buffer, transport, seconds = sys.argv[1:]
append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
tracked, ended = os.open("tracked", append), os.open("ended", append)

def write_down(fact):
    if isinstance(fact, (Delivered, DeadLettered, Dropped)):
        os.write(ended, f"{type(fact).__name__} {fact.id}\\n".encode())

destination = MolocoDestination(
    "key", "SHOP", [Sync("HOME", events=["Home"])], base_url=moloco_url, channel_type="SITE",
    buffer=buffer, transport=transport, hooks=[write_down], timeout_seconds=2,
    retry=RetrySchedule(delays_seconds=(0.2, 0.5), then_seconds=1),
    breaker=BreakerPolicy(probe_delays_seconds=(0.2,), then_seconds=0.5),
)
client = Amplitude("amplitude-key", Config(server_url=amplitude_url, flush_interval_millis=500))
client.add(destination)

def track(id):
    client.track(BaseEvent("Home", user_id=f"user of {id}", insert_id=id))
    os.write(tracked, f"{id}\\n".encode())

def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def files():
    # How many are open, and how many of them are connections.
    numbers = os.listdir("/proc/self/fd")
    links = []
    for number in numbers:
        with suppress(OSError):  # closed meanwhile
            links.append(os.readlink(f"/proc/self/fd/{number}"))
    return len(numbers), sum(link.startswith("socket:") for link in links)

pause = threading.Event()
began = time.monotonic()
number = 0
while (now := time.monotonic() - began) < float(seconds):
    while number < 200 * now:
        track(str(number))
        number += 1
        if number % 200 == 0:
            print(memory(), *files(), threading.active_count(), flush=True)
    pause.wait(0.005)
print("tracked", flush=True)
sys.stdin.readline()  # the faults have stopped
track("fresh")
destination.flush(60).result()
while sum(destination.buffer_state()[:2]):
    pause.wait(0.05)
client.shutdown()
stats = destination.stats()
print(
    stats.accepted, stats.delivered, sum(stats.invalid.values()), sum(stats.dead_lettered.values()),
    sum(stats.dropped.values()), stats.buffered, flush=True,
)
"""


class Sample(NamedTuple):
    """What the shop's process has at one moment."""

    resident_bytes: int
    files: int
    sockets: int
    threads: int


class Mcm:
    """Fails in one request of twelve, and altogether for three seconds of twenty."""

    def __init__(self, server: FaultyServer) -> None:
        self.bodies: dict[str, int] = {}
        """The hash of each event's bytes, for a day's events fill no memory so."""
        self.changed: list[str] = []
        self.taken: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.works = False
        """Whether the faults have stopped."""
        self._server = server
        self._dice = random.Random(200)  # noqa: S311  # no secret: the same faults in every run
        self._lock = threading.Lock()
        server.decide = self.decide

    def decide(self, request: Received) -> Step:
        id = json.loads(request.body)["id"]
        with self._lock:
            self._server.requests.clear()
            if self.bodies.setdefault(id, hash(request.body)) != hash(request.body):
                self.changed.append(id)
            fault = "" if self.works else self._fault()
            self.faults[fault] += 1
            if fault in ("", "late"):
                self.taken[id] += 1
        if fault == "late":
            return self._answer_late
        if fault == "reset":
            return lambda exchange: exchange.reset()
        return self._server.reply(500 if fault else 200)

    def _fault(self) -> str:
        if time.monotonic() % 20 < 3:
            return "outage"
        chance = self._dice.random()
        return (
            "500"
            if chance < 0.02
            else "reset"
            if chance < 0.03
            else "late"
            if chance < 0.08
            else ""
        )

    def _answer_late(self, exchange: Exchange) -> None:
        self._server.stopping.wait(self._dice.uniform(0.05, 0.3))
        exchange.send(self._server.reply(200))


@pytest.mark.parametrize("transport", ["requests", "curl"])
@pytest.mark.parametrize("buffer", ["memory://", "sqlite:moloco.db"])
def test_a_long_day_loses_nothing_and_leaves_nothing(
    tmp_path: Path, start_server: StartServer, buffer: str, transport: str
) -> None:
    """Through all faults each event comes to one end, and memory, files and threads stay flat."""
    mcm = Mcm(server := start_server())
    amplitude = start_server()

    def take(request: Received) -> Step:
        amplitude.requests.clear()
        return amplitude.reply(200)

    amplitude.decide = take
    with subprocess.Popen(
        [
            *(sys.executable, "-c", SHOP, server.url, amplitude.url),
            *(buffer, transport, str(SECONDS / 2)),
        ],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as shop:
        assert shop.stdout is not None
        samples = []
        while (line := shop.stdout.readline()) != "tracked\n":
            samples.append(Sample(*map(int, line.split())))
        mcm.works = True
        output, _ = shop.communicate("\n", timeout=200)
    assert shop.returncode == 0
    tracked = (tmp_path / "tracked").read_text().splitlines()
    ends = Counter(line.split()[1] for line in (tmp_path / "ended").read_text().splitlines())
    print(len(tracked), dict(mcm.faults), samples[len(samples) // 3], samples[-1])  # noqa: T201  # for pytest -s
    # One end for each, and no other; each was taken, and always with the same bytes.
    assert ends == Counter(tracked)
    assert set(tracked) == mcm.taken.keys() == mcm.bodies.keys()
    assert mcm.changed == []
    accepted, delivered, *others = map(int, output.split())
    assert accepted == delivered == len(tracked)
    assert others == [0, 0, 0, 0]
    assert min(mcm.faults[name] for name in ("outage", "500", "reset", "late")) > 0
    # After a third of the time, nothing grows.
    third = len(samples) // 3
    early, late = samples[third : 2 * third], samples[2 * third :]
    grown = median(s.resident_bytes for s in late) - median(s.resident_bytes for s in early)
    assert grown < 8 * 1024**2
    # There are as many connections as the load wants; nothing else comes or goes.
    others = [s.files - s.sockets for s in samples[third:]]
    assert max(others) <= min(others) + 4
    assert max(s.sockets for s in samples) <= 16 + 4  # to MCM, and the SDK's
    assert max(s.threads for s in late) <= 16 + 16 + 8  # senders, the SDK's, and a few
