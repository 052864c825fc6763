"""Lanes through the engine: order under faults, and a wait that stops no other lane."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.buffers import MakeBuffer
from support.engines import LONG, Bench, Gate, closing

from amplitude_moloco.buffers.base import Storage
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.engine.breaker import BreakerPolicy
from amplitude_moloco.engine.facts import Retrying
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.transports.base import SendResult

DEVICES = 200
AT_ONCE = RetrySchedule(delays_seconds=(0.001,), then_seconds=0.001, max_attempts=10_000)
PATIENT = BreakerPolicy(failures=10_000)


def put(bench: Bench, lane: str, *bodies: str) -> None:
    for body in bodies:
        bench.engine.put(body, "EVENT", body.encode(), lane)


class Judge:
    """A server that fails at random, and sees whether each lane keeps its order."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self.settled = threading.Semaphore(0)
        self.delivered: dict[str, list[int]] = defaultdict(list)

    def __call__(self, body: bytes) -> SendResult:
        lane, _, number = body.decode().partition(" ")
        status = self._dice.choice([200, 200, 200, 500, 503, None, 400])
        if status in (200, 400):
            self.delivered[lane].append(int(number))
            self.settled.release()
        return SendResult(status, "" if status else "ReadTimeout")


@pytest.mark.parametrize("is_concurrent", [False, True], ids=["threads", "loop"])
def test_a_lane_has_one_request_on_its_way(is_concurrent: bool) -> None:
    """Two events of one lane are never on their way at the same time; other lanes don't wait."""
    gate = Gate()
    gate.open.clear()
    with closing(Bench(gate, is_concurrent=is_concurrent)) as bench:
        put(bench, "x", "x1", "x2")
        put(bench, "y", "y1", "y2")
        gate.wait_for(2)
        assert sorted(gate.sent) == [b"x1", b"y1"]
        gate.open.set()
        bench.wait_for_delivered(4)
    assert gate.sent.index(b"x1") < gate.sent.index(b"x2")
    assert gate.most_at_once == 2


def test_a_retry_holds_its_own_lane() -> None:
    """A failed event holds up what comes behind it in its lane, and nothing else."""
    gate = Gate(lambda body: SendResult(500 if body == b"x1" else 200))
    with closing(Bench(gate)) as bench:
        put(bench, "x", "x1", "x2")
        bench.wait_for_fact(Retrying)
        put(bench, "y", "y1", "y2")
        bench.put("a")
        bench.wait_for_delivered(3)
        flushed = bench.engine.flush(LONG).result(LONG)
        assert (flushed.delivered, flushed.buffered) == (3, 2)
    assert b"x2" not in gate.sent


def test_a_rejected_event_ends_alone() -> None:
    """The next event of a lane goes once the one before it has become a dead letter."""
    gate = Gate(lambda body: SendResult(400 if body == b"x1" else 200))
    with closing(Bench(gate)) as bench:
        put(bench, "x", "x1", "x2")
        bench.wait_for_delivered(1)
        assert gate.sent == [b"x1", b"x2"]
        assert [letter.lane for letter in bench.engine.dead_letters()] == ["x"]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_200_devices_keep_their_order_in_memory(seed: int) -> None:
    """Whatever fails, every event of each device is settled, in the order of the puts."""
    _check_order(MemoryBuffer(), seed)


def test_200_devices_keep_their_order(make_laned_buffer: MakeBuffer) -> None:
    """Whatever fails, over any buffer, each device's events are settled in their order."""
    _check_order(make_laned_buffer(), 7)


def _check_order(buffer: Storage, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311  # no secret: the same faults in every run
    judge = Judge(dice)
    bench = Bench(
        Gate(judge),
        buffer=buffer,
        retry=AT_ONCE,
        breaker=PATIENT,
        is_concurrent=seed % 2 == 0,
        connections=16,
    )
    counts = dict.fromkeys(range(DEVICES), 0)
    with closing(bench):
        for _ in range(3 * DEVICES):
            device = dice.randrange(DEVICES)
            counts[device] += 1
            put(bench, str(device), f"{device} {counts[device]}")
        for _ in range(3 * DEVICES):
            assert judge.settled.acquire(timeout=LONG)
    for device, count in counts.items():
        assert judge.delivered[str(device)] == list(range(1, count + 1))


APP = """
# Puts events of many lanes, and delivers them to a file, with faults. It is killed at some time.
import os, random, sys
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.engine.breaker import BreakerPolicy
from amplitude_moloco.engine.engine import EngineSettings, Partner, build_engine
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.engine.verdict import Verdict
from amplitude_moloco.transports.base import SendResult

class ToFile:
    def __init__(self):
        self.file = os.open("server", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    def send(self, body):
        if random.random() < 0.2:
            return SendResult(500)
        os.write(self.file, body + b"\\n")
        return SendResult(200)
    def close(self): ...

engine = build_engine(EngineSettings(
    partner=Partner("The server", "the key",
        lambda result: Verdict.DELIVERED if result.status == 200 else Verdict.RETRY),
    open_buffer=lambda: SqliteBuffer("buffer.db", target="t"),
    open_transport=ToFile,
    retry=RetrySchedule(delays_seconds=(0.001,), then_seconds=0.001, max_attempts=10_000),
    breaker=BreakerPolicy(failures=10_000),
    flush_interval_millis=1,
))
engine.start()
first, last, lanes = map(int, sys.argv[1:4])
for number in range(first, last):
    lane = number % lanes
    engine.put(str(number), "EVENT", b"%d %d" % (lane, number), str(lane))
    os.write(1, b"%d\\n" % number)
if sys.argv[4] == "end":
    engine.flush(60).result(60)
    engine.close(60)
else:
    sys.stdin.read()
"""


def test_kills_keep_the_order(tmp_path: Path) -> None:
    """However often the process is killed, no lane goes back behind what it has delivered."""
    dice = random.Random(5)  # noqa: S311  # no secret: the same kills in every run
    lanes, number = 200, 0
    for _ in range(8):
        # What is tracked last before a kill may not be told any more: numbers are not used twice.
        arguments = [str(number), str(number + 400), str(lanes), "go on"]
        with subprocess.Popen(
            [sys.executable, "-c", APP, *arguments],
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as child:
            assert child.stdout is not None
            for _ in range(dice.randrange(100, 400)):
                assert child.stdout.readline()
            child.kill()
        number += 400
    last = [str(number), str(number + 100), str(lanes), "end"]
    subprocess.run([sys.executable, "-c", APP, *last], cwd=tmp_path, check=True, timeout=300)
    seen: dict[int, list[int]] = defaultdict(list)
    for line in (tmp_path / "server").read_text().splitlines():
        lane, found = map(int, line.split())
        seen[lane].append(found)
    assert all(numbers == sorted(numbers) for numbers in seen.values())
    assert sum(len(set(numbers)) for numbers in seen.values()) >= 8 * 100 + 100
