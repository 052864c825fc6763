"""The engine over both kinds of senders: when entries leave, what flush and close promise."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import wait
from functools import partial
from queue import Queue

import pytest
from support.clock import Clock
from support.engines import (
    LONG,
    SERVER,
    Bench,
    Gate,
    UnstartableThread,
    closing,
    is_lawful,
    senders,
    wait_for_end_of_senders,
)
from support.waiting import await_that

from amplitude_moloco.buffers.base import BufferState, Claim, Entry
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.convert.problem import Problem, ProblemReason
from amplitude_moloco.engine.breaker import BreakerPolicy
from amplitude_moloco.engine.facts import Delivered, Dropped, Fact, Invalid, Paused
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.engine.runtime import Awaited, Runtime
from amplitude_moloco.reasons import DropReason
from amplitude_moloco.transports.base import SendResult

INVALID = Invalid(
    "SEARCH", "id", "Searched", (Problem("search_query", ProblemReason.MISSING, "-", "-"),)
)
MakeBench = Callable[..., Bench]


@pytest.fixture(params=[False, True], ids=["threads", "loop"])
def make_bench(request: pytest.FixtureRequest) -> MakeBench:
    """Makes a bench whose transport has a thread for each request, or one for all."""
    return partial(Bench, is_concurrent=request.param)


def test_no_thread_starts_before_the_first_event(make_bench: MakeBench) -> None:
    """Construction, flush of nothing and close start no thread; the first event does."""
    bench = make_bench(Gate())
    assert bench.engine.flush().result(LONG).accepted == 0
    assert senders() == []
    with closing(bench):
        bench.put("a")
        assert senders()
    assert senders() == []


def test_a_lone_event_leaves_after_the_interval(make_bench: MakeBench) -> None:
    """One event leaves without any other, once the flush interval is over."""
    started = time.monotonic()
    with closing(make_bench(Gate(), flush_queue_size=100, flush_interval_millis=200)) as bench:
        bench.put("a")
        bench.gate.wait_for(1)
        assert time.monotonic() - started >= 0.2


def test_a_full_queue_leaves_at_once(make_bench: MakeBench) -> None:
    """As many events as the flush queue holds do not wait for the interval."""
    with closing(make_bench(Gate(), flush_queue_size=3, flush_interval_millis=30_000)) as bench:
        bench.put("a", "b")
        assert bench.gate.sent == []
        bench.put("c")
        bench.wait_for_facts(3)


def test_flush_is_done_when_everything_before_it_was_tried_once(make_bench: MakeBench) -> None:
    """Flush waits for delivered, buried and once-tried events put before it, and for no other."""
    answers = {b"a": SendResult(200), b"b": SendResult(400), b"c": SendResult(503)}
    gate = Gate(lambda body: answers.get(body, SendResult(200)))
    with closing(make_bench(gate, flush_queue_size=100, flush_interval_millis=30_000)) as bench:
        gate.open.clear()
        bench.put("a", "b", "c")
        future = bench.engine.flush()
        gate.wait_for(3)
        bench.put("later")
        assert not future.done()
        gate.open.set()
        stats = future.result(LONG)
        assert (stats.delivered, stats.dead_lettered, stats.retried) == (1, {"rejected": 1}, 1)
        assert stats.buffered == 2
        assert bench.buffer.state().waiting == 2  # one for its retry, the later one its interval


def test_a_flush_future_cannot_be_cancelled(make_bench: MakeBench) -> None:
    """Cancelling a flush is refused, since its events are on their way."""
    with closing(make_bench(Gate())) as bench:
        bench.gate.open.clear()
        bench.put("a")
        future = bench.engine.flush()
        assert not future.cancel()
        bench.gate.open.set()
        assert future.result(LONG).delivered == 1


def test_a_hung_request_does_not_hold_up_the_next_event(make_bench: MakeBench) -> None:
    """While one request hangs, an event that comes later is sent by another sender."""
    with closing(make_bench(Gate())) as bench:
        bench.gate.open.clear()
        bench.put("a")
        bench.gate.wait_for(1)
        bench.put("b")
        bench.gate.wait_for(1)
        assert bench.gate.sent == [b"a", b"b"]


def test_a_backlog_is_sent_by_as_many_senders_as_are_allowed(make_bench: MakeBench) -> None:
    """A backlog is sent by all senders at a time, never by more, and each event once."""
    ids = [str(number) for number in range(500)]
    with closing(make_bench(Gate(), connections=4)) as bench:
        bench.gate.open.clear()
        bench.put(*ids)
        bench.gate.wait_for(4)
        bench.gate.open.set()
        assert bench.engine.flush().result(LONG).delivered == 500
        assert bench.gate.most_at_once == 4
        assert sorted(bench.gate.sent) == sorted(id.encode() for id in ids)


def test_a_full_buffer_refuses_the_new_event_and_says_so(make_bench: MakeBench) -> None:
    """An event that finds no room is counted and told as dropped, with its body; none waits."""
    with closing(make_bench(Gate(), connections=1, buffer=MemoryBuffer(max_events=2))) as bench:
        bench.gate.open.clear()
        bench.put("a", "b", "c")
        assert bench.engine.stats().dropped == {"full": 1}
        bench.gate.open.set()
        bench.wait_for_facts(3)
        (dropped,) = (fact for fact in bench.facts if isinstance(fact, Dropped))
        assert (dropped.id, dropped.reason, dropped.body) == ("c", "full", b"c")


def test_an_invalid_event_is_told_by_a_sender(make_bench: MakeBench) -> None:
    """An invalid event is counted at once, and told from a thread that is not the app's."""
    threads: list[str] = []
    bench = make_bench(Gate(), hook=lambda fact: threads.append(threading.current_thread().name))
    with closing(bench):
        bench.engine.invalid(INVALID)
        assert bench.engine.stats().invalid == {"search_query missing": 1}
        bench.wait_for_facts(1)
        assert bench.facts == [INVALID]
    assert threads == [f"{SERVER}-sender"]


def test_an_event_comes_again_when_it_is_due(make_bench: MakeBench) -> None:
    """A failed event is sent again once its delay is over."""
    answers = [SendResult(503), SendResult(200)]
    gate = Gate(lambda body: answers.pop(0))
    retry = RetrySchedule(delays_seconds=(0.05,), jitter=0)
    with closing(make_bench(gate, retry=retry)) as bench:
        bench.put("a")
        bench.wait_for_facts(2)
        assert bench.facts[-1] == Delivered("HOME", "a", 2, 200)


def test_an_event_that_comes_due_while_others_are_claimed_is_not_forgotten(
    make_bench: MakeBench,
) -> None:
    """An event that comes due just after a claim is claimed next, though nothing else happens."""
    answers = [SendResult(503), SendResult(200)]
    gate = Gate(lambda body: answers.pop(0))

    class Late(MemoryBuffer):
        """Every other claim is made a moment before anything is due."""

        claims = 0

        def claim(self, limit: int, newest: int = 0) -> Claim:
            self.claims += 1
            if self.claims % 2 == 0:
                return Claim([], 0.001 if self.state().waiting else None)
            return super().claim(limit, newest)

    retry = RetrySchedule(delays_seconds=(0.01,), jitter=0)
    with closing(make_bench(gate, buffer=Late(), retry=retry)) as bench:
        bench.put("a")
        bench.wait_for_delivered(1)


def test_an_event_that_is_stored_during_a_claim_is_not_forgotten(make_bench: MakeBench) -> None:
    """If a claim brings nothing, but something is due by its end, it is claimed next."""

    class Overtaken(MemoryBuffer):
        """Something is stored at the end of each empty claim."""

        claims = 0

        def claim(self, limit: int, newest: int = 0) -> Claim:
            self.claims += 1
            if self.claims % 2:
                return Claim([], 0.0)
            return super().claim(limit, newest)

    with closing(make_bench(Gate(), buffer=Overtaken())) as bench:
        bench.put("a")
        bench.wait_for_delivered(1)


def test_a_hook_may_put_flush_and_read_the_counters(make_bench: MakeBench) -> None:
    """A hook that tracks, flushes and reads counters does not deadlock."""

    def hook(fact: Fact) -> None:
        if isinstance(fact, Delivered) and fact.id == "a":
            bench.put("from the hook")
            bench.engine.flush()
            bench.engine.stats()

    bench = make_bench(Gate(), hook=hook)
    with closing(bench):
        bench.put("a")
        bench.wait_for_facts(2)
        assert bench.gate.sent == [b"a", b"from the hook"]


def test_a_sender_survives_whatever_goes_wrong(
    make_bench: MakeBench, caplog: pytest.LogCaptureFixture
) -> None:
    """When the buffer itself raises, the sender logs it and goes on with the next event."""

    class Failing(MemoryBuffer):
        failures = 1

        def claim(self, limit: int, newest: int = 0) -> Claim:
            if self.failures:
                self.failures -= 1
                raise OSError("disk")
            return super().claim(limit, newest)

    with closing(make_bench(Gate(), buffer=Failing())) as bench:
        bench.put("a")
        assert bench.engine.flush().result(LONG).delivered == 1
    assert "A sender failed, and goes on" in caplog.text


def test_a_buffer_in_trouble_is_left_in_peace_for_a_while(make_bench: MakeBench) -> None:
    """Where nothing can be claimed, it is tried again seconds later, not at once."""

    class Broken(MemoryBuffer):
        def claim(self, limit: int, newest: int = 0) -> Claim:
            failed.set()
            raise OSError("disk")

    def wait_once(awaited: Awaited, seconds: float | None) -> None:
        if failed.is_set():
            waits.append(seconds)
            has_waited.set()
        awaited.wait(seconds)

    failed, has_waited = threading.Event(), threading.Event()
    waits: list[float | None] = []
    bench = make_bench(Gate(), buffer=Broken(), runtime=Runtime(wait=wait_once))
    bench.put("a")
    assert has_waited.wait(LONG)
    assert waits[0] is not None
    assert 4 < waits[0] <= 5
    bench.engine.close(0)
    assert is_lawful(bench.engine.stats())


def test_close_sends_what_waits(make_bench: MakeBench) -> None:
    """Close sends everything that waits, also what the flush interval would have held back."""
    bench = make_bench(Gate(), flush_queue_size=1000, flush_interval_millis=30_000)
    bench.put(*map(str, range(200)))
    bench.engine.close(LONG)
    assert bench.lost() == 0
    assert bench.engine.stats().delivered == 200
    assert senders() == []


def test_close_keeps_its_deadline_and_tells_what_is_lost(
    make_bench: MakeBench, caplog: pytest.LogCaptureFixture
) -> None:
    """With a server that hangs, close ends in time, and every event that is lost is reported."""
    gate = Gate()
    gate.open.clear()
    bench = make_bench(gate, connections=2)
    bench.put(*map(str, range(10)))
    gate.wait_for(2)
    started = time.monotonic()
    bench.engine.close(0.3)
    assert bench.lost() == 10
    assert 0.25 < time.monotonic() - started < LONG / 2
    assert bench.engine.stats().dropped == {"shutdown": 10}
    lost = set(map(str, range(10)))
    await_that(lambda: {fact.id for fact in bench.facts if isinstance(fact, Dropped)} == lost)
    assert "10 events could not be sent in time, and are lost" in caplog.text
    gate.open.set()
    wait_for_end_of_senders()
    assert bench.engine.stats().delivered == 0
    assert is_lawful(bench.engine.stats())


def test_close_does_not_wait_for_what_is_due_only_later(make_bench: MakeBench) -> None:
    """An event whose next attempt falls after the deadline is given up without waiting for it."""
    with closing(make_bench(Gate(lambda body: SendResult(503)))) as bench:
        bench.put("a")
        bench.wait_for_facts(1)
        started = time.monotonic()
        bench.engine.close(LONG)
        assert bench.lost() == 1
        assert time.monotonic() - started < LONG / 2


def test_close_waits_for_what_is_due_in_time(make_bench: MakeBench) -> None:
    """An event whose next attempt falls before the deadline is still sent."""
    answers = [SendResult(503), SendResult(200)]
    gate = Gate(lambda body: answers.pop(0))
    bench = make_bench(gate, retry=RetrySchedule(delays_seconds=(0.3,), jitter=0))
    bench.put("a")
    bench.wait_for_facts(1)
    bench.engine.close(LONG)
    assert bench.lost() == 0
    assert bench.engine.stats().delivered == 1


def test_close_waits_for_what_is_just_being_claimed(make_bench: MakeBench) -> None:
    """An event that has left the buffer, and is not yet in a sender's hands, is not lost."""

    class Slow(MemoryBuffer):
        """A claim returns only once close() waits."""

        def claim(self, limit: int, newest: int = 0) -> Claim:
            claim = super().claim(limit, newest)
            if claim.entries:
                is_claimed.set()
                assert waits.wait(LONG)
            return claim

    def wait_and_tell(awaited: Awaited, seconds: float | None) -> None:
        if threading.current_thread() is threading.main_thread():
            waits.set()
        awaited.wait(seconds)

    is_claimed, waits = threading.Event(), threading.Event()
    bench = make_bench(Gate(), buffer=Slow(), runtime=Runtime(wait=wait_and_tell))
    bench.put("a")
    assert is_claimed.wait(LONG)
    bench.engine.close(LONG)
    assert (bench.lost(), bench.engine.stats().delivered) == (0, 1)


def test_close_from_four_threads_drains_once(make_bench: MakeBench) -> None:
    """Close may be called several times from several threads: each returns, one drains."""
    gate = Gate()
    bench = make_bench(gate)
    gate.open.clear()
    bench.put("a", "b")
    gate.wait_for(2)
    closers = [threading.Thread(target=bench.engine.close, args=(LONG,)) for _ in range(4)]
    for closer in closers:
        closer.start()
    gate.open.set()
    for closer in closers:
        closer.join(LONG)
        assert not closer.is_alive()
    bench.engine.close(LONG)
    assert (bench.lost(), bench.engine.stats().delivered) == (0, 2)


def test_a_flush_is_done_by_close(make_bench: MakeBench) -> None:
    """A flush that waits for a hung request is done when close gives that request up."""
    gate = Gate()
    gate.open.clear()
    bench = make_bench(gate)
    bench.put("a")
    future = bench.engine.flush()
    gate.wait_for(1)
    bench.engine.close(0.05)
    assert future.result(LONG).dropped == {"shutdown": 1}
    gate.open.set()
    wait_for_end_of_senders()


def test_an_event_after_close_is_refused_and_told(make_bench: MakeBench) -> None:
    """An event that comes after close is dropped as closed, and the hooks are told."""
    bench = make_bench(Gate())
    bench.engine.close(LONG)
    bench.put("late")
    bench.wait_for_facts(1)
    assert bench.facts == [Dropped("HOME", "late", DropReason.CLOSED, b"late")]
    assert is_lawful(bench.engine.stats())
    wait_for_end_of_senders()


def test_events_come_from_many_threads_and_each_is_sent_once(make_bench: MakeBench) -> None:
    """Eight threads put at a time; every event is delivered, none twice."""
    with closing(make_bench(Gate(), flush_queue_size=16)) as bench:
        producers = [
            threading.Thread(target=bench.put, args=[f"{n}-{i}" for i in range(100)])
            for n in range(8)
        ]
        for producer in producers:
            producer.start()
        for producer in producers:
            producer.join()
        assert bench.engine.flush().result(LONG).delivered == 800
        assert len(set(bench.gate.sent)) == 800


def test_several_flushes_are_all_done(make_bench: MakeBench) -> None:
    """Flushes that overlap are each done."""
    with closing(make_bench(Gate(), flush_queue_size=1000, flush_interval_millis=30_000)) as bench:
        futures = []
        for number in range(20):
            bench.put(str(number))
            futures.append(bench.engine.flush())
        assert not wait(futures, LONG).not_done


def test_the_level_of_the_log_stays_the_apps(
    make_bench: MakeBench, caplog: pytest.LogCaptureFixture
) -> None:
    """Delivering logs nothing at info or above."""
    with caplog.at_level(logging.INFO), closing(make_bench(Gate())) as bench:
        bench.put("a")
        bench.wait_for_facts(1)
    assert caplog.records == []


QUICK_PROBES = BreakerPolicy(failures=5, probe_delays_seconds=(0.05,), then_seconds=0.05)


def test_an_outage_pauses_everything_but_one_probe_at_a_time(make_bench: MakeBench) -> None:
    """With the circuit open nothing is sent but one probe at a time; then everything is, once."""
    works = threading.Event()
    gate = Gate(lambda body: SendResult(200 if works.is_set() else 503))
    retry = RetrySchedule(delays_seconds=(0.02,), then_seconds=0.02, jitter=0)
    with closing(make_bench(gate, retry=retry, breaker=QUICK_PROBES)) as bench:
        bench.put(*map(str, range(40)))
        with bench.told:
            assert bench.told.wait_for(lambda: bench.facts_of(Paused), LONG)
        until_open = len(gate.sent)
        assert until_open <= 6 + 4  # those that were on their way when it opened
        gate.most_at_once = gate.at_once
        bench.put("new")
        assert gate_reaches(gate, until_open + 6)
        assert gate.most_at_once <= 4
        works.set()
        assert bench.engine.flush().result(LONG).delivered >= 1
        bench.wait_for_delivered(41)
        assert [type(fact).__name__ for fact in bench.facts].count("Paused") == 1
        assert [type(fact).__name__ for fact in bench.facts].count("Resumed") == 1
        assert bench.engine.stats().dead_lettered == {}


def gate_reaches(gate: Gate, requests: int) -> bool:
    """Wait until this many requests were made in all."""
    while len(gate.sent) < requests:
        if not gate.arrived.acquire(timeout=LONG):
            return False
    return True


class Watched(MemoryBuffer):
    """A buffer that notifies when an entry is given back."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = threading.Condition()

    def retry(self, entry: Entry, delay_seconds: float, *, attempts: int, strikes: int = 0) -> bool:
        with self.changed:
            self.changed.notify_all()
            return super().retry(entry, delay_seconds, attempts=attempts, strikes=strikes)


def test_claimed_events_go_back_when_the_circuit_opens(make_bench: MakeBench) -> None:
    """What was claimed before the circuit opened goes back without an attempt."""
    gate = Gate(lambda body: SendResult(401))
    slow = BreakerPolicy(probe_delays_seconds=(1000,))
    buffer = Watched()
    with closing(make_bench(gate, connections=2, breaker=slow, buffer=buffer)) as bench:
        gate.open.clear()
        bench.put(*map(str, range(10)))
        gate.wait_for(2)
        gate.open.set()
        with buffer.changed:
            assert buffer.changed.wait_for(lambda: buffer.state().waiting == 10, LONG)
        assert len(gate.sent) == 2


def test_shutdown_does_not_wait_for_an_open_circuit(make_bench: MakeBench) -> None:
    """While the circuit is open and no probe is due in time, close ends at once."""
    slow = BreakerPolicy(probe_delays_seconds=(1000,))
    with closing(make_bench(Gate(lambda body: SendResult(401)), breaker=slow)) as bench:
        bench.put("a", "b", "c")
        with bench.told:
            assert bench.told.wait_for(lambda: bench.facts_of(Paused), LONG)
        started = time.monotonic()
        bench.engine.close(LONG)
        assert bench.lost() == 3
        assert time.monotonic() - started < LONG / 2


def test_the_rate_is_kept(make_bench: MakeBench) -> None:
    """No more requests are made per second than are allowed, from the first one on."""
    started = time.monotonic()
    with closing(make_bench(Gate(), max_requests_per_second=50)) as bench:
        bench.put(*map(str, range(26)))
        assert bench.engine.flush().result(LONG).delivered == 26
        assert time.monotonic() - started >= 0.5


def test_close_interrupts_senders_that_wait_for_the_rate(make_bench: MakeBench) -> None:
    """Senders that wait for the rate give their events back when close is over."""
    bench = make_bench(Gate(), max_requests_per_second=0.5)
    bench.put("a", "b", "c")
    bench.gate.wait_for(1)
    started = time.monotonic()
    bench.engine.close(0.2)
    assert bench.lost() == 2
    assert time.monotonic() - started < LONG / 2
    wait_for_end_of_senders()
    assert is_lawful(bench.engine.stats())


def test_where_no_thread_can_be_started_close_keeps_its_deadline(make_bench: MakeBench) -> None:
    """The thread that closes begins nothing more once its time is over, whatever still waits."""
    clock = Clock()

    def answer(body: bytes) -> SendResult:
        clock.advance(0.01)
        return SendResult(200)

    runtime = Runtime(new_thread=UnstartableThread, monotonic=clock.monotonic)
    bench = make_bench(Gate(answer), runtime=runtime)
    bench.put(*map(str, range(100)))
    bench.engine.close(0.2)
    lost = bench.lost()
    assert 75 <= lost <= 85
    assert bench.engine.stats().delivered == 100 - lost
    assert is_lawful(bench.engine.stats())


def test_where_no_thread_can_be_started_close_sends_itself(make_bench: MakeBench) -> None:
    """When no sender can be started, the thread that closes sends what waits."""
    bench = make_bench(Gate(), runtime=Runtime(new_thread=UnstartableThread))
    bench.put(*map(str, range(40)))
    assert bench.gate.sent == []
    bench.engine.close(LONG)
    assert bench.lost() == 0
    assert bench.engine.stats().delivered == 40


def test_an_event_that_comes_while_others_are_claimed_is_not_forgotten(
    make_bench: MakeBench,
) -> None:
    """An event that is put in the middle of a claim leaves after its own interval."""

    class Busy(MemoryBuffer):
        is_first = True

        def claim(self, limit: int, newest: int = 0) -> Claim:
            claim = super().claim(limit, newest)
            if self.is_first:
                self.is_first = False
                bench.put("b")
            return claim

    bench = make_bench(Gate(), buffer=Busy(), flush_queue_size=2, flush_interval_millis=10)
    with closing(bench):
        bench.put("a")
        bench.wait_for_delivered(2)


def test_a_hook_may_close_the_destination(make_bench: MakeBench) -> None:
    """A hook that closes neither waits for itself nor loses what was delivered."""
    bench: Bench = make_bench(Gate(), hook=lambda fact: bench.engine.close(0.2))
    bench.put("a")
    bench.wait_for_delivered(1)
    wait_for_end_of_senders()
    assert is_lawful(bench.engine.stats())


class Durable(MemoryBuffer):
    """A buffer that keeps what it holds when it is closed. It can be made unreadable."""

    is_durable = True
    trouble: Exception | None = None

    def checkpoint(self) -> Callable[[], bool]:
        if self.trouble:
            raise self.trouble
        return super().checkpoint()

    def state(self) -> BufferState:
        if self.trouble:
            raise self.trouble
        return super().state()

    def close(self) -> list[Entry]:
        return []


def test_a_durable_backlog_is_left_where_it_is_while_closing(make_bench: MakeBench) -> None:
    """Once close has been called, nothing more is claimed from a durable buffer."""
    bench = make_bench(Gate(), buffer=Durable(), runtime=Runtime(new_thread=UnstartableThread))
    bench.put("a", "b")
    bench.engine.close(LONG)
    assert bench.gate.sent == []
    assert bench.buffer.state().waiting == 2
    stats = bench.engine.stats()
    assert (stats.accepted, stats.handed_on, stats.buffered) == (2, 2, 0)


def test_what_is_on_its_way_at_the_end_stays_claimed(make_bench: MakeBench) -> None:
    """Close gives back what no sender has taken yet, and nothing that is being sent."""
    buffer, gate = Durable(), Gate()
    gate.open.clear()
    bench = make_bench(gate, buffer=buffer, connections=2)
    bench.put("a", "b")
    gate.wait_for(2)
    for id in ("c", "d"):
        buffer.put(id, "HOME", b"")
    bench.engine.close(0)
    assert bench.lost() == 0
    assert (buffer.state().waiting, buffer.state().claimed) == (2, 2)
    gate.open.set()
    wait_for_end_of_senders()
    assert (buffer.state().waiting, buffer.state().claimed) == (2, 0)


def test_a_batch_that_is_claimed_while_it_closes_is_given_back(make_bench: MakeBench) -> None:
    """What is claimed in the very moment of close is left for the next start, at once."""

    class Busy(Durable):
        def claim(self, limit: int, newest: int = 0) -> Claim:
            claim = super().claim(limit, newest)
            claimed.set()
            assert is_closing.wait(LONG)
            return claim

    claimed, is_closing = threading.Event(), threading.Event()
    bench = make_bench(Gate(), buffer=Busy())
    bench.put("a", "b")
    assert claimed.wait(LONG)
    closer = threading.Thread(target=bench.engine.close, args=(LONG,))
    closer.start()
    is_closing.set()
    closer.join(LONG)
    state = bench.buffer.state()
    assert bench.engine.stats().delivered + state.waiting == 2
    assert state.claimed == 0


def test_a_slow_rate_claims_no_more_than_it_can_send_soon(make_bench: MakeBench) -> None:
    """At a slow rate the buffer keeps what can't be sent within seconds, so that no lease ends."""
    waits: Queue[float | None] = Queue()

    def wait_and_tell(awaited: Awaited, seconds: float | None) -> None:
        waits.put(seconds)
        awaited.wait(seconds)

    bench = make_bench(
        Gate(), max_requests_per_second=0.3, connections=16, runtime=Runtime(wait=wait_and_tell)
    )
    bench.put(*map(str, range(20)))
    for _ in range(3):
        while not 0.05 < (waits.get(timeout=LONG) or 0) <= 0.1:  # until it looks again soon
            pass
    state = bench.buffer.state()
    assert state.claimed <= 3
    assert 17 <= state.waiting < 20
    bench.engine.close(0)
    assert is_lawful(bench.engine.stats())


def test_a_new_event_passes_a_backlog_at_a_limited_rate(make_bench: MakeBench) -> None:
    """What was claimed before a new event is no more than goes in about a second."""
    buffer = Durable()
    for number in range(400):
        buffer.put(str(number), "HOME", b"old")
    bench = make_bench(Gate(), buffer=buffer, max_requests_per_second=50)
    bench.engine.start()
    bench.gate.wait_for(30)
    bench.put("new")
    before = len(bench.gate.sent)
    while b"new" not in bench.gate.sent:
        bench.gate.wait_for(1)
    bench.engine.close(0)
    assert bench.gate.sent.index(b"new") - before <= 50 + 10


def test_a_backlog_is_taken_up_at_the_start(make_bench: MakeBench) -> None:
    """What a durable buffer holds from an earlier time is sent without any event or flush."""
    buffer = Durable()
    buffer.put("old", "HOME", b"old")
    bench = make_bench(Gate(), buffer=buffer)
    bench.engine.start()
    bench.gate.wait_for(1)
    bench.engine.close(LONG)
    assert bench.gate.sent == [b"old"]


@pytest.mark.parametrize("buffer", [MemoryBuffer(), Durable()])
def test_a_start_without_a_backlog_starts_nothing(
    make_bench: MakeBench, buffer: MemoryBuffer
) -> None:
    """Where nothing waits, no thread is started before the first event."""
    make_bench(Gate(), buffer=buffer, runtime=Runtime(new_thread=UnstartableThread)).engine.start()
    assert senders() == []


def test_a_buffer_in_trouble_is_told_by_the_flush(make_bench: MakeBench) -> None:
    """A flush of a buffer that can't be read raises nothing: its future does."""
    buffer = Durable()
    bench = make_bench(Gate(), buffer=buffer)
    buffer.trouble = OSError("no disk")
    bench.engine.start()
    assert bench.engine.flush().exception(LONG) is buffer.trouble
    assert senders() == []


def test_a_flush_is_done_at_the_end_whatever_the_buffer_says(make_bench: MakeBench) -> None:
    """A flush whose buffer can't be read any more is done by close, with the counters."""

    class Ending(Durable):
        def close(self) -> list[Entry]:
            self.trouble = OSError("no disk")
            return super().close()

    gate, buffer = Gate(), Ending()
    gate.open.clear()
    bench = make_bench(gate, buffer=buffer)
    bench.put("a")
    future = bench.engine.flush()
    bench.engine.close(0)
    assert future.result(LONG).accepted == 1
    gate.open.set()
    wait_for_end_of_senders()


def test_the_pace_can_change_while_events_wait_for_their_turn() -> None:
    """Events that wait for the turns of a slow rate are sent at once when the limit goes."""
    with closing(Bench(Gate(), max_requests_per_second=0.1)) as bench:
        bench.put("a", "b", "c")
        bench.wait_for_delivered(1)
        bench.engine.set_max_rate(None)
        bench.wait_for_delivered(3)
        assert bench.engine.status().requests_per_second is None
