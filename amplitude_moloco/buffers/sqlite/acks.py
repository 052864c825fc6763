"""The acks of a SqliteBuffer: those of several threads go together, in one statement."""

from __future__ import annotations

import threading
from contextlib import ExitStack

from amplitude_moloco.buffers.sqlite.file import SqliteFile

_SIZES = (1, 4, 16, 64)
"""How many acks one statement can have: few sorts, so that SQLite has each of them at hand."""
_MOST = _SIZES[-1]


def _statement(size: int) -> str:
    """Deletes what is still claimed with the token of its ack."""
    claims = ", ".join(["(?, ?)"] * size)
    return f"""DELETE FROM claimed WHERE key IN (
        WITH acks (key, token) AS (VALUES {claims})
        SELECT claimed.key FROM acks CROSS JOIN claimed
        WHERE claimed.key = acks.key AND claimed.token = acks.token)"""  # noqa: S608  # question marks alone


_STATEMENTS = {size: _statement(size) for size in _SIZES}

Claim = tuple[int, int]
"""A key, and the token with which it was claimed."""


class Acks:
    """Those that are not made yet. Safe to use from any thread.

    While one thread makes acks, a second one waits until it can make all those that have come
    together meanwhile. All others leave theirs to the second one, and do not wait. So each thread
    makes one statement at most, and never for long those of others.
    """

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._waiting: set[Claim] = set()
        self._second = threading.Lock()  # held by who waits to make the next ones

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, claim: Claim) -> bool:
        """Make an ack, or leave it to who waits to do so. False if there was nothing to delete.

        Raises sqlite3.Error on trouble. Then the ack is kept.
        """
        self._waiting.add(claim)
        if not self._second.acquire(blocking=False):
            return True
        with ExitStack() as stack:
            try:
                stack.enter_context(self._file.turn())
            finally:  # before the acks are looked at: who comes from now on is not among them
                self._second.release()
            return self.make() != 0

    def make(self) -> int | None:
        """Make all acks that wait. Returns how many events are gone by it, None if none waited.

        Raises sqlite3.Error on trouble. Then the acks are kept.
        """
        with self._file.turn():
            claims = list(self._waiting)
            if not claims:
                return None
            chunks = [claims[start : start + _MOST] for start in range(0, len(claims), _MOST)]
            return sum(map(self._make, chunks))

    def _make(self, claims: list[Claim]) -> int:
        size = next(size for size in _SIZES if size >= len(claims))
        padded = claims + claims[:1] * (size - len(claims))
        changed = self._file.change(_STATEMENTS[size], [each for claim in padded for each in claim])
        self._waiting.difference_update(claims)
        return changed or 0
