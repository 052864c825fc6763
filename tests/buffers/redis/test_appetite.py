"""How much is fetched from Redis at a time."""

from __future__ import annotations

from support.clock import Clock

from amplitude_moloco.buffers.redis.appetite import Appetite, Demand


def test_little_is_fetched_where_little_goes_out(clock: Clock) -> None:
    """Senders find as many entries as they ask for, and no more."""
    appetite = Appetite(clock.monotonic)
    assert appetite.demand(0) == Demand(0, 0)
    for _ in range(20):
        appetite.note(16, 4, 1)
        clock.advance(0.05)
    assert (appetite.ahead, appetite.demand(5).limit, appetite.demand(50).limit) == (16, 11, 0)


def test_as_much_is_fetched_as_goes_out_in_a_twentieth_of_a_second(clock: Clock) -> None:
    """The faster senders are, the more is fetched for them, and soon less when they slow down."""
    appetite = Appetite(clock.monotonic)
    for _ in range(40):
        appetite.note(16, 4, 16)
        clock.advance(0.01)
    assert 70 <= appetite.ahead <= 90
    for _ in range(5):
        appetite.note(16, 4, 16)
        clock.advance(0.1)
    assert appetite.ahead == 16


def test_a_fetch_has_a_bound(clock: Clock) -> None:
    """However fast senders are, Redis is not held up, and not much is kept from other processes."""
    appetite = Appetite(clock.monotonic)
    for _ in range(100):
        appetite.note(100, 0, 100)
    assert (appetite.ahead, appetite.demand(0).limit, appetite.demand(400).limit) == (500, 250, 100)


def test_the_newest_are_fetched_as_often_as_they_were_asked_for(clock: Clock) -> None:
    """What was asked for of the newest adds up until it is fetched, but to no more than a fetch."""
    appetite = Appetite(clock.monotonic)
    for _ in range(3):
        appetite.note(16, 4, 0)
    assert appetite.demand(0) == Demand(16, 12)
    appetite.fetched(Demand(16, 12))
    assert appetite.demand(0) == Demand(16, 0)
    for _ in range(9):
        appetite.note(16, 4, 0)
    assert appetite.demand(10) == Demand(6, 6)
    appetite.fetched(Demand(6, 6))
    assert appetite.demand(0) == Demand(16, 10)
