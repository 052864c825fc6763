"""The two kinds of senders, where they differ."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest
from support.engines import (
    LONG,
    Bench,
    ConcurrentGate,
    Gate,
    GateLoop,
    UnstartableThread,
    closing,
    is_lawful,
    senders,
)

from amplitude_moloco.buffers.base import Claim, Entry
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.engine.breaker import BreakerPolicy
from amplitude_moloco.engine.facts import Delivered, Fact, Retrying
from amplitude_moloco.engine.runtime import Runtime
from amplitude_moloco.transports.base import RequestLoop, SendResult, Transport


class LoopTransport:
    """A transport whose loops the test makes."""

    def __init__(self, open_loop: Callable[[], RequestLoop]) -> None:
        self.open_loop = open_loop

    def send(self, body: bytes) -> SendResult:
        raise NotImplementedError

    def close(self) -> None: ...


class Forgetful(MemoryBuffer):
    """A buffer that raises when a certain event is to be removed."""

    def ack(self, entry: Entry) -> bool:
        if entry.id == "bad":
            raise OSError("disk")
        return super().ack(entry)


def bench_over(transport: Transport, **settings: object) -> Bench:
    bench: Callable[..., Bench] = partial(Bench, Gate(), transport=transport)
    return bench(**settings)


@pytest.mark.parametrize("is_concurrent", [False, True], ids=["threads", "loop"])
def test_a_thread_for_each_request_or_one_for_all(is_concurrent: bool) -> None:
    """Ten requests on their way take several threads, or one that has a loop."""
    gate = Gate()
    with closing(Bench(gate, is_concurrent=is_concurrent, connections=10)) as bench:
        gate.open.clear()
        bench.put(*map(str, range(20)))
        gate.wait_for(10)
        assert gate.at_once == 10
        assert len(senders()) == (1 if is_concurrent else 10)


@pytest.mark.parametrize("is_concurrent", [False, True], ids=["threads", "loop"])
def test_one_events_trouble_is_not_the_others(
    is_concurrent: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Where one event can't be settled, those beside it are."""
    bench = Bench(Gate(), is_concurrent=is_concurrent, buffer=Forgetful())
    bench.put("a", "bad", "c")
    bench.wait_for_delivered(2)
    assert {fact.id for fact in bench.facts if isinstance(fact, Delivered)} == {"a", "c"}
    bench.engine.close(0)
    assert "A sender failed, and goes on" in caplog.messages


@pytest.mark.parametrize("is_concurrent", [False, True], ids=["threads", "loop"])
def test_a_hook_that_exits_strands_nothing(is_concurrent: bool) -> None:
    """sys.exit() in a hook neither ends a sender nor leaves anything on its way."""

    def leave(fact: Fact) -> None:
        raise SystemExit

    with closing(Bench(Gate(), is_concurrent=is_concurrent, hook=leave)) as bench:
        bench.put(*map(str, range(50)))
        assert bench.engine.flush().result(LONG).delivered == 50


@pytest.mark.parametrize("error", [ValueError("broken"), SystemExit()], ids=repr)
def test_a_transport_that_raises_loses_nothing(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a transport raises counts as a fault of the network, named after its kind."""

    class Broken(Gate):
        def send(self, body: bytes) -> SendResult:
            raise error

    with closing(Bench(Broken())) as bench:
        bench.put("a")
        bench.wait_for_fact(Retrying)
    assert [fact.reason for fact in bench.facts if isinstance(fact, Retrying)] == [
        type(error).__name__
    ]
    assert "The transport raised" in caplog.messages


def test_a_loop_that_can_not_be_opened_loses_nothing() -> None:
    """Where no loop can be opened, the event is tried again later."""

    def fail() -> RequestLoop:
        raise OSError("no more files")

    bench = bench_over(LoopTransport(fail))
    bench.put("a")
    bench.wait_for_fact(Retrying)
    assert [fact.reason for fact in bench.facts if isinstance(fact, Retrying)] == ["OSError"]
    bench.engine.close(0)
    assert is_lawful(bench.engine.stats())


def test_what_a_broken_loop_had_on_its_way_is_tried_again() -> None:
    """Where a loop breaks, all it had on its way comes again later, over a new loop."""
    gate = Gate()
    loops: list[Breaking] = []

    class Breaking(GateLoop):
        is_closed = False

        def poll(self, timeout_seconds: float) -> list[tuple[object, SendResult]]:
            if loops == [self]:
                raise RuntimeError("broken")
            return super().poll(timeout_seconds)

        def close(self) -> None:
            self.is_closed = True

    def open_loop() -> RequestLoop:
        loops.append(Breaking(gate))
        return loops[-1]

    bench = bench_over(LoopTransport(open_loop), flush_queue_size=2, flush_interval_millis=30_000)
    bench.put("a", "b")
    bench.wait_for_facts(2)
    assert {(fact.id, fact.reason) for fact in bench.facts if isinstance(fact, Retrying)} == {
        ("a", "RuntimeError"),
        ("b", "RuntimeError"),
    }
    assert loops[0].is_closed
    bench.put("c", "d")
    bench.wait_for_delivered(2)
    assert len(loops) == 2
    bench.engine.close(0)
    assert is_lawful(bench.engine.stats())
    assert all(loop.is_closed for loop in loops)


def test_answers_are_read_while_a_hook_is_slow() -> None:
    """While a hook call takes long, the loop is polled again before the next result is reported."""
    polls: list[int] = []
    told: list[str] = []

    class Counting(GateLoop):
        def poll(self, timeout_seconds: float) -> list[tuple[object, SendResult]]:
            polls.append(len(told))
            return [result for _ in range(4) for result in super(Counting, self).poll(0.001)]

    def slow(fact: Fact) -> None:
        threading.Event().wait(0.11)
        told.append(type(fact).__name__)

    gate = Gate()
    bench = bench_over(
        LoopTransport(lambda: Counting(gate)),
        flush_queue_size=4,
        flush_interval_millis=30_000,
        hook=slow,
    )
    bench.put("a", "b", "c", "d")
    bench.wait_for_delivered(4)
    bench.engine.close(LONG)
    assert {1, 2, 3} <= set(polls)


def test_a_result_that_came_before_its_loop_broke_counts() -> None:
    """An answer that was read before the loop broke is not taken for unanswered."""
    gate = Gate()

    class Breaking(GateLoop):
        polls = 0

        def poll(self, timeout_seconds: float) -> list[tuple[object, SendResult]]:
            self.polls += 1
            if self.polls > 1:
                raise RuntimeError("broken")
            return [result for _ in range(2) for result in super(Breaking, self).poll(1.0)]

    def slow(fact: Fact) -> None:
        threading.Event().wait(0.11)

    bench = bench_over(
        LoopTransport(lambda: Breaking(gate)),
        flush_queue_size=2,
        flush_interval_millis=30_000,
        hook=slow,
    )
    bench.put("a", "b")
    bench.wait_for_delivered(2)
    bench.engine.close(LONG)
    assert [type(fact) for fact in bench.facts] == [Delivered, Delivered]


@pytest.mark.parametrize("is_concurrent", [False, True], ids=["threads", "loop"])
def test_what_goes_wrong_where_no_thread_runs_ends_nothing(
    is_concurrent: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Trouble of the buffer in the thread that closes is logged, and asked about again later."""

    class Broken(MemoryBuffer):
        def claim(self, limit: int, newest: int = 0) -> Claim:
            raise OSError("disk")

    bench = Bench(
        Gate(),
        is_concurrent=is_concurrent,
        buffer=Broken(),
        runtime=Runtime(new_thread=UnstartableThread),
    )
    bench.put("a")
    again_seconds = 0.0
    while again_seconds <= 1:  # until the flush interval is over, and the claim has failed
        again_seconds = bench.engine.work_here(time.monotonic() + LONG)
    assert 4 < again_seconds <= 5
    assert caplog.messages == ["A sender failed, and goes on"]
    bench.engine.close(0)
    assert is_lawful(bench.engine.stats())


@pytest.mark.parametrize("is_concurrent", [False, True], ids=["threads", "loop"])
def test_ctrl_c_while_the_main_thread_sends_reaches_the_app(is_concurrent: bool) -> None:
    """Where close() has to send itself, Ctrl-C ends it; what was not sent is counted."""

    class Pressed(MemoryBuffer):
        def claim(self, limit: int, newest: int = 0) -> Claim:
            raise KeyboardInterrupt

    bench = Bench(
        Gate(),
        is_concurrent=is_concurrent,
        buffer=Pressed(),
        runtime=Runtime(new_thread=UnstartableThread),
    )
    bench.put("a")
    with pytest.raises(KeyboardInterrupt):
        bench.engine.close(LONG)
    assert bench.lost() == 1
    assert is_lawful(bench.engine.stats())


def test_at_a_probe_no_other_request_is_on_its_way() -> None:
    """With the circuit open, a loop sends one probe at a time and returns what it had staged."""
    gate = Gate(lambda body: SendResult(401))
    breaker = BreakerPolicy(probe_delays_seconds=(0.01,), then_seconds=0.01)
    bench = Bench(gate, is_concurrent=True, connections=4, breaker=breaker)
    bench.put(*map(str, range(8)))
    gate.wait_for(4)
    gate.most_at_once = 0
    gate.wait_for(8)
    assert gate.most_at_once == 1
    bench.engine.close(0)


def test_the_concurrent_gate_is_seen_as_concurrent(caplog: pytest.LogCaptureFixture) -> None:
    """A transport with a method open_loop is driven by one thread, any other by several."""
    caplog.set_level(logging.DEBUG)
    with closing(Bench(Gate(), is_concurrent=True)) as bench:
        bench.put("a")
        bench.wait_for_delivered(1)
    assert isinstance(bench.transport, ConcurrentGate)
