"""How old an event is, by a clock that can't be set."""

from __future__ import annotations

import pytest
from support.clock import Clock

from amplitude_moloco.engine.births import Births

DAY = 24 * 3600.0


def test_an_age_is_the_smaller_of_both_clocks() -> None:
    """A wall clock that steps forward makes no event older than it is; one of others has no say."""
    clock = Clock()
    births = Births(clock.monotonic, clock.wall)
    births.add("a")
    clock.advance(5)
    assert births.age_seconds("a", at_most=30 * 24 * 3600) == 5
    assert births.age_seconds("a", at_most=2) == 2
    assert births.age_seconds("another process's", at_most=77) == 77


@pytest.mark.parametrize("step_seconds", [-30 * DAY, -1, 0, 59, 61, 8 * DAY])
def test_a_clock_that_is_set_forward_ages_nothing(step_seconds: float) -> None:
    """What an earlier run stored gets no older than by the time that has passed."""
    clock = Clock()
    births = Births(clock.monotonic, clock.wall)
    clock.advance(5)
    clock.set_wall(clock.wall() + step_seconds)
    age = births.age_seconds("an earlier run's", at_most=max(0.0, 77 + step_seconds))
    assert age == (77 if step_seconds > 60 else max(0.0, 77 + step_seconds))


def test_only_the_ten_thousand_stored_last_are_remembered() -> None:
    """Memory is bounded: of an event that was stored long before, only the wall clock knows."""
    clock = Clock()
    births = Births(clock.monotonic)
    for number in range(10_001):
        births.add(str(number))
    assert births.age_seconds("0", at_most=99) == 99
    assert births.age_seconds("1", at_most=99) == births.age_seconds("10000", at_most=99) == 0
