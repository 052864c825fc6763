"""The engine's threads: when entries leave, and what flush and close promise."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from queue import Queue

import pytest

from amplitude_moloco.buffers.base import BufferState, Entry
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.convert.problem import Problem
from amplitude_moloco.engine.breaker import BreakerSettings, CircuitBreaker
from amplitude_moloco.engine.delivery import Delivery
from amplitude_moloco.engine.dispatcher import Dispatcher
from amplitude_moloco.engine.facts import Delivered, Dropped, Fact, Hooks, Rejected
from amplitude_moloco.engine.ledger import Ledger
from amplitude_moloco.engine.rate import Pacer
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.moloco.answers import classify
from amplitude_moloco.transports.base import SendResult, TakeRequest

LONG = 30.0
"""Seconds after which a wait in a test has failed."""
REJECTED = Rejected("SEARCH", "id", "Searched", (Problem("search_query", "missing", "-", "-"),))


class Gate:
    """A transport that holds every request until it is opened, then answers as it is told."""

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


class InOneThread:
    """A transport that has many requests in a gate at a time, all of them in the same thread."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.send, self.close = gate.send, gate.close

    def send_each(self, take: TakeRequest) -> None:
        inside: deque[tuple[bytes, Callable[[SendResult], object]]] = deque()
        while True:
            while not isinstance(request := take(), float):
                inside.append(request)
                self._gate.enter(request[0])
            if not inside:
                return
            if self._gate.open.wait(min(request, 0.001)):
                body, done = inside.popleft()
                done(self._gate.leave(body))


class Watched(MemoryBuffer):
    """A buffer that tells when an entry was given back."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = threading.Condition()

    def retry(self, entry: Entry, due: float, *, attempts: int, strikes: int = 0) -> bool:
        with self.changed:
            self.changed.notify_all()
            return super().retry(entry, due, attempts=attempts, strikes=strikes)


class Bench:
    """A dispatcher over a gate, with everything it tells."""

    is_in_one_thread = False

    def __init__(
        self,
        gate: Gate,
        *,
        senders: int = 4,
        flush_queue_size: int = 1,
        flush_interval_seconds: float = 0.001,
        buffer: MemoryBuffer | None = None,
        retry: RetrySchedule | None = None,
        breaker: BreakerSettings | None = None,
        max_requests_per_second: float | None = None,
        pacer: Pacer | None = None,
        thread: Callable[..., threading.Thread] = threading.Thread,
        wait: Callable[[threading.Condition, float | None], object] = threading.Condition.wait,
        hook: Callable[[Fact], object] = lambda fact: None,
    ) -> None:
        self.gate = gate
        self.facts: list[Fact] = []
        self.told = threading.Condition()
        self.buffer = buffer or MemoryBuffer()
        self.ledger = Ledger()
        hooks = Hooks([self._hear, hook])
        self.breaker = CircuitBreaker(breaker)
        self.pacer = pacer or Pacer(max_requests_per_second)
        self.dispatcher = Dispatcher(
            self.buffer,
            Delivery(
                self.buffer,
                InOneThread(gate) if self.is_in_one_thread else gate,
                classify=classify,
                breaker=self.breaker,
                pacer=self.pacer,
                retry=retry or RetrySchedule(delays_seconds=(1000,)),
                ledger=self.ledger,
                hooks=hooks,
            ),
            breaker=self.breaker,
            pacer=self.pacer,
            ledger=self.ledger,
            hooks=hooks,
            connections=senders,
            flush_queue_size=flush_queue_size,
            flush_interval_seconds=flush_interval_seconds,
            thread=thread,
            wait=wait,
        )

    def _hear(self, fact: Fact) -> None:
        with self.told:
            self.facts.append(fact)
            self.told.notify_all()

    def put(self, *ids: str) -> None:
        for id in ids:
            self.dispatcher.put(id, "HOME", id.encode())

    def wait_for_facts(self, count: int) -> None:
        with self.told:
            assert self.told.wait_for(lambda: len(self.facts) >= count, LONG)

    def wait_for_delivered(self, count: int) -> None:
        with self.told:
            assert self.told.wait_for(lambda: self.ledger.snapshot().delivered >= count, LONG)

    def is_lawful(self) -> bool:
        """The law: accepted = delivered + rejected + buried + dropped + buffered."""
        stats = self.ledger.snapshot()
        ends = stats.delivered + sum(
            sum(reasons.values()) for reasons in (stats.rejected, stats.buried, stats.dropped)
        )
        state = self.buffer.state()
        return (
            stats.accepted == ends + stats.buffered
            and stats.buffered == state.waiting + state.claimed
        )


@pytest.fixture(params=[False, True], ids=["threads", "one-thread"], autouse=True)
def kind_of_transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All is true of a transport that has a thread for each request, and of one that needs one."""
    monkeypatch.setattr(Bench, "is_in_one_thread", request.param)


@contextmanager
def closing(bench: Bench) -> Iterator[Bench]:
    """Let everything through at the end, and hold the law against it."""
    try:
        yield bench
    finally:
        bench.gate.open.set()
        bench.dispatcher.close(LONG)
        assert bench.is_lawful()


def senders() -> list[threading.Thread]:
    """The senders that run now."""
    return [thread for thread in threading.enumerate() if thread.name == "moloco-sender"]


def test_no_thread_starts_before_the_first_event() -> None:
    """Construction, flush of nothing and close start no thread; the first event does."""
    bench = Bench(Gate())
    assert bench.dispatcher.flush().result(LONG).accepted == 0
    assert senders() == []
    with closing(bench):
        bench.put("a")
        assert senders()
    assert senders() == []


def test_a_lone_event_leaves_after_the_interval() -> None:
    """One event leaves without any other, once the flush interval is over."""
    started = time.monotonic()
    with closing(Bench(Gate(), flush_queue_size=100, flush_interval_seconds=0.2)) as bench:
        bench.put("a")
        bench.gate.wait_for(1)
        assert time.monotonic() - started >= 0.2


def test_a_full_queue_leaves_at_once() -> None:
    """As many events as the flush queue holds do not wait for the interval."""
    with closing(Bench(Gate(), flush_queue_size=3, flush_interval_seconds=LONG)) as bench:
        bench.put("a", "b")
        assert bench.gate.sent == []
        bench.put("c")
        bench.wait_for_facts(3)


def test_flush_is_done_when_everything_before_it_was_tried_once() -> None:
    """Flush waits for delivered, buried and once-tried events put before it, and for no other."""
    answers = {b"a": SendResult(200), b"b": SendResult(400), b"c": SendResult(503)}
    gate = Gate(lambda body: answers.get(body, SendResult(200)))
    with closing(Bench(gate, flush_queue_size=100, flush_interval_seconds=LONG)) as bench:
        gate.open.clear()
        bench.put("a", "b", "c")
        future = bench.dispatcher.flush()
        gate.wait_for(3)
        bench.put("later")
        assert not future.done()
        gate.open.set()
        stats = future.result(LONG)
        assert (stats.delivered, stats.buried, stats.retried) == (1, {"rejected": 1}, 1)
        assert stats.buffered == 2
        assert bench.buffer.state().next_due == 0  # the later one still waits for its interval


def test_a_flush_future_cannot_be_cancelled() -> None:
    """Cancelling a flush is refused, since its events are on their way."""
    with closing(Bench(Gate())) as bench:
        bench.gate.open.clear()
        bench.put("a")
        future = bench.dispatcher.flush()
        assert not future.cancel()
        bench.gate.open.set()
        assert future.result(LONG).delivered == 1


def test_a_hung_request_does_not_hold_up_the_next_event() -> None:
    """While one request hangs, an event that comes later is sent by another sender."""
    with closing(Bench(Gate())) as bench:
        bench.gate.open.clear()
        bench.put("a")
        bench.gate.wait_for(1)
        bench.put("b")
        bench.gate.wait_for(1)
        assert bench.gate.sent == [b"a", b"b"]


def test_a_backlog_is_sent_by_as_many_senders_as_are_allowed() -> None:
    """A backlog is sent by all senders at a time, never by more, and each event once."""
    ids = [str(number) for number in range(500)]
    with closing(Bench(Gate(), senders=4)) as bench:
        bench.gate.open.clear()
        bench.put(*ids)
        bench.gate.wait_for(4)
        bench.gate.open.set()
        assert bench.dispatcher.flush().result(LONG).delivered == 500
        assert bench.gate.most_at_once == 4
        assert sorted(bench.gate.sent) == sorted(id.encode() for id in ids)


def test_a_full_buffer_refuses_the_new_event_and_says_so() -> None:
    """An event that finds no room is counted and told as dropped, with its body; none waits."""
    with closing(Bench(Gate(), senders=1, buffer=MemoryBuffer(max_events=2))) as bench:
        bench.gate.open.clear()
        bench.put("a", "b", "c")
        assert bench.ledger.snapshot().dropped == {"full": 1}
        bench.gate.open.set()
        bench.wait_for_facts(3)
        (dropped,) = (fact for fact in bench.facts if isinstance(fact, Dropped))
        assert (dropped.id, dropped.reason, dropped.body) == ("c", "full", b"c")


def test_a_rejected_event_is_told_by_a_sender() -> None:
    """What is rejected is counted at once, and told from a thread that is not the app's."""
    threads: list[str] = []
    bench = Bench(Gate(), hook=lambda fact: threads.append(threading.current_thread().name))
    with closing(bench):
        bench.dispatcher.reject(REJECTED)
        assert bench.ledger.snapshot().rejected == {"search_query missing": 1}
        bench.wait_for_facts(1)
        assert bench.facts == [REJECTED]
    assert threads == ["moloco-sender"]


def test_an_event_comes_again_when_it_is_due() -> None:
    """A failed event is sent again by itself once its delay is over."""
    answers = [SendResult(503), SendResult(200)]
    gate = Gate(lambda body: answers.pop(0))
    retry = RetrySchedule(delays_seconds=(0.05,), jitter=0)
    with closing(Bench(gate, retry=retry)) as bench:
        bench.put("a")
        bench.wait_for_facts(2)
        assert bench.facts[-1] == Delivered("HOME", "a", 2, 200)


def test_an_event_that_comes_due_while_others_are_claimed_is_not_forgotten() -> None:
    """An event that comes due just after a claim is claimed next, though nothing else happens."""
    answers = [SendResult(503), SendResult(200)]
    gate = Gate(lambda body: answers.pop(0))

    class Late(MemoryBuffer):
        """Every other claim is made a moment before anything is due."""

        claims = 0

        def claim(self, limit: int, now: float, newest: int = 0) -> list[Entry]:
            self.claims += 1
            if self.claims % 2 == 0:
                due = self.state().next_due
                now = min(now, (due or now) - 0.001)
            return super().claim(limit, now, newest)

    retry = RetrySchedule(delays_seconds=(0.01,), jitter=0)
    with closing(Bench(gate, buffer=Late(), retry=retry)) as bench:
        bench.put("a")
        bench.wait_for_delivered(1)


def test_a_hook_may_put_flush_and_read_the_counters() -> None:
    """A hook that tracks, flushes and reads counters does not deadlock."""

    def hook(fact: Fact) -> None:
        if isinstance(fact, Delivered) and fact.id == "a":
            bench.put("from the hook")
            bench.dispatcher.flush()
            bench.ledger.snapshot()

    bench = Bench(Gate(), hook=hook)
    with closing(bench):
        bench.put("a")
        bench.wait_for_facts(2)
        assert bench.gate.sent == [b"a", b"from the hook"]


def test_a_sender_survives_whatever_goes_wrong(caplog: pytest.LogCaptureFixture) -> None:
    """When the buffer itself raises, the sender logs it and goes on with the next event."""

    class Failing(MemoryBuffer):
        failures = 1

        def claim(self, limit: int, now: float, newest: int = 0) -> list[Entry]:
            if self.failures:
                self.failures -= 1
                raise OSError("disk")
            return super().claim(limit, now, newest)

    with closing(Bench(Gate(), buffer=Failing())) as bench:
        bench.put("a")
        assert bench.dispatcher.flush().result(LONG).delivered == 1
    assert "A sender failed, and goes on" in caplog.text


def test_a_buffer_in_trouble_is_left_in_peace_for_a_while() -> None:
    """Where nothing can be claimed, it is tried again seconds later, not at once."""

    class Broken(MemoryBuffer):
        def claim(self, limit: int, now: float, newest: int = 0) -> list[Entry]:
            failed.set()
            raise OSError("disk")

    def wait_once(condition: threading.Condition, seconds: float | None) -> None:
        if failed.is_set():
            waits.append(seconds)
            has_waited.set()
        condition.wait(seconds)

    failed, has_waited = threading.Event(), threading.Event()
    waits: list[float | None] = []
    bench = Bench(Gate(), buffer=Broken(), wait=wait_once)
    bench.put("a")
    assert has_waited.wait(LONG)
    assert waits[0] is not None
    assert 4 < waits[0] <= 5
    bench.dispatcher.close(0)
    assert bench.is_lawful()


def test_close_sends_what_waits() -> None:
    """Close sends everything that waits, also what the flush interval would have held back."""
    bench = Bench(Gate(), flush_queue_size=1000, flush_interval_seconds=LONG)
    bench.put(*map(str, range(200)))
    assert bench.dispatcher.close(LONG) == 0
    assert bench.ledger.snapshot().delivered == 200
    assert senders() == []


def test_close_keeps_its_deadline_and_tells_what_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    """With a server that hangs, close ends in time, and every event that is lost is told."""
    gate = Gate()
    gate.open.clear()
    bench = Bench(gate, senders=2)
    bench.put(*map(str, range(10)))
    gate.wait_for(2)
    started = time.monotonic()
    assert bench.dispatcher.close(0.3) == 10
    assert 0.25 < time.monotonic() - started < 1
    assert bench.ledger.snapshot().dropped == {"shutdown": 10}
    assert {fact.id for fact in bench.facts if isinstance(fact, Dropped)} == set(
        map(str, range(10))
    )
    assert "10 events could not be sent to MCM in time, and are lost" in caplog.text
    gate.open.set()
    wait_for_end_of_senders()
    assert bench.ledger.snapshot().delivered == 0
    assert bench.is_lawful()


def test_close_does_not_wait_for_what_is_due_only_later() -> None:
    """An event whose next attempt falls after the deadline is given up without waiting for it."""
    with closing(Bench(Gate(lambda body: SendResult(503)))) as bench:
        bench.put("a")
        bench.wait_for_facts(1)
        started = time.monotonic()
        assert bench.dispatcher.close(LONG) == 1
        assert time.monotonic() - started < 5


def test_close_waits_for_what_is_due_in_time() -> None:
    """An event whose next attempt falls before the deadline is still sent."""
    answers = [SendResult(503), SendResult(200)]
    gate = Gate(lambda body: answers.pop(0))
    bench = Bench(gate, retry=RetrySchedule(delays_seconds=(0.3,), jitter=0))
    bench.put("a")
    bench.wait_for_facts(1)
    assert bench.dispatcher.close(LONG) == 0
    assert bench.ledger.snapshot().delivered == 1


def test_close_waits_for_what_is_just_being_claimed() -> None:
    """An event that a sender has out of the buffer, and not yet in its hands, is not lost."""

    class Slow(MemoryBuffer):
        """A claim comes to its end only when close() has looked what there is."""

        def __init__(self) -> None:
            super().__init__()
            self.is_claimed, self.looked = threading.Event(), threading.Semaphore(0)

        def claim(self, limit: int, now: float, newest: int = 0) -> list[Entry]:
            entries = super().claim(limit, now, newest)
            if entries:
                self.is_claimed.set()
                assert self.looked.acquire(timeout=LONG)
            return entries

        def state(self) -> BufferState:
            state = super().state()
            if self.is_claimed.is_set():
                self.looked.release()
            return state

    buffer = Slow()
    bench = Bench(Gate(), buffer=buffer)
    bench.put("a")
    assert buffer.is_claimed.wait(LONG)
    assert bench.dispatcher.close(LONG) == 0
    assert bench.ledger.snapshot().delivered == 1


def test_close_from_four_threads_drains_once() -> None:
    """Close may be called several times from several threads: each returns, one drains."""
    gate = Gate()
    bench = Bench(gate)
    gate.open.clear()
    bench.put("a", "b")
    gate.wait_for(2)
    returned: list[int] = []
    closers = [
        threading.Thread(target=lambda: returned.append(bench.dispatcher.close(LONG)))
        for _ in range(4)
    ]
    for closer in closers:
        closer.start()
    gate.open.set()
    for closer in closers:
        closer.join(LONG)
    assert returned == [0, 0, 0, 0]
    assert bench.ledger.snapshot().delivered == 2
    assert bench.dispatcher.close(LONG) == 0


def test_a_flush_is_done_by_close() -> None:
    """A flush that waits for a hung request is done when close gives that request up."""
    gate = Gate()
    gate.open.clear()
    bench = Bench(gate)
    bench.put("a")
    future = bench.dispatcher.flush()
    gate.wait_for(1)
    bench.dispatcher.close(0.05)
    assert future.result(LONG).dropped == {"shutdown": 1}
    gate.open.set()
    wait_for_end_of_senders()


def test_an_event_after_close_is_refused_and_told() -> None:
    """An event that comes after close is dropped as closed, and the hooks are told."""
    bench = Bench(Gate())
    bench.dispatcher.close(LONG)
    bench.put("late")
    bench.wait_for_facts(1)
    assert bench.facts == [Dropped("HOME", "late", "closed", b"late")]
    assert bench.is_lawful()
    wait_for_end_of_senders()


def test_events_come_from_many_threads_and_each_is_sent_once() -> None:
    """Eight threads put at a time; every event is delivered, none twice."""
    with closing(Bench(Gate(), flush_queue_size=16)) as bench:
        producers = [
            threading.Thread(target=bench.put, args=[f"{n}-{i}" for i in range(100)])
            for n in range(8)
        ]
        for producer in producers:
            producer.start()
        for producer in producers:
            producer.join()
        assert bench.dispatcher.flush().result(LONG).delivered == 800
        assert len(set(bench.gate.sent)) == 800


def test_several_flushes_are_all_done() -> None:
    """Flushes that overlap are each done."""
    with closing(Bench(Gate(), flush_queue_size=1000, flush_interval_seconds=LONG)) as bench:
        futures = []
        for number in range(20):
            bench.put(str(number))
            futures.append(bench.dispatcher.flush())
        assert not wait(futures, LONG).not_done


def test_the_level_of_the_log_stays_the_apps(caplog: pytest.LogCaptureFixture) -> None:
    """Delivering logs nothing at info or above."""
    with caplog.at_level(logging.INFO), closing(Bench(Gate())) as bench:
        bench.put("a")
        bench.wait_for_facts(1)
    assert caplog.records == []


def wait_for_end_of_senders() -> None:
    """Join every sender."""
    for sender in senders():
        sender.join(LONG)
    assert senders() == []


QUICK_PROBES = BreakerSettings(failures=5, probe_delays_seconds=(0.05,), then_seconds=0.05)


def test_an_outage_pauses_everything_but_one_probe_at_a_time() -> None:
    """With the circuit open nothing is sent but one probe at a time; then everything is, once."""
    works = threading.Event()
    gate = Gate(lambda body: SendResult(200 if works.is_set() else 503))
    retry = RetrySchedule(delays_seconds=(0.02,), then_seconds=0.02, jitter=0)
    with closing(Bench(gate, retry=retry, breaker=QUICK_PROBES)) as bench:
        bench.put(*map(str, range(40)))
        with bench.told:
            assert bench.told.wait_for(lambda: bench.breaker.is_open, LONG)
        until_open = len(gate.sent)
        assert until_open <= 6 + 4  # those that were on their way when it opened
        gate.most_at_once = gate.at_once
        bench.put("new")
        assert gate_reaches(gate, until_open + 6)
        assert gate.most_at_once <= 4
        works.set()
        assert bench.dispatcher.flush().result(LONG).delivered >= 1
        bench.wait_for_delivered(41)
        assert [type(fact).__name__ for fact in bench.facts].count("Paused") == 1
        assert [type(fact).__name__ for fact in bench.facts].count("Resumed") == 1
        assert bench.ledger.snapshot().buried == {}


def gate_reaches(gate: Gate, requests: int) -> bool:
    """Wait until so many requests were made in all."""
    while len(gate.sent) < requests:
        if not gate.arrived.acquire(timeout=LONG):
            return False
    return True


def test_claimed_events_go_back_when_the_circuit_opens() -> None:
    """What was claimed before the circuit opened goes back without an attempt."""
    gate = Gate(lambda body: SendResult(401))
    slow = BreakerSettings(probe_delays_seconds=(1000,))
    buffer = Watched()
    with closing(Bench(gate, senders=2, breaker=slow, buffer=buffer)) as bench:
        gate.open.clear()
        bench.put(*map(str, range(10)))
        gate.wait_for(2)
        gate.open.set()
        with buffer.changed:
            assert buffer.changed.wait_for(lambda: buffer.state().waiting == 10, LONG)
        assert len(gate.sent) == 2


def test_shutdown_does_not_wait_for_an_open_circuit() -> None:
    """While the circuit is open and no probe is due in time, close ends at once."""
    slow = BreakerSettings(probe_delays_seconds=(1000,))
    with closing(Bench(Gate(lambda body: SendResult(401)), breaker=slow)) as bench:
        bench.put("a", "b", "c")
        with bench.told:
            assert bench.told.wait_for(lambda: bench.breaker.is_open, LONG)
        started = time.monotonic()
        assert bench.dispatcher.close(LONG) == 3
        assert time.monotonic() - started < 5


def test_the_pace_is_kept() -> None:
    """No more requests are made per second than are allowed, from the first one on."""
    started = time.monotonic()
    with closing(Bench(Gate(), max_requests_per_second=50)) as bench:
        bench.put(*map(str, range(26)))
        assert bench.dispatcher.flush().result(LONG).delivered == 26
        assert time.monotonic() - started >= 0.5


def test_close_interrupts_those_that_wait_for_their_moment() -> None:
    """Senders that wait for the pace give their events back when close is over."""
    bench = Bench(Gate(), max_requests_per_second=0.5)
    bench.put("a", "b", "c")
    bench.gate.wait_for(1)
    started = time.monotonic()
    assert bench.dispatcher.close(0.2) == 2
    assert time.monotonic() - started < 1.5
    wait_for_end_of_senders()
    assert bench.is_lawful()


class NoMore(threading.Thread):
    """A thread that can't be started, as while the interpreter ends."""

    def start(self) -> None:
        raise RuntimeError("can't start new thread")


def test_where_no_thread_can_be_started_close_keeps_its_deadline() -> None:
    """The thread that closes begins nothing more once its time is over, whatever still waits."""

    def answer(body: bytes) -> SendResult:
        threading.Event().wait(0.01)
        return SendResult(200)

    bench = Bench(Gate(answer), thread=NoMore)
    bench.put(*map(str, range(1_000)))
    started = time.monotonic()
    lost = bench.dispatcher.close(0.2)
    assert time.monotonic() - started < 5
    assert 0 < lost < 1_000
    assert bench.ledger.snapshot().delivered == 1_000 - lost
    assert bench.is_lawful()


def test_where_no_thread_can_be_started_close_sends_itself() -> None:
    """When no sender can be started, the thread that closes sends what waits."""
    bench = Bench(Gate(), thread=NoMore)
    bench.put(*map(str, range(40)))
    assert bench.gate.sent == []
    assert bench.dispatcher.close(LONG) == 0
    assert bench.ledger.snapshot().delivered == 40


def test_an_event_that_comes_while_others_are_claimed_is_not_forgotten() -> None:
    """An event that is put in the middle of a claim leaves after its own interval."""

    class Busy(MemoryBuffer):
        is_first = True

        def claim(self, limit: int, now: float, newest: int = 0) -> list[Entry]:
            entries = super().claim(limit, now, newest)
            if self.is_first:
                self.is_first = False
                bench.put("b")
            return entries

    bench = Bench(Gate(), buffer=Busy(), flush_queue_size=2, flush_interval_seconds=0.01)
    with closing(bench):
        bench.put("a")
        bench.wait_for_delivered(2)


def test_a_hook_may_close_the_destination() -> None:
    """A hook that closes neither waits for itself nor loses what was delivered."""
    bench = Bench(Gate(), hook=lambda fact: bench.dispatcher.close(0.2))
    bench.put("a")
    bench.wait_for_delivered(1)
    wait_for_end_of_senders()
    assert bench.is_lawful()


class Durable(MemoryBuffer):
    """A buffer that keeps what it holds when it is closed; its state can be made unreadable."""

    is_durable = True
    trouble: Exception | None = None

    def state(self) -> BufferState:
        if self.trouble:
            raise self.trouble
        return super().state()

    def close(self) -> list[Entry]:
        return []


def test_a_durable_backlog_is_left_where_it_is_while_closing() -> None:
    """Of a durable buffer nothing more is claimed once close has been called."""
    bench = Bench(Gate(), buffer=Durable(), thread=NoMore)
    bench.put("a", "b")
    assert bench.dispatcher.close(LONG) == 0
    bench.dispatcher.send_due()
    assert bench.gate.sent == []
    assert bench.buffer.state().waiting == 2


def test_what_is_on_its_way_at_the_end_stays_claimed() -> None:
    """Close gives back what no sender has taken yet, and nothing that is being sent."""
    buffer, gate = Durable(), Gate()
    gate.open.clear()
    bench = Bench(gate, buffer=buffer, senders=2)
    bench.put("a", "b")
    gate.wait_for(2)
    for id in ("c", "d"):
        buffer.put(id, "HOME", b"", 0)
    assert bench.dispatcher.close(0) == 0
    assert (buffer.state().waiting, buffer.state().claimed) == (2, 2)
    gate.open.set()
    wait_for_end_of_senders()
    assert (buffer.state().waiting, buffer.state().claimed) == (2, 0)


def test_a_batch_that_is_claimed_while_it_closes_is_given_back() -> None:
    """What is claimed in the very moment of close is left for the next start, at once."""

    class Busy(Durable):
        def claim(self, limit: int, now: float, newest: int = 0) -> list[Entry]:
            entries = super().claim(limit, now, newest)
            claimed.set()
            assert closing.wait(LONG)
            return entries

    claimed, closing = threading.Event(), threading.Event()
    bench = Bench(Gate(), buffer=Busy())
    bench.put("a", "b")
    assert claimed.wait(LONG)
    closer = threading.Thread(target=bench.dispatcher.close, args=(LONG,))
    closer.start()
    closing.set()
    closer.join(LONG)
    state = bench.buffer.state()
    assert bench.ledger.snapshot().delivered + state.waiting == 2
    assert state.claimed == 0


def test_a_slow_pace_claims_no_more_than_it_can_send_soon() -> None:
    """At a slow pace the buffer keeps what can't be sent within seconds, so that no lease ends."""
    waits: Queue[float | None] = Queue()

    def wait_and_tell(condition: threading.Condition, seconds: float | None) -> None:
        waits.put(seconds)
        condition.wait(seconds)

    bench = Bench(Gate(), max_requests_per_second=0.3, senders=16, wait=wait_and_tell)
    bench.put(*map(str, range(20)))
    # It looks again in a second; or, being alone, once the next moment has come.
    longest = 4 if Bench.is_in_one_thread else 1
    while not 0.5 < (waits.get(timeout=LONG) or 0) <= longest:
        pass
    assert 1 <= bench.buffer.state().claimed <= 3
    bench.dispatcher.close(0)
    assert bench.is_lawful()


def test_a_backlog_is_taken_up_at_the_start() -> None:
    """What a durable buffer holds from an earlier time is sent without any event or flush."""
    buffer = Durable()
    buffer.put("old", "HOME", b"old", 0)
    bench = Bench(Gate(), buffer=buffer)
    bench.dispatcher.start()
    bench.gate.wait_for(1)
    bench.dispatcher.close(LONG)
    assert bench.gate.sent == [b"old"]


@pytest.mark.parametrize("buffer", [MemoryBuffer(), Durable()])
def test_a_start_without_a_backlog_starts_nothing(buffer: MemoryBuffer) -> None:
    """Where nothing waits, no thread is started before the first event."""
    Bench(Gate(), buffer=buffer, thread=NoMore).dispatcher.start()
    assert senders() == []


def test_a_buffer_in_trouble_is_told_by_the_flush() -> None:
    """A flush of a buffer that can't be read raises nothing: its future does."""
    buffer = Durable()
    bench = Bench(Gate(), buffer=buffer)
    buffer.trouble = OSError("no disk")
    bench.dispatcher.start()
    assert bench.dispatcher.flush().exception(LONG) is buffer.trouble
    assert senders() == []


def test_a_buffer_that_is_in_trouble_at_the_end_is_told_by_the_flush() -> None:
    """A flush whose counters can't be read is done all the same: its exception is the buffer's."""

    class Ending(Durable):
        def close(self) -> list[Entry]:
            self.trouble = OSError("no disk")
            return super().close()

    gate, buffer = Gate(), Ending()
    gate.open.clear()
    bench = Bench(gate, buffer=buffer)
    bench.put("a")
    future = bench.dispatcher.flush()
    bench.dispatcher.close(0)
    assert future.exception(LONG) is buffer.trouble
    gate.open.set()
    wait_for_end_of_senders()


def test_who_gets_a_moment_after_the_end_does_not_wait_for_it() -> None:
    """A sender that is to wait for the pace, and learns of the end before, gives its event back."""

    class Closing(Pacer):
        def reserve(self, *, only_now: bool = False) -> float:
            bench.dispatcher.close(0)
            return LONG

    bench = Bench(Gate(), pacer=Closing())
    started = time.monotonic()
    bench.put("a")
    bench.wait_for_facts(1)
    wait_for_end_of_senders()
    assert time.monotonic() - started < LONG / 2
    assert bench.ledger.snapshot().dropped == {"shutdown": 1}


@pytest.mark.parametrize("kind_of_transport", [True], indirect=True)
def test_who_sends_beside_others_and_learns_of_the_end_takes_no_more() -> None:
    """Where the end comes as one more is to be sent beside others, it is not taken any more."""

    class Closing(Pacer):
        def reserve(self, *, only_now: bool = False) -> float:
            if only_now:
                bench.dispatcher.close(0)
            return 0.0

    bench = Bench(Gate(), pacer=Closing(), flush_queue_size=2, flush_interval_seconds=LONG)
    bench.put("a", "b")
    bench.wait_for_facts(2)
    wait_for_end_of_senders()
    assert bench.gate.sent == [b"a"]
    assert bench.ledger.snapshot().dropped == {"shutdown": 2}
