"""Which files an export consists of: paths, folders, patterns, the standard input, open files."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, BinaryIO, cast

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.history.place import ExportError, Place

Source = str | PathLike[str] | BinaryIO
"""A path of a file or a folder, a pattern such as ``exports/*.zip``, ``-``, or an open file."""

STANDARD_INPUT = "-"
_NUMBERS = re.compile(r"(\d+)", re.ASCII)
# Not hidden, and not a file of merged ids, whose name begins with the organization: -1234_…
_EXPORT = re.compile(r"(?!\.|-\d+_).+\.(?:zip|gz|json|jsonl|ndjson)", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True)
class ExportFile:
    """One file of an export, not yet opened."""

    name: str
    """The path as it was given or found, ``-``, or the name of an open file."""
    opened: BinaryIO | None = None
    """An open file that the caller gave, and closes."""

    def open(self) -> BinaryIO:
        """Opens the file. Raises OSError."""
        if self.opened is not None:
            return self.opened
        if self.name == STANDARD_INPUT:
            return sys.stdin.buffer
        return Path(self.name).open("rb")

    @property
    def is_ours(self) -> bool:
        """Whether to close the file after reading."""
        return self.opened is None and self.name != STANDARD_INPUT


def find_files(sources: Source | Iterable[Source]) -> list[ExportFile]:
    """Returns the files of an export: each once, and those of a folder in the order of their hours.

    A folder stands for all exports in it and below it. Raises ExportError for a path that does not
    exist, and for a folder or a pattern without an export. Raises ConfigurationError for something
    that is neither a path nor an open file.
    """
    found: dict[object, ExportFile] = {}
    for source in _as_list(sources):
        for file in _files_of(source):
            # Two patterns may lead to the same file.
            key = id(file.opened) if file.opened else os.path.realpath(file.name)
            found.setdefault(key, file)
    return list(found.values())


def is_export(name: str) -> bool:
    """Whether a file in a folder or in a zip may hold events, by its name.

    Markers named ``complete``, hidden files and Amplitude's files of merged ids do not.
    """
    return bool(_EXPORT.fullmatch(re.split(r"[/\\]", name)[-1]))


def natural_order(name: str) -> list[tuple[str, int, str]]:
    """A key for sorting in which ``_9`` comes before ``_10``: Amplitude's hours have no zeros."""
    parts = [*_NUMBERS.split(name), ""]
    numbers = [number.lstrip("0") for number in parts[1::2]]
    return [(text, len(number), number) for text, number in zip(parts[::2], numbers, strict=True)]


def _as_list(sources: object) -> list[Source]:
    is_one = isinstance(sources, (str, PathLike)) or hasattr(sources, "read")
    if not is_one and not isinstance(sources, Iterable):
        sources = [sources]
    several = [sources] if is_one else list(cast(Iterable[Any], sources))
    for source in several:
        if not isinstance(source, (str, PathLike)) and not hasattr(source, "read"):
            raise ConfigurationError(
                f"sources: found {type(source).__name__}; use paths of files or folders, or files "
                f"opened for reading bytes"
            )
    return cast(list[Source], several)


def _files_of(source: Source) -> Iterator[ExportFile]:
    if not isinstance(source, (str, PathLike)):
        name = getattr(source, "name", None)
        yield ExportFile(name if isinstance(name, str) else "<open file>", source)
        return
    name = fspath(source)
    if name == STANDARD_INPUT:
        yield ExportFile(name)
        return
    matching = [name]
    if not os.path.lexists(name) and glob.has_magic(name):
        found = glob.glob(name, recursive=True)  # noqa: PTH207  # Path.glob() takes no absolute one
        matching = sorted(found, key=natural_order)
        if not matching:
            raise ExportError(Place(name), "no file matches this pattern")
    for each in matching:
        yield from _files_at(each)


def _files_at(path: str) -> Iterator[ExportFile]:
    if not Path(path).exists():
        raise ExportError(Place(path), "does not exist")
    if not Path(path).is_dir():
        yield ExportFile(path)
        return
    names = [
        str(Path(folder, name))
        for folder, _, names in os.walk(path, onerror=_refuse)
        for name in names
        if is_export(name) and Path(folder, name).is_file()
    ]
    if not names:
        raise ExportError(
            Place(path), "holds no export: no file ends in .zip, .gz, .json, .jsonl or .ndjson"
        )
    yield from map(ExportFile, sorted(names, key=natural_order))


def _refuse(error: OSError) -> None:
    raise ExportError(Place(error.filename), f"can't be read: {error.strerror}")
