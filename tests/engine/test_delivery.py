"""One entry's last step, without threads, network or time."""

from __future__ import annotations

import logging

import pytest

from amplitude_moloco.buffers.base import Entry
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.engine.breaker import BreakerSettings, CircuitBreaker
from amplitude_moloco.engine.delivery import Delivery
from amplitude_moloco.engine.facts import (
    Buried,
    Delivered,
    Fact,
    Hooks,
    Paused,
    Resumed,
    Retrying,
    ThrottledIdentifier,
)
from amplitude_moloco.engine.ledger import Ledger
from amplitude_moloco.engine.rate import Pacer
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.moloco.answers import classify
from amplitude_moloco.transports.base import SendResult, TakeRequest

NOW = 1_700_000_000.0
LONG = 10.0
OK = SendResult(200)
UNAVAILABLE = SendResult(503, "try later")


class Scripted:
    """A transport that answers what it is told, and remembers what it sent."""

    def __init__(self, *answers: SendResult | Exception) -> None:
        self.answers = list(answers)
        self.sent: list[bytes] = []

    def send(self, body: bytes) -> SendResult:
        self.sent.append(body)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None: ...


class Bench:
    """A delivery with one event in its buffer, and a clock that stands still until it is moved."""

    buffer_type = MemoryBuffer

    def __init__(
        self,
        *answers: SendResult | Exception,
        retry: RetrySchedule | None = None,
        transport: Scripted | Together | None = None,
    ) -> None:
        self.now = NOW
        self.facts: list[Fact] = []
        self.breaker = CircuitBreaker(BreakerSettings(failures=5), monotonic=lambda: self.now)
        self.pacer = Pacer(100.0, monotonic=lambda: self.now)
        self.buffer = self.buffer_type()
        self.transport = transport or Scripted(*answers)
        self.ledger = Ledger()
        self.delivery = Delivery(
            self.buffer,
            self.transport,
            classify=classify,
            breaker=self.breaker,
            pacer=self.pacer,
            identify=lambda body: f"hash of {body.decode()}",
            retry=retry or RetrySchedule(jitter=0),
            ledger=self.ledger,
            hooks=Hooks([self.facts.append]),
            wall=lambda: self.now,
        )
        self.ledger.stored()
        assert self.buffer.put("id-1", "PURCHASE", b"body", NOW) is None

    def claim(self) -> Entry:
        (entry,) = self.buffer.claim(1, self.now)
        return entry

    def deliver(self, *, is_probe: bool = False) -> float | None:
        """Claim what is due and deliver it; then move to when it is due again."""
        delay = self.delivery.deliver(self.claim(), is_probe=is_probe)
        self.now += delay or 0
        return delay

    def let_another_pass(self) -> None:
        """What the breaker learns when another event is delivered."""
        self.breaker.succeeded()

    def told(self, kind: type[Fact]) -> list[Fact]:
        return [fact for fact in self.facts if isinstance(fact, kind)]


def test_a_taken_event_is_out_of_the_buffer() -> None:
    """A 2xx ends the event: it leaves the buffer, and is told and counted as delivered."""
    bench = Bench(SendResult(202))
    assert bench.deliver() is None
    assert bench.facts == [Delivered("PURCHASE", "id-1", 1, 202)]
    state = bench.buffer.state()
    assert (state.waiting, state.claimed, state.dead) == (0, 0, 0)
    assert bench.ledger.snapshot().delivered == 1


@pytest.mark.parametrize(
    "failure",
    [
        SendResult(500),
        UNAVAILABLE,
        SendResult(408),
        SendResult(429),
        SendResult(message="ConnectTimeout"),
        ValueError("of a broken transport"),
    ],
    ids=lambda failure: str(getattr(failure, "reason", failure)),
)
def test_what_may_pass_is_tried_again_with_the_same_bytes(failure: SendResult | Exception) -> None:
    """After a failure that may pass, the same bytes are sent again five seconds later."""
    bench = Bench(failure, OK)
    assert bench.deliver() == 5
    assert isinstance(bench.facts[0], Retrying)
    assert bench.buffer.claim(1, bench.now - 0.001) == []
    assert bench.deliver() is None
    assert bench.transport.sent == [b"body", b"body"]
    assert bench.facts[1] == Delivered("PURCHASE", "id-1", 2, 200)


def test_the_delays_are_molocos() -> None:
    """The delays grow as Moloco asks: 5, 10, 20, 40, 80 seconds, then 15 minutes."""
    bench = Bench(*[UNAVAILABLE] * 7)
    assert [bench.deliver() for _ in range(7)] == [5, 10, 20, 40, 80, 900, 900]


@pytest.mark.parametrize(
    ("asked_seconds", "delay"), [(0, 5), (4, 5), (60, 60), (1e9, 3600)], ids=str
)
def test_retry_after_is_a_floor_with_a_ceiling(asked_seconds: float, delay: float) -> None:
    """What MCM asks for lengthens the delay, but not beyond an hour."""
    bench = Bench(SendResult(429, retry_after_seconds=asked_seconds))
    assert bench.deliver() == delay


def test_an_event_that_fails_while_others_pass_is_exhausted() -> None:
    """An event that fails ten times while others pass is buried as exhausted."""
    bench = Bench(*[UNAVAILABLE] * 10, retry=RetrySchedule(jitter=0, max_attempts=10))
    for _ in range(9):
        bench.let_another_pass()
        assert bench.deliver() is not None
    bench.let_another_pass()
    assert bench.deliver() is None
    assert bench.facts[-1] == Buried("PURCHASE", "id-1", 10, "exhausted", 503, "try later")
    assert bench.ledger.snapshot().buried == {"exhausted": 1}
    assert bench.told(Paused) == []


def test_an_outage_uses_no_event_up() -> None:
    """While nothing passes, an event may fail as often as it likes: it costs one strike at most."""
    bench = Bench(*[UNAVAILABLE] * 50, OK, retry=RetrySchedule(jitter=0, max_attempts=2))
    bench.let_another_pass()
    for _ in range(50):
        assert bench.deliver() is not None
    assert bench.deliver() is None
    assert bench.told(Delivered) == [Delivered("PURCHASE", "id-1", 51, 200)]


@pytest.mark.parametrize("answer", [SendResult(429), SendResult(401)], ids=["429", "401"])
def test_a_throttle_and_a_wrong_key_are_no_strike(answer: SendResult) -> None:
    """Neither 429 nor 401 brings an event nearer to its end, even while others pass."""
    bench = Bench(*[answer] * 20, OK, retry=RetrySchedule(jitter=0, max_attempts=1))
    for _ in range(20):
        bench.let_another_pass()
        assert bench.deliver() is not None
    assert bench.deliver() is None
    assert bench.ledger.snapshot().delivered == 1


def test_more_than_five_failures_in_a_row_open_the_circuit_and_are_told_once() -> None:
    """The sixth failure in a row pauses the destination, which is told once; a probe resumes it."""
    bench = Bench(*[UNAVAILABLE] * 8, OK)
    for _ in range(5):
        bench.deliver()
    assert not bench.breaker.is_open
    bench.deliver()
    assert bench.breaker.is_open
    for _ in range(2):
        bench.now += 900
        assert bench.breaker.begin_probe()
        bench.deliver(is_probe=True)
    assert bench.told(Paused) == [Paused("outage", 503, "try later")]
    assert bench.breaker.begin_probe()
    bench.deliver(is_probe=True)
    assert bench.told(Resumed) == [Resumed()]
    assert not bench.breaker.is_open
    assert bench.pacer.rate == 10  # the backlog drains with a ramp


@pytest.mark.parametrize("status", [200, 400, 429])
def test_a_probe_that_is_answered_closes_the_circuit(status: int) -> None:
    """A probe that is taken, refused or throttled shows that MCM works again."""
    bench = Bench(SendResult(status))
    bench.breaker.failed(at_once=True)
    bench.now += 5
    assert bench.breaker.begin_probe()
    bench.deliver(is_probe=True)
    assert not bench.breaker.is_open


def test_a_throttle_halves_the_pace() -> None:
    """One 429 halves the pace of everything, and pauses nothing."""
    bench = Bench(SendResult(429))
    bench.delivery.deliver(bench.claim())
    assert bench.pacer.rate == 50
    assert not bench.breaker.is_open


def test_an_identifier_that_is_throttled_while_others_pass_is_named_once() -> None:
    """Three throttles of one identifier while others pass name it, hashed, and only once."""
    bench = Bench(*[SendResult(429)] * 6)
    bench.deliver()
    for _ in range(2):
        bench.let_another_pass()
        bench.deliver()
    assert bench.told(ThrottledIdentifier) == []
    for _ in range(3):
        bench.let_another_pass()
        bench.deliver()
    assert bench.told(ThrottledIdentifier) == [ThrottledIdentifier("hash of body")]


def test_what_was_not_sent_goes_back_as_it_was() -> None:
    """An entry that is given back is due at once, with no attempt more."""
    bench = Bench()
    entry = bench.claim()
    bench.delivery.give_back(entry)
    assert bench.claim()._replace(token=entry.token) == entry
    assert bench.facts == []


def test_an_event_that_is_too_old_is_buried() -> None:
    """An event that is as old as the schedule allows is buried as expired."""
    bench = Bench(UNAVAILABLE, retry=RetrySchedule(jitter=0, max_age_seconds=100))
    bench.now += 100
    bench.deliver()
    assert bench.facts == [Buried("PURCHASE", "id-1", 1, "expired", 503, "try later")]


@pytest.mark.parametrize("status", [400, 413, 422, 451])
def test_a_refused_event_becomes_a_dead_letter_with_the_reason(status: int) -> None:
    """What MCM refuses is buried with the status, MCM's message and the time."""
    bench = Bench(SendResult(status, "missing page_id"))
    entry = bench.claim()
    bench.delivery.deliver(entry)
    assert bench.facts == [Buried("PURCHASE", "id-1", 1, "rejected", status, "missing page_id")]
    (letter,) = bench.buffer.dead_letters()
    buried = entry._replace(attempts=1)
    assert letter == (buried, "rejected", status, "missing page_id", NOW)


@pytest.mark.parametrize("status", [301, 307, 401, 403, 404])
def test_a_wrong_key_pauses_and_keeps_everything(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """While key or address are wrong, events wait as long as it takes, and the log says so once."""
    tries = [SendResult(status, "who are you")] * 20
    bench = Bench(*tries, retry=RetrySchedule(jitter=0, max_attempts=2))
    assert [bench.deliver() for _ in range(20)] == [0] * 20
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.args for record in errors] == [(f"{status} who are you",)]
    assert bench.told(Paused) == [Paused("misconfigured", status, "who are you")]
    assert bench.breaker.is_open
    assert bench.ledger.snapshot().buffered == 1


def test_a_lost_claim_settles_nothing() -> None:
    """What comes of an entry that was taken away meanwhile is neither told nor counted."""
    for answer in (OK, UNAVAILABLE, SendResult(400)):
        bench = Bench(answer)
        entry = bench.claim()
        bench.buffer.close()
        bench.delivery.deliver(entry)
        assert bench.facts == []
        assert bench.ledger.snapshot().buffered == 1


def test_an_endless_row_of_identifiers_fills_no_memory() -> None:
    """Only so many identifiers are watched: one that comes after them is not named."""
    bench = Bench(*[SendResult(429)] * 1003)
    bench.delivery.give_back(bench.claim())
    bench.buffer.ack(bench.claim())
    for number in range(1000):
        bench.buffer.put(str(number), "HOME", f"{number}".encode(), NOW)
        bench.let_another_pass()
        bench.delivery.deliver(bench.claim())
    bench.buffer.put("new", "HOME", b"new", NOW)
    for _ in range(3):
        bench.let_another_pass()
        bench.deliver()
    assert bench.told(ThrottledIdentifier) == []


class Together:
    """A transport that sends in one thread whatever it gets, then answers as it is told."""

    def __init__(self, *answers: SendResult | Exception) -> None:
        self.answers = list(answers)
        self.sent: list[bytes] = []

    def send(self, body: bytes) -> SendResult:
        raise NotImplementedError

    def send_each(self, take: TakeRequest) -> None:
        on_their_way = []
        while not isinstance(request := take(), float):
            self.sent.append(request[0])
            on_their_way.append(request[1])
        for done in on_their_way:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            done(answer)

    def close(self) -> None: ...


class Forgetful(MemoryBuffer):
    """A buffer that raises when it is to forget a certain event."""

    def ack(self, entry: Entry) -> bool:
        if entry.id == "bad":
            raise OSError("disk")
        return super().ack(entry)


class Several(Bench):
    """The same with more events, over a transport that can have many on their way."""

    buffer_type = Forgetful

    def __init__(self, *answers: SendResult | Exception) -> None:
        super().__init__(transport=Together(*answers))
        self.settled: list[tuple[str, bool, float | None]] = []
        self.troubles: list[Exception] = []

    def put(self, *ids: str) -> None:
        for id in ids:
            self.ledger.stored()
            assert self.buffer.put(id, "HOME", id.encode(), NOW) is None

    def take(self) -> tuple[Entry, bool] | float:
        if self.troubles:
            raise self.troubles.pop()
        entries = self.buffer.claim(1, self.now)
        return (entries[0], False) if entries else LONG

    def deliver_each(self, *, is_probe: bool = False) -> None:
        self.delivery.deliver_each(self.claim(), self.take, self._settle, is_probe=is_probe)

    def _settle(self, entry: Entry, is_probe: bool, again: float | None) -> None:
        self.settled.append((entry.id, is_probe, again))


def test_many_are_delivered_at_a_time() -> None:
    """Over a transport that can, all are sent before one is settled; each by its own answer."""
    bench = Several(OK, SendResult(400), UNAVAILABLE)
    assert bench.delivery.is_concurrent
    bench.put("a", "b")
    bench.deliver_each(is_probe=True)
    assert bench.transport.sent == [b"body", b"a", b"b"]
    assert bench.settled == [("id-1", True, None), ("a", False, None), ("b", False, 5.0)]
    assert [type(fact) for fact in bench.facts] == [Delivered, Buried, Retrying]


def test_one_events_trouble_is_not_that_of_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """Where an event can't be settled, those beside it are, and it may be looked at again."""
    bench = Several(OK, OK, OK)
    bench.put("bad", "c")
    bench.deliver_each()
    assert bench.settled == [("id-1", False, None), ("bad", False, 0.0), ("c", False, None)]
    assert caplog.messages == ["A sender failed, and goes on"]


def test_where_no_more_can_be_taken_the_others_are_delivered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What goes wrong as one more is taken does not touch those that are on their way."""
    bench = Several(OK)
    bench.troubles.append(OSError("disk"))
    bench.deliver_each()
    assert bench.settled == [("id-1", False, None)]
    assert caplog.messages == ["A sender failed, and goes on"]


def test_what_a_transport_leaves_unanswered_was_not_delivered() -> None:
    """Where the transport itself fails, whatever it has not answered comes again later."""
    bench = Several(OK, RuntimeError("no more"))
    bench.put("a", "b")
    bench.deliver_each()
    assert bench.settled == [("id-1", False, None), ("a", False, 5.0), ("b", False, 5.0)]
    assert [fact.reason for fact in bench.facts if isinstance(fact, Retrying)] == [
        "RuntimeError",
        "RuntimeError",
    ]


def test_one_at_a_time_is_no_more_than_one() -> None:
    """A transport that only sends one after the other is known as such."""
    assert not Bench().delivery.is_concurrent
