"""The index of the WAL, which SQLite maps into memory.

The system ends a process (SIGBUS) that reads what is mapped beyond the end of its file: so no cut
may last. An index of zeros is none: SQLite makes it anew from the WAL.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


class Index:
    """The file ``NAME-shm``. Not safe from several threads at a time."""

    def __init__(self, file: Path) -> None:
        self._path = Path(f"{file}-shm")
        self._known: tuple[int, int] | None = None
        self._size = 0

    def learn(self) -> None:
        """A connection was opened, and has mapped the file that is there now."""
        self._known, self._size = None, 0
        with suppress(OSError):
            found = self._path.lstat()
            self._known, self._size = (found.st_dev, found.st_ino), found.st_size

    def mend(self) -> None:
        """Make the file as long as it was, if it was cut.

        Without opening it: closing it would release the locks that SQLite holds on it.
        """
        with suppress(OSError):
            found = self._path.lstat()
            if (found.st_dev, found.st_ino) == self._known:
                if found.st_size < self._size:
                    os.truncate(self._path, self._size)
                self._size = max(self._size, found.st_size)
