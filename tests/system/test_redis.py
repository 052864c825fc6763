"""Events of one process, delivered by another one through Redis, with the real SDK."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.measuring import unmeasured
from support.redis_buffers import stored
from support.redis_server import LONG, RedisServer, StartRedis
from support.repeats import repeats

from amplitude_moloco.sandbox import Sandbox

ROUNDS = repeats(2, 40)

# Tracks this many events, and writes each down once track() has returned. "never" answers nothing.
SCRIPT = """
import os, sys, threading
from amplitude import Amplitude, BaseEvent, Config
from amplitude_moloco import MolocoDestination, Sync

url, buffer, name, count, transport = sys.argv[1:]

class Never:
    def __init__(self, endpoint):
        self.never = threading.Event()

    def send(self, body):
        self.never.wait()

    def close(self):
        pass

destination = MolocoDestination(
    "key", "SHOP", [Sync("HOME", events=["Home"])], base_url=url, channel_type="SITE",
    buffer=buffer, transport=Never if transport == "never" else transport,
)
client = Amplitude("amplitude-key", Config(server_url=url + "/2/httpapi"))
client.add(destination)
for number in range(int(count)):
    client.track(BaseEvent("Home", user_id="user-1", insert_id=f"{name}-{number}"))
    os.write(1, f"{name}-{number}\\n".encode())
sys.stdin.readline()
destination.shutdown()
os._exit(0)
"""


def start(
    sandbox: Sandbox, buffer: str, name: str, count: int = 0, transport: str = "requests"
) -> subprocess.Popen[str]:
    """Starts an app that may be killed."""
    arguments = [sandbox.url, buffer, name, str(count), transport]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments],
        env=unmeasured(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def lines(process: subprocess.Popen[str]) -> list[str]:
    """What it has written in whole lines until its end."""
    assert process.stdout is not None
    return [line.strip() for line in process.stdout if line.endswith("\n")]


def until(is_true: Callable[[], object]) -> None:
    """The timeout of the test is the bound."""
    pause = threading.Event()
    while not is_true():
        pause.wait(0.02)


def ids(sandbox: Sandbox) -> set[str]:
    return {event["id"] for event in sandbox.moloco_events}


@pytest.mark.parametrize(
    ("stage", "transport"), [("memory://", "curl"), ("sqlite:///{folder}/stage.db", "requests")]
)
def test_one_process_stores_and_another_one_delivers(
    redis_server: RedisServer, sandbox: Sandbox, tmp_path: Path, stage: str, transport: str
) -> None:
    """What a killed process has stored, and what it had in flight, another one delivers."""
    url = redis_server.url(lease_seconds=1, stage=stage.format(folder=tmp_path))
    with start(sandbox, url, "shop", 50, "never") as shop:
        until(lambda: stored(url) == 50)
        shop.kill()
    assert ids(sandbox) == set()
    with start(sandbox, url, "relay", transport=transport) as relay:
        until(lambda: len(ids(sandbox)) == 50)
        relay.communicate("\n", timeout=LONG)
    assert relay.returncode == 0
    assert ids(sandbox) == {f"shop-{number}" for number in range(50)}


@pytest.mark.timeout(1200)
def test_no_kill_loses_an_event(start_redis: StartRedis, sandbox: Sandbox, tmp_path: Path) -> None:
    """Kill -9 of apps and of Redis: with a stage in a file and AOF always, all are delivered."""
    dice = random.Random(5)  # noqa: S311  # no secret
    server = start_redis(appendfsync="always")
    url = server.url(lease_seconds=1, stage=f"sqlite:///{tmp_path}/stage.db")
    accepted: set[str] = set()
    for number in range(ROUNDS):
        with start(sandbox, url, f"shop{number}", 300) as shop:
            assert shop.stdout is not None
            for _ in range(dice.randrange(1, 300)):
                accepted.add(shop.stdout.readline().strip())
            if number % 2:
                server.end()
                accepted.add(shop.stdout.readline().strip())
            shop.kill()
            accepted.update(lines(shop))
        if number % 2:
            server.start()
    accepted.discard("")
    with start(sandbox, url, "heir") as heir:
        until(lambda: accepted <= ids(sandbox))
        heir.kill()
    assert accepted
