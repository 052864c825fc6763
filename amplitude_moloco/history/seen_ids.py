"""The ids that a backfill has read, on disk: ten million of them would not fit into the memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from hashlib import blake2b

_SCHEMA = """CREATE TABLE IF NOT EXISTS ids (
        id BLOB PRIMARY KEY, file INTEGER NOT NULL, event INTEGER NOT NULL
    ) WITHOUT ROWID"""
_HASH_BYTES = 16


class SeenIds:
    """Knows where each id was first. Not safe for several threads at a time."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        db.execute(_SCHEMA)

    def are_first(self, file: int, ids: Sequence[tuple[int, str, object]]) -> list[bool]:
        """Whether no earlier event had the id for the same sync.

        Each of ``ids`` is an event of the file, a sync and the id. An event that was asked for
        before is still the first.
        """
        rows = [(_hash(f"{id}\0{sync}"), file, event) for event, sync, id in ids]
        added = self._db.executemany("INSERT OR IGNORE INTO ids VALUES (?, ?, ?)", rows).rowcount
        if added == len(rows):
            return [True] * len(rows)
        query = "SELECT id, file, event FROM ids WHERE id = ?"
        return [self._db.execute(query, row[:1]).fetchone() == row for row in rows]


def _hash(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES).digest()
