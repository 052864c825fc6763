"""What a sender is told to do, step by step, with no sender and no time of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.clock import Clock

from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.engine.breaker import BreakerPolicy, CircuitBreaker
from amplitude_moloco.engine.delivery import Delivery
from amplitude_moloco.engine.dispatcher import Dispatcher, Send, Stop, Wait, Work
from amplitude_moloco.engine.ledger import Ledger
from amplitude_moloco.engine.rate import RateLimiter
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.engine.runtime import Runtime
from amplitude_moloco.engine.tending import Tending
from amplitude_moloco.engine.window import Window
from amplitude_moloco.moloco.answers import classify
from amplitude_moloco.transports.base import SendResult

Make = Callable[..., Dispatcher]


@pytest.fixture
def buffer() -> MemoryBuffer:
    return MemoryBuffer()


@pytest.fixture
def make(buffer: MemoryBuffer, clock: Clock) -> Make:
    """Makes one with four connections. Two failures in a row open its circuit."""

    def make(*, may_drain: bool = True) -> Dispatcher:
        monotonic = clock.monotonic
        breaker = CircuitBreaker(BreakerPolicy(failures=1), monotonic)
        rate, ledger = RateLimiter(None, monotonic), Ledger((), monotonic)
        delivery = Delivery(
            buffer,
            classify=classify,
            breaker=breaker,
            rate=rate,
            retry=RetrySchedule(),
            ledger=ledger,
            monotonic=monotonic,
        )
        return Dispatcher(
            buffer,
            delivery,
            breaker=breaker,
            rate=rate,
            ledger=ledger,
            tending=Tending(buffer, ledger, monotonic, may_drain=may_drain),
            window=Window(4, monotonic),
            delivers=True,
            flush_queue_size=2,
            flush_interval_seconds=10.0,
            flush_timeout_seconds=10.0,
            wake=lambda: None,
            runtime=Runtime(monotonic=monotonic),
        )

    return make


def ask(dispatcher: Dispatcher, times: int) -> list[Work | str]:
    """Returns what as many senders are told: the id of an event that they send, or all else."""
    works = [dispatcher.next_work() for _ in range(times)]
    return [work.entry.id if isinstance(work, Send) else work for work in works]


def put(dispatcher: Dispatcher, ids: str) -> None:
    for id in ids:
        dispatcher.put(id, "HOME", b"{}")


def test_a_service_that_ends_returns_what_is_claimed_and_not_sent(
    make: Make, buffer: MemoryBuffer
) -> None:
    """What is staged when it begins to end waits in the buffer again; nothing more is sent."""
    dispatcher = make(may_drain=False)
    put(dispatcher, "ab")
    assert ask(dispatcher, 1) == ["a"]
    assert dispatcher.has_staged
    dispatcher.begin_closing()
    assert not isinstance(dispatcher.next_work(), Send)
    assert not dispatcher.has_staged
    assert buffer.state().waiting == 1


def test_an_app_that_ends_sends_what_is_claimed(make: Make) -> None:
    """All that it has in memory is sent at the end."""
    dispatcher = make()
    put(dispatcher, "ab")
    assert ask(dispatcher, 1) == ["a"]
    dispatcher.begin_closing()
    assert ask(dispatcher, 1) == ["b"]


def test_a_circuit_that_opens_returns_what_is_claimed(
    make: Make, buffer: MemoryBuffer, clock: Clock
) -> None:
    """What is staged waits in the buffer, until a probe is due: one event, sent alone."""
    dispatcher = make()
    put(dispatcher, "abcd")
    for _ in range(2):
        work = dispatcher.next_work()
        assert isinstance(work, Send)
        dispatcher.settle(work, SendResult(503), 0.0)
    assert dispatcher.has_staged
    assert isinstance(dispatcher.next_work(), Wait)
    assert not dispatcher.has_staged
    assert buffer.state().waiting == 4
    clock.advance(5.0)
    probe = dispatcher.next_work()
    assert isinstance(probe, Send)
    assert probe.is_probe
    assert isinstance(dispatcher.next_work(), Wait)
    dispatcher.settle(probe, SendResult(200), 0.0)
    assert isinstance(dispatcher.next_work(), Send)


def test_nothing_is_handed_out_after_stop(make: Make) -> None:
    """A stopped one tells every sender to stop, and what is staged is returned by release()."""
    dispatcher = make()
    put(dispatcher, "ab")
    ask(dispatcher, 1)
    dispatcher.stop()
    assert ask(dispatcher, 2) == [Stop(), Stop()]
    dispatcher.release()
    assert not dispatcher.has_staged
