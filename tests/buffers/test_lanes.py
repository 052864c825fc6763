"""Lanes: in each, one entry at a time, in the order of the puts, over every buffer."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.buffers import MakeBuffer
from support.clock import Clock
from support.repeats import repeats

from amplitude_moloco.buffers.base import BufferState, Entry, Storage
from amplitude_moloco.buffers.lanes import Lanes
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.buffers.sqlite.letters import LetterFile
from amplitude_moloco.reasons import DeadLetterReason, DropReason

EXAMPLES = repeats(20, 1_500)
REJECTED = DeadLetterReason.REJECTED


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def buffer(make_laned_buffer: MakeBuffer, clock: Clock) -> Storage:
    return make_laned_buffer(clock=clock)


def put(buffer: Storage, lane: str, *ids: str) -> None:
    for id in ids:
        assert buffer.put(id, "HOME", id.encode(), lane) is None


def claim(buffer: Storage, limit: int = 100, newest: int = 0) -> list[str]:
    return [entry.id for entry in buffer.claim(limit, newest).entries]


def claim_one(buffer: Storage) -> Entry:
    (entry,) = buffer.claim(1).entries
    return entry


def test_a_claim_takes_one_entry_of_a_lane(buffer: Storage) -> None:
    """Only the oldest entry of each lane is claimed; entries without a lane wait for none."""
    put(buffer, "x", "x1", "x2")
    put(buffer, "", "a", "b")
    put(buffer, "y", "y1", "y2")
    assert sorted(claim(buffer)) == ["a", "b", "x1", "y1"]
    assert buffer.claim(100) == ([], None)
    assert buffer.state() == BufferState(2, 4, 0)


def test_an_entry_knows_its_lane(buffer: Storage) -> None:
    """A claimed entry has the lane with which it was put, in any writing."""
    put(buffer, "기기|tok", "a")
    assert claim_one(buffer).lane == "기기|tok"


@pytest.mark.parametrize("end", ["ack", "bury"])
def test_the_next_one_follows_the_end_of_the_first(buffer: Storage, end: str) -> None:
    """The next entry of a lane may be claimed once the first is delivered or a dead letter."""
    put(buffer, "x", "x1", "x2")
    first = claim_one(buffer)
    assert claim(buffer) == []
    if end == "ack":
        assert buffer.ack(first)
    else:
        assert buffer.bury(first, REJECTED, status=400, message="no")
    assert buffer.claim(0).next_seconds == 0.0
    assert claim(buffer) == ["x2"]


def test_a_retry_holds_its_lane_alone(buffer: Storage, clock: Clock) -> None:
    """While an entry waits for another attempt, its lane waits, and no other."""
    put(buffer, "x", "x1", "x2")
    put(buffer, "y", "y1")
    first, other = buffer.claim(9).entries
    assert buffer.retry(first, 5.0, attempts=1)
    assert buffer.ack(other)
    assert buffer.claim(9) == ([], 5.0)
    clock.advance(5)
    again = claim_one(buffer)
    assert (again.id, again.attempts) == ("x1", 1)
    assert buffer.ack(again)
    assert claim(buffer) == ["x2"]


def test_a_lane_is_emptied_and_used_again(buffer: Storage) -> None:
    """A lane without entries waits for nothing."""
    for id in ("a", "b"):
        put(buffer, "x", id)
        entry = claim_one(buffer)
        assert entry.id == id
        assert buffer.ack(entry)


def test_the_newest_are_not_taken_from_lanes(buffer: Storage) -> None:
    """The share of a claim that new entries get never passes the older ones of a lane."""
    put(buffer, "x", "x1", "x2", "x3")
    assert claim(buffer, 2, newest=2) == ["x1"]


def test_a_dead_letter_goes_to_the_end_of_its_lane(buffer: Storage) -> None:
    """A dead letter that is sent again goes behind what its lane holds by then."""
    put(buffer, "x", "x1", "x2")
    assert buffer.bury(claim_one(buffer), REJECTED, status=400, message="no")
    (letter,) = buffer.dead_letters()
    assert letter.lane == "x"
    assert buffer.resend(letter)
    second = claim_one(buffer)
    assert second.id == "x2"
    assert buffer.ack(second)
    assert claim(buffer) == ["x1"]


def test_entries_in_lanes_count_for_the_bounds(make_laned_buffer: MakeBuffer) -> None:
    """What waits in lanes takes room, as anything else."""
    buffer = make_laned_buffer(max_events=2)
    put(buffer, "x", "x1", "x2")
    assert buffer.put("x3", "HOME", b"", "x") is DropReason.FULL
    assert buffer.put("a", "HOME", b"") is DropReason.FULL


def test_a_checkpoint_does_not_wait_for_what_is_held_up(buffer: Storage) -> None:
    """An entry that a failed one of its lane holds up counts as tried: a flush can't send it."""
    put(buffer, "x", "x1", "x2")
    is_reached = buffer.checkpoint()
    assert not is_reached()
    assert buffer.retry(claim_one(buffer), 5.0, attempts=1)
    assert is_reached()
    put(buffer, "y", "y1", "y2")
    is_reached = buffer.checkpoint()
    assert not is_reached()
    for _ in range(2):
        assert buffer.ack(claim_one(buffer))
    assert is_reached()


def test_lanes_are_mended() -> None:
    """After an exception anywhere, a lane with entries is ready unless it is busy."""
    lanes: Lanes[str] = Lanes()
    for lane, item in [("busy", "a"), ("busy", "b"), ("free", "c"), ("empty", "d"), ("held", "e")]:
        lanes.add(lane, item)
    assert [lanes.pop(), lanes.pop(), lanes.pop(), lanes.pop()] == ["a", "c", "d", "e"]
    lanes.add("free", "f")  # busy, though nothing of it is on its way any more
    lanes.mend({"busy", "held"})
    assert (list(lanes.ready), list(lanes), lanes.size) == (["free"], ["b", "f"], 2)
    lanes.leave("busy")
    lanes.leave("held")
    lanes.add("empty", "g")
    assert [lanes.pop(), lanes.pop(), lanes.pop()] == ["f", "b", "g"]


# -- in a file -----------------------------------------------------------------------------------


def open_file(path: Path, clock: Clock) -> SqliteBuffer:
    return SqliteBuffer(path, target="t", wall=clock.wall, monotonic=clock.monotonic)


def test_what_an_ended_process_has_left_goes_first(tmp_path: Path, clock: Clock) -> None:
    """After a restart, new entries of a lane go behind those that the file holds."""
    path = tmp_path / "buffer.db"
    first = open_file(path, clock)
    put(first, "x", "x1", "x2")
    first.close()
    second = open_file(path, clock)
    put(second, "x", "x3")
    for id in ("x1", "x2", "x3"):
        entry = claim_one(second)
        assert entry.id == id
        assert second.ack(entry)
    second.close()


def test_what_another_process_leaves_meanwhile_goes_first(tmp_path: Path, clock: Clock) -> None:
    """Entries that came into the file unnoticed go before those in memory."""
    path = tmp_path / "buffer.db"
    other, mine = open_file(path, clock), open_file(path, clock)
    assert claim(mine) == []
    put(other, "x", "x1")
    other.close()
    put(mine, "x", "x2")
    for id in ("x1", "x2"):
        entry = claim_one(mine)
        assert entry.id == id
        assert mine.ack(entry)
    mine.close()


def test_a_restart_keeps_the_delay_of_a_lane(tmp_path: Path, clock: Clock) -> None:
    """A retry holds its lane beyond a restart, until it is due."""
    path = tmp_path / "buffer.db"
    first = open_file(path, clock)
    put(first, "x", "x1", "x2")
    assert first.retry(claim_one(first), 60.0, attempts=1)
    first.close()
    second = open_file(path, clock)
    assert claim(second) == []
    assert second.claim(9) == ([], 60.0)
    clock.advance(60)
    entry = claim_one(second)
    assert (entry.id, entry.attempts, entry.lane) == ("x1", 1, "x")
    second.close()


def test_a_clock_that_was_set_back_holds_up_no_lane(tmp_path: Path, clock: Clock) -> None:
    """A lane waits no longer for a retry because the wall clock was set back meanwhile."""
    path = tmp_path / "buffer.db"
    first = open_file(path, clock)
    put(first, "x", "x1", "x2")
    assert first.retry(claim_one(first), 60.0, attempts=1)
    first.close()
    clock.set_wall(clock.wall() - 30 * 24 * 3600)
    second = open_file(path, clock)
    assert claim(second) == []
    clock.advance(60)
    assert claim(second) == ["x1"]
    second.close()


def test_a_clock_that_was_set_back_in_a_reboot_holds_up_no_lane(
    tmp_path: Path, clock: Clock
) -> None:
    """What is due later than any retry can be is due now, in lanes too."""
    path = tmp_path / "buffer.db"
    clock.advance(60 * 24 * 3600)
    first = open_file(path, clock)
    put(first, "x", "x1", "x2")
    assert first.retry(claim_one(first), 60.0, attempts=1)
    first.close()
    rebooted = Clock()
    rebooted.set_wall(clock.wall() - 30 * 24 * 3600)
    second = open_file(path, rebooted)
    assert claim(second) == ["x1"]
    second.close()


def test_retries_in_lanes_stay_in_memory(tmp_path: Path, clock: Clock) -> None:
    """A retry with a lane stays with its process, so that no other sends what comes behind it."""
    path = tmp_path / "buffer.db"
    first, second = open_file(path, clock), open_file(path, clock)
    put(first, "x", "x1", "x2")
    put(first, "", "a")
    for entry in first.claim(9).entries:
        assert first.retry(entry, 60.0, attempts=1)
    clock.advance(1)
    first.tend()
    clock.advance(60)
    second.tend()
    assert claim(second) == ["a"]
    assert claim(first) == ["x1"]
    first.close()
    second.close()


def test_a_letter_resent_from_outside_keeps_its_lane(tmp_path: Path, clock: Clock) -> None:
    """A dead letter that another program sends again goes in its lane."""
    path = tmp_path / "buffer.db"
    buffer = open_file(path, clock)
    put(buffer, "x", "x1", "x2")
    assert buffer.bury(claim_one(buffer), REJECTED, status=400, message="no")
    letters = list(buffer.dead_letters())
    file = LetterFile(path, target="t", wall=clock.wall)
    assert file.resend(letters) == 1
    file.close()
    clock.advance(1)
    buffer.tend()
    assert claim_one(buffer).lane == "x"
    assert claim(buffer) == []
    buffer.close()


def test_lanes_wait_while_the_file_can_not_be_had(tmp_path: Path, clock: Clock) -> None:
    """While older entries of lanes can't be taken from the file, no newer one passes them."""
    path = tmp_path / "buffer.db"
    first = open_file(path, clock)
    put(first, "x", "x1")
    first.close()
    second = open_file(path, clock)
    put(second, "x", "x2")
    put(second, "", "a")
    for journal in tmp_path.glob("*.journal"):
        journal.unlink()
    tmp_path.chmod(0o500)
    is_root = os.access(tmp_path, os.W_OK)
    clock.advance(1)
    second.tend()
    tmp_path.chmod(0o700)
    if not is_root:
        assert claim(second) == ["a"]
        clock.advance(1)
        second.tend()
    assert "x1" in claim(second)
    second.close()


# -- any order -----------------------------------------------------------------------------------


class Item(NamedTuple):
    """An entry as the model keeps it."""

    id: str
    lane: str
    due: float = 0.0


class Machine(RuleBasedStateMachine):
    """Does anything to a buffer, and knows which entries may be claimed."""

    def __init__(self, open_buffer: Callable[[Clock], Storage]) -> None:
        super().__init__()
        self.clock = Clock()
        self.open_buffer = open_buffer
        self.buffer = open_buffer(self.clock)
        self.items: list[Item] = []
        """What waits or is claimed, in the order of the puts."""
        self.held: dict[str, Entry] = {}
        self.dead: dict[str, Item] = {}
        self.numbers = count(1)

    def claimable(self) -> set[str]:
        """The entries that may be claimed now: what is due, and the oldest of its lane."""
        seen: set[str] = set()
        found = set()
        for item in self.items:
            is_due = item.due <= self.clock.wall()
            if is_due and item.lane not in seen and item.id not in self.held:
                found.add(item.id)
            if item.lane:
                seen.add(item.lane)
        return found

    def item(self, id: str) -> Item:
        return next(item for item in self.items if item.id == id)

    @rule(lane=st.sampled_from(["", "x", "y", "z"]))
    def put(self, lane: str) -> None:
        id = str(next(self.numbers))
        put(self.buffer, lane, id)
        self.items.append(Item(id, lane))

    @rule(limit=st.integers(1, 5), newest=st.integers(0, 2))
    def claim(self, limit: int, newest: int) -> None:
        expected = self.claimable()
        claimed: list[Entry] = []
        for _ in range(3):  # one claim may learn only that a lane waits for a retry
            claimed += self.buffer.claim(limit - len(claimed), newest).entries
        assert len(claimed) == min(limit, len(expected))
        assert {entry.id for entry in claimed} <= expected
        assert all(entry.lane == self.item(entry.id).lane for entry in claimed)
        self.held.update({entry.id: entry for entry in claimed})

    def release(self, data: st.DataObject) -> tuple[Entry, Item]:
        entry = self.held.pop(data.draw(st.sampled_from(sorted(self.held))))
        return entry, self.item(entry.id)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        entry, item = self.release(data)
        assert self.buffer.ack(entry)
        self.items.remove(item)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), delay=st.integers(0, 5), attempts=st.integers(0, 2))
    def retry(self, data: st.DataObject, delay: int, attempts: int) -> None:
        entry, item = self.release(data)
        assert self.buffer.retry(entry, delay, attempts=attempts)
        due = self.clock.wall() + delay
        self.items = [each._replace(due=due) if each is item else each for each in self.items]

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def bury(self, data: st.DataObject) -> None:
        entry, item = self.release(data)
        assert self.buffer.bury(entry, REJECTED, status=400, message="no")
        self.items.remove(item)
        self.dead[item.id] = item

    @precondition(lambda self: self.dead)
    @rule()
    def resend(self) -> None:
        for letter in list(self.buffer.dead_letters()):
            assert self.buffer.resend(letter)
            self.items.append(self.dead.pop(letter.id)._replace(due=0.0))

    @rule(seconds=st.integers(1, 5))
    def let_time_pass(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @invariant()
    def nothing_vanishes(self) -> None:
        waiting = len(self.items) - len(self.held)
        assert self.buffer.state() == BufferState(waiting, len(self.held), len(self.dead))

    def teardown(self) -> None:
        lost = self.buffer.close()
        assert len(lost) == (0 if self.buffer.is_durable else len(self.items))


def run_machine(machine: type[Machine]) -> None:
    run_state_machine_as_test(
        machine, settings=settings(max_examples=EXAMPLES, stateful_step_count=40, deadline=None)
    )


def test_lanes_in_memory_keep_their_order() -> None:
    """Whatever is done to a buffer in memory, it hands out all that may go, and nothing else."""

    class InMemory(Machine):
        def __init__(self) -> None:
            super().__init__(lambda clock: MemoryBuffer(wall=clock.wall, monotonic=clock.monotonic))

    run_machine(InMemory)


@pytest.mark.timeout(3000)
def test_lanes_in_a_file_keep_their_order(tmp_path: Path) -> None:
    """Whatever is done to a buffer in a file, kills included, lanes keep their order."""
    numbers = count()

    class InFile(Machine):
        def __init__(self) -> None:
            self.stack = ExitStack()
            self.folder = self.new_folder()
            super().__init__(self.open_one)

        def new_folder(self) -> Path:
            folder = tmp_path / str(next(numbers))
            folder.mkdir()
            return folder

        def open_one(self, clock: Clock) -> Storage:
            buffer = open_file(self.folder / "buffer.db", clock)
            self.stack.callback(buffer.close)
            return buffer

        @rule()
        def tend(self) -> None:
            assert isinstance(self.buffer, SqliteBuffer)
            self.clock.advance(1)
            assert self.buffer.tend() == []

        @rule()
        def reopen(self) -> None:
            """End this process, and continue as another."""
            assert self.buffer.close() == []
            self.held.clear()
            self.buffer = self.open_one(self.clock)

        @rule()
        def kill(self) -> None:
            """Continue as another process with what this one has written, when all is due.

            What was delivered or buried is written down first: else it would come back.
            """
            self.buffer.claim(0)
            list(self.buffer.dead_letters())
            folder = self.new_folder()
            shutil.copytree(self.folder, folder, dirs_exist_ok=True)
            assert self.buffer.close() == []
            self.folder = folder
            self.held.clear()
            self.clock.advance(10)
            self.items = [each._replace(due=0.0) for each in self.items]
            self.buffer = self.open_one(self.clock)

        def teardown(self) -> None:
            super().teardown()
            self.stack.close()

    run_machine(InFile)
