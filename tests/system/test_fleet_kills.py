"""Apps that store, relays that deliver, and Redis between them: each is killed under load."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import pytest
from support.measuring import unmeasured
from support.redis_buffers import stored
from support.redis_server import RedisServer, StartRedis
from support.relays import until, write_settings
from support.repeats import repeats

from amplitude_moloco.sandbox import Sandbox

ROUNDS = repeats(3, 40)
SHOPS, RELAYS = 2, 2

# Tracks events until it is killed, and writes each down once track() has returned.
SHOP = """
import os, sys
from amplitude import Amplitude, BaseEvent, Config
from amplitude_moloco import MolocoDestination

config, buffer, name, url = sys.argv[1:]
destination = MolocoDestination.from_file(config, deliver=False, buffer=buffer)
client = Amplitude("amplitude-key", Config(server_url=url + "/2/httpapi"))
client.add(destination)
number = 0
while sys.stdin.readline():
    for _ in range(20):
        client.track(BaseEvent("Home", user_id="user-1", insert_id=f"{name}-{number}"))
        os.write(1, f"{name}-{number}\\n".encode())
        number += 1
"""


class Shop:
    """A process of an app. Each life has a name of its own; all lives share a stage."""

    def __init__(self, command: Callable[[str], list[str]], number: int) -> None:
        self._command = command
        self._number = number
        self._lives = count()
        self.accepted: dict[str, list[str]] = {}
        """What each life has accepted, in its order."""
        self.start()

    def start(self) -> None:
        self._name = f"shop{self._number}-{next(self._lives)}"
        self.accepted[self._name] = []
        self._process = subprocess.Popen(
            self._command(self._name),
            env=unmeasured(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self) -> None:
        """Have it track some events."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def read(self, events: int) -> None:
        """Wait until it has accepted this many events."""
        assert self._process.stdout is not None
        for _ in range(events):
            self.accepted[self._name].append(self._process.stdout.readline().strip())

    def kill(self) -> None:
        with self._process as process:
            process.kill()
            assert process.stdout is not None
            rest = [line.strip() for line in process.stdout if line.endswith("\n")]
            self.accepted[self._name] += rest


class Fleet:
    """All processes of one test."""

    def __init__(
        self, folder: Path, sandbox: Sandbox, redis: RedisServer, stage: str, stack: ExitStack
    ) -> None:
        self.redis, self._stage, self._folder = redis, stage, folder
        self.url = redis.url(lease_seconds=1)
        self._config = write_settings(
            folder / "moloco.json",
            sandbox.url,
            buffer=self.url,
            retry={"delays_seconds": [0.1], "then_seconds": 0.1},
        )
        self._sandbox = sandbox
        self.shops = [Shop(self._shop_command(number), number) for number in range(SHOPS)]
        self.relays = [self._start_relay() for _ in range(RELAYS)]
        stack.callback(self.end)

    def _shop_command(self, number: int) -> Callable[[str], list[str]]:
        stage = self._stage.format(path=self._folder / f"stage-{number}.db")
        buffer = f"{self.url}&stage={stage}"
        own = [sys.executable, "-c", SHOP, str(self._config), buffer]
        return lambda name: [*own, name, self._sandbox.url]

    def _start_relay(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "amplitude_moloco", "relay", str(self._config)]
        return subprocess.Popen(
            [*command, "--listen", "off"], env=unmeasured(), stderr=subprocess.DEVNULL
        )

    def kill_relay(self, number: int) -> None:
        with self.relays[number] as relay:
            relay.kill()
        self.relays[number] = self._start_relay()

    def kill_shop(self, number: int) -> None:
        self.shops[number].kill()
        self.shops[number].start()

    def end(self) -> None:
        for shop in self.shops:
            shop.kill()
        for relay in self.relays:
            with relay:
                relay.kill()


def delivered(sandbox: Sandbox) -> set[str]:
    return {event["id"] for event in sandbox.moloco_events}


@contextmanager
def killed_at_random(
    folder: Path, sandbox: Sandbox, redis: RedisServer, stage: str, seed: int
) -> Iterator[Fleet]:
    """A fleet all of whose processes were killed under load, and started again."""
    dice = random.Random(seed)  # noqa: S311  # no secret
    with ExitStack() as stack:
        fleet = Fleet(folder, sandbox, redis, stage, stack)
        for number in range(ROUNDS):
            for shop in fleet.shops:
                shop.ask()
                shop.read(dice.randrange(1, 20))
            victim = ("shop", "relay", "redis")[number % 3]
            if victim == "shop":
                fleet.kill_shop(dice.randrange(SHOPS))
            elif victim == "relay":
                fleet.kill_relay(dice.randrange(RELAYS))
            else:
                redis.end()
                for shop in fleet.shops:  # track() goes on meanwhile
                    shop.ask()
                    shop.read(dice.randrange(1, 20))
                if dice.random() < 0.5:
                    fleet.kill_shop(dice.randrange(SHOPS))
                redis.start()
        yield fleet


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "appendfsync", ["always", pytest.param("everysec", marks=pytest.mark.torture)]
)
def test_with_a_durable_stage_no_kill_loses_an_event(
    start_redis: StartRedis, sandbox: Sandbox, tmp_path: Path, appendfsync: str
) -> None:
    """Every event that track() has accepted is delivered, whatever was killed.

    With everysec, too: what Redis has written survives its process, though not its machine.
    """
    redis = start_redis(appendfsync=appendfsync)
    with killed_at_random(tmp_path, sandbox, redis, "sqlite:///{path}", seed=1) as fleet:
        accepted = {
            id for shop in fleet.shops for ids in shop.accepted.values() for id in ids if id
        }
        assert len(accepted) > ROUNDS
        until(lambda: accepted <= delivered(sandbox))


@pytest.mark.timeout(1800)
def test_with_a_stage_in_memory_a_kill_loses_the_newest(
    start_redis: StartRedis, sandbox: Sandbox, tmp_path: Path
) -> None:
    """What is lost is what a killed app had not written into Redis yet: its newest events."""
    redis = start_redis(appendfsync="always")
    with killed_at_random(tmp_path, sandbox, redis, "memory://", seed=2) as fleet:
        living = {id for shop in fleet.shops for id in [*shop.accepted.values()][-1] if id}
        until(lambda: living <= delivered(sandbox) and stored(fleet.url) == 0)
        shops = [shop.accepted for shop in fleet.shops]
    found = delivered(sandbox)
    for lives in shops:
        for ids in lives.values():
            kept = [id in found for id in ids if id]
            assert kept == sorted(kept, reverse=True)
