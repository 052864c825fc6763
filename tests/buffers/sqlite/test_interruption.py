"""An exception that strikes anywhere in a put of the durable buffer, as a signal handler's does."""

from __future__ import annotations

import pytest
from support.clock import Clock
from support.interruption import interrupt
from support.sqlite_buffers import OpenBuffer, claim, put

from amplitude_moloco.buffers.base import BufferState


@pytest.mark.parametrize("synchronous", ["1s", "FULL"])
def test_whatever_instruction_a_put_is_interrupted_at_only_that_event_may_be_lost(
    open_buffer: OpenBuffer, clock: Clock, synchronous: str
) -> None:
    """No lock stays held, no other event is lost, and the room comes back."""
    buffer = open_buffer(synchronous=synchronous, max_events=1000)
    at, is_done = 0, False
    wanted, found = [], []
    while not is_done:
        is_done = not interrupt(lambda: buffer.put("struck", "HOME", b"x" * 10), at)
        wanted.append(f"after {at}")
        put(buffer, wanted[-1])
        for entry in buffer.claim(9).entries:
            assert buffer.ack(entry)
            found.append(entry.id)
        at += 1
    assert at > 50
    assert [id for id in found if id != "struck"] == wanted
    assert buffer.state() == BufferState(0, 0, 0)
    clock.advance(1)
    assert buffer.tend() == []
    refusals = [buffer.put("id", "HOME", b"") for _ in range(1001)]
    assert refusals.count(None) == 1000
    buffer.close()
    heir = open_buffer()
    assert len(claim(heir, 2000)) == 1000
