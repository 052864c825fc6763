"""Order at the MMP: events of one device and token arrive as they were tracked, whatever fails.

The sandbox refuses an event that is earlier than one of the same device and token that it has.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from support.measuring import unmeasured
from support.mmp import APP_TOKEN
from support.repeats import repeats
from support.waiting import await_that

from amplitude_moloco.sandbox import MmpSettings, Sandbox
from amplitude_moloco.sandbox.mmp.settings import DAY

KILLS = repeats(2, 40)
DEVICES = 200
BURST = 6
"""How many events a device tracks in a row, of both tokens by turns."""
EVENTS = repeats(1_200, 10_000)  # each device at least once
TOKENS = ("cartt0k", "buyt0k")

# Tracks from one number to another with Amplitude's SDK, and writes each number down once track()
# has returned. Its requests fail at random: before they are sent, or when they are answered.
TRACKING = """
import os, random, sys, threading
from amplitude import Amplitude, BaseEvent, Config
from amplitude_moloco import BreakerPolicy, RetrySchedule
from amplitude_moloco.adjust import AdjustDestination, AdjustEvent
from amplitude_moloco.transports.base import SendResult
from amplitude_moloco.transports.requests import RequestsTransport

url, buffer, tracked, began, first, last, devices, burst = sys.argv[1:]
chance = random.Random(f"{first} {buffer}")
file = os.open(tracked, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
something_ended = threading.Event()

class Faulty(RequestsTransport):
    def send(self, body):
        if chance.random() < 0.1:
            return SendResult(None, message="ConnectTimeout")
        result = super().send(body)
        return SendResult(None, message="ReadTimeout") if chance.random() < 0.05 else result

read_number = {"number": "event_properties.number"}
destination = AdjustDestination(
    "abcdefghijkl",
    [
        AdjustEvent("Product Added", "cartt0k", callback_params=read_number),
        AdjustEvent("Order Completed", "buyt0k", callback_params=read_number),
    ],
    environment="sandbox", base_url=url, identifiers={"web_uuid": "device_id"},
    buffer=buffer, timeout_seconds=300.0, shutdown_timeout_seconds=300.0,
    flush_timeout_seconds=300.0, connections=32, transport=Faulty,
    retry=RetrySchedule((0.01, 0.05), 0.1, max_attempts=10**6, max_age_seconds=None),
    breaker=BreakerPolicy(failures=10**6), hooks=[lambda fact: something_ended.set()],
)
client = Amplitude("key", Config(server_url=url + "/2/httpapi"))
client.add(destination)

def wait_for_fewer_than(count):
    while sum(destination.buffer_state()[:2]) >= count:
        something_ended.clear()
        something_ended.wait(0.1)

for number in range(int(first), int(last)):
    name = ("Product Added", "Order Completed")[number % 2]
    client.track(
        BaseEvent(
            name,
            device_id=f"device-{number // int(burst) % int(devices)}",
            insert_id=f"id-{number}",
            time=1000 * (int(began) + number),
            event_properties={"number": number},
        )
    )
    os.write(file, f"{number}\\n".encode())
    if number % 50 == 0:
        wait_for_fewer_than(300)
wait_for_fewer_than(1)
assert not destination.dead_letters()
client.shutdown()
"""


class Shop:
    """A shop with 200 devices, and processes that track for it one after the other."""

    def __init__(self, sandbox: Sandbox, folder: Path, buffer: str) -> None:
        self._mmp = sandbox.mmp
        self._url, self._buffer = sandbox.url, buffer.format(folder)
        self._tracked = folder / "tracked"
        self._tracked.touch()
        self._began = int(time.time()) - 20 * DAY
        self._mmp.move_clock(-30 * DAY)
        for number in range(DEVICES):
            self._mmp.session(web_uuid=f"device-{number}", app_token=APP_TOKEN)
        self._mmp.reset_clock()

    @contextmanager
    def process(
        self, first: int, last: int, *, is_killed: bool
    ) -> Iterator[subprocess.Popen[bytes]]:
        arguments = (self._url, self._buffer, self._tracked, self._began, first, last)
        with subprocess.Popen(
            [sys.executable, "-c", TRACKING, *map(str, [*arguments, DEVICES, BURST])],
            stderr=subprocess.PIPE,
            env=unmeasured() if is_killed else None,
        ) as child:
            try:
                yield child
            finally:
                child.kill()

    @property
    def tracked(self) -> list[int]:
        """The numbers for which track() had returned."""
        return [int(line) for line in self._tracked.read_text().split()]

    @property
    def accepted(self) -> int:
        """How many events the MMP has accepted, copies included."""
        return self._mmp.answers["accepted events"]

    def has_accepted(self, count: int) -> bool:
        return self.accepted >= count

    def judge(self, kills: int) -> None:
        """Nothing was refused, and each device's events of a token are there in order."""
        assert self._mmp.refusals == []
        arrived: dict[tuple[str, str], list[int]] = {}
        for event in self._mmp.events:
            number = int(json.loads(event.parameters["callback_params"])["number"])
            of_lane = arrived.setdefault((event.device, event.event_token), [])
            if of_lane[-1:] != [number]:  # a copy, because its answer was lost, comes at once
                of_lane.append(number)
        for (_, token), numbers in arrived.items():
            assert numbers == sorted(set(numbers))
            assert {TOKENS[each % 2] for each in numbers} == {token}
            assert len({each // BURST % DEVICES for each in numbers}) == 1
        tracked = set(self.tracked)
        known = {number for numbers in arrived.values() for number in numbers}
        assert tracked <= known
        assert len(known - tracked) <= kills  # stored, and killed before track() returned


@contextmanager
def failing(sandbox: Sandbox) -> Iterator[None]:
    """After every few events the MMP fails, also after it has stored the next one."""
    chance, is_over = random.Random(2), threading.Event()  # noqa: S311  # not for secrets
    after = 0

    def fail() -> None:
        nonlocal after
        while not is_over.wait(0.005):
            if sandbox.mmp.answers["accepted events"] >= after:
                after = sandbox.mmp.answers["accepted events"] + chance.randint(1, 40)
                times, is_stored = chance.randint(1, 5), chance.random() < 0.3
                status = chance.choice([500, 503, 408])
                sandbox.fail_next(status, times, target="mmp", after_storing=is_stored)

    thread = threading.Thread(target=fail)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    settings = MmpSettings(app_token=APP_TOKEN, event_tokens=frozenset(TOKENS))
    with Sandbox(mmp=settings) as sandbox, failing(sandbox):
        yield sandbox


def run_to_its_end(shop: Shop, first: int, last: int) -> None:
    with shop.process(first, last, is_killed=False) as child:
        _, errors = child.communicate(timeout=500)
        assert child.returncode == 0, errors.decode()


@pytest.mark.timeout(900)
def test_faults_and_retries_keep_the_order(sandbox: Sandbox, tmp_path: Path) -> None:
    """With a buffer in memory, every event arrives, in order, though many requests fail."""
    shop = Shop(sandbox, tmp_path, "memory://")
    run_to_its_end(shop, 0, EVENTS)
    assert shop.tracked == [*range(EVENTS)]
    shop.judge(kills=0)


@pytest.mark.timeout(1800)
def test_kill_9_keeps_the_order(sandbox: Sandbox, tmp_path: Path) -> None:
    """With a durable buffer, this holds however often the process is killed."""
    shop = Shop(sandbox, tmp_path, "sqlite:///{}/adjust.db")
    chance = random.Random(KILLS)  # noqa: S311  # not for secrets
    first = 0
    for _ in range(KILLS):
        wanted = shop.accepted + chance.randint(1, EVENTS // KILLS)
        with shop.process(first, 10**9, is_killed=True) as child:  # it comes to no end
            await_that(partial(shop.has_accepted, wanted), 600)
            child.kill()
            assert child.wait(60) == -signal.SIGKILL
        first = max(shop.tracked, default=-1) + 2  # one is left out: it may be stored already
    run_to_its_end(shop, first, first + EVENTS // 4)
    shop.judge(kills=KILLS)
