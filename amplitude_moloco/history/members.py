"""From a file to its lines: zip, gzip and plain text, all as streams of bounded size.

What can't be read is a value in the stream, so that a reader can go on with the next line, member
or file. Names of members are only shown: nothing is ever unpacked to a path.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, BinaryIO, cast

from amplitude_moloco.history.cut_zip import members_before_cut
from amplitude_moloco.history.files import is_export, natural_order
from amplitude_moloco.history.place import Unreadable

MAX_LINE_BYTES = 16 * 1024**2
"""A longer line is no event: with all of its properties, one has a few megabytes at most."""
_FAULTS = (EOFError, OSError, RuntimeError, ValueError, struct.error, zlib.error)
_ANY_FAULT = (*_FAULTS, zipfile.BadZipFile)
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # the second one without any member
_GZIP = b"\x1f\x8b"
_BUFFER_BYTES = 128 * 1024
_ENCRYPTED = 1


def open_members(source: BinaryIO) -> Iterator[tuple[str, BinaryIO | Unreadable]]:
    """Yields the texts in a file: the name of each member, and its lines as a stream.

    The name is empty if the file is no zip. A stream may be read until the next one is asked for.
    """
    try:
        start = _read_start(source)
        stream = _rejoin(start, source)
    except _FAULTS as fault:
        yield "", _problem_of(fault)
        return
    if start in _ZIP:
        yield from _members_of_zip(cast(BinaryIO, stream))
    else:
        yield "", _decompressed(start, stream)


def read_lines(stream: BinaryIO) -> Iterator[bytes | Unreadable]:
    """Yields each line with its line end, and what can't be read in the place of its line.

    Only a line feed ends a line: in JSON, other line ends of Unicode are part of a text.
    """
    readline = stream.readline
    is_rest = False
    while True:
        try:
            line = readline(MAX_LINE_BYTES)
        except _ANY_FAULT as fault:
            yield _problem_of(fault)
            return
        if not line:
            return
        is_part = len(line) == MAX_LINE_BYTES and not line.endswith(b"\n")
        if not is_rest:
            yield Unreadable(f"a line of over {MAX_LINE_BYTES:,} bytes") if is_part else line
        is_rest = is_part


def _members_of_zip(stream: BinaryIO) -> Iterator[tuple[str, BinaryIO | Unreadable]]:
    with ExitStack() as stack:
        try:
            if not stream.seekable():  # the list of a zip's members is at its end
                source, stream = stream, stack.enter_context(tempfile.TemporaryFile())
                shutil.copyfileobj(source, stream, _BUFFER_BYTES)
            archive = zipfile.ZipFile(stream)
        except zipfile.BadZipFile:
            yield from _members_before_cut(stream)
            yield "", Unreadable("a zip that is cut off or damaged; download it again")
            return
        except _FAULTS as fault:
            yield "", _problem_of(fault)
            return
        with archive:
            for info in sorted(archive.infolist(), key=lambda info: natural_order(info.filename)):
                if is_export(info.filename):
                    yield info.filename, _open_member(archive, info)


def _members_before_cut(stream: BinaryIO) -> Iterator[tuple[str, BinaryIO | Unreadable]]:
    members = members_before_cut(stream)
    while True:
        try:
            name, content = next(members, ("", None))
        except _FAULTS:  # reported with the member, or with the zip
            return
        if content is None:
            return
        if is_export(name):
            yield name, _opened(lambda: content)  # noqa: B023  # called at once


def _open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> BinaryIO | Unreadable:
    if info.flag_bits & _ENCRYPTED:
        return Unreadable("encrypted; unpack it first")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return Unreadable(f"compressed with method {info.compress_type}; unpack it first")
    return _opened(lambda: cast(BinaryIO, archive.open(info)))


def _opened(open_member: Callable[[], BinaryIO]) -> BinaryIO | Unreadable:
    try:
        member = open_member()
        start = _read_start(member)
    except _ANY_FAULT as fault:
        return _problem_of(fault)
    if start in _ZIP:
        return Unreadable("a zip in a zip; unpack it first")
    return _decompressed(start, _Rejoined(start, member))


def _decompressed(start: bytes, stream: BinaryIO | _Rejoined) -> BinaryIO:
    """Returns the lines of a stream whose first bytes are known."""
    if start[:2] == _GZIP:
        return cast(BinaryIO, gzip.GzipFile(fileobj=cast(BinaryIO, stream)))
    if isinstance(stream, _Rejoined):
        return cast(BinaryIO, io.BufferedReader(stream, _BUFFER_BYTES))
    return stream


def _read_start(source: BinaryIO) -> bytes:
    """Returns the first four bytes, or all that there are."""
    start = b""
    while len(start) < 4 and (more := source.read(4 - len(start))):
        start += more
    return start


def _rejoin(start: bytes, source: BinaryIO) -> BinaryIO | _Rejoined:
    """Returns a stream from the start on."""
    if hasattr(source, "seekable") and source.seekable():
        source.seek(-len(start), os.SEEK_CUR)
        return source
    return _Rejoined(start, source)


class _Rejoined(io.RawIOBase):
    """The bytes that were read from a stream already, and then the rest of it.

    Nothing that was read is lost when a later read fails, as it would be in a buffer of Python's.
    """

    def __init__(self, start: bytes, source: BinaryIO) -> None:
        super().__init__()
        self._start = start
        self._read_some: Callable[[int], bytes] = getattr(source, "read1", source.read)
        self._fault: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._next(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """Returns this many bytes, or fewer at the end or before a fault, which the next raises."""
        parts: list[bytes] = []
        while size > 0 and not self._fault:
            try:
                data = self._next(size)
            except _ANY_FAULT as fault:
                self._fault = fault
                break
            if not data:
                break
            parts.append(data)
            size -= len(data)
        if self._fault and not parts:
            raise self._fault
        return b"".join(parts)

    def _next(self, most: int) -> bytes:
        data, self._start = self._start[:most], self._start[most:]
        return data or self._read_some(most)


def _problem_of(fault: Exception) -> Unreadable:
    if isinstance(fault, EOFError):
        return Unreadable("the file is cut off here")
    if isinstance(fault, OSError) and fault.strerror:
        return Unreadable(f"can't be read: {fault.strerror}")
    return Unreadable("the file is damaged here")
