"""Opens a durable buffer to look at it, and to change its dead letters, while the app runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from os import PathLike
from typing import Any, NamedTuple, Protocol

from amplitude_moloco.buffers.base import DeadLetter
from amplitude_moloco.buffers.redis.address import is_redis
from amplitude_moloco.buffers.url import file_of, redis_address, redis_needed
from amplitude_moloco.errors import ConfigurationError


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


def open_reader(buffer: str) -> BufferReader:
    """Returns a reader for the URL of a buffer, or the path of a file.

    Raises ConfigurationError if there is no buffer, or what reads it is not installed, and OSError
    or sqlite3.Error if it can't be read.
    """
    if is_redis(buffer):
        address = redis_address(buffer)
        try:  # it belongs to an extra
            from amplitude_moloco.buffers.redis.reader import RedisReader
        except ImportError as error:
            raise redis_needed(address, error) from error
        return RedisReader(address)
    path = file_of(buffer)
    try:  # not every system has fcntl, not every Python has sqlite3
        from amplitude_moloco.buffers.sqlite.reader import SqliteReader
    except ImportError as error:
        raise ConfigurationError(f"buffer: can't be read on this system ({error})") from error
    return SqliteReader(path)
