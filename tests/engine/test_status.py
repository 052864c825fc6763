"""How sending goes, for a health check."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.engines import LONG, Bench, Gate, closing
from support.facts import DELIVERED, FACTS, MISCONFIGURED, OUTAGE, REJECTED, RETRYING

from amplitude_moloco.buffers.base import BufferState, News
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.engine.breaker import BreakerPolicy, CircuitBreaker
from amplitude_moloco.engine.facts import Degraded, Delivered, Fact, Invalid, Paused, Retrying
from amplitude_moloco.engine.rate import RateLimiter
from amplitude_moloco.engine.status import CircuitState, Status, Vitals
from amplitude_moloco.reasons import DropReason, PauseReason
from amplitude_moloco.transports.base import SendResult

UNIX = 1_700_000_000.0


class Durable(MemoryBuffer):
    """Looks like a durable buffer, and counts how often it is read."""

    is_durable = True
    readings = 0
    is_broken = False

    def state(self) -> BufferState:
        self.readings += 1
        if self.is_broken:
            raise OSError
        return super().state()


class Patient:
    """Vitals with their circuit and rate, over a clock that the test sets."""

    def __init__(self, make_buffer: Callable[..., Any] = MemoryBuffer) -> None:
        self.now = 0.0
        self.buffered = 0
        self.buffer = make_buffer(monotonic=self.clock)
        self.vitals = Vitals(self.buffer, self.clock, lambda: UNIX + self.now)
        policy = BreakerPolicy(failures=1, probe_delays_seconds=(5,))
        self.breaker = CircuitBreaker(policy, self.clock)
        self.rate = RateLimiter(None, self.clock)

    def clock(self) -> float:
        return self.now

    @property
    def status(self) -> Status:
        return self.vitals.status(
            self.breaker, self.rate, buffered=self.buffered, threads=0, is_closed=False
        )


NEW = Status(
    circuit=CircuitState.CLOSED,
    pause_reason=None,
    next_probe_seconds=None,
    requests_per_second=None,
    last_success_at=None,
    last_failure_at=None,
    last_failure="",
    last_failure_status=None,
    waiting=0,
    on_their_way=0,
    dead_letters=0,
    oldest_waiting_seconds=None,
    buffer_read_at=UNIX,
    threads=0,
    is_closed=False,
    max_events=100_000,
)


def test_at_first_there_is_nothing_to_tell() -> None:
    """A new engine has had neither success nor failure, and holds nothing."""
    assert Patient().status == NEW


@pytest.mark.parametrize(
    ("fact", "cause", "status"),
    [
        (RETRYING, "503", None),
        (Retrying("HOME", "i", 1, 5.0, "503", "503 try later", 503), "503 try later", 503),
        (REJECTED, "missing page_id", 400),
        (dataclasses.replace(REJECTED, message=""), "rejected", 400),
        (OUTAGE, "try later", 503),
        (MISCONFIGURED, "misconfigured", 401),
        (Paused(PauseReason.OUTAGE, None, "x", "no route"), "no route", None),
    ],
    ids=repr,
)
def test_the_last_failure_is_known_with_its_time_and_cause(
    fact: Fact, cause: str, status: int | None
) -> None:
    """Each failed attempt, refusal and pause is the last failure until there is another one."""
    patient = Patient()
    patient.now = 7.0
    patient.vitals(fact)
    patient.now = 8.0
    patient.vitals(DELIVERED)
    found = patient.status
    assert (found.last_failure_at, found.last_failure) == (UNIX + 7, cause)
    assert found.last_failure_status == status
    assert found.last_success_at == UNIX + 8


def test_facts_of_other_kinds_change_nothing() -> None:
    """What never was sent is neither a success nor a failure."""
    patient = Patient()
    for fact in FACTS:
        if not isinstance(fact, (Delivered, Retrying, Paused, type(REJECTED))):
            patient.vitals(fact)
    assert patient.status == NEW


def test_the_circuit_shows_when_the_next_probe_is_due() -> None:
    """An open circuit has its reason and the time of its probe, and a probe shows as such."""
    patient = Patient()
    patient.vitals(OUTAGE)
    assert (patient.status.circuit, patient.status.pause_reason) == ("closed", None)
    patient.breaker.failed(at_once=True)
    patient.now = 2.0
    found = patient.status
    assert (found.circuit, found.pause_reason, found.next_probe_seconds) == ("open", "outage", 3.0)
    patient.now = 5.0
    assert patient.status.next_probe_seconds == 0.0
    assert patient.breaker.begin_probe()
    found = patient.status
    assert (found.circuit, found.next_probe_seconds) == ("probing", None)
    patient.breaker.succeeded()
    assert patient.status.circuit == "closed"


def test_the_pace_is_the_rate_that_is_allowed() -> None:
    """A limited rate shows in requests per second."""
    patient = Patient()
    patient.rate = RateLimiter(50.0, patient.clock)
    assert patient.status.requests_per_second == 50.0


def test_a_buffer_in_memory_is_read_at_once() -> None:
    """What waits, what is on its way and the age of the oldest event are those of now."""
    patient = Patient()
    for id in "abc":
        patient.buffer.put(id, "HOME", b"body")
        patient.now += 10
    entries = patient.buffer.claim(2).entries
    patient.buffer.retry(entries[1], 100.0, attempts=1)
    found = patient.status
    assert (found.waiting, found.on_their_way, found.dead_letters) == (2, 1, 0)
    assert found.oldest_waiting_seconds == 30.0
    patient.buffer.ack(entries[0])
    assert patient.status.oldest_waiting_seconds == 20.0
    assert patient.vitals.due_seconds() == float("inf")
    patient.vitals.run()
    assert patient.vitals.due_seconds() == float("inf")


def test_a_durable_buffer_is_read_by_senders_alone() -> None:
    """The status itself reads nothing: a sender does, at most every ten seconds."""
    patient = Patient(Durable)
    buffer = patient.buffer
    assert (patient.status.waiting, patient.status.buffer_read_at) == (None, None)
    patient.buffered = 3
    assert patient.status.on_their_way == 3
    buffer.put("a", "HOME", b"body")
    patient.now = 4.0
    patient.vitals.run()
    patient.now = 9.0
    patient.vitals.run()
    found = patient.status
    assert buffer.readings == 1
    assert (found.waiting, found.buffer_read_at) == (1, UNIX + 4)
    assert found.oldest_waiting_seconds == 9.0
    assert patient.vitals.due_seconds() == 5.0
    patient.now = 20.0
    assert patient.vitals.due_seconds() == 0.0
    buffer.ack(buffer.claim(1).entries[0])
    patient.vitals.run()
    found = patient.status
    assert (buffer.readings, found.waiting, found.oldest_waiting_seconds) == (2, 0, None)
    assert patient.vitals.due_seconds() == float("inf")


def test_a_tended_buffer_needs_no_sender_for_the_status() -> None:
    """It is read while a sender is awake to tend it: no sender wakes up for the reading alone."""

    class Tended(Durable):
        def tend(self) -> list[News]:
            return []

    patient = Patient(Tended)
    patient.buffer.put("a", "HOME", b"body")
    patient.vitals.run()
    assert (patient.status.waiting, patient.vitals.due_seconds()) == (1, float("inf"))


def test_a_buffer_that_cannot_be_read_leaves_the_last_reading() -> None:
    """Trouble of the disk raises nothing, and the time of the last reading shows it."""
    patient = Patient(Durable)
    buffer = patient.buffer
    assert patient.vitals.read_buffer() == 0
    buffer.put("a", "HOME", b"body")
    buffer.is_broken = True
    patient.now = 50.0
    assert patient.vitals.read_buffer() == 0
    assert (patient.status.waiting, patient.status.buffer_read_at) == (0, UNIX)


@given(st.floats(0, 1e9), st.floats(0, 1e-6))
def test_no_rounding_of_the_clock_leaves_a_reading_due(start: float, early: float) -> None:
    """A reading that is due in less than the clock can tell is done, whatever the clock says."""
    patient = Patient(Durable)
    patient.buffer.put("a", "HOME", b"body")
    patient.now = start
    patient.vitals.run()
    patient.now += 10.0 - early
    patient.vitals.run()
    assert patient.buffer.readings == 2
    assert patient.vitals.due_seconds() > 9.0


# -- in an engine ------------------------------------------------------------------------------


def test_a_status_is_json_as_it_is() -> None:
    """Every field survives a round trip through JSON."""
    gate = Gate(lambda body: SendResult(503, "try later"))
    with closing(Bench(gate, breaker=BreakerPolicy(probe_delays_seconds=(1000,)))) as bench:
        bench.put(*"abcdefghij")
        bench.wait_for_fact(Paused)
        found = dataclasses.asdict(bench.engine.status())
        assert json.loads(json.dumps(found)) == found
        assert (found["circuit"], found["pause_reason"]) == ("open", "outage")
        assert (found["last_failure"], found["last_failure_status"]) == ("503 try later", 503)
        assert found["threads"] >= 1
        assert found["oldest_waiting_seconds"] >= 0


def test_a_status_waits_for_no_request() -> None:
    """While a request hangs, the status comes from any thread, and counts it."""
    gate = Gate()
    gate.open.clear()
    with closing(Bench(gate)) as bench:
        bench.put("a")
        gate.wait_for(1)
        found: list[Status] = []
        thread = threading.Thread(target=lambda: found.append(bench.engine.status()))
        thread.start()
        thread.join(LONG)
        assert (found[0].on_their_way, found[0].last_success_at) == (1, None)
        gate.open.set()
        bench.wait_for_fact(Delivered)
        assert bench.engine.status().last_success_at is not None


class Holding(Durable):
    """A durable buffer whose lock a sender holds: reading its state hangs."""

    def __init__(self) -> None:
        super().__init__()
        self.may_read = threading.Event()

    def state(self) -> BufferState:
        assert self.may_read.wait(LONG)
        return super().state()


def test_a_status_does_not_wait_for_a_durable_buffer() -> None:
    """While the disk hangs, the status comes at once, without what it holds."""
    buffer = Holding()
    with closing(Bench(Gate(), buffer=buffer)) as bench:
        bench.put("a")
        assert bench.engine.status().waiting is None
        buffer.may_read.set()
        bench.wait_for_fact(Delivered)
        assert bench.engine.status().waiting is not None


def test_a_closed_engine_says_so() -> None:
    """After close() no thread sends, and the status shows it."""
    bench = Bench(Gate())
    assert not bench.engine.status().is_closed
    bench.put("a")
    bench.engine.close(LONG)
    found = bench.engine.status()
    assert (found.is_closed, found.threads, found.waiting) == (True, 0, 0)
    assert bench.buffer.put("b", "HOME", b"") is DropReason.CLOSED


def test_what_is_invalid_is_no_failure_of_the_server() -> None:
    """An event that can't be converted leaves the health of the server as it is."""
    with closing(Bench(Gate())) as bench:
        bench.engine.invalid(next(each for each in FACTS if isinstance(each, Invalid)))
        bench.wait_for_fact(Invalid)
        assert bench.engine.status().last_failure_at is None


def test_a_buffer_that_cannot_be_read_is_told() -> None:
    """A health check sees why a durable buffer can't be read, until it can."""
    patient = Patient(Durable)
    patient.vitals.read_buffer()
    assert patient.status.buffer_fault == ""
    patient.buffer.is_broken = True
    patient.vitals.read_buffer()
    assert patient.status.buffer_fault == "OSError"
    patient.buffer.is_broken = False
    patient.vitals.read_buffer()
    assert patient.status.buffer_fault == ""


def test_a_degraded_buffer_is_read_at_once() -> None:
    """A health check need not wait for the next reading to see what was told of the buffer."""
    patient = Patient(Durable)
    patient.vitals.run()
    patient.buffer.is_broken = True
    patient.vitals.run()
    assert patient.status.buffer_fault == ""
    patient.vitals(Degraded("it is away"))
    patient.vitals.run()
    assert patient.status.buffer_fault == "OSError"
    patient.vitals.run()
    assert patient.buffer.readings == 2


def test_a_buffer_that_can_not_be_read_is_read_again_soon() -> None:
    """A health check sees within a second that a buffer works again."""
    patient = Patient(Durable)
    patient.buffer.is_broken = True
    patient.vitals.run()
    patient.buffer.is_broken = False
    patient.now += 0.5
    patient.vitals.run()
    assert patient.status.buffer_fault == "OSError"
    patient.now += 0.5
    patient.vitals.run()
    assert patient.status.buffer_fault == ""
