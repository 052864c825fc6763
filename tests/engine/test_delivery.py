"""What a result does to its entry, without threads, network or time."""

from __future__ import annotations

import logging
import random
from contextlib import suppress

import pytest
from support.clock import NOW, Clock

from amplitude_moloco.buffers.base import Entry
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.engine.breaker import BreakerPolicy, CircuitBreaker
from amplitude_moloco.engine.delivery import Delivery
from amplitude_moloco.engine.facts import (
    DeadLettered,
    Delivered,
    Fact,
    Paused,
    Resumed,
    Retrying,
    ThrottledIdentifier,
)
from amplitude_moloco.engine.ledger import Ledger
from amplitude_moloco.engine.log import LogHook
from amplitude_moloco.engine.measures import Measures
from amplitude_moloco.engine.rate import RateLimiter
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.moloco.answers import classify
from amplitude_moloco.reasons import DeadLetterReason, PauseReason
from amplitude_moloco.transports.base import SendResult

OK = SendResult(200)
UNAVAILABLE = SendResult(503, "try later")


class Bench:
    """A delivery with one event in its buffer, and a clock that stands still until it is moved."""

    def __init__(self, *answers: SendResult, retry: RetrySchedule | None = None) -> None:
        self.answers = list(answers)
        self.clock = Clock()
        self.facts: list[Fact] = []
        self.breaker = CircuitBreaker(BreakerPolicy(failures=5), monotonic=self.clock.monotonic)
        self.rate = RateLimiter(100.0, monotonic=self.clock.monotonic)
        self.buffer = self.new_buffer()
        self.ledger = Ledger([LogHook("MCM", "the key"), self.facts.append])
        self.measures = Measures()
        self.delivery = Delivery(
            self.buffer,
            classify=classify,
            breaker=self.breaker,
            rate=self.rate,
            retry=retry or RetrySchedule(jitter=0),
            ledger=self.ledger,
            identify=lambda body: f"hash of {body.decode()}",
            measures=self.measures,
        )
        self.put("id-1", b"body", "PURCHASE")

    def new_buffer(self) -> MemoryBuffer:
        return MemoryBuffer(wall=self.clock.wall, monotonic=self.clock.monotonic)

    def put(self, id: str, body: bytes, sync: str = "HOME") -> None:
        self.ledger.accept()
        assert self.buffer.put(id, sync, body) is None

    def claim(self) -> Entry:
        (entry,) = self.buffer.claim(1).entries
        return entry

    def settle(self, *, is_probe: bool = False) -> float | None:
        """Claim what is due and settle it; then move to when it is due again."""
        delay = self.delivery.settle(self.claim(), self.answers.pop(0), is_probe=is_probe)
        self.clock.advance(delay or 0)
        return delay

    def let_another_pass(self) -> None:
        """What the breaker learns when another event is delivered."""
        self.breaker.succeeded()

    def told(self, kind: type[Fact]) -> list[Fact]:
        return [fact for fact in self.facts if isinstance(fact, kind)]


def test_a_taken_event_is_out_of_the_buffer() -> None:
    """A 2xx ends the event: it leaves the buffer, and is counted and reported as delivered."""
    bench = Bench(SendResult(202))
    assert bench.settle() is None
    assert bench.facts == [Delivered("PURCHASE", "id-1", 1, 202)]
    state = bench.buffer.state()
    assert (state.waiting, state.claimed, state.dead) == (0, 0, 0)
    assert bench.ledger.stats().delivered == 1


@pytest.mark.parametrize(
    "failure",
    [
        SendResult(500),
        UNAVAILABLE,
        SendResult(408),
        SendResult(429),
        SendResult(message="ConnectTimeout"),
    ],
    ids=lambda failure: str(failure.reason),
)
def test_what_may_pass_is_tried_again_with_the_same_bytes(failure: SendResult) -> None:
    """After a failure that may pass, the same bytes are due again five seconds later."""
    bench = Bench(failure, OK)
    first = bench.claim()
    assert bench.delivery.settle(first, bench.answers.pop(0)) == 5
    assert isinstance(bench.facts[0], Retrying)
    bench.clock.advance(4.999)
    assert bench.buffer.claim(1).entries == []
    bench.clock.advance(0.001)
    second = bench.claim()
    assert second.body == first.body == b"body"
    assert bench.delivery.settle(second, OK) is None
    assert bench.facts[1] == Delivered("PURCHASE", "id-1", 2, 200)


def test_the_delays_are_molocos() -> None:
    """The delays grow as Moloco asks: 5, 10, 20, 40, 80 seconds, then 15 minutes."""
    bench = Bench(*[UNAVAILABLE] * 7)
    assert [bench.settle() for _ in range(7)] == [5, 10, 20, 40, 80, 900, 900]


@pytest.mark.parametrize(
    ("asked_seconds", "delay"), [(0, 5), (4, 5), (60, 60), (1e9, 3600)], ids=str
)
def test_retry_after_is_a_floor_with_a_ceiling(asked_seconds: float, delay: float) -> None:
    """What MCM asks for lengthens the delay, but not beyond an hour."""
    bench = Bench(SendResult(429, retry_after_seconds=asked_seconds))
    assert bench.settle() == delay


def test_an_event_that_fails_while_others_pass_is_exhausted() -> None:
    """An event that fails ten times while others pass is buried as exhausted."""
    bench = Bench(*[UNAVAILABLE] * 10, retry=RetrySchedule(jitter=0, max_attempts=10))
    for _ in range(9):
        bench.let_another_pass()
        assert bench.settle() is not None
    bench.let_another_pass()
    assert bench.settle() is None
    assert bench.facts[-1] == DeadLettered(
        "PURCHASE", "id-1", 10, DeadLetterReason.EXHAUSTED, 503, "try later"
    )
    assert bench.ledger.stats().dead_lettered == {"exhausted": 1}
    assert bench.told(Paused) == []


def test_an_outage_uses_no_event_up() -> None:
    """While nothing passes, an event may fail as often as it likes: it costs one strike at most."""
    bench = Bench(*[UNAVAILABLE] * 50, OK, retry=RetrySchedule(jitter=0, max_attempts=2))
    bench.let_another_pass()
    for _ in range(50):
        assert bench.settle() is not None
    assert bench.settle() is None
    assert bench.told(Delivered) == [Delivered("PURCHASE", "id-1", 51, 200)]


@pytest.mark.parametrize("answer", [SendResult(429), SendResult(401)], ids=["429", "401"])
def test_a_throttle_and_a_wrong_key_are_no_strike(answer: SendResult) -> None:
    """Neither 429 nor 401 brings an event nearer to its end, even while others pass."""
    bench = Bench(*[answer] * 20, OK, retry=RetrySchedule(jitter=0, max_attempts=1))
    for _ in range(20):
        bench.let_another_pass()
        assert bench.settle() is not None
    assert bench.settle() is None
    assert bench.ledger.stats().delivered == 1


def test_more_than_five_failures_in_a_row_open_the_circuit_and_are_told_once() -> None:
    """The sixth failure in a row pauses the destination, reported once; a probe resumes it."""
    bench = Bench(*[UNAVAILABLE] * 8, OK)
    for _ in range(5):
        bench.settle()
    assert not bench.breaker.is_open
    bench.settle()
    assert bench.breaker.is_open
    for _ in range(2):
        bench.clock.advance(900)
        assert bench.breaker.begin_probe()
        bench.settle(is_probe=True)
    assert bench.told(Paused) == [Paused(PauseReason.OUTAGE, 503, "try later")]
    assert bench.breaker.begin_probe()
    bench.settle(is_probe=True)
    assert bench.told(Resumed) == [Resumed()]
    assert not bench.breaker.is_open
    assert bench.rate.rate == 10  # the backlog drains with a ramp


@pytest.mark.parametrize("status", [200, 400, 429])
def test_a_probe_that_is_answered_closes_the_circuit(status: int) -> None:
    """A probe that is taken, refused or throttled shows that MCM works again."""
    bench = Bench(SendResult(status))
    bench.breaker.failed(at_once=True)
    bench.clock.advance(5)
    assert bench.breaker.begin_probe()
    bench.settle(is_probe=True)
    assert not bench.breaker.is_open


def test_a_throttle_halves_the_rate() -> None:
    """One 429 halves the rate of everything, and pauses nothing."""
    bench = Bench(SendResult(429))
    bench.delivery.settle(bench.claim(), SendResult(429))
    assert bench.rate.rate == 50
    assert not bench.breaker.is_open


def test_an_identifier_that_is_throttled_while_others_pass_is_named_once() -> None:
    """Three throttles of one identifier while others pass name it, hashed, and only once."""
    bench = Bench(*[SendResult(429)] * 6)
    bench.settle()
    for _ in range(2):
        bench.let_another_pass()
        bench.settle()
    assert bench.told(ThrottledIdentifier) == []
    for _ in range(3):
        bench.let_another_pass()
        bench.settle()
    assert bench.told(ThrottledIdentifier) == [ThrottledIdentifier("hash of body")]


def test_what_was_not_sent_goes_back_as_it_was() -> None:
    """An entry that is given back is due at once, with no attempt more."""
    bench = Bench()
    entry = bench.claim()
    bench.delivery.give_back(entry)
    assert bench.claim()._replace(key=entry.key) == entry
    assert bench.facts == []


def test_an_event_that_is_too_old_is_buried() -> None:
    """An event that is as old as the schedule allows is buried as expired."""
    bench = Bench(UNAVAILABLE, retry=RetrySchedule(jitter=0, max_age_seconds=100))
    bench.clock.advance(100)
    bench.settle()
    assert bench.facts == [
        DeadLettered("PURCHASE", "id-1", 1, DeadLetterReason.EXPIRED, 503, "try later")
    ]


@pytest.mark.parametrize("status", [400, 413, 422, 451])
def test_a_refused_event_becomes_a_dead_letter_with_the_reason(status: int) -> None:
    """What MCM refuses is buried with the status, MCM's message and the time."""
    bench = Bench(SendResult(status, "missing page_id"))
    bench.settle()
    assert bench.facts == [
        DeadLettered("PURCHASE", "id-1", 1, DeadLetterReason.REJECTED, status, "missing page_id")
    ]
    (letter,) = bench.buffer.dead_letters()
    assert (letter.id, letter.sync, letter.body) == ("id-1", "PURCHASE", b"body")
    assert (letter.attempts, letter.reason) == (1, "rejected")
    assert (letter.status, letter.message) == (status, "missing page_id")
    assert letter.accepted_at == letter.buried_at == NOW


@pytest.mark.parametrize("status", [301, 307, 401, 403, 404])
def test_a_wrong_key_pauses_and_keeps_everything(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """While key or address are wrong, events wait as long as it takes, and the log says so once."""
    tries = [SendResult(status, "who are you")] * 20
    bench = Bench(*tries, retry=RetrySchedule(jitter=0, max_attempts=2))
    assert [bench.settle() for _ in range(20)] == [0] * 20
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.args for record in errors] == [("MCM", f"{status} who are you", "the key")]
    assert bench.told(Paused) == [Paused(PauseReason.MISCONFIGURED, status, "who are you")]
    assert bench.breaker.is_open
    assert bench.ledger.stats().buffered == 1


def test_a_lost_claim_settles_nothing() -> None:
    """What comes of an entry that was taken away meanwhile is neither told nor counted."""
    for answer in (OK, UNAVAILABLE, SendResult(400)):
        bench = Bench(answer)
        entry = bench.claim()
        bench.buffer.close()
        bench.delivery.settle(entry, answer)
        assert bench.facts == []
        assert bench.ledger.stats().buffered == 1


def test_an_endless_row_of_identifiers_neither_fills_memory_nor_hides_a_new_one() -> None:
    """After a thousand throttled identifiers, one that comes after them is still named."""
    bench = Bench(*[SendResult(429)] * 1003)
    bench.delivery.give_back(bench.claim())
    bench.buffer.ack(bench.claim())
    for number in range(1000):
        bench.put(str(number), f"{number}".encode())
        bench.let_another_pass()
        bench.delivery.settle(bench.claim(), SendResult(429))
    bench.put("new", b"new")
    for _ in range(3):
        bench.let_another_pass()
        (entry,) = (each for each in bench.buffer.claim(2_000).entries if each.id == "new")
        bench.delivery.settle(entry, SendResult(429))
        bench.clock.advance(60)
    assert bench.told(ThrottledIdentifier) == [ThrottledIdentifier("hash of new")]


class Durable(MemoryBuffer):
    """Keeps entries for any process. Each change can be made to fail, or to come too late."""

    is_durable = True
    trouble: Exception | None = None
    is_late = False

    def ack(self, entry: Entry) -> bool:
        return self._works() and super().ack(entry)

    def retry(self, entry: Entry, delay_seconds: float, *, attempts: int, strikes: int = 0) -> bool:
        return self._works() and super().retry(
            entry, delay_seconds, attempts=attempts, strikes=strikes
        )

    def bury(
        self, entry: Entry, reason: DeadLetterReason, *, status: int | None, message: str
    ) -> bool:
        return self._works() and super().bury(entry, reason, status=status, message=message)

    def _works(self) -> bool:
        if self.trouble:
            raise self.trouble
        return not self.is_late


class DurableBench(Bench):
    """The same over a durable buffer, from which the entry was claimed."""

    buffer: Durable

    def new_buffer(self) -> Durable:
        return Durable(wall=self.clock.wall, monotonic=self.clock.monotonic)

    def put(self, id: str, body: bytes, sync: str = "HOME") -> None:
        super().put(id, body, sync)
        self.ledger.hand_on()

    def claim(self) -> Entry:
        self.ledger.take_over(1)
        return super().claim()


ANSWERS = [OK, UNAVAILABLE, SendResult(400), SendResult(401), SendResult(429)]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.reason)
def test_what_a_durable_buffer_keeps_is_no_longer_this_processes(answer: SendResult) -> None:
    """Whatever the outcome, this process then holds nothing: it ended, or was handed on."""
    bench = DurableBench(answer)
    bench.settle()
    stats = bench.ledger.stats()
    has_ended = bool(stats.delivered or stats.dead_lettered)
    assert (stats.buffered, stats.taken_over, stats.handed_on) == (0, 1, 1 + (not has_ended))


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.reason)
def test_a_claim_that_another_process_has_by_now_is_handed_on(answer: SendResult) -> None:
    """An entry that another process has taken over is not this one's any more, and not counted."""
    bench = DurableBench(answer)
    bench.buffer.is_late = True
    bench.settle()
    stats = bench.ledger.stats()
    assert (stats.buffered, stats.handed_on) == (0, 2)
    assert [fact for fact in bench.facts if not isinstance(fact, (Paused, Resumed))] == []


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.reason)
def test_an_entry_that_cannot_be_settled_is_handed_on(answer: SendResult) -> None:
    """Where the buffer fails, its exception comes out, and the claim ends with its lease."""
    bench = DurableBench(answer)
    bench.buffer.trouble = OSError("no disk")
    with pytest.raises(OSError, match="no disk"):
        bench.settle()
    assert (bench.ledger.stats().buffered, bench.ledger.stats().handed_on) == (0, 2)


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.reason)
@pytest.mark.parametrize("fails", [False, True])
def test_a_request_counts_whatever_the_buffer_says(answer: SendResult, *, fails: bool) -> None:
    """An attempt is measured once, though the buffer fails, or another process has the entry."""
    bench = DurableBench(answer)
    bench.buffer.is_late, bench.buffer.trouble = True, OSError() if fails else None
    with suppress(OSError):
        bench.settle()
    found = bench.measures.measurements()
    assert sum(found.attempts.values()) == sum(found.request_seconds.counts) == 1
    assert sum(found.delay_seconds.counts) == 0


def test_an_entry_that_cannot_be_given_back_is_handed_on() -> None:
    """An entry that could not be returned is left to its lease, and no longer this process's."""
    bench = DurableBench()
    entry = bench.claim()
    bench.buffer.trouble = OSError("no disk")
    with pytest.raises(OSError, match="no disk"):
        bench.delivery.give_back(entry)
    assert bench.ledger.stats().buffered == 0


def test_the_apps_random_numbers_stay_its_own() -> None:
    """An app that has seeded Python's random numbers gets the same ones, whatever is retried."""
    before = random.getstate()
    bench = Bench(SendResult(500), retry=RetrySchedule(jitter=1))
    assert bench.settle()
    assert random.getstate() == before
