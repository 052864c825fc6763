"""Processes that share one circuit and one pace, with a clock that is handed in."""

from __future__ import annotations

import json
import random

import pytest
from support.clock import Clock
from support.fleets import Board, Ship

from amplitude_moloco import BreakerPolicy, ConfigurationError
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.engine.breaker import CircuitBreaker
from amplitude_moloco.engine.facts import Paused, Resumed
from amplitude_moloco.engine.fleet import limits_of
from amplitude_moloco.engine.rate import RateLimiter
from amplitude_moloco.reasons import PauseReason
from amplitude_moloco.transports.base import SendResult

CHANCE = random.Random(0)  # noqa: S311  # no secret
FAULT = SendResult(503, "unavailable", cause="it is down")


@pytest.fixture
def board(clock: Clock) -> Board:
    return Board(clock)


def ships_of(board: Board, count: int, max_rate: float | None = None) -> list[Ship]:
    """Processes that have sent something, and so have agreed."""
    ships = [Ship(board, f"ship-{number}", max_rate) for number in range(count)]
    for ship in ships:
        ship.take()
    return ships


def step_all(ships: list[Ship], clock: Clock, seconds: float = 0.0) -> None:
    """Let time pass, and all processes learn what is new."""
    clock.advance(seconds)
    for _ in range(2):
        for ship in ships:
            ship.step()


def open_it(ship: Ship) -> None:
    """The server fails until this process's circuit is open, and the others can learn of it."""
    while not ship.circuit.failed(result=FAULT):
        pass
    ship.step()


def prober_of(ships: list[Ship]) -> Ship | None:
    """Have all that know of the outage ask for the probe. Returns the one that gets it."""
    for ship in ships:
        ship.step()
        ship.circuit.delay_seconds()
        ship.step()
    found = [ship for ship in ships if ship.circuit.begin_probe()]
    assert len(found) <= 1
    return found[0] if found else None


# -- the circuit ---------------------------------------------------------------------------------


def test_a_buffer_of_one_process_has_no_fleet() -> None:
    """Without a buffer that is shared, the circuit and the pace are those of the process."""
    circuit, pace, fleet = limits_of(
        MemoryBuffer(), BreakerPolicy(), 5.0, lambda: 0.0, wake=int, claim=int
    )
    assert (type(circuit), type(pace), fleet) == (CircuitBreaker, RateLimiter, None)


def test_failures_of_several_processes_count_together(board: Board, clock: Clock) -> None:
    """Six failures in a row open the circuit of all, whichever processes have met them."""
    ships = ships_of(board, 3)
    for number in range(6):
        assert not ships[number % 3].circuit.failed(result=FAULT)
        step_all(ships, clock)
    assert board_is_open(board)
    step_all(ships, clock, 1)
    assert all(ship.circuit.is_open for ship in ships)


def board_is_open(board: Board) -> bool:
    state: dict[str, list[object]] = json.loads(board.text)
    return bool(state["circuit"][2])


def test_a_success_of_one_process_ends_the_row_of_another(board: Board, clock: Clock) -> None:
    """Failures that are not in a row, all processes together, leave the circuit closed."""
    ships = ships_of(board, 2)
    for _ in range(5):
        for _ in range(4):
            ships[0].circuit.failed(result=FAULT)
        step_all(ships, clock, 1)
        for ship in ships:
            ship.take()
        step_all(ships, clock, 1)
        assert not ships[1].circuit.succeeded()
        step_all(ships, clock, 1)
    assert not any(ship.circuit.is_open for ship in ships)


def test_an_outage_is_told_by_all_with_its_cause(board: Board, clock: Clock) -> None:
    """The process that opens the circuit tells it itself; the others, once, with the same cause."""
    ships = ships_of(board, 3)
    open_it(ships[0])
    for ship in ships[1:]:
        ship.take()
    step_all(ships, clock, 1)
    assert ships[0].fleet.take_facts() == []
    for ship in ships[1:]:
        assert ship.fleet.take_facts() == [
            Paused(PauseReason.OUTAGE, 503, "unavailable", "it is down")
        ]
        assert ship.claims >= 1
    step_all(ships, clock, 5)
    prober = prober_of(ships)
    assert prober is not None
    assert prober.circuit.succeeded()
    step_all(ships, clock, 10)
    for ship in ships:
        assert ship.fleet.take_facts() == ([] if ship is prober else [Resumed()])
        assert not ship.circuit.is_open


def test_a_wrong_key_pauses_all(board: Board, clock: Clock) -> None:
    """The reason of a pause is the same for all processes."""
    ships = ships_of(board, 2)
    assert ships[0].circuit.failed(at_once=True, result=SendResult(401, "no"))
    ships[1].take()
    step_all(ships, clock, 1)
    assert ships[1].fleet.take_facts() == [Paused(PauseReason.MISCONFIGURED, 401, "no")]


def test_one_process_at_a_time_probes(board: Board, clock: Clock) -> None:
    """Ten processes probe a dead server once each time, with the pauses of a single one."""
    ships, probes = ships_of(board, 10), []
    open_it(ships[3])
    step_all(ships, clock, 1)
    started = clock.monotonic() - 1
    for _ in range(1000):
        step_all(ships, clock, 0.5)
        prober = prober_of(ships)
        if prober is not None:
            probes.append(clock.monotonic() - started)
            assert prober_of(ships) is None
            prober.circuit.failed(is_probe=True, result=FAULT)
    gaps = [later - sooner for sooner, later in zip([0.0, *probes], probes, strict=False)]
    assert len(gaps) == 5
    assert gaps == pytest.approx([5, 10, 20, 40, 80], abs=1.5)


def test_a_process_that_waits_for_a_probe_is_called(board: Board, clock: Clock) -> None:
    """A process asks for the probe when it is due, and is called once it has it, or may ask."""
    first, second = ships = ships_of(board, 2)
    open_it(first)
    second.take()
    step_all(ships, clock, 1)
    assert second.circuit.delay_seconds() == pytest.approx(4)
    assert not second.circuit.begin_probe()
    clock.advance(4)
    claims = [ship.claims for ship in ships]
    assert [ship.circuit.delay_seconds() for ship in ships] == [None, None]
    step_all(ships, clock)
    assert first.circuit.delay_seconds() == 0
    assert second.circuit.delay_seconds() is None
    assert all(ship.claims > before for ship, before in zip(ships, claims, strict=True))
    assert first.circuit.begin_probe()
    assert first.circuit.delay_seconds() is None


def test_the_probe_of_a_dead_process_is_anothers_after_a_while(board: Board, clock: Clock) -> None:
    """A process that was killed while it probed holds up the others for ten seconds."""
    ships = ships_of(board, 3)
    open_it(ships[0])
    step_all(ships, clock, 1)
    step_all(ships, clock, 4)
    dead = prober_of(ships)
    assert dead is not None
    others = [ship for ship in ships if ship is not dead]
    clock.advance(9)
    assert prober_of(others) is None
    clock.advance(1)
    assert prober_of(others) is not None
    # Should it live after all, its result is not that of the probe.
    step_all([dead], clock)
    dead.circuit.failed(is_probe=True, result=FAULT)
    step_all(ships, clock)
    assert prober_of(ships) is None


def test_a_probe_that_takes_long_is_kept(board: Board, clock: Clock) -> None:
    """While the process that probes lives, no other one probes."""
    ships = ships_of(board, 3)
    open_it(ships[0])
    step_all(ships, clock, 1)
    step_all(ships, clock, 4)
    prober = prober_of(ships)
    assert prober is not None
    for _ in range(60):
        step_all(ships, clock, 1)
        assert prober_of(ships) is None
    assert prober.circuit.succeeded()
    step_all(ships, clock, 1)
    assert not any(ship.circuit.is_open for ship in ships)


def test_a_process_without_events_leaves_the_probe_to_others(board: Board, clock: Clock) -> None:
    """One that finds nothing to send for five seconds gives up the probe, and lets others try."""
    idle, busy = ships = ships_of(board, 2)
    open_it(busy)
    step_all(ships, clock, 1)
    step_all(ships, clock, 4)
    assert idle.circuit.delay_seconds() is None
    idle.step()
    assert idle.circuit.delay_seconds() == 0
    assert prober_of([busy]) is None
    for _ in range(6):
        step_all([idle], clock, 1)
    assert idle.circuit.delay_seconds() > 0  # type: ignore[operator]  # not None
    step_all([busy], clock, 1)
    assert prober_of([busy]) is busy


def test_a_probe_that_another_process_has_by_now_is_left_to_it(board: Board, clock: Clock) -> None:
    """A process that was held up before it found something to send does not end another's probe."""
    held_up, other = ships = ships_of(board, 2)
    open_it(other)
    step_all(ships, clock, 1)
    step_all(ships, clock, 4)
    held_up.circuit.delay_seconds()
    held_up.step()
    assert held_up.circuit.delay_seconds() == 0
    clock.advance(11)
    assert prober_of([other]) is other
    held_up.step()
    assert held_up.circuit.delay_seconds() is None
    assert not held_up.circuit.begin_probe()
    step_all([held_up], clock, 1)
    assert prober_of([held_up]) is None


def test_after_a_failed_probe_another_process_goes_first(board: Board, clock: Clock) -> None:
    """A process whose own network is broken does not take one probe after another."""
    ships = ships_of(board, 3)
    open_it(ships[0])
    step_all(ships, clock, 1)
    step_all(ships, clock, 4)
    first = prober_of(ships)
    assert first is not None
    first.circuit.failed(is_probe=True, result=FAULT)
    step_all(ships, clock)
    step_all(ships, clock, 10)
    assert first.circuit.delay_seconds() == pytest.approx(0.5)
    assert prober_of(ships) not in (None, first)


def test_a_process_that_is_alone_probes_again_and_again(board: Board, clock: Clock) -> None:
    """It has no others to let go first."""
    (ship,) = ships_of(board, 1)
    open_it(ship)
    for seconds in (5, 10, 20):
        step_all([ship], clock, seconds)
        assert prober_of([ship]) is ship
        ship.circuit.failed(is_probe=True, result=FAULT)
        step_all([ship], clock)


def test_what_is_learned_during_an_exchange_is_not_lost(board: Board, clock: Clock) -> None:
    """A result that comes while the fleet agrees counts at once here, and then for all."""
    ships = ships_of(board, 2)
    first = ships[0]
    first.circuit.failed(result=FAULT)

    def learn() -> None:
        board.before_store = lambda: None
        assert first.circuit.failed(at_once=True)
        assert first.circuit.succeeded()
        first.circuit.failed(result=FAULT)
        first.pace.throttled()

    board.before_store = learn
    first.step()
    assert not first.circuit.is_open
    assert first.circuit.failed(at_once=True)
    step_all(ships, clock, 1)
    assert first.circuit.is_open
    assert board_is_open(board)


def test_a_probe_that_ends_during_an_exchange_is_not_made_twice(board: Board, clock: Clock) -> None:
    """The process does not take the answer of the fleet for another probe."""
    (ship,) = ships_of(board, 1)
    open_it(ship)
    step_all([ship], clock, 5)
    assert prober_of([ship]) is ship
    board.before_store = lambda: ship.circuit.failed(is_probe=True, result=FAULT)
    clock.advance(1)
    ship.step()
    board.before_store = lambda: None
    assert not ship.circuit.begin_probe()
    ship.step()
    assert ship.circuit.delay_seconds() == pytest.approx(10)


def test_what_others_store_meanwhile_is_kept(board: Board, clock: Clock) -> None:
    """A process that was too late reads again; the failures of both count."""
    first, second = ships_of(board, 2)
    for _ in range(3):
        first.circuit.failed(result=FAULT)
        second.circuit.failed(result=FAULT)

    def be_faster() -> None:
        board.before_store = lambda: None
        second.step()

    board.before_store = be_faster
    first.step()
    assert first.circuit.is_open
    assert board_is_open(board)


def test_a_process_that_is_always_too_late_tries_again_soon(board: Board, clock: Clock) -> None:
    """It gives up for a moment, and nothing that it has learned is lost."""
    (ship,) = ships_of(board, 1)
    ship.circuit.failed(at_once=True, result=FAULT)

    def be_faster() -> None:
        board.version += 1

    board.before_store = be_faster
    ship.step()
    assert 0 < ship.fleet.due_in() < 0.1
    assert not board_is_open(board)
    board.before_store = lambda: None
    step_all([ship], clock, 0.1)
    assert board_is_open(board)


def test_a_success_among_successes_is_not_reported(board: Board, clock: Clock) -> None:
    """While all goes well, the fleet is asked for nothing but a look now and then."""
    (ship,) = ships_of(board, 1)
    assert not ship.circuit.is_passing
    ship.circuit.succeeded()
    ship.step()
    assert ship.circuit.is_passing
    version, calls = board.version, ship.calls
    for _ in range(10):
        assert not ship.circuit.succeeded()
    assert (board.version, ship.calls) == (version, calls)


def test_a_probe_is_asked_for_once(board: Board, clock: Clock) -> None:
    """However often a sender asks while it waits for the fleet."""
    (ship,) = ships_of(board, 1)
    open_it(ship)
    clock.advance(5)
    calls = ship.calls
    assert [ship.circuit.delay_seconds() for _ in range(5)] == [None] * 5
    assert ship.calls == calls + 1


# -- the pace ------------------------------------------------------------------------------------


def sent_in(ships: list[Ship], clock: Clock, seconds: float) -> list[float]:
    """Have all processes send as fast as they may. Returns when they have sent."""
    times, ends_at = [], clock.monotonic() + seconds
    while clock.monotonic() < ends_at:
        for ship in CHANCE.sample(ships, len(ships)):
            ship.step()
            while ship.pace.take() == 0:
                times.append(clock.monotonic())
        clock.advance(0.01)
    return times


@pytest.mark.parametrize("count", [1, 2, 10])
@pytest.mark.parametrize("rate", [3.0, 40.0, 500.0])
def test_all_keep_one_pace_together(board: Board, clock: Clock, count: int, rate: float) -> None:
    """However many processes there are, they send at the rate of one, and no faster."""
    seconds = max(4, 90 / rate)
    ships = ships_of(board, count, rate)
    sent_in(ships, clock, 1)
    times = sent_in(ships, clock, seconds)
    assert 0.93 * rate * seconds <= len(times) <= rate * seconds * 1.005 + 3
    for start in times:
        assert sum(start <= time < start + 1 for time in times[:2000]) <= rate * 1.25 + 2


def test_a_process_that_sends_alone_has_the_whole_pace(board: Board, clock: Clock) -> None:
    """Processes that have nothing to send leave their share to the others."""
    ships = ships_of(board, 5, 100.0)
    clock.advance(16)
    assert len(sent_in(ships[:1], clock, 10)) == pytest.approx(1000, rel=0.1)
    assert ships[0].pace.rate == pytest.approx(100)


def test_the_share_of_each_process_is_known(board: Board, clock: Clock) -> None:
    """So no process claims more than it may send soon."""
    ships = ships_of(board, 4, 100.0)
    sent_in(ships, clock, 1)
    assert [ship.pace.rate for ship in ships] == [25.0] * 4


def test_the_lowest_maximum_is_the_fleets(board: Board, clock: Clock) -> None:
    """Also if it is changed while the processes run, or removed by the last that has one."""
    ships = [Ship(board, "a", 100.0), Ship(board, "b", 20.0)]
    sent_in(ships, clock, 1)
    assert len(sent_in(ships, clock, 10)) == pytest.approx(200, rel=0.1)
    ships[1].pace.set_max(50.0)
    sent_in(ships, clock, 1)
    assert len(sent_in(ships, clock, 10)) == pytest.approx(500, rel=0.1)
    for ship in ships:
        ship.pace.set_max(None)
    step_all(ships, clock, 16)
    ships[0].take()
    ships[0].step()
    assert ships[0].pace.rate is None
    assert [ships[0].pace.take() for _ in range(1000)] == [0.0] * 1000
    with pytest.raises(ConfigurationError):
        ships[0].pace.set_max(0)


def test_a_throttle_slows_down_all(board: Board, clock: Clock) -> None:
    """One process is throttled: all together send half of what all together have sent."""
    ships = ships_of(board, 4)
    for _ in range(300):  # 100 requests a second, without a limit
        clock.advance(0.01)
        for ship in ships:
            ship.step()
        assert CHANCE.choice(ships).pace.take() == 0
    ships[2].pace.throttled()
    ships[2].step()
    step_all(ships, clock, 1)
    assert 40 < len(sent_in(ships, clock, 1)) < 70


def test_after_an_outage_all_start_gently(board: Board, clock: Clock) -> None:
    """Ten processes begin with ten requests a second together, not with ten each."""
    ships = ships_of(board, 10)
    open_it(ships[0])
    step_all(ships, clock, 5)
    prober = prober_of(ships)
    assert prober is not None
    assert prober.circuit.succeeded()
    prober.pace.ramp()
    times = sent_in(ships, clock, 3)
    first = clock.monotonic() - 3
    assert sum(time < first + 1 for time in times) <= 10 + 50 / 2 + 5
    assert len(times) <= 3 * 10 + 50 * 9 / 2 + 10


def test_a_turn_that_was_not_used_is_lost(board: Board, clock: Clock) -> None:
    """A process that was held up does not catch up in a burst."""
    (ship,) = ships_of(board, 1, 100.0)
    sent_in([ship], clock, 1)
    clock.advance(2.5)
    burst = 0
    for _ in range(100):
        burst += ship.pace.take() == 0
        ship.step()
    assert burst <= 2


def test_nothing_is_sent_while_the_others_cannot_be_asked(board: Board, clock: Clock) -> None:
    """Whether the pace is limited or not: what was agreed on holds for three seconds."""
    for rate in (None, 10.0):
        (ship,) = ships_of(board, 1, rate)
        board.is_away = True
        clock.advance(3.1)
        assert ship.pace.take() > 0
        with pytest.raises(OSError, match="away"):
            ship.step()
        assert ship.pace.take() > 0
        assert ship.fleet.due_in() == 0
        board.is_away = False
        wakes = ship.wakes
        ship.step()
        assert ship.wakes > wakes
        clock.advance(0.1)
        assert ship.take() == 0


def test_an_idle_process_asks_for_nothing(board: Board, clock: Clock) -> None:
    """A process that has sent nothing for some seconds, or never, leaves the others alone."""
    new = Ship(board, "new")
    assert new.fleet.due_in() == float("inf")
    (ship,) = ships_of(board, 1, 10.0)
    sent_in([ship], clock, 2)
    step_all([ship], clock, 4)
    step_all([ship], clock, 4)
    assert ship.fleet.due_in() == float("inf")


# -- what is stored ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [b"", b"no json", b"[]", b'{"format":2}', b'{"format":1,"circuit":[1],"pace":[]}'],
)
def test_what_can_not_be_read_is_begun_anew(board: Board, clock: Clock, text: bytes) -> None:
    """Text that is not this release's is replaced."""
    board.text = text
    (ship,) = ships_of(board, 1)
    assert not ship.circuit.is_open
    assert ship.take() == 0
    step_all([ship], clock, 1)
    assert json.loads(board.text)["format"] == 1


def test_a_clock_that_was_set_back_delays_nothing_for_long(board: Board, clock: Clock) -> None:
    """Times that lie in the future of the board's clock count as if they were of now."""
    ships = ships_of(board, 2, 10.0)
    sent_in(ships, clock, 1)
    ships[0].pace.throttled()
    open_it(ships[0])
    step_all(ships, clock, 5)
    assert prober_of(ships) is not None
    board.ahead_seconds -= 400_000
    step_all(ships, clock, 1)
    step_all(ships, clock, 11)
    ships.append(Ship(board, "later", 10.0))
    prober = next(ship for ship in ships if ship.circuit.is_open)
    for _ in range(1000):
        step_all(ships, clock, 1)
        if prober_of(ships):
            break
    else:
        raise AssertionError("no probe is made")
    assert prober.circuit.succeeded()
    step_all(ships, clock, 20)
    sent_in(ships, clock, 5)
    assert len(sent_in(ships, clock, 10)) == pytest.approx(100, rel=0.2)
