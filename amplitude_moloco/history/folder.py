"""The folder of downloaded exports: which hours it has, and how a file gets into it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from amplitude_moloco.history.hours import Hours, hours_of_file
from amplitude_moloco.history.problem import FetchError

_PART = ".fetch-"  # the name of a file that is not complete begins so
_PROJECT = ".project"
_DAY = 24


class ExportFolder:
    """One zip for each range of hours. Files have their final name only once they are complete.

    Made by :func:`open_folder`. What the files are called is all that a later run needs to go on.
    """

    def __init__(self, path: Path, project: str) -> None:
        self._path = path
        self._project = project
        self._is_marked = self._check_project()
        self._present: set[int] = set()
        for file in path.iterdir():
            hours = hours_of_file(file.name)
            if hours:
                self._present.update(range(hours.first, hours.last + 1))
            elif file.name.startswith(_PART):  # of a run that was killed
                file.unlink()

    def present(self, hours: Hours) -> int:
        """Returns how many of these hours the folder has."""
        return sum(hour in self._present for hour in range(hours.first, hours.last + 1))

    def next_missing(self, hours: Hours, most: int) -> Hours | None:
        """Returns the first hours that are missing: at most ``most``, and all of one day.

        None if the folder has all of these hours.
        """
        missing = (hour for hour in range(hours.first, hours.last + 1) if hour not in self._present)
        first = next(missing, None)
        if first is None:
            return None
        last = first
        end = min(hours.last, first + most - 1, first - first % _DAY + _DAY - 1)
        while last < end and last + 1 not in self._present:
            last += 1
        return Hours(first, last)

    @contextmanager
    def new_file(self) -> Iterator[IO[bytes]]:
        """Opens a new private file. It is removed at the end of the block unless it is kept."""
        with tempfile.NamedTemporaryFile(dir=self._path, prefix=_PART, delete=False) as file:
            try:
                yield file
            finally:
                Path(file.name).unlink(missing_ok=True)

    def keep(self, file: IO[bytes], hours: Hours) -> None:
        """Makes a new file the one of these hours, once it is on the disk."""
        if not self._is_marked:
            self._mark()
        file.flush()
        os.fsync(file.fileno())
        os.replace(file.name, self._path / hours.file_name)  # noqa: PTH105  # the name is no Path
        self._sync()
        self._present.update(range(hours.first, hours.last + 1))

    def _check_project(self) -> bool:
        """Returns whether the folder belongs to a project already. Raises FetchError for another.

        What the hours of one project lack may be there in another one.
        """
        try:
            found = (self._path / _PROJECT).read_text(encoding="utf-8")
        except FileNotFoundError:
            return False
        if found != self._project:
            raise FetchError(
                f"{self._path} holds the exports of another project or region; use another folder"
            )
        return True

    def _mark(self) -> None:
        with self.new_file() as file:
            file.write(self._project.encode())
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, self._path / _PROJECT)  # noqa: PTH105  # as above
        self._is_marked = True

    def _sync(self) -> None:
        """Writes the names of the files to the disk."""
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def open_folder(path: Path, project: str) -> Iterator[ExportFolder]:
    """Opens a folder for one project, and makes it if it does not exist: for this user only.

    ``project`` is any text that no other project or region has. Raises FetchError if the folder
    belongs to another one, or another process fetches into it, and OSError.
    """
    import fcntl  # not at the top: Windows has none

    path.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FetchError(
                f"another process fetches into {path}; wait for its end, or stop it"
            ) from None
        yield ExportFolder(path, project)
    finally:
        os.close(descriptor)
