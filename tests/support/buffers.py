"""The buffers that the contract holds for."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from support.clock import Clock

from amplitude_moloco.buffers.base import Storage
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer


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
        monotonic=clock.monotonic,
    )
