"""Several relays on one buffer in Redis: one circuit, one probe at a time, one pace."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.faulty_server import FaultyServer, Received, StartServer, Step
from support.redis_server import RedisServer, StartRedis
from support.relays import LONG, Running, put, until, write_settings

from amplitude_moloco.engine.status import CircuitState
from amplitude_moloco.relay.configuration import read_configuration
from amplitude_moloco.relay.relay import Relay

StartRelays = Callable[..., list[Running]]
QUICK: dict[str, Any] = {
    "retry": {"delays_seconds": [0.05], "then_seconds": 0.05},
    "breaker": {"probe_delays_seconds": [0.3], "then_seconds": 0.3},
}


@pytest.fixture
def start_relays() -> Iterator[StartRelays]:
    """Starts relays; all are ended after the test."""
    running: list[Running] = []

    def start(config: Path, count: int) -> list[Running]:
        read = partial(read_configuration, config)
        started = [Running(Relay(read, address=None)) for _ in range(count)]
        running.extend(started)
        return started

    yield start
    for each in running:
        each.signals.send(signal.SIGTERM)
        each.signals.send(signal.SIGTERM)
    for each in running:
        each.join()


class Server:
    """Answers as the test says, and may hold each request until the test lets it go."""

    def __init__(self, server: FaultyServer) -> None:
        self.status = 503
        self.is_holding = False
        self.arrived, self.released = threading.Semaphore(0), threading.Semaphore(0)
        self.delivered: Counter[str] = Counter()
        self.times: list[float] = []
        self.url = server.url
        self._reply = server.reply
        server.decide = self._decide

    def _decide(self, request: Received) -> Step:
        self.times.append(time.monotonic())
        if self.is_holding:
            self.arrived.release()
            assert self.released.acquire(timeout=LONG)
        status = self.status
        if status == 200:
            self.delivered[json.loads(request.body)["id"]] += 1
        return self._reply(status)

    def answer(self, status: int) -> None:
        """Let the request go that is held."""
        self.status = status
        self.released.release()


@pytest.fixture
def server(start_server: StartServer) -> Server:
    return Server(start_server())


def are_all(relays: list[Running], *states: CircuitState) -> bool:
    return all(each.relay.status().circuit in states for each in relays)


@pytest.mark.parametrize("transport", ["requests", "curl"])
def test_ten_relays_probe_a_dead_server_one_at_a_time(
    tmp_path: Path,
    redis_server: RedisServer,
    server: Server,
    start_relays: StartRelays,
    transport: str,
) -> None:
    """All pause, one of them probes, the others wait for its answer; then all send the rest."""
    config = write_settings(
        tmp_path / "moloco.json",
        server.url,
        buffer=redis_server.url(),
        transport=transport,
        connections=4,
        **QUICK,
    )
    ids = [str(number) for number in range(300)]
    put(config, *ids)
    relays = start_relays(config, 10)
    until(lambda: are_all(relays, CircuitState.OPEN, CircuitState.PROBING))
    server.is_holding = True
    for _ in range(3):
        assert server.arrived.acquire(timeout=LONG)
        assert not server.arrived.acquire(timeout=1.5)  # five times the pause between probes
        assert are_all(relays, CircuitState.OPEN, CircuitState.PROBING)
        server.answer(503)
    assert server.arrived.acquire(timeout=LONG)
    server.is_holding = False
    server.answer(200)
    until(lambda: are_all(relays, CircuitState.CLOSED))
    until(lambda: len(server.delivered) == 300)
    until(lambda: sum(each.relay.stats().delivered for each in relays) == 300)
    assert set(server.delivered.values()) == {1}


def test_relays_keep_one_pace_together(
    tmp_path: Path, redis_server: RedisServer, server: Server, start_relays: StartRelays
) -> None:
    """Four relays that may send 50 a second send no more than 50 a second, all together."""
    config = write_settings(
        tmp_path / "moloco.json",
        server.url,
        buffer=redis_server.url(),
        max_requests_per_second=50,
    )
    server.status = 200
    put(config, *(str(number) for number in range(250)))
    relays = start_relays(config, 4)
    until(lambda: len(server.delivered) == 250)
    times = sorted(server.times)
    assert times[-1] - times[0] > 0.9 * 250 / 50
    assert sum(each.relay.stats().delivered > 0 for each in relays) > 1


def test_relays_hold_still_while_redis_is_away(
    tmp_path: Path,
    start_redis: StartRedis,
    server: Server,
    start_relays: StartRelays,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What they have claimed is not sent either: other relays may have it by now. They say so."""
    redis = start_redis()
    config = write_settings(
        tmp_path / "moloco.json", server.url, buffer=redis.url(), max_requests_per_second=20
    )
    server.status = 200
    put(config, *(str(number) for number in range(200)))
    start_relays(config, 3)
    until(lambda: len(server.delivered) > 20)
    redis.freeze()
    until(lambda: "can't be used" in caplog.text)
    pause = threading.Event()
    sent = -1
    while sent != len(server.times):  # the last turns may be far from their threads
        sent = len(server.times)
        pause.wait(3.5)
    assert len(server.delivered) < 200
    redis.thaw()
    until(lambda: len(server.delivered) == 200)
