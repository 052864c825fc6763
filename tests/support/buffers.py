"""The buffers that the contract holds for."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from amplitude_moloco.buffers.base import Buffer
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer


def open_memory(directory: Path, max_events: int, max_bytes: int) -> Buffer:
    return MemoryBuffer(max_events=max_events, max_bytes=max_bytes)


class MakeBuffer(Protocol):
    """The fixture make_buffer."""

    def __call__(self, *, max_events: int = 10_000, max_bytes: int = 10_000_000) -> Buffer: ...


def open_sqlite(directory: Path, max_events: int, max_bytes: int) -> Buffer:
    return SqliteBuffer(
        directory / "moloco.db", target="t", max_events=max_events, max_bytes=max_bytes
    )
