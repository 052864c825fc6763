"""What repeats is summed up."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco.engine.summary import Repeated, Sum, Summary

INVALID = Repeated("invalid", "PURCHASE", "page_id missing")
DROPPED = Repeated("dropped", "PURCHASE", "full")


class Clock:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_kind_is_the_first_once() -> None:
    """Each kind is new once, in each sync and for each reason."""
    summary = Summary(Clock())
    assert summary.is_first(INVALID)
    assert not summary.is_first(INVALID)
    assert summary.is_first(INVALID._replace(sync="HOME"))
    assert summary.is_first(DROPPED)


def test_a_period_begins_with_the_first_repetition(clock: Clock) -> None:
    """The summary is due a period after the first repetition, whatever follows it."""
    scheduled: list[float] = []
    summary = Summary(clock, scheduled.append, 300.0)
    assert summary.due_seconds() == inf
    summary.add(INVALID)
    clock.now = 100.0
    summary.add(DROPPED)
    assert (scheduled, summary.due_seconds()) == ([300.0], 200.0)
    clock.now = 299.0
    assert summary.due_seconds() == 1.0
    clock.now = 301.0
    assert summary.due_seconds() == 0.0


def test_what_was_taken_is_counted_no_more(clock: Clock) -> None:
    """Taking the sums begins anew, and says how many seconds they cover."""
    scheduled: list[float] = []
    summary = Summary(clock, scheduled.append)
    summary.add(DROPPED, "first", 400)
    summary.add(INVALID)
    summary.add(INVALID, "latest", 503)
    clock.now = 42.0
    sums = [Sum(INVALID, 2, "latest", 503), Sum(DROPPED, 1, "first", 400)]
    assert summary.take() == (42.0, sums)
    assert summary.take() == (0.0, [])
    assert summary.due_seconds() == inf
    summary.add(INVALID)
    assert len(scheduled) == 2


@given(st.lists(st.integers(0, 3_000), max_size=3_000))
def test_memory_is_bounded_and_nothing_goes_uncounted(reasons: list[int]) -> None:
    """However many kinds there are, at most a thousand are kept, and each event is in a sum."""
    summary = Summary(Clock())
    for reason in [*range(999), *reasons]:
        kind = Repeated("invalid", "HOME", str(reason))
        if not summary.is_first(kind):
            summary.add(kind)
        summary.add(kind)
    firsts = 1_000 if any(reason >= 999 for reason in reasons) else 999
    _, sums = summary.take()
    assert len(sums) <= 1_001
    assert sum(each.count for each in sums) == 2 * (999 + len(reasons)) - firsts
