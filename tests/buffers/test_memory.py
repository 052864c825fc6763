"""What is true of the buffer in memory alone; what it shares with others is in the contract."""

from __future__ import annotations

import pytest

from amplitude_moloco.buffers.base import Buffer, DeadLetter
from amplitude_moloco.buffers.memory import MAX_DEAD_LETTERS, MemoryBuffer

NOW = 1_700_000_000.0


def bury(buffer: Buffer, count: int) -> None:
    for number in range(count):
        assert buffer.put(f"id-{number}", "HOME", b"body", NOW) is None
        (entry,) = buffer.claim(1, NOW)
        assert buffer.bury(DeadLetter(entry, "rejected", 400, "", NOW))


def test_it_is_gone_with_the_process() -> None:
    """Nothing that is in memory survives its process, and it says so."""
    assert MemoryBuffer().is_durable is False


def test_a_claim_never_ends_by_itself() -> None:
    """A claim can't outlive its sender here, and so lasts as long as it takes."""
    buffer = MemoryBuffer()
    assert buffer.put("id", "HOME", b"", NOW) is None
    (entry,) = buffer.claim(1, NOW)
    assert buffer.claim(1, NOW + 1_000_000) == []
    assert buffer.ack(entry)


def test_it_is_bounded_from_the_start() -> None:
    """Without settings there is room for 100,000 events."""
    buffer = MemoryBuffer()
    refusals = {buffer.put("id", "HOME", b"", NOW) for _ in range(100_000)}
    assert refusals == {None}
    assert buffer.put("id", "HOME", b"", NOW) == "full"


def test_it_is_bounded_in_bytes_from_the_start() -> None:
    """Without settings there is room for 64 MiB."""
    buffer = MemoryBuffer()
    assert buffer.put("id", "HOME", bytes(64 * 1024 * 1024), NOW) is None
    assert buffer.put("id", "HOME", b"x", NOW) == "full"


@pytest.mark.parametrize(("buried", "first"), [(1000, "id-0"), (1001, "id-1"), (1007, "id-7")])
def test_the_oldest_dead_letters_make_room(buried: int, first: str) -> None:
    """A thousand dead letters are kept; of more, the oldest go."""
    buffer = MemoryBuffer()
    bury(buffer, buried)
    letters = buffer.dead_letters()
    assert len(letters) == buffer.state().dead == MAX_DEAD_LETTERS == 1000
    assert (letters[0].entry.id, letters[-1].entry.id) == (first, f"id-{buried - 1}")


def test_close_lets_go_of_everything() -> None:
    """After close() nothing waits and nothing is claimed any more; dead letters can be read."""
    buffer = MemoryBuffer()
    bury(buffer, 1)
    for id in ("a", "b"):
        assert buffer.put(id, "HOME", b"body", NOW) is None
    buffer.claim(1, NOW)
    assert [entry.id for entry in buffer.close()] == ["a", "b"]
    assert buffer.state()[:3] == (0, 0, 1)
    assert len(buffer.dead_letters()) == 1
    assert buffer.put("c", "HOME", b"", NOW) is not None
