"""What a process that sends nothing can see of a durable buffer, and do to its dead letters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from os import PathLike
from typing import Any, NamedTuple, Protocol

from amplitude_moloco.buffers.base import DeadLetter


class Part(NamedTuple):
    """A part of what waits in a buffer."""

    name: str
    events: int
    bytes: int | None = None


class Contents(Protocol):
    """What lies in a buffer at one moment, of all processes. A named tuple of plain numbers."""

    @property
    def waiting(self) -> int:
        """The events that are not delivered yet."""
        ...

    @property
    def parts(self) -> tuple[Part, ...]:
        """Where they are, and what else there is."""
        ...

    @property
    def caption(self) -> str:
        """What else a person should know; empty for nothing."""
        ...

    @property
    def dead(self) -> int: ...

    @property
    def dead_bytes(self) -> int: ...

    @property
    def oldest_age_seconds(self) -> float | None: ...

    def _asdict(self) -> dict[str, Any]: ...


class LetterChanges(Protocol):
    """Changes dead letters. Both return how many of them were still there."""

    def resend(self, letters: Iterable[DeadLetter]) -> int: ...

    def delete(self, letters: Iterable[DeadLetter]) -> int: ...


class BufferReader(Protocol):
    """Only looks, but for ``changing``. All methods raise what the buffer's do."""

    @property
    def path(self) -> str | PathLike[str]:
        """The file, or the URL without user and password."""
        ...

    @property
    def target(self) -> str: ...

    def contents(self) -> Contents: ...

    def letters(self) -> Iterator[DeadLetter]:
        """Yields the dead letters, oldest first. Their keys are numbers that ascend."""
        ...

    def changing(self) -> AbstractContextManager[LetterChanges]:
        """Opens the buffer to change its dead letters."""
        ...

    def close(self) -> None: ...
