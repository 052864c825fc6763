"""A flush ends: when sending pauses, or within its bound, whatever the server does."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent import futures
from functools import partial

import pytest
from support.engines import (
    LONG,
    Bench,
    Gate,
    UnstartableThread,
    closing,
    is_lawful,
    wait_for_end_of_senders,
)

from amplitude_moloco.buffers.base import Claim
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.engine.breaker import BreakerPolicy
from amplitude_moloco.engine.facts import Paused
from amplitude_moloco.engine.runtime import Runtime
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.transports.base import SendResult

MakeBench = Callable[..., Bench]
SLOW_PROBES = BreakerPolicy(failures=1, probe_delays_seconds=(1000,))


@pytest.fixture(params=[False, True], ids=["threads", "loop"])
def make_bench(request: pytest.FixtureRequest) -> MakeBench:
    """Makes a bench whose transport has a thread for each request, or one for all."""
    return partial(Bench, is_concurrent=request.param)


@pytest.mark.parametrize("status", [401, 503])
def test_a_flush_ends_when_sending_pauses(make_bench: MakeBench, status: int) -> None:
    """If the circuit opens, a flush that waits is done with the counters, and nothing is lost."""
    gate = Gate(lambda body: SendResult(status))
    bench = make_bench(
        gate, breaker=SLOW_PROBES, flush_queue_size=100, flush_timeout_seconds=1000, connections=2
    )
    bench.put(*map(str, range(20)))
    stats = bench.engine.flush().result(LONG)
    assert (stats.accepted, stats.buffered) == (20, 20)
    bench.wait_for_fact(Paused)
    bench.engine.close(0)
    wait_for_end_of_senders()
    assert is_lawful(bench.engine.stats())


def test_a_flush_while_sending_pauses_is_done_at_once(make_bench: MakeBench) -> None:
    """While the circuit is open, a flush waits for nothing."""
    bench = make_bench(
        Gate(lambda body: SendResult(401)), breaker=SLOW_PROBES, flush_timeout_seconds=1000
    )
    bench.put("a")
    bench.wait_for_fact(Paused)
    bench.put("b")
    assert bench.engine.flush().result(LONG).buffered == 2
    bench.engine.close(0)
    wait_for_end_of_senders()


@pytest.mark.parametrize("connections", [1, 4])
def test_a_flush_ends_within_its_bound_while_the_server_hangs(
    make_bench: MakeBench, connections: int
) -> None:
    """With every connection hung, result() without a timeout returns the counters."""
    gate = Gate()
    with closing(make_bench(gate, connections=connections, flush_timeout_seconds=0.2)) as bench:
        gate.open.clear()
        bench.put(*map(str, range(8)))
        started = time.monotonic()
        stats = bench.engine.flush().result()
        assert (stats.accepted, stats.buffered) == (8, 8)
        assert time.monotonic() - started < LONG / 2
        assert bench.engine.flush().exception() is None
        gate.open.set()
        assert bench.engine.flush(LONG).result(LONG).delivered == 8


def test_the_bound_needs_no_caller_that_waits(make_bench: MakeBench) -> None:
    """A future that is only watched is done at the bound as well."""
    bench = make_bench(Gate(), max_requests_per_second=0.1, flush_timeout_seconds=0.2)
    bench.put("a", "b", "c")
    assert not futures.wait([bench.engine.flush()], LONG).not_done
    bench.engine.close(0)
    wait_for_end_of_senders()


class Unreadable(MemoryBuffer):
    """A durable buffer that stores events, and can't be read, as while its file is locked."""

    is_durable = True
    claims = 0

    def claim(self, limit: int, newest: int = 0) -> Claim:
        self.claims += 1
        raise OSError("locked")


def test_the_bound_needs_no_buffer_that_can_be_read(make_bench: MakeBench) -> None:
    """If the buffer raises, a future that is only watched is done at the bound, without a spin."""
    buffer = Unreadable()
    bench = make_bench(Gate(), buffer=buffer, flush_timeout_seconds=0.2)
    bench.put("a")
    assert not futures.wait([bench.engine.flush()], LONG).not_done
    assert buffer.claims < 10
    bench.engine.close(0)
    wait_for_end_of_senders()


def test_the_bound_needs_no_sender(make_bench: MakeBench) -> None:
    """Where no thread can be started, a flush ends at its bound."""
    runtime = Runtime(new_thread=UnstartableThread)
    with closing(make_bench(Gate(), runtime=runtime, flush_timeout_seconds=0.1)) as bench:
        bench.put("a")
        assert bench.engine.flush().result().buffered == 1


def test_a_caller_may_wait_less_or_ask_for_more(make_bench: MakeBench) -> None:
    """A shorter timeout of result() is kept; flush(timeout) may set a longer bound."""
    gate = Gate()
    gate.open.clear()
    with closing(make_bench(gate, flush_timeout_seconds=0.01)) as bench:
        bench.put("a")
        future = bench.engine.flush(LONG)
        with pytest.raises(futures.TimeoutError):
            future.result(0.05)
        gate.open.set()
        assert future.result(LONG).delivered == 1


def test_a_bound_that_cannot_work_is_refused() -> None:
    """A flush can't take no time, or for ever."""
    for seconds in (0, -1, float("inf")):
        with pytest.raises(ConfigurationError, match="flush_timeout_seconds"):
            Bench(Gate(), flush_timeout_seconds=seconds)
