"""Has the disk write a journal, so that it survives a loss of power."""

from __future__ import annotations

import os
import threading

from amplitude_moloco.buffers.sqlite.journal import Journal, Segment
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
        try:
            self._write_appended()
        except OSError as error:
            if is_interruption(error):
                raise
            self.fault = error.strerror or str(error)

    def _write_appended(self) -> None:
        # Before its own lock: a thread that comes here from amid the journal, by way of a signal
        # handler, then waits for one that waits for nothing.
        with self._journal_lock:
            written, newest = self._journal.written, self._journal.current
            last = self._journal.last_descriptors()
        try:
            with self._lock:
                if self._written < written:
                    self._write(last, max(written, self._appended_to(newest)))
        finally:
            for descriptor in last:
                os.close(descriptor)

    def _appended_to(self, segment: Segment | None) -> int:
        """Returns what other threads have appended meanwhile, if it is in this segment."""
        written = self._journal.written
        return written if self._journal.current is segment else 0

    def _write(self, descriptors: list[int], written: int) -> None:
        for descriptor in descriptors:
            os.fdatasync(descriptor)
        self._written = written

    def recover(self) -> None:
        """Call it after an exception that may have struck anywhere in ``write``."""
        release_fully(self._lock)
