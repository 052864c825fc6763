"""What a journal holds of its process's events, as another process reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from amplitude_moloco.buffers.sqlite.journal import read_segment, segments_of
from amplitude_moloco.buffers.sqlite.record import (
    DONE,
    EVENT,
    LETTERS_DONE,
    ROWS_DONE,
    Damage,
    number_of,
    numbers_of,
    scan,
)


class Remains:
    """The journal of a process that has died, or of one that still writes.

    Reads all segments twice, one at a time: a note may come long after its event.
    """

    def __init__(self, file: Path, token: str) -> None:
        self._paths = segments_of(file, token)
        self._numbers: set[int] = set()
        self._done: set[int] = set()
        self.rows_done: set[int] = set()
        """The keys of rows of the store that were delivered."""
        self.letters_done: set[int] = set()
        """The numbers of dead letters that were resent."""
        self._starts: list[int] = []
        self.damaged: list[Path] = []
        """The segments that hold a damaged record."""
        for path in self._paths:
            for record in scan(read_segment(path)):
                if isinstance(record, Damage):
                    if not record.is_torn and path not in self.damaged:
                        self.damaged.append(path)
                elif record.kind == EVENT:
                    self._numbers.add(number_of(record.frame))
                elif record.kind == DONE:
                    self._done.update(numbers_of(record))
                elif record.kind == ROWS_DONE:
                    self.rows_done.update(numbers_of(record))
                elif record.kind == LETTERS_DONE:
                    self.letters_done.update(numbers_of(record))
                else:
                    self._starts += numbers_of(record)

    def left(self) -> set[int]:
        """Returns the numbers of all events that are not done."""
        return self._numbers - self._done

    def frames(self, numbers: set[int]) -> Iterator[bytes]:
        """Yields the frames of events with these numbers, in their order."""
        left = set(numbers)
        for path in self._paths:
            for record in scan(read_segment(path)):
                if not isinstance(record, Damage) and record.kind == EVENT:
                    number = number_of(record.frame)
                    if number in left:
                        left.remove(number)
                        yield record.frame

    def missing(self) -> set[int]:
        """Returns the numbers of events that were written and can't be read, nor are done."""
        if not (self._starts and self._numbers):
            return set()
        return set(range(self._starts[0], max(self._numbers) + 1)) - self._numbers - self._done

    def delete(self) -> None:
        """Delete the segments; those that are damaged are kept under another name."""
        for path in self._paths:
            if path in self.damaged:
                path.rename(path.with_suffix(".damaged"))
            else:
                path.unlink(missing_ok=True)
