"""The circuit breaker, with a clock that is handed in."""

from __future__ import annotations

import pytest
from support.clock import Clock

from amplitude_moloco import BreakerPolicy, ConfigurationError
from amplitude_moloco.engine.breaker import CircuitBreaker


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    """A breaker with Moloco's settings."""
    return CircuitBreaker(monotonic=clock.monotonic)


def open_it(breaker: CircuitBreaker) -> None:
    """Fail as often as it takes."""
    while not breaker.failed():
        pass


def test_five_failures_in_a_row_are_borne_and_the_sixth_opens(breaker: CircuitBreaker) -> None:
    """More than five failures in a row open the circuit, which is said once."""
    assert [breaker.failed() for _ in range(8)] == [False] * 5 + [True] + [False] * 2
    assert breaker.is_open


def test_a_success_between_starts_the_count_again(breaker: CircuitBreaker) -> None:
    """Failures that are not in a row never open the circuit."""
    for _ in range(100):
        for _ in range(5):
            assert not breaker.failed()
        assert not breaker.succeeded()
    assert not breaker.is_open


def test_it_opens_at_once_when_told_to(breaker: CircuitBreaker) -> None:
    """A wrong key opens the circuit with the first answer."""
    assert breaker.failed(at_once=True)
    assert breaker.is_open


def test_probes_come_after_5_10_20_40_80_seconds_then_every_15_minutes(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    """The probes are spaced as Moloco asks, and each only after the one before has failed."""
    open_it(breaker)
    for delay in (5, 10, 20, 40, 80, 900, 900, 900):
        assert breaker.delay_seconds() == delay
        clock.advance(delay - 0.001)
        assert not breaker.begin_probe()
        clock.advance(0.001)
        assert breaker.delay_seconds() == 0
        assert breaker.begin_probe()
        assert not breaker.failed(is_probe=True)


def test_there_is_exactly_one_probe_at_a_time(breaker: CircuitBreaker, clock: Clock) -> None:
    """While a probe is on its way there is no other, however long it takes."""
    open_it(breaker)
    clock.advance(5)
    assert breaker.begin_probe()
    clock.advance(10_000)
    assert not breaker.begin_probe()
    assert breaker.delay_seconds() is None
    breaker.failed()  # a late answer to something that was sent before
    assert breaker.delay_seconds() is None


def test_a_success_closes_it_and_the_next_outage_starts_afresh(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    """A success closes the circuit, which is said once; the next probes start at 5 seconds."""
    open_it(breaker)
    for delay in (5, 10):
        clock.advance(delay)
        assert breaker.begin_probe()
        breaker.failed(is_probe=True)
    assert breaker.succeeded()
    assert not breaker.succeeded()
    assert breaker.delay_seconds() == 0
    assert not breaker.begin_probe()
    open_it(breaker)
    assert breaker.delay_seconds() == 5


def test_it_knows_whether_others_pass(breaker: CircuitBreaker) -> None:
    """Others pass if the last answer was a success; before the first one, they do not."""
    assert not breaker.is_passing
    breaker.succeeded()
    assert breaker.is_passing
    breaker.failed()
    assert not breaker.is_passing


@pytest.mark.parametrize(
    "settings",
    [
        {"failures": 0},
        {"failures": 0.5},
        {"probe_delays_seconds": (5, 0)},
        {"probe_delays_seconds": 5},
        {"probe_delays_seconds": None},
        {"then_seconds": -1},
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object]) -> None:
    """A breaker that never closes or never waits is refused at construction."""
    with pytest.raises(ConfigurationError, match=r"^breaker: "):
        BreakerPolicy(**settings)  # type: ignore[arg-type]  # each is of the type it should be


def test_only_the_last_delay_is_needed(clock: Clock) -> None:
    """Without early probes, the fixed interval is used from the start."""
    breaker = CircuitBreaker(
        BreakerPolicy(probe_delays_seconds=(), then_seconds=60), clock.monotonic
    )
    open_it(breaker)
    assert breaker.delay_seconds() == 60
