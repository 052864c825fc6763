"""An engine over a transport that the test holds in its hands."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from amplitude_moloco.buffers.base import Storage
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.engine.breaker import BreakerPolicy
from amplitude_moloco.engine.engine import EngineSettings, Partner, build_engine
from amplitude_moloco.engine.facts import Delivered, Fact
from amplitude_moloco.engine.ledger import Stats
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.engine.runtime import Runtime
from amplitude_moloco.moloco.answers import classify
from amplitude_moloco.transports.base import SendResult, Transport

LONG = 30.0
"""Seconds after which a wait in a test has failed."""
SERVER = "The server"


class Gate:
    """A transport that holds every request until it is opened, then answers as the test says."""

    def __init__(self, answer: Callable[[bytes], SendResult] | None = None) -> None:
        self.answer = answer or (lambda body: SendResult(200))
        self.open = threading.Event()
        self.open.set()
        self.arrived = threading.Semaphore(0)
        self.sent: list[bytes] = []
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def send(self, body: bytes) -> SendResult:
        self.enter(body)
        self.open.wait(LONG)
        return self.leave(body)

    def enter(self, body: bytes) -> None:
        with self._lock:
            self.sent.append(body)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self.arrived.release()

    def leave(self, body: bytes) -> SendResult:
        with self._lock:
            self.at_once -= 1
        return self.answer(body)

    def wait_for(self, requests: int) -> None:
        for _ in range(requests):
            assert self.arrived.acquire(timeout=LONG)

    def close(self) -> None: ...


class ConcurrentGate:
    """The same gate as a transport that has many requests on their way in one thread."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.send, self.close = gate.send, gate.close

    def open_loop(self) -> GateLoop:
        return GateLoop(self._gate)


class GateLoop:
    """Requests that wait in a gate."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._inside: deque[tuple[object, bytes]] = deque()

    def start(self, tag: object, body: bytes) -> None:
        self._inside.append((tag, body))
        self._gate.enter(body)

    def poll(self, timeout_seconds: float) -> list[tuple[object, SendResult]]:
        if not (self._inside and self._gate.open.wait(min(timeout_seconds, 0.001))):
            return []
        tag, body = self._inside.popleft()
        return [(tag, self._gate.leave(body))]

    def close(self) -> None: ...


class Bench:
    """An engine over a gate, with everything it tells its hooks."""

    def __init__(
        self,
        gate: Gate,
        *,
        is_concurrent: bool = False,
        connections: int = 4,
        flush_queue_size: int = 1,
        flush_interval_millis: int = 1,
        buffer: Storage | None = None,
        retry: RetrySchedule | None = None,
        breaker: BreakerPolicy | None = None,
        max_requests_per_second: float | None = None,
        flush_timeout_seconds: float = LONG,
        runtime: Runtime | None = None,
        hook: Callable[[Fact], object] = lambda fact: None,
        transport: Transport | None = None,
        partner: Partner | None = None,
        **more: Any,
    ) -> None:
        self.gate = gate
        self.transport = transport or (ConcurrentGate(gate) if is_concurrent else gate)
        self.facts: list[Fact] = []
        self.told = threading.Condition()
        self.buffer = buffer or MemoryBuffer()
        self.engine = build_engine(
            EngineSettings(
                partner=partner or Partner(SERVER, "the key", classify),
                open_buffer=lambda: self.buffer,
                open_transport=lambda: self.transport,
                hooks=(self._hear, hook),
                retry=retry or RetrySchedule(delays_seconds=(1000,)),
                breaker=breaker or BreakerPolicy(),
                max_requests_per_second=max_requests_per_second,
                connections=connections,
                flush_queue_size=flush_queue_size,
                flush_interval_millis=flush_interval_millis,
                flush_timeout_seconds=flush_timeout_seconds,
                **more,
            ),
            runtime or Runtime(),
        )

    def _hear(self, fact: Fact) -> None:
        with self.told:
            self.facts.append(fact)
            self.told.notify_all()

    def put(self, *ids: str) -> None:
        for id in ids:
            self.engine.put(id, "HOME", id.encode())

    def facts_of(self, kind: type[Fact]) -> list[Fact]:
        return [fact for fact in self.facts if isinstance(fact, kind)]

    def wait_for_fact(self, kind: type[Fact]) -> None:
        with self.told:
            assert self.told.wait_for(lambda: self.facts_of(kind), LONG)

    def wait_for_facts(self, count: int) -> None:
        with self.told:
            assert self.told.wait_for(lambda: len(self.facts) >= count, LONG)

    def wait_for_delivered(self, count: int) -> None:
        with self.told:
            assert self.told.wait_for(lambda: len(self.facts_of(Delivered)) >= count, LONG)

    def lost(self) -> int:
        """How many events close() has lost."""
        return self.engine.stats().dropped.get("shutdown", 0)


def is_lawful(stats: Stats) -> bool:
    """Whether the counters obey the law, with no negative one."""
    by_reason = (stats.invalid, stats.dropped, stats.dead_lettered)
    ends = stats.delivered + sum(sum(reasons.values()) for reasons in by_reason)
    is_balanced = stats.accepted + stats.taken_over == ends + stats.buffered + stats.handed_on
    return is_balanced and stats.buffered >= 0


def senders() -> list[threading.Thread]:
    """The sender threads that run now."""
    return [thread for thread in threading.enumerate() if thread.name == f"{SERVER}-sender"]


def wait_for_end_of_senders() -> None:
    """Join every sender."""
    for sender in senders():
        sender.join(LONG)
    assert senders() == []


@contextmanager
def closing(bench: Bench) -> Iterator[Bench]:
    """Let everything through at the end, and hold the counters against the law."""
    try:
        yield bench
    finally:
        bench.gate.open.set()
        bench.engine.close(LONG)
        assert is_lawful(bench.engine.stats())


class UnstartableThread(threading.Thread):
    """A thread that can't be started, as while the interpreter ends."""

    def start(self) -> None:
        raise RuntimeError("can't start new thread")
