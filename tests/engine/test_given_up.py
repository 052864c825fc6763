"""What must not be sent again, or not any more: given up before or after an attempt."""

from __future__ import annotations

from support.buffers import MakeBuffer
from support.engines import LONG, SERVER, Bench, Gate, closing

from amplitude_moloco.engine.breaker import BreakerPolicy
from amplitude_moloco.engine.engine import Partner
from amplitude_moloco.engine.facts import DeadLettered, Paused
from amplitude_moloco.engine.verdict import Refusal, Verdict
from amplitude_moloco.reasons import DeadLetterReason
from amplitude_moloco.transports.base import SendResult


def unknown(result: SendResult) -> Verdict:
    return Verdict.DELIVERED if result.status == 200 else Verdict.UNKNOWN


def test_what_may_have_been_accepted_is_not_sent_again() -> None:
    """An event with an unknown outcome becomes a dead letter after one attempt."""
    gate = Gate(lambda body: SendResult(None, "ReadTimeout"))
    with closing(Bench(gate, partner=Partner(SERVER, "the key", unknown))) as bench:
        bench.put("a")
        bench.wait_for_fact(DeadLettered)
        (letter,) = bench.engine.dead_letters()
        assert (letter.reason, letter.message, letter.attempts) == ("exhausted", "ReadTimeout", 1)
    assert gate.sent == [b"a"]


def test_unknown_outcomes_open_the_circuit() -> None:
    """While no request has an outcome, sending pauses: the rest is kept."""
    gate = Gate(lambda body: SendResult(None, "ReadTimeout"))
    partner = Partner(SERVER, "the key", unknown)
    policy = BreakerPolicy(failures=2)
    with closing(Bench(gate, partner=partner, breaker=policy, connections=1)) as bench:
        for number in range(9):
            bench.put(str(number))
        bench.wait_for_fact(Paused)
        stats = bench.engine.flush(LONG).result(LONG)
        assert (stats.dead_lettered, stats.buffered) == ({"exhausted": 3}, 6)
        gate.answer = lambda body: SendResult(200)


def test_what_is_stale_is_not_sent(make_laned_buffer: MakeBuffer) -> None:
    """An event that must not be sent any more is buried unsent, and its lane goes on."""
    gate = Gate()
    too_old = Refusal(DeadLetterReason.EXPIRED, "too old")
    partner = Partner(
        SERVER, "the key", unknown, why_not=lambda body: too_old if body == b"old" else None
    )
    with closing(Bench(gate, partner=partner, buffer=make_laned_buffer())) as bench:
        for body in (b"old", b"new"):
            bench.engine.put(body.decode(), "EVENT", body, "x")
        bench.put("old", "other")
        bench.wait_for_delivered(2)
        letters = bench.engine.dead_letters()
        assert {(each.reason, each.message, each.attempts, each.status) for each in letters} == {
            ("expired", "too old", 0, None)
        }
    assert sorted(gate.sent) == [b"new", b"other"]


def test_a_refusal_may_hold_for_others(make_laned_buffer: MakeBuffer) -> None:
    """A partner learns of each body that is refused for good, before the next of its lane goes."""
    refused: list[bytes] = []
    known = Refusal(DeadLetterReason.REJECTED, "refused before")
    partner = Partner(
        SERVER,
        "the key",
        lambda result: Verdict.REJECTED if result.status == 400 else Verdict.DELIVERED,
        why_not=lambda body: known if body[:1] in {each[:1] for each in refused} else None,
        refused=lambda body, result: refused.append(body),
    )
    gate = Gate(lambda body: SendResult(400 if body == b"a1" else 200))
    with closing(Bench(gate, partner=partner, buffer=make_laned_buffer())) as bench:
        for body in (b"a1", b"a2", b"b1"):
            bench.engine.put(body.decode(), "EVENT", body, "x")
        bench.wait_for_delivered(1)
        letters = bench.engine.dead_letters()
        assert [(each.id, each.reason) for each in letters] == [
            ("a1", "rejected"),
            ("a2", "rejected"),
        ]
    assert (refused, gate.sent) == ([b"a1"], [b"a1", b"b1"])
