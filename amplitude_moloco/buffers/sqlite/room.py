"""The room that a SqliteBuffer takes: its WAL is kept short, and the disk never filled."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

_BYTES_PER_CALL = 8 * 1024
"""What a call writes into the WAL besides its body, more or less: whole pages."""
_BYTES_PER_LOOK = 512 * 1024
"""After so much those look who send, ..."""
_NEW_BYTES_PER_LOOK = 1024**2
"""... and after so much an app's thread does, where nobody else has."""
_BYTES_PER_CHECKPOINT = 2 * 1024**2
_CHECKPOINT_TRIES = 20
_WAL_BYTES = 4 * 1024**2
"""The WAL's usual length. After a checkpoint SQLite writes it anew from its start, ..."""
_LONG_WAL_BYTES = 16 * 1024**2
"""... unless others write all the time, or read: then the checkpoint keeps the writers out."""
_MAX_WAL_BYTES = 256 * 1024**2
_RESERVED_BYTES = 64 * 1024**2
"""What new events leave free on the disk, so that those that are stored can be settled."""


class Room:
    """Says when somebody has to look, and does so. Knows what this process writes, by and large.

    Args:
        wal: The WAL of the file.
        disk: A file descriptor on its disk.
        pause: Waits a moment.
    """

    def __init__(self, wal: Path, disk: int, pause: Callable[[], object]) -> None:
        self.is_cramped = False  # whether there is too little for anything new
        self._wal = wal
        self._disk = disk
        self._pause = pause
        self._since_look = self._since_checkpoint = 0

    def takes(self, size: int) -> None:
        """So many bytes are about to be stored, or were refused for want of room."""
        self._since_look += _BYTES_PER_CALL + size
        self._since_checkpoint += _BYTES_PER_CALL + size

    def is_due(self, *, is_new: bool) -> bool:
        """Whether to look now. What is new leaves it to others at first: it is an app's thread."""
        return self._since_look >= (_NEW_BYTES_PER_LOOK if is_new else _BYTES_PER_LOOK)

    def look(
        self, db: sqlite3.Connection, empty_wal: Callable[[], object], *, is_new: bool
    ) -> None:
        """Keep the WAL short, and see how much room there is.

        SQLite's own checkpoints are not used: they make the one wait who writes, an app's thread
        too; and they let the others write on, so that where several processes write all the time,
        none ever catches up, and the WAL grows for ever. ``empty_wal`` calls the method below, on
        the connection for changes: so this process's own threads know for whom they wait.
        """
        self._since_look = 0
        try:
            if self._shorten_wal(db, is_new=is_new):
                empty_wal()
            disk = os.fstatvfs(self._disk)
            needed = _RESERVED_BYTES * (1.25 if self.is_cramped else 1)  # not to and fro
            is_disk_full = disk.f_bavail * disk.f_frsize < needed
            self.is_cramped = is_disk_full or self._wal.stat().st_size > _MAX_WAL_BYTES
        except (OSError, sqlite3.Error):
            self.is_cramped = True

    def _shorten_wal(self, db: sqlite3.Connection, *, is_new: bool) -> bool:
        """Do so without keeping anybody out. Returns whether that is not enough any more."""
        wal_bytes = self._wal.stat().st_size
        is_overdue = self.is_cramped or wal_bytes > _LONG_WAL_BYTES
        is_due = wal_bytes > _WAL_BYTES and self._since_checkpoint >= _BYTES_PER_CHECKPOINT
        if is_overdue or (is_due and not is_new):
            self._since_checkpoint = 0
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        return is_overdue

    def empty_wal(self, db: sqlite3.Connection) -> None:
        """Keep the writers out, and wait a little for those who read."""
        for _ in range(_CHECKPOINT_TRIES):
            ((is_busy, *_),) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            if not is_busy:
                break
            self._pause()
