"""The pacer, with a clock that is handed in."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco import ConfigurationError
from amplitude_moloco.engine.rate import Pacer


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def pacer_at(rate: float | None) -> tuple[Pacer, Clock]:
    """A pacer and its clock."""
    clock = Clock()
    return Pacer(rate, clock), clock


def send(pacer: Pacer, clock: Clock, seconds: float, rate: float) -> None:
    """Make requests at an even rate for a while."""
    for _ in range(round(seconds * rate)):
        clock.now += 1 / rate
        pacer.reserve()


def test_without_a_maximum_and_a_throttle_nothing_waits() -> None:
    """By default every request goes out at once."""
    pacer, _ = pacer_at(None)
    assert [pacer.reserve() for _ in range(1000)] == [0.0] * 1000
    assert pacer.rate is None


def test_who_can_only_take_a_moment_now_takes_no_other() -> None:
    """A moment that has not come is told, and stays there for whoever asks next."""
    pacer, clock = pacer_at(4)
    assert pacer.reserve(only_now=True) == 0.0
    assert [pacer.reserve(only_now=True) for _ in range(3)] == [0.25] * 3
    clock.now += 0.25
    assert [pacer.reserve(only_now=True) for _ in range(2)] == [0.0, 0.25]
    assert pacer.reserve() == 0.25


def test_who_comes_a_little_late_does_not_put_off_the_others() -> None:
    """Asked now and then, the pacer gives as many moments as it should, but none for a rest."""
    pacer, clock = pacer_at(4)
    moments = 0
    for _ in range(1000):
        clock.now += 0.07
        moments += pacer.reserve(only_now=True) == 0.0
    assert moments == pytest.approx(1000 * 0.07 * 4, abs=1)
    clock.now += 10
    assert [pacer.reserve(only_now=True) for _ in range(2)] == [0.0, 0.25]


def test_a_fast_pace_is_kept_by_who_looks_every_few_hundredths() -> None:
    """Many moments that came since the last look are taken together; the rate is no higher."""
    pacer, clock = pacer_at(400)
    moments = 0
    for _ in range(1000):
        clock.now += 0.02
        while pacer.reserve(only_now=True) == 0.0:
            moments += 1
    assert moments == pytest.approx(1000 * 0.02 * 400, abs=2)


def test_a_maximum_paces_from_the_start() -> None:
    """With four requests a second, each comes a quarter of a second after the one before."""
    pacer, clock = pacer_at(4)
    assert [pacer.reserve() for _ in range(5)] == [0.0, 0.25, 0.5, 0.75, 1.0]
    clock.now += 10
    assert [pacer.reserve() for _ in range(2)] == [0.0, 0.25]  # no burst for what was not used


def test_a_throttle_halves_the_rate_and_it_recovers_step_by_step() -> None:
    """After a 429 the rate is half, and grows by a twentieth of the old one a second."""
    pacer, clock = pacer_at(100)
    pacer.throttled()
    assert pacer.rate == 50
    clock.now += 1
    assert pacer.rate == pytest.approx(55)
    clock.now += 8.9
    assert pacer.rate == pytest.approx(99.5)
    clock.now += 1000
    assert pacer.rate == 100


def test_the_throttles_of_one_moment_count_once() -> None:
    """Sixteen 429s to requests that were on their way together halve the rate once."""
    pacer, clock = pacer_at(100)
    for _ in range(16):
        pacer.throttled()
    assert pacer.rate == 50
    clock.now += 0.999
    pacer.throttled()
    assert pacer.rate == pytest.approx(54.995)
    clock.now += 0.001
    pacer.throttled()
    assert pacer.rate == pytest.approx(27.5)


def test_without_a_maximum_the_measured_rate_is_halved_and_set_free_again() -> None:
    """A throttle without a maximum halves what was really sent; at twice that, the limit goes."""
    pacer, clock = pacer_at(None)
    send(pacer, clock, seconds=5, rate=200)
    pacer.throttled()
    assert pacer.rate == pytest.approx(100, rel=0.02)
    clock.now += 29
    assert pacer.rate == pytest.approx(390, rel=0.02)
    clock.now += 2
    assert pacer.rate is None


def test_the_rate_never_falls_below_one_in_two_seconds() -> None:
    """However often MCM throttles, something is still sent."""
    pacer, clock = pacer_at(4)
    for _ in range(10):
        clock.now += 1
        pacer.throttled()
    assert pacer.rate == 0.5


def test_a_throttle_does_not_raise_a_maximum_that_is_lower() -> None:
    """A maximum below the lowest rate of a throttle stays what it is."""
    pacer, clock = pacer_at(0.2)
    clock.now += 1
    pacer.throttled()
    assert pacer.rate == 0.2


def test_after_an_outage_the_backlog_starts_gently() -> None:
    """A ramp starts at ten requests a second, and adds fifty every second."""
    pacer, clock = pacer_at(None)
    pacer.ramp()
    assert pacer.rate == 10
    clock.now += 2
    assert pacer.rate == 110
    clock.now += 18
    assert pacer.rate is None


def test_a_ramp_ends_at_the_maximum_and_starts_no_faster_than_now() -> None:
    """A ramp never exceeds the maximum, and does not undo a throttle."""
    pacer, clock = pacer_at(60)
    pacer.ramp()
    clock.now += 0.5
    assert pacer.rate == 35
    clock.now += 1
    assert pacer.rate == 60
    slow, _ = pacer_at(4)
    slow.ramp()
    assert slow.rate == 4


@given(
    rate=st.floats(0.5, 1000),
    pauses=st.lists(st.floats(0, 2), min_size=1, max_size=60),
)
def test_no_second_has_more_requests_than_allowed(rate: float, pauses: list[float]) -> None:
    """Whenever requests come, they are spaced by at least the pace."""
    pacer, clock = pacer_at(rate)
    moments = []
    for pause in pauses:
        clock.now += pause
        moments.append(clock.now + pacer.reserve())
    gaps = [b - a for a, b in pairwise(moments)]
    assert all(gap >= 1 / rate - 1e-6 for gap in gaps)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), 0.09])
def test_a_rate_that_cannot_work_is_refused(rate: float) -> None:
    """A maximum of nothing, or next to nothing, is refused at construction."""
    with pytest.raises(ConfigurationError, match=r"^max_requests_per_second: "):
        Pacer(rate)
