"""The buffer of a backfill."""

from __future__ import annotations

from pathlib import Path

from support.interruption import PACKAGE, interrupt

from amplitude_moloco.convert.conversion import Conversion
from amplitude_moloco.history.lane import Lane
from amplitude_moloco.history.outcome import Ended, Outcome
from amplitude_moloco.history.place import Place
from amplitude_moloco.history.state import Read, State
from amplitude_moloco.reasons import DeadLetterReason

REJECTED = DeadLetterReason.REJECTED


def lane_with(state: State, *ids: str) -> Lane:
    lane = Lane(state)
    for number, id in enumerate(ids, start=1):
        conversion = Conversion("HOME", id, {}, b"body", ())
        read = Read(number, Place("export"), [conversion])
        assert state.begin(1, [read]) == [conversion]
        assert lane.put(id, "HOME", b"body") is None
    return lane


def test_an_outcome_is_noted_once(tmp_path: Path) -> None:
    """A second sender that settles the same claim changes nothing."""
    state = State(tmp_path / "state.db", target="there", selection="all")
    lane = lane_with(state, "a", "b")
    delivered, refused = lane.claim(2).entries
    assert lane.ack(delivered)
    assert not lane.ack(delivered)
    assert lane.bury(refused, REJECTED, status=400, message="no")
    assert not lane.bury(refused, REJECTED, status=400, message="no")
    assert state.counts == {
        Ended("HOME", Outcome.DELIVERED): 1,
        Ended("HOME", Outcome.REFUSED, "rejected"): 1,
    }
    assert list(lane.dead_letters()) == []
    state.close()


def test_a_state_that_cannot_be_written_stops_it(tmp_path: Path) -> None:
    """An outcome that can't be noted raises nothing into the engine: the backfill ends."""
    state = State(tmp_path / "state.db", target="there", selection="all")
    lane = lane_with(state, "a", "b")
    delivered, refused = lane.claim(2).entries
    state.close()
    assert lane.ack(delivered)
    assert lane.problem.startswith("the state can't be written: ")
    first = lane.problem
    assert lane.bury(refused, REJECTED, status=400, message="no")
    assert lane.problem == first


def test_an_interruption_of_a_wait_is_nothing_else(tmp_path: Path) -> None:
    """Ctrl-C anywhere in a wait is Ctrl-C, and no error of a lock."""
    state = State(tmp_path / "state.db", target="there", selection="all")
    lane = lane_with(state, "a")
    at = 0
    while interrupt(lambda: lane.wait(0, 0.001), at, PACKAGE, "threading.py"):
        at += 1
    assert at > 5
    assert lane.ack(*lane.claim(1).entries)
    assert lane.wait(0, 60.0)
    state.close()
