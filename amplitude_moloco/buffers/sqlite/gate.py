"""Lets one process at a time open, migrate or replace a buffer's file."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from amplitude_moloco.buffers.sqlite.guard import check_place, open_lock
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.host.fork import call_in_forked_child
from amplitude_moloco.host.pause import pause

_POLL_SECONDS = 0.001
_PATIENCE = 10
"""How much longer than usual to wait here: the other process may be salvaging the file."""


class Gate:
    """Held in a ``with`` statement. Releases of version 0.1 hold it for as long as they run.

    Raises ConfigurationError where the place can't be used; OSError; and sqlite3.OperationalError
    if another process does not leave in time.
    """

    def __init__(self, path: Path, patience_seconds: float) -> None:
        self._path = path
        self._seconds = _PATIENCE * patience_seconds
        self._descriptor = -1
        self._lock = Path(f"{path}-lock")
        self._is_new = False

    def __enter__(self) -> None:
        check_place(self._path)
        self._is_new = not self._lock.exists()
        self._descriptor = open_lock(self._lock)
        call_in_forked_child(self._close)  # a lock of this kind lives on in a child
        deadline = time.monotonic() + self._seconds
        while time.monotonic() < deadline:
            with suppress(BlockingIOError):
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            pause(_POLL_SECONDS)
        self._close()
        raise sqlite3.OperationalError("locked by another process that opens it")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._is_new and kind is ConfigurationError:  # a lock file is the mark of a buffer
            self._lock.unlink(missing_ok=True)
        self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
