"""An exception that strikes anywhere in ``track()``, as a signal handler's does."""

from __future__ import annotations

import gc
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import FrameType

import pytest
from support.engines import LONG, Bench, Gate, closing, is_lawful
from support.interruption import MANY, TimeLimit, interrupt
from support.measuring import is_coverage_interrupted
from support.repeats import repeats

from amplitude_moloco import Sync
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.convert.problem import Problem, ProblemReason
from amplitude_moloco.engine.facts import Invalid, Trimmed
from amplitude_moloco.engine.runtime import Awaited, Runtime

INVALID = Invalid("HOME", "i", "Home", (Problem("page_id", ProblemReason.MISSING, "-", "-"),))


def in_thread(work: Callable[[], object]) -> None:
    """Do a piece of work in another thread, which must not wait for a lock of this one."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(LONG)
    assert not thread.is_alive()


def wait_for_all(bench: Bench, ids: list[str]) -> None:
    """Wait until all these events are delivered, and nothing is left."""
    assert bench.engine.flush().result(LONG).buffered == 0
    assert {id.encode() for id in ids} <= set(bench.gate.sent)


@pytest.mark.parametrize("is_concurrent", [False, True], ids=["threads", "loop"])
def test_whatever_instruction_a_put_is_interrupted_at_only_that_event_is_lost(
    is_concurrent: bool,
) -> None:
    """The app gets its exception, later events are sent, and the counters add up."""
    with closing(Bench(Gate(), is_concurrent=is_concurrent)) as bench:
        bench.put("first")
        at, is_done, after = 0, False, []
        while not is_done:
            is_done = not interrupt(lambda: bench.put("struck"), at)
            after.append(f"after {at}")
            bench.put(after[-1])
            assert is_lawful(bench.engine.stats())
            at += 1
        assert at > MANY
        wait_for_all(bench, after)
        stats = bench.engine.stats()
        assert at + 1 <= stats.delivered == len(bench.gate.sent) <= 2 * at + 1


@pytest.mark.parametrize("is_concurrent", [False, True], ids=["threads", "loop"])
def test_the_first_event_may_be_interrupted_while_it_starts_the_sender(
    is_concurrent: bool,
) -> None:
    """A sender that was about to be started and never ran is replaced."""
    at, is_done = 0, False
    while not is_done:
        bench = Bench(
            Gate(), is_concurrent=is_concurrent, flush_queue_size=100, flush_interval_millis=1
        )
        with closing(bench):
            is_done = not interrupt(lambda bench=bench: bench.put("struck"), at)  # type: ignore[misc]
            bench.put("after")
            bench.gate.wait_for(1)
            wait_for_all(bench, ["after"])
        at += repeats(5, 1)
    assert at > MANY


def test_a_thread_that_was_interrupted_before_it_ran_is_no_sender() -> None:
    """If starting the thread itself is interrupted, the next event starts another one."""

    class Struck(threading.Thread):
        strikes = 1

        def start(self) -> None:
            if Struck.strikes:
                Struck.strikes -= 1
                raise TimeLimit
            super().start()

    with closing(Bench(Gate(), runtime=Runtime(new_thread=Struck))) as bench:
        Struck.strikes = 2
        with pytest.raises(TimeLimit):
            bench.put("a")
        bench.put("b")
        bench.wait_for_delivered(2)


def test_an_invalid_event_may_be_interrupted_as_well() -> None:
    """Counting what can't be sent is as safe: no counter contradicts another."""
    with closing(Bench(Gate())) as bench:
        at = 0
        while interrupt(lambda: bench.engine.invalid(INVALID), at):
            stats = bench.engine.stats()
            assert is_lawful(stats)
            assert stats.buffered == 0
            at += 1
        bench.put("after")
        wait_for_all(bench, ["after"])


def test_an_event_that_no_sync_selects_may_be_interrupted_as_well() -> None:
    """Counting what is not selected never leaves a lock behind, and counts again afterwards."""
    with closing(Bench(Gate())) as bench:
        selection, home = bench.engine.selection, Sync("HOME", ["Home"])

        def count(number: int) -> None:
            selection.unselected(f"name {number}")
            selection.refused(home)

        at = 0
        while interrupt(partial(count, at), at):
            in_thread(partial(count, -1))
            at += 1
        totals = bench.engine.stats()
        assert totals.unselected["name -1"] == at
        assert at < totals.filtered["HOME"] <= 2 * at + 1
        bench.put("after")
        wait_for_all(bench, ["after"])


def test_an_exception_at_the_clock_reaches_the_app_and_the_event_the_server() -> None:
    """What strikes once the event is stored reaches the app, and the event is sent."""
    is_struck = threading.Event()

    def monotonic() -> float:
        if is_struck.is_set():
            is_struck.clear()
            raise TimeLimit
        return time.monotonic()

    runtime = Runtime(monotonic=monotonic)
    with closing(Bench(Gate(), runtime=runtime, flush_queue_size=2)) as bench:
        is_struck.set()
        with pytest.raises(TimeLimit):
            bench.put("struck")
        bench.gate.wait_for(1)
        assert bench.engine.stats().accepted == 1


def test_an_exception_while_a_fact_is_posted_reaches_the_app() -> None:
    """What strikes while a fact is counted costs that fact alone."""

    @dataclass(frozen=True)
    class Striking:
        @property
        def code(self) -> str:
            raise TimeLimit

    with closing(Bench(Gate())) as bench:
        with pytest.raises(TimeLimit):
            bench.engine.post(Trimmed("HOME", "i", "Home", (Striking(),)))  # type: ignore[arg-type]
        bench.engine.invalid(INVALID)
        bench.wait_for_fact(Invalid)
        assert bench.engine.stats().trimmed == {}


def test_a_refused_event_may_be_interrupted_as_well() -> None:
    """Where the buffer is full, the counters add up, and room that comes is used."""
    gate = Gate()
    gate.open.clear()
    with closing(Bench(gate, connections=1, buffer=MemoryBuffer(max_events=1))) as bench:
        bench.put("first")
        at = 0
        while interrupt(lambda: bench.put("too many"), at):
            assert is_lawful(bench.engine.stats())
            at += 1
        gate.open.set()
        wait_for_all(bench, ["first"])
        bench.put("after")
        wait_for_all(bench, ["after"])


def test_the_buffers_room_is_the_same_after_interruptions() -> None:
    """An interrupted put takes no room that does not come back."""
    buffer = MemoryBuffer(max_bytes=1000)
    at = 0
    while interrupt(lambda: buffer.put("id", "HOME", b"x" * 10), at):
        for entry in buffer.claim(10).entries:
            assert buffer.ack(entry)
        at += 1
    assert at > MANY // 3
    for entry in buffer.claim(10).entries:
        assert buffer.ack(entry)
    assert [buffer.put("id", "HOME", b"x" * 100) for _ in range(11)].count(None) == 10


@pytest.mark.timeout(method="thread")  # the test uses the signal of the other method
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no timer signals")
def test_a_storm_of_signals_changes_nothing_for_later_events() -> None:
    """While a timer raises into hundreds of puts, only struck events may be missing."""
    is_inside = False

    def strike(signum: int, frame: FrameType | None) -> None:
        if is_inside and not is_coverage_interrupted(frame):
            raise TimeLimit

    def put_twenty(number: int) -> None:
        nonlocal is_inside
        signal.setitimer(signal.ITIMER_REAL, 1e-5 * (1 + number % 7))
        for each in range(20):
            is_inside = True
            bench.put(f"{number}-{each}")
            is_inside = False

    class Deaf(threading.Thread):
        """Leaves the timer's signals to the main thread, which alone can handle them.

        One that reaches another thread does not wake the main thread from waiting for a lock, and
        a thread that is traced runs no code while a signal waits to be handled (Python 3.11).
        """

        def run(self) -> None:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
            super().run()

    before = signal.signal(signal.SIGALRM, strike)
    gc.disable()  # an exception in a callback of the collector reaches nothing
    with closing(Bench(Gate(), runtime=Runtime(new_thread=Deaf))) as bench:
        struck = 0
        try:
            for number in range(300):
                try:
                    put_twenty(number)
                except TimeLimit:
                    is_inside = False
                    struck += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            gc.enable()
        bench.put("after")
        wait_for_all(bench, ["after"])
        assert struck


class Midst:
    """Puts an event in the midst of two threads, each of which holds a lock.

    The main thread is inside the buffer, as with a signal handler, and another one in the engine,
    as with a finalizer. Both are inside before either puts.
    """

    def __init__(self) -> None:
        self._both = threading.Barrier(2, timeout=LONG)
        self._places: dict[str, bool] = {}
        self.put: Callable[[str], object] = lambda id: None
        self.done = threading.Semaphore(0)

    def expect(self, *places: str) -> None:
        """The next time that these places are reached, put an event there."""
        self._places = dict.fromkeys(places, True)

    def reach(self, place: str) -> None:
        """Called at a place."""
        if self._places.pop(place, False):
            self._both.wait()
            self.put(f"in {place}")
            self.done.release()


class Wall:
    """The wall clock of a buffer, which reads it with its lock held."""

    def __init__(self, midst: Midst) -> None:
        self._midst = midst

    def __call__(self) -> float:
        if threading.current_thread() is threading.main_thread():
            self._midst.reach("the buffer")
        return time.time()


@dataclass(frozen=True)
class Reaching:
    """A part left out of an event, which the counters ask for its code with their lock held."""

    midst: Midst

    @property
    def code(self) -> str:
        self.midst.reach("the counters")
        return "code"


@pytest.mark.parametrize("place", ["the decision", "the wait", "the counters"])
def test_a_put_in_the_midst_of_the_buffer_waits_for_no_other_lock(place: str) -> None:
    """However two threads are interrupted by a put while each holds a lock, both go on."""
    midst = Midst()

    def monotonic() -> float:
        caller = sys._getframe(1).f_code.co_name  # noqa: SLF001  # as the traceback module does
        if caller == "_decide":  # it holds the dispatcher's lock
            midst.reach("the decision")
        return time.monotonic()

    def wait(awaited: Awaited, seconds: float | None) -> None:
        midst.reach("the wait")
        awaited.wait(0.01)

    bench = Bench(
        Gate(),
        buffer=MemoryBuffer(wall=Wall(midst)),
        runtime=Runtime(monotonic=monotonic, wait=wait),
        flush_interval_millis=1,
        flush_queue_size=1000,
    )
    midst.put = bench.put
    with closing(bench):
        bench.put("first")
        bench.wait_for_delivered(1)
        midst.expect("the buffer", place)
        if place == "the counters":
            trimmed = Trimmed("HOME", "i", "Home", (Reaching(midst),))  # type: ignore[arg-type]
            threading.Thread(target=bench.engine.post, args=(trimmed,)).start()
        bench.put("in the main thread")
        assert midst.done.acquire(timeout=LONG)
        assert midst.done.acquire(timeout=LONG)
        wait_for_all(bench, ["in the buffer", f"in {place}", "in the main thread"])
        assert is_lawful(bench.engine.stats())
