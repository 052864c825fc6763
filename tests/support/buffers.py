"""The buffers that the contract holds for, and the clock that they are handed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

from amplitude_moloco.buffers.base import Storage
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer

NOW = 1_700_000_000.0
"""Where a clock starts, in Unix seconds."""


class Clock:
    """Both clocks of a buffer. They stand still until the test moves them."""

    def __init__(self) -> None:
        self._wall = NOW
        self._monotonic = 1000.0

    def wall(self) -> float:
        return self._wall

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._wall += seconds
        self._monotonic += seconds

    def set_wall(self, wall: float) -> None:
        """Set the wall clock, as an administrator or a time server does. No time passes."""
        self._wall = wall


class RealClock(Clock):
    """The system's own time."""

    def wall(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class MakeBuffer(Protocol):
    """The fixture make_buffer."""

    def __call__(
        self, *, max_events: int = 10_000, max_bytes: int = 10_000_000, clock: Clock | None = None
    ) -> Storage: ...


def open_memory(directory: Path, max_events: int, max_bytes: int, clock: Clock) -> Storage:
    return MemoryBuffer(max_events, max_bytes, wall=clock.wall, monotonic=clock.monotonic)


def open_sqlite(directory: Path, max_events: int, max_bytes: int, clock: Clock) -> Storage:
    return SqliteBuffer(
        directory / "buffer.db",
        target="t",
        max_events=max_events,
        max_bytes=max_bytes,
        wall=clock.wall,
    )
