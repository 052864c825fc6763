"""What is true of the buffer in memory alone; what it shares with others is in the contract."""

from __future__ import annotations

import pytest
from support.clock import NOW, Clock

from amplitude_moloco.buffers.base import BufferState, Entry
from amplitude_moloco.buffers.memory import MAX_DEAD_LETTERS, MemoryBuffer
from amplitude_moloco.reasons import DeadLetterReason, DropReason


@pytest.fixture
def buffer(clock: Clock) -> MemoryBuffer:
    return MemoryBuffer(wall=clock.wall, monotonic=clock.monotonic)


def put(buffer: MemoryBuffer, *ids: str) -> None:
    for id in ids:
        assert buffer.put(id, "HOME", b"body") is None


def claim_one(buffer: MemoryBuffer) -> Entry:
    (entry,) = buffer.claim(1).entries
    return entry


def bury(buffer: MemoryBuffer, count: int) -> None:
    for number in range(count):
        put(buffer, f"id-{number}")
        entry = claim_one(buffer)
        assert buffer.bury(entry, DeadLetterReason.REJECTED, status=400, message="")


def test_it_is_gone_with_the_process() -> None:
    """What is in memory does not survive its process, and the buffer says so."""
    assert MemoryBuffer().is_durable is False


def test_a_claim_has_no_lease(buffer: MemoryBuffer, clock: Clock) -> None:
    """A claim can't outlive its sender here, and lasts until it is settled."""
    put(buffer, "id")
    entry = claim_one(buffer)
    clock.advance(1_000_000)
    assert buffer.claim(1).entries == []
    assert buffer.ack(entry)


@pytest.mark.parametrize("step", [-1_000_000, 1_000_000])
def test_a_wall_clock_that_steps_changes_no_delay(
    buffer: MemoryBuffer, clock: Clock, step: float
) -> None:
    """When the wall clock is set, retries stay due when they were, and ages are what they were."""
    put(buffer, "id")
    assert buffer.retry(claim_one(buffer), 5.0, attempts=1)
    clock.set_wall(NOW + step)
    assert buffer.claim(1) == ([], 5.0)
    clock.advance(4.75)
    assert buffer.claim(1) == ([], 0.25)
    clock.advance(0.25)
    entry = claim_one(buffer)
    assert (entry.age_seconds, entry.accepted_at) == (5.0, NOW)


def test_times_are_stored_by_the_wall_clock(buffer: MemoryBuffer, clock: Clock) -> None:
    """When an event was accepted and when it was buried are Unix times."""
    put(buffer, "id")
    clock.set_wall(NOW + 1_000_000)
    entry = claim_one(buffer)
    assert buffer.bury(entry, DeadLetterReason.EXPIRED, status=None, message="")
    (letter,) = buffer.dead_letters()
    assert (letter.accepted_at, letter.buried_at) == (NOW, NOW + 1_000_000)


def test_it_is_bounded_from_the_start() -> None:
    """Without settings there is room for 100,000 events."""
    buffer = MemoryBuffer()
    refusals = {buffer.put("id", "HOME", b"") for _ in range(100_000)}
    assert refusals == {None}
    assert buffer.put("id", "HOME", b"") is DropReason.FULL


def test_it_is_bounded_in_bytes_from_the_start() -> None:
    """Without settings there is room for 64 MiB."""
    buffer = MemoryBuffer()
    assert buffer.put("id", "HOME", bytes(64 * 1024 * 1024)) is None
    assert buffer.put("id", "HOME", b"x") is DropReason.FULL


@pytest.mark.parametrize(("buried", "first"), [(1000, "id-0"), (1001, "id-1"), (1007, "id-7")])
def test_the_oldest_dead_letters_make_room(buried: int, first: str) -> None:
    """A thousand dead letters are kept; beyond that, the oldest are forgotten."""
    buffer = MemoryBuffer()
    bury(buffer, buried)
    letters = buffer.dead_letters()
    assert len(letters) == buffer.state().dead == MAX_DEAD_LETTERS == 1000
    assert (letters[0].id, letters[-1].id) == (first, f"id-{buried - 1}")


def test_a_forgotten_letter_is_not_resent() -> None:
    """A letter that has made room for others can't be resent, and the others can."""
    buffer = MemoryBuffer()
    bury(buffer, 1)
    (oldest,) = buffer.dead_letters()
    bury(buffer, 1000)
    assert not buffer.resend(oldest)
    assert all(map(buffer.resend, buffer.dead_letters()))
    assert buffer.state() == BufferState(1000, 0, 0)


def test_close_empties_it() -> None:
    """After close() nothing waits and nothing is claimed any more; dead letters can be read."""
    buffer = MemoryBuffer()
    bury(buffer, 1)
    put(buffer, "a", "b")
    buffer.claim(1)
    assert [entry.id for entry in buffer.close()] == ["a", "b"]
    assert buffer.state() == BufferState(0, 0, 1)
    assert len(buffer.dead_letters()) == 1
    assert buffer.put("c", "HOME", b"") is DropReason.CLOSED


def test_what_is_lost_has_its_age(buffer: MemoryBuffer, clock: Clock) -> None:
    """The entries that close() returns know when they were accepted, and how long ago."""
    put(buffer, "a", "b", "c")
    claim_one(buffer)
    assert buffer.retry(claim_one(buffer), 5.0, attempts=1)
    clock.advance(2.0)
    lost = buffer.close()
    assert {(entry.accepted_at, entry.age_seconds) for entry in lost} == {(NOW, 2.0)}
    assert len({entry.key for entry in lost}) == 3
