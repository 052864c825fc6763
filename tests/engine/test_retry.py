"""When an event is sent again, and when no more."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.errors import ConfigurationError

WEEK = 7 * 24 * 3600
delays = st.floats(min_value=0.001, max_value=1e6)
parts_of_one = st.floats(min_value=0, max_value=1, exclude_max=True)


def test_the_delays_are_molocos() -> None:
    """After 5, 10, 20, 40 and 80 seconds it is tried again, and then every 15 minutes."""
    schedule = RetrySchedule(jitter=0)
    waits = [schedule.delay_seconds(attempts) for attempts in range(1, 9)]
    assert waits == [5, 10, 20, 40, 80, 900, 900, 900]


def test_the_delays_can_be_set() -> None:
    """Other delays are waited in their order, and then always the last one."""
    schedule = RetrySchedule(delays_seconds=(1, 0.5), then_seconds=7, jitter=0)
    assert [schedule.delay_seconds(attempts) for attempts in range(1, 5)] == [1, 0.5, 7, 7]


def test_the_delays_can_be_all_the_same() -> None:
    """Without first delays, the last one is waited from the start."""
    schedule = RetrySchedule(delays_seconds=(), then_seconds=7, jitter=0)
    assert [schedule.delay_seconds(attempts) for attempts in (1, 2)] == [7, 7]


def test_jitter_lengthens_by_a_tenth_at_most() -> None:
    """By default a delay is lengthened by up to a tenth."""
    waits = [RetrySchedule().delay_seconds(1, chance=chance) for chance in (0, 0.5, 1)]
    assert waits == pytest.approx([5, 5.25, 5.5])


@given(delays, parts_of_one, st.floats(0, 10), st.integers(1, 100), delays)
def test_jitter_only_lengthens(
    delay: float, chance: float, jitter: float, attempts: int, at_least: float
) -> None:
    """No delay is shorter than it is set and than MCM asked for, nor longer than the jitter."""
    schedule = RetrySchedule((delay,), delay, jitter=jitter)
    floor = max(delay, min(at_least, 3600))
    delay_seconds = schedule.delay_seconds(attempts, at_least, chance)
    assert floor <= delay_seconds <= floor * (1 + jitter)
    assert delay_seconds <= schedule.longest_delay_seconds


@pytest.mark.parametrize(
    ("attempts", "asked", "delay"),
    [
        (1, 0, 5),
        (1, 4.999, 5),
        (1, 5, 5),
        (1, 60, 60),
        (3, 19, 20),
        (3, 21, 21),
        (6, 3600, 3600),
        (6, 1e9, 3600),
    ],
)
def test_what_mcm_asks_for_is_a_floor(attempts: int, asked: float, delay: float) -> None:
    """A wait that MCM asks for lengthens a delay that is shorter, up to an hour."""
    assert RetrySchedule(jitter=0).delay_seconds(attempts, asked) == delay


def test_jitter_lengthens_what_mcm_asks_for() -> None:
    """What MCM asks for is lengthened as well, lest all come back at one moment."""
    schedule = RetrySchedule(jitter=0.5)
    assert schedule.delay_seconds(1, asked_seconds=60, chance=1.0) == 90


@pytest.mark.parametrize(
    ("strikes", "age_seconds", "reason"),
    [
        (0, 0, None),
        (9, WEEK - 0.001, None),
        (10, 0, "exhausted"),
        (11, 0, "exhausted"),
        (0, WEEK, "expired"),
        (0, WEEK + 1, "expired"),
        (10, WEEK, "exhausted"),
        (0, -3600, None),
    ],
)
def test_an_event_is_given_up_at_its_limits(
    strikes: int, age_seconds: float, reason: str | None
) -> None:
    """After ten failures of its own, or at the age of a week, an event is given up."""
    assert RetrySchedule().gives_up(strikes, age_seconds) == reason


def test_the_limits_can_be_set() -> None:
    """Both limits can be set, to a single failure and to any age."""
    schedule = RetrySchedule(max_attempts=1, max_age_seconds=0.5)
    assert schedule.gives_up(0, 0.499) is None
    assert schedule.gives_up(1, 0) == "exhausted"
    assert schedule.gives_up(0, 0.5) == "expired"


def test_an_age_without_limit_never_expires() -> None:
    """With no maximum age, no event is too old."""
    assert RetrySchedule(max_age_seconds=None).gives_up(9, 1e12) is None


@pytest.mark.parametrize(
    "settings",
    [
        {"delays_seconds": 5},
        {"delays_seconds": "5"},
        {"delays_seconds": None},
        {"delays_seconds": (5, 0)},
        {"delays_seconds": (-1,)},
        {"delays_seconds": (float("nan"),)},
        {"delays_seconds": (5, float("nan"))},
        {"delays_seconds": ("5",)},
        {"then_seconds": 0},
        {"then_seconds": -900},
        {"then_seconds": float("nan")},
        {"max_attempts": 0},
        {"max_attempts": -1},
        {"max_attempts": 0.5},
        {"delays_seconds": "55"},
        {"then_seconds": 10**9 + 1},
        {"jitter": -0.001},
        {"jitter": float("nan")},
        {"max_age_seconds": 0},
        {"max_age_seconds": -1},
        {"max_age_seconds": float("nan")},
    ],
    ids=str,
)
def test_a_schedule_that_can_not_work_is_refused(settings: dict[str, Any]) -> None:
    """A delay that is no time, and a limit that no event would meet, are refused."""
    with pytest.raises(ConfigurationError, match=r"^retry: "):
        RetrySchedule(**settings)


def test_all_that_cannot_work_is_named() -> None:
    """One error says everything that is wrong with a schedule."""
    with pytest.raises(ConfigurationError) as caught:
        RetrySchedule(
            delays_seconds=5,  # type: ignore[arg-type]  # what is tested
            then_seconds=0,
            max_attempts=0,
            max_age_seconds=0,
        )
    assert len(caught.value.errors) == 4


def test_a_schedule_is_a_value() -> None:
    """Schedules with the same settings are equal, frozen, and show what was set."""
    schedule = RetrySchedule(max_attempts=3)
    assert schedule == RetrySchedule(max_attempts=3)
    assert schedule != RetrySchedule()
    assert "max_attempts=3" in repr(schedule)
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.max_attempts = 4  # type: ignore[misc]
