"""A bar that shows how far the reading of files is, on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TimeRemainingColumn,
)

from amplitude_moloco.history.files import ExportFile

_EVERY = 500
"""After this many steps the bar moves: looking where a file is costs more than an event."""


@dataclass
class _Position:
    """How much was read of all files."""

    before: int = 0
    """The size of the files that were read earlier."""
    current: BinaryIO = field(default_factory=BytesIO)
    size: int = 0

    def begin(self, file: BinaryIO, size: int) -> None:
        self.before += self.size
        self.current, self.size = file, size

    def bytes(self) -> int:
        with suppress(OSError, ValueError):  # it may be closed
            return self.before + min(self.size, self.current.tell())
        return self.before + self.size


@dataclass(frozen=True)
class _WatchedFile(ExportFile):
    position: _Position = field(default_factory=_Position)

    def open(self) -> BinaryIO:
        opened = super().open()
        self.position.begin(opened, _size(self))
        return opened


@contextmanager
def watched(
    files: list[ExportFile], console: Console
) -> Iterator[tuple[list[ExportFile], Callable[[], None]]]:
    """Shows a bar while the files are read. Yields them, and a function to call at each event."""
    position = _Position()
    several: list[ExportFile] = [_WatchedFile(file.name, None, position) for file in files]
    columns = (BarColumn(), TaskProgressColumn(), DownloadColumn(), TimeRemainingColumn())
    total = sum(map(_size, files)) or None
    count = 0
    if not console.is_terminal:
        yield files, lambda: None
        return
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)

        def step() -> None:
            nonlocal count
            count += 1
            if count % _EVERY == 0:
                progress.update(task, completed=position.bytes(), refresh=True)

        yield several, step


def _size(file: ExportFile) -> int:
    """Returns the size of a file; 0 where it is not known, as of the standard input."""
    try:
        return Path(file.name).stat().st_size if file.is_ours else 0
    except OSError:
        return 0
