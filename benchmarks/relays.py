"""What relays on a buffer in Redis cost, and how fast they are.

    python benchmarks/relays.py [--events 10000] [--rounds 3] [--seconds 20] [--idle 10]

Needs ``redis-server`` and the extras ``cli``, ``curl``, ``redis``. Starts its own Redis, and plays
MCM. Each relay is a process. While events are stored it stands still, so that its own work alone is
measured: from the first claim to the last acknowledgement. In turn with it, the engine of a relay
sends as many events from memory: what Redis adds is the ratio of the two.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from purchase import body
from redis_buffer import Server as RedisServer
from redis_buffer import until
from server import Server

from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.engine.engine import EngineSettings, build_engine
from amplitude_moloco.relay.configuration import read_configuration

_SETTLE_SECONDS = 3.0
_START_SECONDS = 120.0


class Measured(NamedTuple):
    """One trial."""

    seconds: float
    cpu_micros: float
    """Of all relays, for each event."""
    redis_micros: float

    def per_second(self, events: int) -> float:
        """Returns the speed."""
        return events / self.seconds


def cpu_seconds(pid: int) -> float:
    """Returns the CPU time that the threads of a process have used, to the nanosecond."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(each.read_text(encoding="ascii").split()[0]) for each in tasks) / 1e9


class Relays:
    """Some relays on one new stream, as processes of their own."""

    def __init__(self, count: int, redis: RedisServer, server: Server, folder: str) -> None:
        self.redis = redis
        self.url = redis.url()
        self._config = Path(folder) / f"{uuid.uuid4().hex}.json"
        settings = {
            "api_key": "key",
            "platform_id": "SHOP",
            "base_url": server.url,
            "channel_type": "SITE",
            "buffer": self.url,
            "transport": "curl",
            "syncs": [{"event_type": "HOME", "events": ["Home"]}],
        }
        self._config.write_text(json.dumps(settings), encoding="utf-8")
        command = [sys.executable, "-m", "amplitude_moloco", "relay", str(self._config)]
        self.processes = [
            subprocess.Popen([*command, "--listen", "off"], stderr=subprocess.DEVNULL)
            for _ in range(count)
        ]

    def __enter__(self) -> Relays:
        """Wait until all have started: then they use next to no CPU time."""
        used, ends_at = 0.0, time.monotonic() + _START_SECONDS
        while time.monotonic() < ends_at:
            time.sleep(_SETTLE_SECONDS)
            before, used = used, self.cpu_seconds()[0]
            if used - before < 0.02 * _SETTLE_SECONDS * len(self.processes):
                break
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to each."""
        for process in self.processes:
            process.send_signal(number)

    def cpu_seconds(self) -> tuple[float, float]:
        """Returns the CPU time of all relays, and of Redis."""
        own = sum(cpu_seconds(process.pid) for process in self.processes)
        return own, cpu_seconds(self.redis.process.pid)

    def settings(self) -> EngineSettings:
        """Returns the settings of a relay's engine."""
        return read_configuration(self._config).settings.engine_settings()

    def fill(self, events: int) -> None:
        """Store events, while the relays stand still."""
        buffer: Any = self.settings().open_buffer()
        payload = body()
        for number in range(events):
            while buffer.put(str(number), "PURCHASE", payload):
                time.sleep(0.01)  # the stage is full
        until(buffer.share)
        buffer.close()


def deliver(relays: Relays, server: Server, events: int) -> Measured:
    """Have the relays deliver this many events."""
    relays.signal(signal.SIGSTOP)
    relays.fill(events)
    taken, before = server.taken, relays.cpu_seconds()
    started = time.perf_counter()
    relays.signal(signal.SIGCONT)
    while server.taken - taken < events:
        time.sleep(0.02)
    seconds = time.perf_counter() - started
    time.sleep(1.0)  # the last acknowledgements
    after = relays.cpu_seconds()
    own, redis = ((b - a) / events * 1e6 for a, b in zip(before, after, strict=True))
    return Measured(seconds, own, redis)


def from_memory(relays: Relays, events: int) -> float:
    """Returns the microseconds of CPU time that a relay's engine takes for an event in memory."""
    buffer = MemoryBuffer(max_events=events, max_bytes=1024**3)
    payload = body()
    for number in range(events):
        buffer.put(str(number), "PURCHASE", payload)
    engine = build_engine(replace(relays.settings(), open_buffer=lambda: buffer))
    started = time.process_time()
    engine.flush(timeout_seconds=_START_SECONDS).result()
    seconds = time.process_time() - started
    engine.close(0.0)
    return seconds / events * 1e6


def speeds(redis: RedisServer, folder: str, events: int, rounds: int) -> None:
    """Print the price of an event, and what a second relay is worth."""
    with Server() as server, Relays(1, redis, server, folder) as relays:
        found, floors = [], []
        for _ in range(rounds):
            found.append(deliver(relays, server, events))
            floors.append(from_memory(relays, events))
    own, its = (statistics.median(each[column] for each in found) for column in (1, 2))
    ratio = statistics.median(each[1] / floor for each, floor in zip(found, floors, strict=True))
    speed = statistics.median(each.per_second(events) for each in found)
    print(f"one relay, answers at once: {own:.0f} us of CPU time an event, {its:.0f} us in Redis")
    print(f"  {speed:,.0f} a second")
    print(f"  x{ratio:.2f} of the engine over memory: {statistics.median(floors):.0f} us")
    ratios, one = [], []
    with Server() as server, ExitStack() as stack:
        server.set("delay_millis", 50)
        both = [stack.enter_context(Relays(count, redis, server, folder)) for count in (1, 2)]
        for _ in range(rounds):
            single, double = (deliver(each, server, events) for each in both)
            ratios.append(single.seconds / double.seconds)
            one.append(single.per_second(events))
    speed, ratio = statistics.median(one), statistics.median(ratios)
    print(f"answers after 50 ms: one relay {speed:,.0f} a second, two x{ratio:.2f}")


def idle(redis: RedisServer, folder: str, count: int, seconds: float) -> None:
    """Print what relays cost that have nothing to do."""
    before_any = cpu_seconds(redis.process.pid)
    time.sleep(seconds)
    alone = (cpu_seconds(redis.process.pid) - before_any) / seconds
    with Server() as server, Relays(count, redis, server, folder) as relays:
        time.sleep(_SETTLE_SECONDS)
        before = relays.cpu_seconds()
        time.sleep(seconds)
        own, its = (b - a for a, b in zip(before, relays.cpu_seconds(), strict=True))
    own, its = own / seconds, its / seconds
    print(f"{count} idle relays: {own:.2%} of a core together, Redis {its:.2%}", end="")
    print(f", which takes {alone:.2%} alone")


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--idle", type=int, default=10)
    parser.add_argument("--only", choices=["speed", "idle"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        redis = RedisServer(folder)
        try:
            if arguments.only != "idle":
                speeds(redis, folder, arguments.events, arguments.rounds)
            if arguments.only != "speed":
                idle(redis, folder, arguments.idle, arguments.seconds)
        finally:
            redis.process.kill()
            redis.process.wait()


if __name__ == "__main__":
    main()
