"""The ids that a backfill has read, on disk: ten million of them would not fit into the memory."""

from __future__ import annotations

import sqlite3
from hashlib import blake2b

_SCHEMA = """CREATE TABLE IF NOT EXISTS ids (
        id BLOB PRIMARY KEY, file INTEGER NOT NULL, event INTEGER NOT NULL
    ) WITHOUT ROWID"""
_HASH_BYTES = 16


class SeenIds:
    """Knows where each id was first. Not safe from several threads at a time."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        db.execute(_SCHEMA)

    def is_first(self, id: str, file: int, event: int) -> bool:
        """Whether no other event had this id before: the one with this number, or none."""
        key = blake2b(id.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES).digest()
        row = key, file, event
        if self._db.execute("INSERT OR IGNORE INTO ids VALUES (?, ?, ?)", row).rowcount:
            return True
        known = self._db.execute("SELECT file, event FROM ids WHERE id = ?", (key,)).fetchone()
        return bool(known == (file, event))
