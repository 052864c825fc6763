"""Senders that have nothing to do end after a while, and come back with the next event."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from support.engines import LONG, Bench, ConcurrentGate, Gate, GateLoop, closing, senders

from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.engine.runtime import Runtime
from amplitude_moloco.engine.threads import Threads
from amplitude_moloco.transports.base import SendResult

MakeBench = Callable[..., Bench]


class Leave(BaseException):
    """What ends a thread, and is no Exception."""


IMPATIENT = Runtime(idle_seconds=0.02)


@pytest.fixture(params=[False, True], ids=["threads", "loop"])
def make_bench(request: pytest.FixtureRequest) -> MakeBench:
    """Makes a bench whose transport has a thread for each request, or one for all."""
    return partial(Bench, is_concurrent=request.param)


def wait_for_no_senders() -> None:
    ends_at = time.monotonic() + LONG
    while running := senders():
        running[0].join(LONG)
        assert time.monotonic() < ends_at


def test_idle_senders_end_and_the_next_event_starts_one(make_bench: MakeBench) -> None:
    """After a rest without events no thread is left; again and again, the next event is sent."""
    with closing(make_bench(Gate(), runtime=IMPATIENT)) as bench:
        for number in range(5):
            bench.put(*(f"{number}-{each}" for each in range(10)))
            bench.wait_for_delivered(10 * (number + 1))
            wait_for_no_senders()


def test_no_event_is_forgotten_between_the_last_senders_end_and_the_next_start(
    make_bench: MakeBench,
) -> None:
    """Events that come in the very moment at which idle senders end are sent."""
    with closing(make_bench(Gate(), runtime=Runtime(idle_seconds=0.001))) as bench:
        for number in range(300):
            bench.put(str(number))
            bench.wait_for_delivered(number + 1)


def test_a_sender_waits_for_a_retry_however_long(make_bench: MakeBench) -> None:
    """While an event waits for its next attempt, one sender stays."""
    answers = [SendResult(503), SendResult(200)]
    gate = Gate(lambda body: answers.pop(0))
    retry = RetrySchedule(delays_seconds=(0.3,), jitter=0)
    with closing(make_bench(gate, retry=retry, runtime=IMPATIENT)) as bench:
        bench.put("a")
        bench.wait_for_delivered(1)


class Durable(MemoryBuffer):
    """Looks like a durable buffer, which other processes may store events in."""

    is_durable = True


class CountingThread(threading.Thread):
    """Counts those that were started, and those that have ended."""

    started = 0
    ended = threading.Semaphore(0)

    def start(self) -> None:
        CountingThread.started += 1
        super().start()

    def run(self) -> None:
        super().run()
        self.ended.release()


def test_one_thread_watches_an_idle_durable_buffer() -> None:
    """After a rest one thread is left, which looks after what other processes store."""
    CountingThread.started, CountingThread.ended = 0, threading.Semaphore(0)
    runtime = Runtime(idle_seconds=0.02, new_thread=CountingThread)
    gate = Gate()
    gate.open.clear()
    with closing(Bench(gate, buffer=Durable(), connections=8, runtime=runtime)) as bench:
        bench.put(*map(str, range(8)))
        gate.wait_for(8)
        gate.open.set()
        bench.wait_for_delivered(8)
        for _ in range(CountingThread.started - 1):
            assert CountingThread.ended.acquire(timeout=LONG)
        assert not CountingThread.ended.acquire(timeout=0.1)
        assert CountingThread.started == 8
        bench.put("later")
        bench.wait_for_delivered(9)


def test_idle_connections_are_closed() -> None:
    """Before idle senders end, the connections that they have kept alive are closed."""
    closed = threading.Event()

    class Keeping(Gate):
        def close_idle(self) -> None:
            closed.set()

    class KeepingLoop(GateLoop):
        def close(self) -> None:
            loop_closed.set()

    loop_closed = threading.Event()
    with closing(Bench(Keeping(), runtime=IMPATIENT)) as bench:
        bench.put("a")
        assert closed.wait(LONG)
    gate = Gate()
    transport = ConcurrentGate(gate)
    transport.open_loop = lambda: KeepingLoop(gate)  # type: ignore[method-assign]
    with closing(Bench(gate, transport=transport, runtime=IMPATIENT)) as bench:
        bench.put("a")
        assert loop_closed.wait(LONG)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_whatever_ends_a_thread_another_takes_over() -> None:
    """If a thread ends while another is needed, one is started in its place."""
    runs: list[int] = []
    made: list[threading.Thread] = []
    is_done = threading.Event()

    def new_thread(**arguments: Any) -> threading.Thread:
        made.append(threading.Thread(**arguments))
        return made[-1]

    def run() -> None:
        runs.append(len(runs))
        if len(runs) < 3:
            raise Leave
        is_done.set()

    threads = Threads(
        run,
        most=1,
        name="test",
        new_thread=new_thread,
        is_needed=lambda: not is_done.is_set(),
    )
    assert threads.start_one()
    assert is_done.wait(LONG)
    for thread in made:
        thread.join(LONG)
    assert len(runs) == len(made) == 3
