"""What a backfill knows of each event, from one run to the next."""

from __future__ import annotations

import random
import shutil
import sqlite3
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import count, islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco import ConfigurationError
from amplitude_moloco.convert.conversion import Conversion
from amplitude_moloco.convert.problem import Problem, ProblemReason
from amplitude_moloco.history.outcome import Ended, Outcome, Refusal
from amplitude_moloco.history.place import Place
from amplitude_moloco.history.state import Read, State
from amplitude_moloco.history.state_file import Batch, StateFile

PROBLEM = Problem("items", ProblemReason.MISSING, "nothing", "map it")
PLACE = Place("export", "", 1)


def opened(path: Path, target: str = "there", selection: str = "all") -> State:
    return State(path, target=target, selection=selection)


def left_by_kill(path: Path) -> Path:
    """What a process that is killed now leaves."""
    left = path.with_name("left")
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{left}{suffix}")
    return left


def conversion(id: str, sync: str = "HOME", *, is_valid: bool = True) -> Conversion:
    return Conversion(sync, id, {}, b"body" if is_valid else b"", () if is_valid else (PROBLEM,))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def begin(state: State, event: int, *conversions: Conversion) -> list[str]:
    """What is to be sent of an event of the first file."""
    return [str(each.id) for each in state.begin(1, [Read(event, PLACE, conversions)])]


Event = list[tuple[str, str, bool]]
"""The id, the sync and whether it is valid, of each conversion of an event."""
EVENTS = st.lists(
    st.dictionaries(
        st.sampled_from(["HOME", "CART"]),
        st.tuples(st.sampled_from("abcdef"), st.booleans()),
    ).map(lambda found: [(id, sync, is_valid) for sync, (id, is_valid) in sorted(found.items())]),
    max_size=12,
)


class Life:
    """The runs of a backfill."""

    def __init__(self, path: Path, events: list[Event], chance: random.Random) -> None:
        self.path, self.events, self.chance = path, events, chance
        self.sent: Counter[tuple[str, str]] = Counter()

    def run(self, steps: int | None = None) -> None:
        """Read and settle in a random order; after so many steps, end as if by ``kill -9``."""
        with closing(opened(self.path)) as state:
            waiting: list[tuple[str, str]] = []
            known = state.begin_file("export", 100)
            upto = known[1] if known else 0
            events = iter(list(enumerate(self.events, start=1))[upto:])
            is_read = known is None
            for _ in count() if steps is None else range(steps):
                if is_read and not waiting:
                    break
                if waiting and (is_read or self.chance.random() < 0.5):
                    self.settle(state, waiting)
                elif known is not None:
                    is_read = not self.read(state, known[0], events, waiting)
            left = left_by_kill(self.path) if steps is not None else None
        if left:
            for suffix in ("", "-wal"):
                Path(f"{left}{suffix}").replace(f"{self.path}{suffix}")

    def read(
        self,
        state: State,
        file: int,
        events: Iterator[tuple[int, Event]],
        waiting: list[tuple[str, str]],
    ) -> bool:
        """Read up to three events more. Returns False at the end of the file."""
        read = [
            Read(number, PLACE, [conversion(id, sync, is_valid=ok) for id, sync, ok in event])
            for number, event in islice(events, self.chance.randint(1, 3))
        ]
        waiting += [(each.sync, str(each.id)) for each in state.begin(file, read)]
        if not read:
            state.end_file(file)
        return bool(read)

    def settle(self, state: State, waiting: list[tuple[str, str]]) -> None:
        sync, id = waiting.pop(self.chance.randrange(len(waiting)))
        self.sent[sync, id] += 1
        state.settle(sync, id, Outcome.DELIVERED)


@given(events=EVENTS, kills=st.lists(st.integers(0, 30), max_size=4), seed=st.integers(0, 99))
def test_each_event_is_sent_once_whatever_ends_a_run(
    events: list[Event], kills: list[int], seed: int
) -> None:
    """Killed anywhere and run again, all are sent; none twice; each is counted once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "state.db")
        life = Life(path, events, random.Random(seed))  # noqa: S311
        for steps in kills:
            life.run(steps)
        life.run()
        valid = {(sync, id) for event in events for id, sync, is_valid in event if is_valid}
        assert life.sent == dict.fromkeys(valid, 1)
        with closing(opened(path)) as state:
            assert state.begin_file("export", 100) is None
            counts: Counter[Outcome] = Counter()
            for ended, number in state.counts.items():
                counts[ended.outcome] += number
        assert counts[Outcome.DELIVERED] == len(valid)
        assert counts[Outcome.INVALID] == sum(not ok for event in events for _, _, ok in event)
        assert counts.total() == sum(map(len, events))


def test_what_was_on_its_way_is_sent_again(path: Path) -> None:
    """An event without an outcome is to be sent by the next run, and one with it is not."""
    with closing(opened(path)) as state:
        assert state.begin_file("export", 7) == (1, 0)
        assert begin(state, 1, conversion("a"), conversion("a-2", "CART")) == ["a", "a-2"]
        assert begin(state, 2, conversion("b")) == ["b"]
        state.settle("CART", "a-2", Outcome.DELIVERED)
        state.settle("HOME", "b", Outcome.DELIVERED)
        assert (state.on_their_way, state.window) == (1, 2)
    with closing(opened(path)) as state:
        assert state.begin_file("export", 7) == (1, 0)
        assert begin(state, 1, conversion("a"), conversion("a-2", "CART")) == ["a"]
        assert begin(state, 2, conversion("b")) == []
        state.settle("HOME", "a", Outcome.DELIVERED)
        state.end_file(1)
        assert (state.on_their_way, state.window) == (0, 0)
    with closing(opened(path)) as state:
        assert state.begin_file("export", 7) is None
        assert state.begin_file("another", None) == (2, 0)
        assert state.counts == {
            Ended("CART", Outcome.DELIVERED): 1,
            Ended("HOME", Outcome.DELIVERED): 2,
        }


def test_a_second_event_with_an_id_is_a_duplicate(path: Path) -> None:
    """Of events with one id and one sync, the first is sent, also if another run read it."""
    with closing(opened(path)) as state:
        assert begin(state, 1, conversion("a")) == ["a"]
        assert begin(state, 2, conversion("a"), conversion("a", "CART")) == ["a"]
        state.settle("HOME", "a", Outcome.DELIVERED)
    with closing(opened(path)) as state:
        assert begin(state, 3, conversion("a")) == []
        assert state.counts[Ended("HOME", Outcome.DUPLICATE)] == 1


def test_refusals_are_kept(path: Path) -> None:
    """What was refused is there with its place and the answer, in the order of the export."""
    with closing(opened(path)) as state:
        for number, id in enumerate("ab", start=1):
            state.begin(1, [Read(number, Place("export", "member", number), [conversion(id)])])
        state.refuse("HOME", "b", "exhausted", status=None, message="timeout")
        state.refuse("HOME", "a", "rejected", status=400, message="too old")
    with closing(opened(path)) as state:
        assert state.refusals() == [
            Refusal("export: member: line 1", "HOME", "a", "rejected", 400, "too old"),
            Refusal("export: member: line 2", "HOME", "b", "exhausted", None, "timeout"),
        ]
        assert state.first_places() == {
            Ended("HOME", Outcome.REFUSED, "rejected"): "export: member: line 1",
            Ended("HOME", Outcome.REFUSED, "exhausted"): "export: member: line 2",
        }


def test_much_that_is_not_sent_is_written_now_and_then(path: Path) -> None:
    """Thousands of events that no sync selects are not read again after a kill."""
    with closing(opened(path)) as state:
        state.begin_file("export", 7)
        for number in range(1, 2_500):
            begin(state, number)
        left = left_by_kill(path)
    with closing(opened(left)) as again:
        assert again.begin_file("export", 7) == (1, 2_000)


def test_a_batch_is_written_whole_or_not_at_all(path: Path) -> None:
    """Of one that can't be written nothing is, so that it can be written again."""
    with closing(StateFile(path, target="there", selection="all")) as file:
        file.begin_file("export", 7)
        batch = Batch()
        batch.upto[1] = 3
        batch.count(Ended("HOME", Outcome.DELIVERED), PLACE)
        batch.done_files.append(2**70)
        with pytest.raises(OverflowError):
            file.write(batch)
        assert not [*file.outcomes()]
        batch.done_files.clear()
        file.write(batch)
        assert [*file.outcomes()] == [(Ended("HOME", Outcome.DELIVERED), 1, str(PLACE))]
        assert file.begin_file("export", 7) == (1, 3, {})


class TestRefused:
    """A file that can't be the state is refused, and says why."""

    def test_of_another_target(self, path: Path) -> None:
        """Another address, or another choice of events."""
        opened(path).close()
        with pytest.raises(ConfigurationError, match="another target: there, not elsewhere; use"):
            opened(path, target="elsewhere")
        with pytest.raises(ConfigurationError, match="another choice of events: all, not some;"):
            opened(path, selection="some")
        opened(path).close()

    def test_in_use(self, path: Path) -> None:
        """The state of a backfill that runs."""
        with closing(opened(path)), pytest.raises(ConfigurationError, match="by another backfill"):
            opened(path)

    def test_no_state(self, path: Path) -> None:
        """A file of another kind, which stays as it is."""
        path.write_bytes(b"something else, and quite long" * 10)
        with pytest.raises(ConfigurationError, match="not a database"):
            opened(path)
        assert path.read_bytes() == b"something else, and quite long" * 10

    def test_damaged(self, path: Path) -> None:
        """A state with damaged pages."""
        opened(path).close()
        content = path.read_bytes()
        path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
        with pytest.raises(ConfigurationError, match=r"state\.db can't be used for the state: \w"):
            opened(path)

    def test_another_database(self, path: Path) -> None:
        """Another application's SQLite file."""
        with closing(sqlite3.connect(path)) as db:
            db.execute("CREATE TABLE theirs (a)")
        with pytest.raises(ConfigurationError, match="no state of a backfill; use another file"):
            opened(path)

    def test_no_place(self, path: Path) -> None:
        """A folder that does not exist, and a link."""
        with pytest.raises(ConfigurationError, match="No such file or directory"):
            opened(path / "nowhere")
        path.symlink_to("elsewhere")
        with pytest.raises(ConfigurationError, match="symbolic links"):
            opened(path)

    def test_changed_file(self, path: Path) -> None:
        """An export that has another size than when the backfill began."""
        with closing(opened(path)) as state:
            state.begin_file("export", 7)
            with pytest.raises(ConfigurationError, match=r"export has changed since .* 7 bytes, n"):
                state.begin_file("export", 8)


def test_it_is_private(path: Path) -> None:
    """Only its user can read the state."""
    with closing(opened(path)):
        modes = {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert modes == {0o600}
