"""What a buffer in Redis costs: in ``track()``, in its own thread, and in Redis's memory.

    python benchmarks/redis_buffer.py [--events 20000] [--rounds 5] [--entries 100000]
                                      [--only time|memory]

Needs ``redis-server``, and starts its own. Prints the price of one put with Redis healthy, frozen
and down against the stage's own buffer, the CPU time of the whole process for each event that it
only appends, that of claiming and acknowledging, and the memory that waiting, claimed and returned
entries take in Redis.
"""

from __future__ import annotations

import argparse
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import redis
from purchase import body, destination, purchase

from amplitude_moloco.buffers.base import Storage
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.buffers.url import open_buffer

NOWHERE = "http://127.0.0.1:9/"
_CLAIMED = 20_000
"""As many entries are claimed to see what that takes."""


class Server:
    """A Redis server in a folder of its own."""

    def __init__(self, folder: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        settings = f"--port {self.port} --bind 127.0.0.1 --dir {folder} --save --appendonly yes"
        self.process = subprocess.Popen(  # a program of the machine, with settings of our own
            ["redis-server", *settings.split(), "--logfile", f"{folder}/log"]  # noqa: S607
        )
        self.client = redis.Redis(port=self.port)
        while True:
            try:
                self.client.ping()
            except redis.ConnectionError:
                time.sleep(0.05)
            else:
                return

    def url(self, stage: str = "") -> str:
        """Returns the URL of a buffer that is new, with this stage."""
        query = f"stream={uuid.uuid4().hex}&max_events=10000000&max_bytes=10000000000"
        return f"redis://127.0.0.1:{self.port}/0?{query}{stage and '&stage='}{stage}"

    def memory(self) -> int:
        """Returns the bytes that its data takes."""
        found: dict[str, Any] = self.client.info("memory")
        return int(found["used_memory"])


def put_all(buffer: Storage, events: int, payload: bytes) -> float:
    """Returns the microseconds of CPU time that one put takes of the calling thread."""
    started = time.thread_time()
    for each in range(events):
        buffer.put(str(each), "PURCHASE", payload)
    return (time.thread_time() - started) / events * 1e6


def puts(server: Server, folder: str, events: int, rounds: int) -> None:
    """Print the price of a put, and its ratio to the stage's own: medians of ratios in a round."""
    payload, numbers = body(), iter(range(1_000_000))
    room = "?max_events=1000000&max_bytes=1000000000"

    def file() -> str:
        return f"sqlite:///{folder}/{next(numbers)}.db"

    def alone(stage: str) -> Storage:
        return open_buffer(stage, target="t")

    def over_redis(stage: str, port: int) -> Storage:
        url = server.url(stage.replace("&", "%26")).replace(str(server.port), str(port))
        return open_buffer(url, target="t")

    stages: dict[str, Callable[[], str]] = {"memory": lambda: f"memory://{room}", "file": file}
    for name, stage in stages.items():
        ratios: dict[str, list[float]] = {"healthy": [], "frozen": [], "down": []}
        own: list[float] = []
        for _ in range(rounds):
            buffer = alone(stage())
            own.append(put_all(buffer, events, payload))
            buffer.close()
            for state, found in ratios.items():
                buffer = over_redis(stage(), 9 if state == "down" else server.port)
                buffer.put("first", "PURCHASE", payload)
                time.sleep(0.2)  # it has connected, or found that it can't
                if state == "frozen":
                    server.process.send_signal(signal.SIGSTOP)
                found.append(put_all(buffer, events, payload) / own[-1])
                server.process.send_signal(signal.SIGCONT)
                buffer.close()
        print(f"put, stage in {name}: alone {statistics.median(own):.2f} us", end="")
        for state, found in ratios.items():
            print(f", Redis {state} x{statistics.median(found):.2f}", end="")
        print()


def tracks(server: Server, events: int, rounds: int) -> None:
    """Print the CPU time of the library's own work in ``track()``, and its ratios in a round."""
    room = "memory://?max_events=1000000"
    own: list[float] = []
    ratios: dict[str, list[float]] = {"healthy": [], "frozen": [], "down": []}

    def micros(buffer: str, state: str = "") -> float:
        ours = destination(NOWHERE, buffer=buffer, transport="none")
        batch = [purchase(number) for number in range(events)]
        for number, event in enumerate(batch):  # what the SDK's client does
            event.insert_id, event.time = f"{number}", int(time.time() * 1000)
        ours.execute(batch[0])
        time.sleep(0.2)  # it has connected, or found that it can't
        if state == "frozen":
            server.process.send_signal(signal.SIGSTOP)
        started = time.thread_time()
        for event in batch:
            ours.execute(event)
        found = (time.thread_time() - started) / events * 1e6
        server.process.send_signal(signal.SIGCONT)
        ours.shutdown()
        return found

    for _ in range(rounds):
        own.append(micros(room))
        for state, found in ratios.items():
            url = server.url(room)
            if state == "down":
                url = url.replace(str(server.port), "9")
            found.append(micros(url, state) / own[-1])
    print(f"own work in track(), memory: {statistics.median(own):.1f} us", end="")
    for state, found in ratios.items():
        print(f", Redis {state} x{statistics.median(found):.2f}", end="")
    print()


def until(is_true: Callable[[], object]) -> None:
    """Wait until it is true."""
    while not is_true():
        time.sleep(0.002)


def process_time(work: Callable[[], object], events: int) -> float:
    """Returns the microseconds of CPU time of the whole process for each event."""
    started = time.process_time()
    work()
    return (time.process_time() - started) / events * 1e6


def appends(server: Server, events: int, rounds: int) -> None:
    """Print the CPU time for each event that a process only appends, beyond that of its stage."""
    payload = body()
    micros, stage = [], []
    for _ in range(rounds):
        stage.append(process_time(lambda: put_all(MemoryBuffer(), events, payload), events))
        buffer: Any = open_buffer(server.url("memory://?max_events=1000000"), target="t")

        def work(buffer: Any = buffer) -> None:
            put_all(buffer, events, payload)
            until(buffer.share)

        micros.append(process_time(work, events))
        buffer.close()
    beyond = statistics.median(a - b for a, b in zip(micros, stage, strict=True))
    print(f"append only, CPU of the process: {beyond:.1f} us beyond the stage")


def claims(server: Server, events: int, rounds: int) -> None:
    """Print the CPU time of claiming an entry and acknowledging it."""
    payload = body()
    micros = []
    for _ in range(rounds):
        url = server.url("memory://?max_events=1000000")
        producer: Any = open_buffer(url, target="t")
        put_all(producer, events, payload)
        until(producer.share)
        producer.close()
        buffer: Any = open_buffer(url, target="t")
        left, is_due = [events], threading.Event()
        buffer.call_when_due(is_due.set)

        def work(
            buffer: Any = buffer, left: list[int] = left, is_due: threading.Event = is_due
        ) -> None:
            while left[0]:
                is_due.clear()
                entries = buffer.claim(64).entries
                if not entries:
                    is_due.wait(0.1)
                for entry in entries:
                    left[0] -= buffer.ack(entry)
            until(lambda: buffer.state() == (0, 0, 0))

        started = time.perf_counter()
        micros.append(process_time(work, events))
        seconds = time.perf_counter() - started
        buffer.close()
    print(f"claim and acknowledge, CPU of the process: {statistics.median(micros):.1f} us", end="")
    print(f", {events / seconds:,.0f} a second in the last round")


def memory(server: Server, entries: int) -> None:
    """Print the bytes of an entry in Redis."""
    payload = body()
    url = server.url("memory://?max_events=10000000&max_bytes=10000000000".replace("&", "%26"))
    buffer: Any = open_buffer(url, target="t")
    until(lambda: buffer.state() == (0, 0, 0))
    empty = server.memory()
    put_all(buffer, entries, payload)
    until(buffer.share)
    full = server.memory()
    waiting = (full - empty) / entries
    claimed: list[Any] = []
    some = min(entries, _CLAIMED)  # a process holds few at a time

    def claim() -> bool:
        claimed.extend(buffer.claim(some - len(claimed)).entries)
        return len(claimed) == some

    until(claim)
    held = waiting + (server.memory() - full) / some
    for entry in claimed:
        buffer.retry(entry, 1000.0, attempts=1)
    until(lambda: buffer.state() == (entries, 0, 0))
    time.sleep(1.0)
    later = waiting + (server.memory() - full) / some
    buffer.close()
    print(f"bytes of an entry in Redis, its body of {len(payload)} included: ", end="")
    print(f"{waiting:.0f} waiting, {held:.0f} claimed, {later:.0f} to be tried again")


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--only", choices=["time", "memory"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(folder)
        try:
            if arguments.only != "memory":
                tracks(server, arguments.events, arguments.rounds)
                puts(server, folder, arguments.events, arguments.rounds)
                appends(server, arguments.events, arguments.rounds)
                claims(server, arguments.events, arguments.rounds)
            if arguments.only != "time":
                memory(server, arguments.entries)
        finally:
            server.process.kill()
            server.process.wait()


if __name__ == "__main__":
    main()
