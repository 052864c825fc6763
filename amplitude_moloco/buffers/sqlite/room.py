"""The room that a SqliteBuffer takes: keeps its WAL short, and never fills the disk."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

_BYTES_PER_CALL = 8 * 1024
"""Roughly what a call writes into the WAL besides its body: whole pages."""
_BYTES_PER_CHECK = 512 * 1024
"""Senders check after this many bytes."""
_NEW_BYTES_PER_CHECK = 1024**2
"""An app's thread checks after this many bytes, if no sender has."""
_BYTES_PER_CHECKPOINT = 2 * 1024**2
_CHECKPOINT_TRIES = 20
_WAL_BYTES = 4 * 1024**2
"""The WAL's usual length. After a complete checkpoint SQLite writes it from its start again."""
_LONG_WAL_BYTES = 16 * 1024**2
"""Beyond this length, readers or writers have kept checkpoints from completing: one is made that
keeps the writers out."""
_MAX_WAL_BYTES = 256 * 1024**2
_RESERVED_BYTES = 64 * 1024**2
"""What new entries leave free on the disk, so that stored ones can be settled."""
_HYSTERESIS = 1.25
"""How much more than that must be free before new entries are stored again."""


class Room:
    """Decides when to check the room, and checks it. Knows roughly what this process writes.

    Args:
        wal: The WAL of the file.
        disk: A file descriptor on its disk.
        pause: Waits a moment.
    """

    def __init__(self, wal: Path, disk: int, pause: Callable[[], object]) -> None:
        self.is_cramped = False  # whether there is too little for new entries
        self._wal = wal
        self._disk = disk
        self._pause = pause
        self._since_check = self._since_checkpoint = 0

    def add(self, size: int) -> None:
        """Count the bytes of an entry that is about to be stored, or refused for lack of room."""
        self._since_check += _BYTES_PER_CALL + size
        self._since_checkpoint += _BYTES_PER_CALL + size

    def is_due(self, *, is_new: bool) -> bool:
        """Whether to check now. With ``is_new``, in an app's thread, senders get to do it first."""
        return self._since_check >= (_NEW_BYTES_PER_CHECK if is_new else _BYTES_PER_CHECK)

    def check(
        self, db: sqlite3.Connection, truncate_wal: Callable[[], object], *, is_new: bool
    ) -> None:
        """Keep the WAL short, and measure how much room there is.

        SQLite's automatic checkpoints are not used. They delay the thread that writes, even an
        app's; and they let other processes write on, so that with several busy writers no
        checkpoint ever completes, and the WAL grows for ever. ``truncate_wal`` calls the method
        below on the connection for changes, so that this process's own threads wait for each other
        by their own rules.
        """
        self._since_check = 0
        try:
            if self._shorten_wal(db, is_new=is_new):
                truncate_wal()
            disk = os.fstatvfs(self._disk)
            needed = _RESERVED_BYTES * (_HYSTERESIS if self.is_cramped else 1)
            is_disk_full = disk.f_bavail * disk.f_frsize < needed
            self.is_cramped = is_disk_full or self._wal.stat().st_size > _MAX_WAL_BYTES
        except (OSError, sqlite3.Error):
            self.is_cramped = True

    def _shorten_wal(self, db: sqlite3.Connection, *, is_new: bool) -> bool:
        """Checkpoint without keeping writers out. Returns whether that is no longer enough."""
        wal_bytes = self._wal.stat().st_size
        is_overdue = self.is_cramped or wal_bytes > _LONG_WAL_BYTES
        is_due = wal_bytes > _WAL_BYTES and self._since_checkpoint >= _BYTES_PER_CHECKPOINT
        if is_overdue or (is_due and not is_new):
            self._since_checkpoint = 0
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        return is_overdue

    def truncate_wal(self, db: sqlite3.Connection) -> None:
        """Empty the WAL, keeping writers out. Waits briefly for readers."""
        for _ in range(_CHECKPOINT_TRIES):
            ((is_busy, *_),) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            if not is_busy:
                break
            self._pause()
