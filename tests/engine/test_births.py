"""How old an event is, by a clock that can't be set."""

from __future__ import annotations

from support.clock import Clock

from amplitude_moloco.engine.births import Births


def test_an_age_is_the_smaller_of_both_clocks() -> None:
    """A wall clock that steps forward makes no event older than it is; one of others has no say."""
    clock = Clock()
    births = Births(clock.monotonic)
    births.add("a")
    clock.advance(5)
    assert births.age_seconds("a", at_most=30 * 24 * 3600) == 5
    assert births.age_seconds("a", at_most=2) == 2
    assert births.age_seconds("another process's", at_most=77) == 77


def test_only_the_ten_thousand_stored_last_are_remembered() -> None:
    """Memory is bounded: of an event that was stored long before, only the wall clock knows."""
    clock = Clock()
    births = Births(clock.monotonic)
    for number in range(10_001):
        births.add(str(number))
    assert births.age_seconds("0", at_most=99) == 99
    assert births.age_seconds("1", at_most=99) == births.age_seconds("10000", at_most=99) == 0
