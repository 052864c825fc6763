"""The acks of a SqliteBuffer: acks of several threads are made together, in one statement."""

from __future__ import annotations

import threading
from contextlib import ExitStack

from amplitude_moloco.buffers.sqlite.file import SqliteFile

_SIZES = (1, 4, 16, 64)
"""How many acks a statement can hold. Few sizes, so that SQLite keeps each statement prepared."""
_MOST = _SIZES[-1]


def _statement(size: int) -> str:
    """Returns a statement that deletes entries still claimed with the tokens of their acks."""
    claims = ", ".join(["(?, ?)"] * size)
    return f"""DELETE FROM claimed WHERE key IN (
        WITH acks (key, token) AS (VALUES {claims})
        SELECT claimed.key FROM acks CROSS JOIN claimed
        WHERE claimed.key = acks.key AND claimed.token = acks.token)"""  # noqa: S608  # question marks alone


_STATEMENTS = {size: _statement(size) for size in _SIZES}

ClaimKey = tuple[int, int]
"""The key of an entry, and the token of its claim."""


class Acks:
    """The acks that are not made yet. Safe from any thread.

    While one thread makes acks, a second one waits to make all those that arrive meanwhile. All
    other threads leave theirs to the second one, and do not wait. So each thread makes one
    statement at most, and never spends long on the acks of others.
    """

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._waiting: set[ClaimKey] = set()
        self._second = threading.Lock()  # held by the thread that waits to make the next acks

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, claim: ClaimKey) -> bool:
        """Make an ack, or leave it to a waiting thread. Returns False if nothing was deleted.

        Raises sqlite3.Error on trouble. The ack is kept then.
        """
        self._waiting.add(claim)
        if not self._second.acquire(blocking=False):
            return True
        with ExitStack() as stack:
            try:
                stack.enter_context(self._file.turn())
            finally:  # before the acks are read: later ones must find another thread to wait
                self._second.release()
            return self.make() != 0

    def make(self) -> int | None:
        """Make all waiting acks. Returns how many entries they deleted; None if none waited.

        Raises sqlite3.Error on trouble. The acks are kept then.
        """
        with self._file.turn():
            claims = list(self._waiting)
            if not claims:
                return None
            chunks = [claims[start : start + _MOST] for start in range(0, len(claims), _MOST)]
            return sum(map(self._make, chunks))

    def _make(self, claims: list[ClaimKey]) -> int:
        size = next(size for size in _SIZES if size >= len(claims))
        padded = claims + claims[:1] * (size - len(claims))
        changed = self._file.change(_STATEMENTS[size], [each for claim in padded for each in claim])
        self._waiting.difference_update(claims)
        return changed or 0
