"""When a sender should claim next."""

from __future__ import annotations

from math import inf

import pytest
from support.clock import Clock

from amplitude_moloco.engine.next_claim import NextClaim


class Claims(NextClaim):
    """Three events, or two seconds, by a clock that the test sets."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.wakes = 0
        super().__init__(3, 2.0, monotonic=self.clock.monotonic, wake=self._count)

    def _count(self) -> None:
        self.wakes += 1

    @property
    def in_seconds(self) -> float:
        return self.at - self.clock.monotonic()


@pytest.fixture
def claims() -> Claims:
    return Claims()


def test_the_first_event_sets_the_time_and_the_last_one_of_a_queue_is_not_waited_with(
    claims: Claims,
) -> None:
    """A claim is due two seconds after the first event, and at once with the third."""
    assert claims.at == inf
    claims.note_stored()
    assert claims.in_seconds == pytest.approx(2.0)
    claims.clock.advance(1.5)
    claims.note_stored()
    assert claims.in_seconds == pytest.approx(0.5)
    assert claims.wakes == 1
    claims.note_stored()
    assert (claims.at, claims.wakes) == (-inf, 2)
    claims.note_stored()
    assert (claims.at, claims.wakes) == (-inf, 2)


def test_a_claim_begins_anew(claims: Claims) -> None:
    """After a claim nothing is due, and the next event is the first one."""
    for _ in range(3):
        claims.note_stored()
    claims.plan(claims.clock.monotonic() + 1.0)
    claims.begin()
    assert claims.at == inf
    claims.note_stored()
    assert claims.in_seconds == pytest.approx(2.0)


def test_what_is_planned_sooner_counts(claims: Claims) -> None:
    """The soonest of all times counts, and senders that know of a sooner one are not woken."""
    now = claims.clock.monotonic()
    assert claims.plan(now + 1.0)
    assert not claims.plan(now + 5.0)
    claims.note_stored()
    assert claims.in_seconds == pytest.approx(1.0)
    assert claims.wakes == 0
    claims.ask()
    assert not claims.plan(now + 0.5)
    assert (claims.at, claims.wakes) == (-inf, 1)


def test_who_asks_again_wakes_no_one_again(claims: Claims) -> None:
    """One ring is enough, unless the one who rang may have been interrupted."""
    claims.ask()
    claims.ask()
    assert claims.wakes == 1
    claims.insist()
    assert claims.wakes == 2
