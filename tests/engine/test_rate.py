"""The rate limiter, with a clock that is handed in."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import Clock

from amplitude_moloco import ConfigurationError
from amplitude_moloco.engine.rate import RateLimiter


def limiter_at(rate: float | None) -> tuple[RateLimiter, Clock]:
    """A limiter and its clock."""
    clock = Clock()
    return RateLimiter(rate, clock.monotonic), clock


def send(limiter: RateLimiter, clock: Clock, seconds: float, rate: float) -> None:
    """Make requests at an even rate for a while."""
    for _ in range(round(seconds * rate)):
        clock.advance(1 / rate)
        limiter.take()


def test_without_a_maximum_and_a_throttle_nothing_waits() -> None:
    """By default every request goes out at once."""
    limiter, _ = limiter_at(None)
    assert [limiter.take() for _ in range(1000)] == [0.0] * 1000
    assert limiter.rate is None


def test_a_turn_that_has_not_come_is_not_taken() -> None:
    """Asking before the next turn returns the time until it, and leaves it for the next caller."""
    limiter, clock = limiter_at(4)
    assert limiter.take() == 0.0
    assert [limiter.take() for _ in range(3)] == [0.25] * 3
    clock.advance(0.25)
    assert [limiter.take() for _ in range(2)] == [0.0, 0.25]


def test_a_caller_that_arrives_late_does_not_slow_the_rate() -> None:
    """A caller that polls gets as many turns as the rate allows, and none extra after a rest."""
    limiter, clock = limiter_at(4)
    turns = 0
    for _ in range(1000):
        clock.advance(0.07)
        turns += limiter.take() == 0.0
    assert turns == pytest.approx(1000 * 0.07 * 4, abs=1)
    clock.advance(10)
    assert [limiter.take() for _ in range(2)] == [0.0, 0.25]


def test_a_fast_rate_is_kept_by_a_caller_that_polls_every_few_hundredths() -> None:
    """Turns that have come since the last call are taken together; the rate is no higher."""
    limiter, clock = limiter_at(400)
    turns = 0
    for _ in range(1000):
        clock.advance(0.02)
        while limiter.take() == 0.0:
            turns += 1
    assert turns == pytest.approx(1000 * 0.02 * 400, abs=2)


def test_a_rest_is_not_made_up_for() -> None:
    """After a pause the rate is the same: turns that were not used are gone."""
    limiter, clock = limiter_at(4)
    assert limiter.take() == 0.0
    clock.advance(10)
    assert [limiter.take() for _ in range(2)] == [0.0, 0.25]


def test_a_throttle_halves_the_rate_and_it_recovers_step_by_step() -> None:
    """After a 429 the rate is half, and grows by a twentieth of the old one a second."""
    limiter, clock = limiter_at(100)
    limiter.throttled()
    assert limiter.rate == 50
    clock.advance(1)
    assert limiter.rate == pytest.approx(55)
    clock.advance(8.9)
    assert limiter.rate == pytest.approx(99.5)
    clock.advance(1000)
    assert limiter.rate == 100


def test_the_throttles_of_one_moment_count_once() -> None:
    """Sixteen 429s to requests that were on their way together halve the rate once."""
    limiter, clock = limiter_at(100)
    for _ in range(16):
        limiter.throttled()
    assert limiter.rate == 50
    clock.advance(0.999)
    limiter.throttled()
    assert limiter.rate == pytest.approx(54.995)
    clock.advance(0.001)
    limiter.throttled()
    assert limiter.rate == pytest.approx(27.5)


def test_without_a_maximum_the_measured_rate_is_halved_and_comes_back() -> None:
    """A throttle without a maximum halves what was really sent, and what was refused is the aim."""
    limiter, clock = limiter_at(None)
    send(limiter, clock, seconds=5, rate=200)
    limiter.throttled()
    assert limiter.rate == pytest.approx(100, rel=0.02)
    clock.advance(5)
    assert limiter.rate == pytest.approx(150, rel=0.02)
    clock.advance(1_000_000)
    assert limiter.rate == pytest.approx(200, rel=0.02)


def requests_made(limiter: RateLimiter, clock: Clock, seconds: int) -> list[int]:
    """Make requests as fast as the limiter allows. Returns how many there were in each second."""
    counts = []
    for _ in range(seconds):
        count = 0
        for _ in range(50):
            clock.advance(0.02)
            while limiter.take() == 0.0 and count < 20_000:
                count += 1
        counts.append(count)
    return counts


@given(storm=st.integers(1, 60), rate=st.integers(1, 2000))
@settings(max_examples=20, deadline=None)
def test_after_a_storm_of_throttles_the_climb_is_bounded(storm: int, rate: int) -> None:
    """However long a storm of 429s was, no second has half as many requests again as the last."""
    limiter, clock = limiter_at(None)
    send(limiter, clock, seconds=2, rate=rate)
    for _ in range(storm):
        limiter.throttled()
        clock.advance(1)
    counts = requests_made(limiter, clock, 60)
    for before, after in pairwise(counts):
        assert after <= before * 1.5 + 3


def test_what_was_refused_is_not_exceeded_by_an_app_that_sends_less() -> None:
    """After a quiet hour a backlog starts at the rate that was refused last, not in a burst."""
    limiter, clock = limiter_at(None)
    send(limiter, clock, seconds=5, rate=100)
    limiter.throttled()
    send(limiter, clock, seconds=3600, rate=1)
    assert requests_made(limiter, clock, 1)[0] <= 110


def test_a_limit_that_is_not_reached_is_not_what_was_refused() -> None:
    """A 429 to an app that sends far less than its maximum halves what it sends."""
    limiter, clock = limiter_at(1000)
    send(limiter, clock, seconds=5, rate=20)
    limiter.throttled()
    assert limiter.rate == pytest.approx(10, rel=0.1)
    clock.advance(1_000)
    assert limiter.rate == pytest.approx(20, rel=0.1)


def test_the_rate_never_falls_below_one_in_two_seconds() -> None:
    """However often MCM throttles, something is still sent."""
    limiter, clock = limiter_at(4)
    for _ in range(10):
        clock.advance(1)
        limiter.throttled()
    assert limiter.rate == 0.5


def test_a_throttle_does_not_raise_a_maximum_that_is_lower() -> None:
    """A maximum below the lowest rate of a throttle stays what it is."""
    limiter, clock = limiter_at(0.2)
    clock.advance(1)
    limiter.throttled()
    assert limiter.rate == 0.2


def test_after_an_outage_the_backlog_starts_gently() -> None:
    """A ramp starts at ten requests a second, and adds fifty every second."""
    limiter, clock = limiter_at(None)
    limiter.ramp()
    assert limiter.rate == 10
    clock.advance(2)
    assert limiter.rate == 110
    clock.advance(20)
    assert limiter.rate == 1110


def test_the_ramp_after_an_outage_ends_in_no_burst() -> None:
    """With an endless backlog, no second has more than sixty requests more than the last."""
    limiter, clock = limiter_at(None)
    limiter.ramp()
    counts = requests_made(limiter, clock, 150)
    assert all(after - before <= 60 for before, after in pairwise(counts))
    assert counts[-1] > 5_000


def test_a_ramp_ends_at_the_maximum_and_starts_no_faster_than_now() -> None:
    """A ramp never exceeds the maximum, and does not undo a throttle."""
    limiter, clock = limiter_at(60)
    limiter.ramp()
    clock.advance(0.5)
    assert limiter.rate == 35
    clock.advance(1)
    assert limiter.rate == 60
    slow, _ = limiter_at(4)
    slow.ramp()
    assert slow.rate == 4


@given(
    rate=st.floats(0.5, 1000),
    pauses=st.lists(st.floats(0, 2), min_size=1, max_size=60),
)
def test_no_stretch_of_time_has_more_requests_than_allowed(
    rate: float, pauses: list[float]
) -> None:
    """Whenever requests come, each is as far from each earlier one as the rate demands.

    But for the twentieth of a second, or the one turn, by which a late caller may be early next.
    """
    limiter, clock = limiter_at(rate)
    turns: list[float] = []
    for pause in pauses:
        clock.advance(pause)
        while limiter.take() == 0.0 and len(turns) < 1000:
            turns.append(clock.monotonic())
    slack = max(1 / rate, 0.05) + 1e-6
    for first, began in enumerate(turns):
        for number, turn in enumerate(turns[first:]):
            assert turn - began >= number / rate - slack


@pytest.mark.parametrize("rate", [0, -1, float("nan"), 0.09])
def test_a_rate_that_cannot_work_is_refused(rate: float) -> None:
    """A maximum of nothing, or next to nothing, is refused at construction."""
    with pytest.raises(ConfigurationError, match=r"^max_requests_per_second: "):
        RateLimiter(rate)


def test_another_maximum_holds_at_once() -> None:
    """From the change on turns come at the new rate, and a far turn comes sooner."""
    limiter, clock = limiter_at(0.1)
    assert limiter.take() == 0.0
    limiter.set_max(4)
    assert (limiter.rate, limiter.take()) == (4, 0.25)
    clock.advance(0.25)
    assert [limiter.take() for _ in range(2)] == [0.0, 0.25]


def test_the_maximum_can_go_and_come() -> None:
    """Without a maximum nothing waits, until there is one again."""
    limiter, _ = limiter_at(4)
    limiter.take()
    limiter.set_max(None)
    assert limiter.rate is None
    assert [limiter.take() for _ in range(100)] == [0.0] * 100
    limiter.set_max(10)
    assert limiter.rate == 10
    assert limiter.take() == pytest.approx(0.1)


@pytest.mark.parametrize("most", [100, None], ids=str)
def test_a_higher_maximum_takes_no_throttle_back(most: float | None) -> None:
    """A rate that was cut stays cut, and grows to the new maximum."""
    limiter, clock = limiter_at(40)
    send(limiter, clock, 2, 40)
    limiter.throttled()
    cut = limiter.rate
    assert cut is not None
    assert cut < 40
    limiter.set_max(most)
    assert limiter.rate == cut
    send(limiter, clock, 100, 100)
    assert limiter.rate is not None
    assert limiter.rate == most or (most is None and limiter.rate > 100)


def test_a_lower_maximum_holds_while_throttled() -> None:
    """A rate that was cut is no higher than a new maximum."""
    limiter, clock = limiter_at(40)
    send(limiter, clock, 2, 40)
    limiter.throttled()
    limiter.set_max(1)
    assert limiter.rate == 1
    clock.advance(100)
    assert limiter.rate == 1


@pytest.mark.parametrize("most", [0, -1, 0.01, float("nan"), True])
def test_another_maximum_is_checked(most: float) -> None:
    """A maximum that can't be is refused, and the old one holds."""
    limiter, _ = limiter_at(4)
    with pytest.raises(ConfigurationError, match="max_requests_per_second"):
        limiter.set_max(most)
    assert limiter.rate == 4
