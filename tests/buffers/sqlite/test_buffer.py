"""What is true of the buffer in a file alone; what it shares with others is in the contract."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support.clock import NOW, Clock
from support.sqlite_buffers import DAY, TARGET, OpenBuffer, bury_entry, claim, claim_one, put
from support.sqlite_files import locked

from amplitude_moloco.buffers.base import BufferState, Degraded, Entry
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.reasons import DeadLetterReason, DropReason

# -- the file ------------------------------------------------------------------------------------


def test_it_survives_the_process(open_buffer: OpenBuffer, clock: Clock) -> None:
    """What was put, given back and buried is there when the file is opened again."""
    first = open_buffer()
    assert first.is_durable
    put(first, "a", "b", "c")
    a, b = first.claim(2).entries
    assert first.retry(a, 5.0, attempts=3, strikes=2)
    clock.advance(1)
    assert first.bury(b, DeadLetterReason.REJECTED, status=None, message="가격")
    assert first.close() == []
    second = open_buffer()
    assert second.state() == BufferState(2, 0, 1)
    (letter,) = second.dead_letters()
    end = (NOW, NOW + 1, 0, DeadLetterReason.REJECTED, None, "가격")
    assert letter[1:] == ("b", "HOME", b"body", *end, "")
    is_reached = second.checkpoint()
    clock.advance(4)
    again, new = second.claim(9).entries
    assert (again.id, again.attempts, again.strikes, new.id) == ("a", 3, 2, "c")
    assert again.age_seconds == 5.0
    assert not is_reached()
    assert second.ack(new)
    assert is_reached()


def test_a_key_is_never_used_again(open_buffer: OpenBuffer) -> None:
    """An old key settles nothing, even if its entry is gone and the file was closed in between."""
    first = open_buffer()
    put(first, "a", "b")
    newest = first.claim(2).entries[1]
    assert first.ack(newest)
    first.close()
    second = open_buffer()
    put(second, "c")
    entry = claim_one(second)
    assert entry.key != newest.key
    assert not second.ack(newest)
    assert second.ack(entry)


def test_a_checkpoint_is_not_reached_by_new_entries_alone(open_buffer: OpenBuffer) -> None:
    """A checkpoint of a reopened file waits for what was put after it was opened."""
    first = open_buffer()
    put(first, "a", "b")
    assert all(map(first.ack, first.claim(2).entries))
    first.close()
    second = open_buffer()
    before = second.checkpoint()
    put(second, "c")
    after = second.checkpoint()
    assert (before(), after()) == (True, False)
    assert second.ack(claim_one(second))
    assert after()


def test_files_are_private(tmp_path: Path, open_buffer: OpenBuffer) -> None:
    """What it creates is for this user alone; the folder is left as it is."""
    tmp_path.chmod(0o755)
    path = tmp_path / "buffer.db"
    put(open_buffer(path=path), "a")
    modes = {each.name: each.stat().st_mode & 0o777 for each in tmp_path.rglob("*")}
    assert set(modes.values()) == {0o600}
    names = {re.sub("-[0-9a-f]{16}", "-TOKEN", name) for name in modes}
    own = {"buffer.db-TOKEN.lock", "buffer.db-TOKEN-00000001.journal"}
    assert names == {"buffer.db", "buffer.db-wal", "buffer.db-shm", "buffer.db-lock"} | own
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_an_empty_file_is_a_new_one(
    path: Path, open_buffer: OpenBuffer, caplog: pytest.LogCaptureFixture
) -> None:
    """An empty file is used, and made private."""
    path.touch(0o644)
    put(open_buffer(), "a")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.glob("*.corrupt*")] == []
    assert caplog.records == []


def test_a_link_leads_to_the_file(path: Path, tmp_path: Path, open_buffer: OpenBuffer) -> None:
    """A link and its target are the same buffer, whose other files lie beside the real one."""
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    first = open_buffer(path=link)
    put(first, "a")
    assert list(link.parent.iterdir()) == [link]
    first.close()
    assert claim(open_buffer()) == ["a"]


def test_a_relative_path_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_buffer: OpenBuffer
) -> None:
    """A relative path starts from the directory in which the buffer was opened."""
    monkeypatch.chdir(tmp_path)
    first = open_buffer(path=":memory:")
    put(first, "a")
    monkeypatch.chdir("/")
    first.close()
    assert claim(open_buffer(path=tmp_path / ":memory:")) == ["a"]


def test_no_connection_is_left_open(open_buffer: OpenBuffer) -> None:
    """After close() nothing is left to be collected with a warning."""
    buffer = open_buffer()
    put(buffer, "a")
    buffer.close()
    del buffer
    gc.collect()


def test_a_name_may_have_any_characters(tmp_path: Path, open_buffer: OpenBuffer) -> None:
    """Characters that have a meaning in a URL have none in a path."""
    path = tmp_path / "a b?mode=ro&c%20#d.db"
    put(open_buffer(path=path), "a")
    assert path.exists()


# -- claims --------------------------------------------------------------------------------------


def test_what_a_closed_buffer_had_claimed_can_be_claimed(open_buffer: OpenBuffer) -> None:
    """When a buffer is closed, all that it had claimed is there for others, at once."""
    ours, theirs = open_buffer(), open_buffer()
    put(ours, "a", "b", "c")
    first = claim_one(ours)
    assert ours.retry(first, 0.0, attempts=2, strikes=1)
    assert len(ours.claim(2).entries) == 2
    assert claim(theirs) == []
    assert ours.close() == []
    entries = theirs.claim(9).entries
    assert {entry.id: (entry.attempts, entry.strikes) for entry in entries} == {
        "a": (2, 1),
        "b": (0, 0),
        "c": (0, 0),
    }
    assert all(map(theirs.ack, entries))
    theirs.close()
    assert open_buffer().state() == BufferState(0, 0, 0)


@pytest.mark.parametrize("attempts", [0, 1])
@pytest.mark.parametrize(
    "settle",
    [
        lambda buffer, entry: buffer.ack(entry),
        lambda buffer, entry: buffer.retry(entry, 0.0, attempts=9),
        lambda buffer, entry: bury_entry(buffer, entry, DeadLetterReason.EXPIRED),
    ],
    ids=["ack", "retry", "bury"],
)
def test_a_zombie_settles_nothing(
    open_buffer: OpenBuffer, attempts: int, settle: Callable[[SqliteBuffer, Entry], bool]
) -> None:
    """A buffer that was closed, and whose entry was taken over, changes nothing any more."""
    zombie, heir = open_buffer(), open_buffer()
    put(zombie, "a")
    assert zombie.retry(claim_one(zombie), 0.0, attempts=attempts)
    old = claim_one(zombie)
    zombie.close()
    new = claim_one(heir)
    before = heir.state()
    assert settle(zombie, old) is False
    assert (heir.state(), list(heir.dead_letters())) == (before, [])
    assert heir.ack(new)


def test_an_entry_of_a_living_buffer_is_its_own(open_buffer: OpenBuffer, clock: Clock) -> None:
    """However long its buffer takes, an entry is not taken over while the buffer is open."""
    slow, other = open_buffer(), open_buffer()
    put(slow, "a")
    entry = claim_one(slow)
    clock.advance(DAY)
    assert (other.tend(), claim(other)) == ([], [])
    assert slow.ack(entry)
    assert other.state() == BufferState(0, 0, 0)


def test_a_buffer_that_was_given_up_is_taken_over(
    path: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """What an object held that is gone, and was never closed, is taken over by the next tending."""
    ours = open_buffer()
    lost = SqliteBuffer(path, target=TARGET, wall=clock.wall, monotonic=clock.monotonic)
    put(lost, "a", "b", "c")
    assert lost.ack(claim_one(lost))
    claim_one(lost)
    assert claim(ours) == []
    del lost
    gc.collect()
    clock.advance(1)
    assert ours.tend() == []
    assert claim(ours) == ["b", "c"]


def test_processes_count_each_others_events(open_buffer: OpenBuffer, clock: Clock) -> None:
    """The state counts what waits anywhere, and as claimed what this buffer has claimed."""
    ours, theirs = open_buffer(), open_buffer()
    put(ours, "a", "b")
    put(theirs, "c")
    entry = claim_one(theirs)
    assert ours.state() == BufferState(3, 0, 0)
    assert theirs.state() == BufferState(2, 1, 0)
    is_reached = ours.checkpoint()
    assert theirs.ack(entry)
    assert not is_reached()
    assert all(map(ours.ack, ours.claim(9).entries))
    assert is_reached()
    assert theirs.state() == BufferState(0, 0, 0)


def test_the_oldest_entry_is_known_in_the_file_as_well(
    open_buffer: OpenBuffer, clock: Clock
) -> None:
    """An entry that has moved into the file has its age in each process that shares it."""
    ours, other = open_buffer(), open_buffer()
    put(ours, "a")
    clock.advance(10)
    assert other.oldest_age_seconds() is None  # it is in our memory
    assert ours.retry(claim_one(ours), 1000.0, attempts=1)
    assert ours.tend() == []  # moves it
    put(other, "b")
    clock.advance(10)
    assert (ours.oldest_age_seconds(), other.oldest_age_seconds()) == (20.0, 20.0)
    ours.close()
    assert ours.oldest_age_seconds() is None


def test_dead_letters_are_seen_and_resent_by_another_process(
    open_buffer: OpenBuffer, clock: Clock
) -> None:
    """What one process has buried is seen by another within a second, and can be resent there."""
    ours, theirs = open_buffer(), open_buffer()
    put(ours, "a")
    assert bury_entry(ours, claim_one(ours))
    clock.advance(1)
    assert ours.tend() == []
    (letter,) = theirs.dead_letters()
    assert (letter.id, theirs.state().dead) == ("a", 1)
    assert theirs.resend(letter)
    assert claim(theirs) == ["a"]
    assert ours.state() == BufferState(1, 0, 0)


# -- beyond the tail -----------------------------------------------------------------------------


def test_a_backlog_is_moved_and_comes_out_in_order(open_buffer: OpenBuffer, clock: Clock) -> None:
    """More events than the memory holds go into the shared file, and come out once, in order."""
    ours = open_buffer()
    ids = list(map(str, range(10_000)))
    put(ours, *ids[:9000])
    clock.advance(1)
    assert ours.tend() == []
    put(ours, *ids[9000:])
    assert ours.state() == BufferState(10_000, 0, 0)
    theirs = open_buffer()
    entries = theirs.claim(10).entries
    assert [entry.id for entry in entries] == ids[:10]
    assert all(map(theirs.ack, entries))
    theirs.close()
    found = []
    while more := ours.claim(100).entries:
        assert all(map(ours.ack, more))
        found += [entry.id for entry in more]
    assert found == ids[10:]
    assert ours.state() == BufferState(0, 0, 0)


def test_what_finds_no_room_in_memory_is_refused(
    open_buffer: OpenBuffer, path: Path, clock: Clock
) -> None:
    """While nothing can be moved, memory stays bounded, and nothing accepted is lost."""
    buffer = open_buffer(patience_seconds=0.05)
    ids = list(map(str, range(30)))
    body = bytes(1024**2)
    with locked(path):
        put(buffer, *ids, body=body)
        clock.advance(1)
        assert buffer.tend() == []
        clock.advance(2)
        (news,) = buffer.tend()
        assert isinstance(news, Degraded)
        is_reached = buffer.checkpoint()
        refusals = [buffer.put("more", "HOME", body) for _ in range(4)]
        assert refusals[-1] is DropReason.FULL
        ids += ["more"] * refusals.count(None)
        first = [claim_one(buffer) for _ in range(15)]
        assert all(map(buffer.ack, first))
        clock.advance(1)
        assert buffer.tend() == []
    clock.advance(1)
    assert buffer.tend() == []
    assert buffer.state() == BufferState(len(ids) - 15, 0, 0)
    rest = []
    while entries := buffer.claim(7).entries:
        rest += entries
        assert is_reached() is False
        assert all(map(buffer.ack, entries))
    assert [entry.id for entry in (*first, *rest)] == ids
    assert {entry.body for entry in rest} == {body}
    assert is_reached()
    clock.advance(1)
    assert buffer.tend() == []
    files = sum(each.stat().st_size for each in path.parent.glob("*.journal"))
    assert files < 1024**2


# -- the clock -----------------------------------------------------------------------------------


def test_a_clock_that_was_set_back_stops_nothing(buffer: SqliteBuffer, clock: Clock) -> None:
    """An entry due later than any delay and lease explain, since the clock was set back, is due."""
    put(buffer, "a", "b")
    a, b = buffer.claim(2).entries
    assert buffer.retry(a, 7200, attempts=1)
    clock.advance(1)
    assert buffer.retry(b, 7200, attempts=1)
    assert buffer.tend() == []  # moves both into the file, with the times of the wall clock
    clock.set_wall(NOW - 60)
    (entry,), next_seconds = buffer.claim(9)
    assert (entry.id, entry.age_seconds, next_seconds) == ("b", 0.0, 7260.0)
    clock.set_wall(NOW - 61)
    assert claim(buffer) == ["a"]


def test_a_clock_that_was_set_back_makes_an_entry_due(
    open_buffer: OpenBuffer, clock: Clock
) -> None:
    """Such an entry can be claimed at once, also by a process that knows no other clock."""
    settings = {"longest_delay_seconds": 50}  # and a minute for what a clock may differ
    buffer = open_buffer(**settings)
    put(buffer, "a")
    assert buffer.retry(claim_one(buffer), 100, attempts=1)
    clock.advance(1)
    assert buffer.tend() == []
    after_a_restart = Clock()  # of the machine: the monotonic clock starts anew, as well
    other = open_buffer(**settings, monotonic=after_a_restart.monotonic)
    for wall, seconds in ((NOW - 11, 0.0), (NOW - 10, 110.0)):
        after_a_restart.advance(wall - clock.wall())
        clock.set_wall(wall)
        assert buffer.claim(0).next_seconds == seconds
        assert other.claim(0).next_seconds == seconds


@pytest.mark.parametrize("delay_seconds", [5, 80, 900])
@pytest.mark.parametrize("back_seconds", [2, 60, 1800, 3000, 7 * DAY, 400 * DAY])
def test_no_retry_waits_longer_because_the_clock_was_set_back(
    open_buffer: OpenBuffer, clock: Clock, back_seconds: float, delay_seconds: float
) -> None:
    """Once any process has tended the buffer, a retry waits for what is left of its delay."""
    buffer, other = open_buffer(), open_buffer()
    put(buffer, "a", "never sent")
    assert buffer.retry(claim_one(buffer), delay_seconds, attempts=1)
    clock.advance(1)
    assert buffer.tend() == other.tend() == []
    clock.set_wall(clock.wall() - back_seconds)
    clock.advance(1)
    assert other.tend() == buffer.tend() == []  # the second one finds it done
    for each in (buffer, other, open_buffer()):
        assert "a" not in claim(each)
        assert each.claim(0).next_seconds == pytest.approx(delay_seconds - 2)
    clock.advance(delay_seconds - 2)
    assert claim(other) == ["a"]


def test_a_retry_that_is_stored_after_the_clock_was_set_has_its_delay(
    buffer: SqliteBuffer, clock: Clock
) -> None:
    """Only what was stored before is moved."""
    put(buffer, "a")
    entry = claim_one(buffer)
    clock.set_wall(NOW - 1800)
    assert buffer.retry(entry, 80, attempts=1)
    for _ in range(3):
        clock.advance(1)
        assert buffer.tend() == []
    assert buffer.claim(9) == ([], 77.0)


def test_a_clock_that_was_set_forward_and_back_delays_nothing(
    buffer: SqliteBuffer, clock: Clock
) -> None:
    """What was stored meanwhile is due by the clock that is right again."""
    clock.set_wall(NOW + 5 * DAY)
    put(buffer, "a")
    assert buffer.retry(claim_one(buffer), 80, attempts=1)
    clock.advance(1)
    assert buffer.tend() == []
    clock.set_wall(NOW + 1)
    clock.advance(1)
    assert buffer.tend() == []
    entries, next_seconds = buffer.claim(9)
    assert entries == []
    assert next_seconds == pytest.approx(78.0)


def test_a_due_time_can_lie_before_1970(buffer: SqliteBuffer, clock: Clock) -> None:
    """A clock that is in 1969 loses nothing."""
    clock.set_wall(-10.0)
    put(buffer, "a", "b")
    a, b = buffer.claim(2).entries
    assert buffer.retry(a, 5.0, attempts=1)
    assert buffer.retry(b, 10.0, attempts=1)
    clock.advance(1)
    assert buffer.tend() == []
    clock.set_wall(2.0)
    assert claim(buffer) == ["a", "b"]


# -- forks ---------------------------------------------------------------------------------------


def test_the_parent_of_a_fork_goes_on(buffer: SqliteBuffer) -> None:
    """A process that forks loses neither its events nor its claims."""
    put(buffer, "a", "b")
    entry = claim_one(buffer)
    child = os.fork()
    if not child:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert buffer.ack(entry)
    put(buffer, "c")
    assert claim(buffer) == ["b", "c"]
