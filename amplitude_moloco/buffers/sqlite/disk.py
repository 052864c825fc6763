"""Has the disk write a journal, so that it survives a loss of power."""

from __future__ import annotations

import os
import threading

from amplitude_moloco.buffers.sqlite.journal import Journal
from amplitude_moloco.host.interruption import is_interruption
from amplitude_moloco.host.locks import release_fully


class Disk:
    """Safe from any thread.

    Args:
        lock: Held while the journal is used.
    """

    def __init__(self, journal: Journal, lock: threading.RLock) -> None:
        self._journal = journal
        self._journal_lock = lock
        self._lock = threading.RLock()
        self._written = 0
        self.fault = ""
        """Why it could not write."""

    def write(self) -> None:
        """Write what was appended until now, once for all threads that wait."""
        wanted = self._journal.written
        with self._lock:
            if self._written >= wanted:
                return
            with self._journal_lock:
                written, last = self._journal.written, self._journal.last_descriptors()
            try:
                for descriptor in last:
                    os.fdatasync(descriptor)
                self._written = written
            except OSError as error:
                if is_interruption(error):
                    raise
                self.fault = error.strerror or str(error)
            finally:
                for descriptor in last:
                    os.close(descriptor)

    def recover(self) -> None:
        """Call it after an exception that may have struck anywhere in ``write``."""
        release_fully(self._lock)
