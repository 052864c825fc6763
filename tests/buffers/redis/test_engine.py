"""An engine over a buffer in Redis, with the buffer's own thread."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from support.clock import Clock
from support.engines import LONG, Bench, Gate, closing, is_lawful
from support.redis_server import RedisServer, StartRedis

from amplitude_moloco.buffers.base import Storage
from amplitude_moloco.buffers.url import open_buffer
from amplitude_moloco.engine.breaker import BreakerPolicy
from amplitude_moloco.engine.facts import Degraded
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.engine.runtime import Runtime
from amplitude_moloco.transports.base import SendResult

QUICK = RetrySchedule(delays_seconds=(0.001,), then_seconds=0.001, jitter=0)


@pytest.fixture(params=[False, True], ids=["threads", "loop"])
def is_concurrent(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def url(redis_server: RedisServer) -> str:
    return redis_server.url()


def over(url: str) -> Storage:
    return open_buffer(url, target="t")


def until(is_true: Callable[[], object]) -> None:
    """The timeout of the test is the bound. On a busy machine Redis may be too slow for once."""
    pause = threading.Event()
    while True:
        with suppress(OSError):
            if is_true():
                return
        pause.wait(0.01)


def test_what_is_put_is_delivered_once(url: str, *, is_concurrent: bool) -> None:
    """Events are delivered once each, and a flush ends when they are; the counters add up."""
    bench = Bench(Gate(), buffer=over(url), is_concurrent=is_concurrent)
    with closing(bench):
        bench.put(*map(str, range(500)))
        bench.engine.flush(LONG).result(LONG)
        stats = bench.engine.stats()
        assert (stats.accepted, stats.handed_on) == (500, 500)
        assert (stats.taken_over, stats.delivered, stats.buffered) == (500, 500, 0)
        assert Counter(bench.gate.sent) == Counter(b"%d" % number for number in range(500))
        until(lambda: bench.engine.buffer_state() == (0, 0, 0))


def test_an_idle_process_learns_of_others_events(url: str, *, is_concurrent: bool) -> None:
    """A process that waits for events sends what another one stores, and flushes for nobody."""
    heir = Bench(Gate(), buffer=over(url), is_concurrent=is_concurrent)
    shop = over(url)
    with closing(heir):
        heir.engine.start()
        for number in range(100):
            assert shop.put(str(number), "HOME", b"%d" % number) is None
        heir.wait_for_delivered(100)
        stats = heir.engine.stats()
        assert (stats.accepted, stats.taken_over, stats.delivered) == (0, 100, 100)
    assert shop.close() == []


def test_two_processes_share_the_work(url: str, *, is_concurrent: bool) -> None:
    """Two engines send each event once, whichever has stored it, with failures and refusals."""
    statuses = {0: 400, 1: 503, 2: 200}
    tries: Counter[bytes] = Counter()

    def answer(body: bytes) -> SendResult:
        tries[body] += 1
        status = statuses[int(body) % 3]
        return SendResult(200 if status == 503 and tries[body] > 2 else status)

    benches = [
        Bench(
            Gate(answer),
            buffer=over(url),
            is_concurrent=is_concurrent,
            retry=QUICK,
            breaker=BreakerPolicy(failures=1_000),  # each would open the circuit of both
        )
        for _ in range(2)
    ]
    with closing(benches[0]), closing(benches[1]):
        for number in range(300):
            benches[number % 2].put(str(number))
        until(lambda: benches[0].engine.buffer_state() == (0, 0, 100))
        stats = [bench.engine.stats() for bench in benches]
        assert all(map(is_lawful, stats))
        assert sum(each.delivered for each in stats) == 200
        assert sum(each.dead_lettered.get("rejected", 0) for each in stats) == 100
        assert benches[0].engine.resend(["0", "3"]) == 2
        until(lambda: sum(benches[0].engine.buffer_state()) == 100)


def test_an_outage_of_redis_costs_time(start_redis: StartRedis, *, is_concurrent: bool) -> None:
    """While Redis is down events are accepted, and the reason is told; then all are delivered."""
    server = start_redis()
    bench = Bench(Gate(), buffer=over(server.url()), is_concurrent=is_concurrent)
    with closing(bench):
        bench.put("a")
        bench.wait_for_delivered(1)
        server.end()
        bench.put("b", "c")
        bench.wait_for_fact(Degraded)
        assert bench.engine.stats().dropped == {}
        server.start()
        until(lambda: {*bench.gate.sent} == {b"a", b"b", b"c"})


def test_the_end_loses_nothing(url: str, *, is_concurrent: bool) -> None:
    """What a process has stored and not sent at its end, the next one sends."""
    gate = Gate()
    gate.open.clear()
    bench = Bench(gate, buffer=over(url), is_concurrent=is_concurrent, connections=2)
    bench.put(*map(str, range(20)))
    gate.wait_for(2)
    bench.engine.close(0.0)
    assert is_lawful(bench.engine.stats())
    assert bench.lost() == 0
    gate.open.set()
    heir = Bench(Gate(), buffer=over(url), is_concurrent=is_concurrent)
    with closing(heir):
        heir.engine.start()
        heir.wait_for_delivered(20)


def test_a_health_check_sees_at_once_that_redis_is_away(
    start_redis: StartRedis, *, is_concurrent: bool
) -> None:
    """A service's status has the fault before the buffer's next regular reading or tending."""
    server = start_redis()
    never = Runtime(monotonic=Clock().monotonic)  # it stands still, and neither is ever due
    service: dict[str, Any] = {"runtime": never, "heartbeat": lambda: None, "heartbeat_seconds": 5}
    bench = Bench(Gate(), buffer=over(server.url()), is_concurrent=is_concurrent, **service)
    with closing(bench):
        bench.engine.start()
        until(lambda: bench.engine.buffer_state() == (0, 0, 0))
        server.end()
        until(lambda: "can't be used: " in bench.engine.status().buffer_fault)
