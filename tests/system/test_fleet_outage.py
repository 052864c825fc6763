"""A fleet of relays goes through an outage of four hours, in simulated time."""

from __future__ import annotations

import pytest
from support.fleet_simulation import Plan, simulate
from support.repeats import repeats


@pytest.mark.timeout(600)
def test_a_fleet_survives_an_outage_of_four_hours() -> None:
    """Nothing is lost, one process at a time probes, and the backlog drains at the pace."""
    plan = Plan(events_per_second=1.0, relays=repeats(8, 20))
    course = simulate(plan)
    assert len(course.delivered) == course.accepted > 4 * 3600
    assert set(course.delivered.values()) == {1}
    assert course.dead == 0
    assert course.most_probes_at_once == 1
    # 5, 10, 20, 40 and 80 seconds, then every 15 minutes.
    assert len(course.probes) == 5 + 16
    assert course.recovered_at - (plan.before + plan.outage) < 901
    assert max(course.requests.values()) <= plan.pace + 2
    start = int(course.recovered_at)
    for second in range(10):  # a gentle start, all relays together
        assert course.requests[start + second] <= 10 + 50 * (second + 1) + 10
    seconds = course.backlog / (plan.pace - plan.events_per_second) + plan.pace / 50 / 2
    drained_seconds = course.drained_at - course.recovered_at
    assert drained_seconds == pytest.approx(seconds, abs=0.1 * seconds + 10)
