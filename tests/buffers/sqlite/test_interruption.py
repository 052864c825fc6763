"""An exception that strikes anywhere in a put of the durable buffer, as a signal handler's does."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

import pytest
from support.clock import Clock
from support.interruption import MANY, interrupt
from support.sqlite_buffers import OpenBuffer, claim, claim_one, put

from amplitude_moloco.buffers.base import BufferState
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer


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
    assert at > MANY
    assert [id for id in found if id != "struck"] == wanted
    assert buffer.state() == BufferState(0, 0, 0)
    clock.advance(1)
    assert buffer.tend() == []
    refusals = [buffer.put("id", "HOME", b"") for _ in range(1001)]
    assert refusals.count(None) == 1000
    buffer.close()
    heir = open_buffer()
    assert len(claim(heir, 2000)) == 1000


class HandlerTimeout(TimeoutError):
    """What a signal handler raises: an OSError, as the disk's errors are."""


class Shutdown(BaseException):
    """What a signal handler raises to end the process."""


def strike(signum: int, frame: FrameType) -> None:
    """Raises as a signal handler does, which gets the frame that it interrupts."""
    raise HandlerTimeout


@pytest.mark.parametrize("name", ["write", "fdatasync"])
def test_an_exception_of_the_apps_handler_is_none_of_the_disks(
    open_buffer: OpenBuffer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A handler that raises an OSError in the midst of writing is the app's: it gets it."""
    buffer = open_buffer(synchronous="FULL")

    def interrupted(*_: object) -> int:
        strike(signal.SIGALRM, sys._getframe())  # noqa: SLF001  # as the interpreter does
        return 0

    monkeypatch.setattr(os, name, interrupted)
    with pytest.raises(HandlerTimeout):
        buffer.put("struck", "HOME", b"body")
    monkeypatch.undo()
    put(buffer, "after")
    assert claim(buffer)[-1] == "after"


@pytest.mark.parametrize("kind", [Shutdown, KeyError])
def test_an_exception_in_the_midst_of_a_put_costs_its_event_alone(
    open_buffer: OpenBuffer, clock: Clock, kind: type[BaseException]
) -> None:
    """An exception of a handler reaches the app; one of the library's own is a refusal."""
    is_armed = False

    def wall() -> float:
        if is_armed:
            raise kind
        return clock.wall()

    buffer = open_buffer(wall=wall)
    is_armed = True
    if kind is Shutdown:
        with pytest.raises(Shutdown):
            buffer.put("struck", "HOME", b"body")
    else:
        assert buffer.put("struck", "HOME", b"body") == "unavailable"
    is_armed = False
    put(buffer, "after")
    assert claim(buffer) == ["after"]


def test_what_interrupts_a_put_may_put(open_buffer: OpenBuffer, clock: Clock) -> None:
    """A finalizer or handler that puts an event in the midst of another put loses neither."""
    inner: list[Callable[[], None]] = []

    def wall() -> float:
        while inner:
            inner.pop()()
        return clock.wall()

    buffer: SqliteBuffer = open_buffer(wall=wall)
    inner.append(lambda: put(buffer, "inner"))
    put(buffer, "outer")
    assert sorted(claim(buffer)) == ["inner", "outer"]
    buffer.close()
    heir = open_buffer()
    assert claim_one(heir).id == "outer"  # it was begun first
    assert claim(heir) == ["inner"]
