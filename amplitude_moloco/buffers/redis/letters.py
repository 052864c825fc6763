"""The dead letters in Redis."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

from amplitude_moloco.buffers.base import DeadLetter
from amplitude_moloco.buffers.redis.record import letter_from, place_of
from amplitude_moloco.buffers.redis.scripts import LETTERS, PURGE, RESEND

_PAGE = 100


class Letters:
    """All methods raise OSError.

    Args:
        run: Runs a script with these arguments.
    """

    def __init__(self, run: Callable[[str, Sequence[Any]], Any]) -> None:
        self._run = run

    def read(self) -> Iterator[DeadLetter]:
        """Yields the dead letters that are there now, oldest first, page by page.

        Others may be added or removed meanwhile.
        """
        first, last = b"-", b""
        while True:
            last, page = self._run(LETTERS, [first, last or b"+", _PAGE])
            for place, fields in page:
                yield letter_from(place, fields)
            if len(page) < _PAGE:
                return
            first = b"(" + page[-1][0]

    def resend(self, keys: Sequence[Hashable]) -> tuple[int, int]:
        """Turn dead letters into new entries.

        Returns how many of them were there, and the number of the last entry.
        """
        done, last = self._run(RESEND, [place_of(int(str(key))) for key in keys])
        return sum(done), last

    def delete(self, keys: Sequence[Hashable]) -> int:
        """Delete dead letters for good. Returns how many of them were there."""
        return sum(self._run(PURGE, [place_of(int(str(key))) for key in keys]))
