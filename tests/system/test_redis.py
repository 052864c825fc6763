"""Events of one process, delivered by another one through Redis, with the real SDK."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.redis_server import LONG, RedisServer

from amplitude_moloco.sandbox import Sandbox

SCRIPT = """
import json, os, sys, threading
from amplitude import Amplitude, BaseEvent, Config
from amplitude_moloco import MolocoDestination, Sync
from amplitude_moloco.transports.base import SendResult

url, buffer, name, count, sends = sys.argv[1:]

class Broken:
    def __init__(self, endpoint):
        pass

    def send(self, body):
        return SendResult(message="refused")

    def close(self):
        pass

destination = MolocoDestination(
    "key", "SHOP", [Sync("HOME", events=["Home"])], base_url=url, channel_type="SITE",
    buffer=buffer, transport="auto" if sends == "sends" else Broken,
)
client = Amplitude("amplitude-key", Config(server_url=url + "/2/httpapi"))
client.add(destination)
for number in range(int(count)):
    client.track(BaseEvent("Home", user_id="user-1", insert_id=f"{name}-{number}"))
is_there = threading.Event()
while sum(destination.buffer_state()[:2]) < int(count):
    is_there.wait(0.05)
print("stored", flush=True)
sys.stdin.readline()
destination.shutdown()
print(json.dumps(destination.stats().delivered), flush=True)
os._exit(0)
"""


def start(url: str, buffer: str, name: str, count: int, sends: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, url, buffer, name, str(count), sends],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for_ids(sandbox: Sandbox, ids: set[str]) -> None:
    """The timeout of the test is the bound."""
    pause = threading.Event()
    while {event["id"] for event in sandbox.moloco_events} < ids:
        pause.wait(0.02)


@pytest.mark.parametrize("stage", ["memory://", "sqlite:///{folder}/stage.db"])
def test_one_process_stores_and_another_one_delivers(
    redis_server: RedisServer, sandbox: Sandbox, tmp_path: Path, stage: str
) -> None:
    """What a killed process has stored in Redis, another one delivers: all of it."""
    url = redis_server.url(lease_seconds=1, stage=stage.format(folder=tmp_path))
    with start(sandbox.url, url, "shop", 50, "breaks") as shop:
        assert shop.stdout is not None
        assert shop.stdout.readline() == "stored\n"
        shop.kill()
    assert sandbox.moloco_events == []
    with start(sandbox.url, url, "relay", 0, "sends") as relay:
        wait_for_ids(sandbox, {f"shop-{number}" for number in range(50)})
        output, _ = relay.communicate("\n", timeout=LONG)
    assert int(output.split()[-1]) >= 50
    assert len({event["id"] for event in sandbox.moloco_events}) == 50
