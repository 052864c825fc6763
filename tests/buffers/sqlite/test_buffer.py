"""What is true of the buffer in a file alone; what it shares with others is in the contract."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.clock import NOW, Clock
from support.sqlite_buffers import DAY, OpenBuffer, bury_entry, claim, claim_one, put

from amplitude_moloco.buffers.base import BufferState, Entry
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.reasons import DeadLetterReason

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
    assert letter[1:] == ("b", "HOME", b"body", *end)
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
    names = "buffer.db", "buffer.db-wal", "buffer.db-shm", "buffer.db-lock"
    assert modes == dict.fromkeys(names, 0o600)
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
    put(open_buffer(path=link), "a")
    assert list(link.parent.iterdir()) == [link]
    assert claim(open_buffer()) == ["a"]


def test_a_relative_path_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_buffer: OpenBuffer
) -> None:
    """A relative path starts from the directory in which the buffer was opened."""
    monkeypatch.chdir(tmp_path)
    put(open_buffer(path=":memory:"), "a")
    monkeypatch.chdir("/")
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


# -- leases --------------------------------------------------------------------------------------


def test_a_claim_is_a_lease(open_buffer: OpenBuffer, clock: Clock) -> None:
    """While a lease lasts, no other process gets the entry; then any may."""
    ours, theirs = open_buffer(lease_seconds=60), open_buffer()
    put(ours, "a")
    first = claim_one(ours)
    clock.advance(59.75)
    assert claim(theirs) == []
    clock.advance(0.25)
    second = claim_one(theirs)
    assert second[1:] == first._replace(age_seconds=60.0)[1:]


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
    open_buffer: OpenBuffer,
    clock: Clock,
    attempts: int,
    settle: Callable[[SqliteBuffer, Entry], bool],
) -> None:
    """A process whose entry was taken over after the end of its lease changes nothing any more."""
    zombie, heir = open_buffer(), open_buffer()
    put(zombie, "a")
    assert zombie.retry(claim_one(zombie), 0.0, attempts=attempts)
    old = claim_one(zombie)
    clock.advance(60)
    new = claim_one(heir)
    before = heir.state()
    assert settle(zombie, old) is False
    assert (heir.state(), list(heir.dead_letters())) == (before, [])
    assert zombie.state().claimed == 0
    assert heir.ack(new)


def test_an_outcome_counts_while_the_entry_is_not_taken_over(
    open_buffer: OpenBuffer, clock: Clock
) -> None:
    """An outcome after the end of the lease counts if no other has the entry: no duplicate."""
    slow, other = open_buffer(), open_buffer()
    put(slow, "a")
    entry = claim_one(slow)
    clock.advance(DAY)
    assert slow.ack(entry)
    assert claim(other) == []


def test_its_own_lease_ends_as_well(buffer: SqliteBuffer, clock: Clock) -> None:
    """An entry whose outcome never came is claimed again by the same process, with a new key."""
    put(buffer, "a")
    first = claim_one(buffer)
    clock.advance(60)
    second = claim_one(buffer)
    assert first.key != second.key
    assert buffer.state().claimed == 1
    assert not buffer.ack(first)
    assert buffer.state().claimed == 1
    assert buffer.ack(second)


def test_processes_see_each_others_claims(open_buffer: OpenBuffer) -> None:
    """What another process has claimed waits for the end of its lease, and counts as untried."""
    ours, theirs = open_buffer(), open_buffer()
    put(ours, "a", "b")
    (entry,), next_seconds = theirs.claim(1)
    is_reached = ours.checkpoint()
    assert ours.state() == BufferState(2, 0, 0)
    assert (theirs.state(), next_seconds) == (BufferState(1, 1, 0), 0.0)
    (own,), next_seconds = ours.claim(9)
    assert own.id == "b"
    assert (ours.state(), next_seconds) == (BufferState(1, 1, 0), 60.0)
    assert theirs.ack(entry)
    assert (ours.state(), ours.claim(0).next_seconds) == (BufferState(0, 1, 0), None)
    assert not is_reached()
    assert ours.ack(own)
    assert is_reached()


def test_a_closed_buffers_claims_keep_their_leases(open_buffer: OpenBuffer, clock: Clock) -> None:
    """Other processes can't claim what a closed buffer had claimed until its lease ends."""
    ours, theirs = open_buffer(lease_seconds=60), open_buffer()
    put(ours, "a", "b", "c")
    assert len(ours.claim(2).entries) == 2
    assert ours.close() == []
    assert claim(theirs) == ["c"]
    clock.advance(59)
    assert claim(theirs) == []
    clock.advance(1)
    assert claim(theirs) == ["a", "b", "c"]


# -- the clock -----------------------------------------------------------------------------------


def test_a_clock_that_was_set_back_stops_nothing(buffer: SqliteBuffer, clock: Clock) -> None:
    """An entry due later than any delay and lease explain, since the clock was set back, is due."""
    put(buffer, "a", "b")
    a, b = buffer.claim(2).entries
    assert buffer.retry(a, 7200, attempts=1)
    clock.advance(1)
    assert buffer.retry(b, 7200, attempts=1)
    clock.set_wall(NOW - 60)
    (entry,), next_seconds = buffer.claim(9)
    assert (entry.id, entry.age_seconds, next_seconds) == ("b", 0.0, 7260.0)
    clock.set_wall(NOW - 61)
    assert claim(buffer) == ["a"]


def test_a_clock_that_was_set_back_makes_an_entry_due(
    open_buffer: OpenBuffer, clock: Clock
) -> None:
    """Such an entry can be claimed at once, also by a process that has just opened the file."""
    settings = {"longest_delay_seconds": 100, "lease_seconds": 10}
    buffer = open_buffer(**settings)
    put(buffer, "a")
    assert buffer.retry(claim_one(buffer), 100, attempts=1)
    clock.set_wall(NOW - 11)
    assert buffer.claim(0).next_seconds == 0.0
    assert open_buffer(**settings).claim(0).next_seconds == 0.0
    clock.set_wall(NOW - 10)
    assert buffer.claim(0).next_seconds == 110.0
    assert open_buffer(**settings).claim(0).next_seconds == 110.0


def test_a_due_time_can_lie_before_1970(buffer: SqliteBuffer, clock: Clock) -> None:
    """A clock that is in 1969 loses nothing."""
    clock.set_wall(-10.0)
    put(buffer, "a", "b")
    a, b = buffer.claim(2).entries
    assert buffer.retry(a, 5.0, attempts=1)
    assert buffer.retry(b, 10.0, attempts=1)
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


def test_a_file_that_is_gone_after_a_fork_is_not_created_again(
    path: Path, buffer: SqliteBuffer
) -> None:
    """A buffer that has to connect again does not put events into another file."""
    put(buffer, "a")
    child = os.fork()
    if not child:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    path.unlink()
    assert buffer.put("b", "HOME", b"") == "unavailable"
    assert not path.exists()
