"""Changes the dead letters in a buffer's file, for a process that sends nothing itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from amplitude_moloco.buffers.base import DeadLetter
from amplitude_moloco.buffers.sqlite.file import SqliteFile
from amplitude_moloco.buffers.sqlite.record import Event
from amplitude_moloco.buffers.sqlite.schema import EVENT_COLUMNS, event_row, insert

_PATIENCE_SECONDS = 3.0
_DELETE = "DELETE FROM letters WHERE number = ?"


class LetterFile:
    """The SQLite file, opened to change it. All methods raise sqlite3.Error and OSError.

    Each call is one transaction: all of its letters are changed, or none. Other processes may use
    the file meanwhile. Raises ConfigurationError if the file can't be used.

    Args:
        path: The SQLite file, with its links resolved.
        target: As the file has it.
        wall: Gives the Unix time in seconds.
    """

    def __init__(self, path: Path, *, target: str, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._file = SqliteFile(
            path, target=target, synchronous="FULL", patience_seconds=_PATIENCE_SECONDS
        )

    def resend(self, letters: Iterable[DeadLetter]) -> int:
        """Turn dead letters into events that are due, with their ids and bodies, accepted now.

        Any process that uses the buffer sends them. Returns how many of them were still there.
        """
        with self._file.transaction(_PATIENCE_SECONDS) as db:
            events = [
                Event(0, self._wall(), each.sync, each.id, each.body, lane=each.lane)
                for each in letters
                if db.execute(_DELETE, (each.key,)).rowcount
            ]
            insert(db, "events", EVENT_COLUMNS, list(map(event_row, events)))
        return len(events)

    def delete(self, letters: Iterable[DeadLetter]) -> int:
        """Delete dead letters for good. Returns how many of them were still there."""
        with self._file.transaction(_PATIENCE_SECONDS) as db:
            return sum(db.execute(_DELETE, (each.key,)).rowcount for each in letters)

    def close(self) -> None:
        self._file.close()
