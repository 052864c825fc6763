"""The journal of one process: files that are only appended to, one after the other.

Only the oldest segment is ever deleted, once its events are done or in the store: a note about an
older segment's event is there for as long as that segment.
"""

from __future__ import annotations

import errno
import os
import re
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from amplitude_moloco.buffers.sqlite.record import (
    DONE,
    EVENT,
    START,
    Damage,
    note_frame,
    number_of,
    scan,
)
from amplitude_moloco.host.locks import release_fully

SEGMENT_BYTES = 4 * 1024**2
"""A segment that is larger is followed by a new one."""
_IDLE_BYTES = 64 * 1024
"""A segment in which everything is done is given up at this size."""
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK_BYTES = 1024**2


class Segment:
    """One file of a journal. Raises OSError where it can't be created."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first = 0
        """The events from this number on are here, not in an older segment."""
        self.put_bytes = 0
        """The bytes of its events' records."""
        self.descriptor = os.open(path, _FLAGS, 0o600)
        self._seen_bytes = 0

    def __del__(self) -> None:
        self.close(is_done=False)

    def append(self, frames: bytes) -> None:
        """Append with one system call. Raises OSError."""
        written = os.write(self.descriptor, frames)
        self.put_bytes += written
        if written != len(frames):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def is_whole(self) -> bool:
        """Whether the file is where it was, and nothing was cut off."""
        found = os.fstat(self.descriptor)
        is_cut = found.st_size < max(self.put_bytes, self._seen_bytes)
        self._seen_bytes = found.st_size
        try:
            return not is_cut and os.path.samestat(os.lstat(self.path), found)
        except OSError:
            return False

    def read(self, position: int, most: int) -> bytes:
        """Returns what lies there, also where the file's name is gone; a whole record at least.

        Raises OSError.
        """
        while True:
            data = os.pread(self.descriptor, most, position)
            first = next(scan(data), None)
            is_whole = not (isinstance(first, Damage) and first.is_torn)
            if is_whole or len(data) < most:
                return data
            most *= 2

    def close(self, *, is_done: bool) -> None:
        descriptor = getattr(self, "descriptor", -1)
        if descriptor >= 0:
            if is_done and self.is_whole():
                with suppress(OSError):
                    self.path.unlink()
            self.descriptor = -1
            os.close(descriptor)


class Journal:
    """The segments of one process. Safe from any thread.

    Args:
        is_synced: Whether ``sync`` will be called.
    """

    def __init__(self, file: Path, token: str, *, is_synced: bool) -> None:
        self._is_synced = is_synced
        self._start = f"{file}-{token}"
        self._segments: deque[Segment] = deque()
        self._count = 0
        self._unnoted: list[bytes] = []
        self._cursor: tuple[int, Segment | None, int] = (0, None, 0)
        """The number, and the place, of the event after the last one that was read."""
        self._noting = threading.RLock()  # also keeps what is written to from being closed
        self._syncing = threading.RLock()
        self._synced = 0
        self.written = 0
        """How often something was appended to it."""
        self.current: Segment | None = None
        """Where the next event goes; None while nothing can be written."""

    def new_segment(self) -> Segment:
        """Create the file of the next segment. Raises OSError."""
        self._count += 1
        segment = Segment(Path(f"{self._start}-{self._count:08d}.journal"))
        if self._is_synced:  # its name must survive a loss of power, too
            folder = os.open(segment.path.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return segment

    def begin(self, segment: Segment, first: int, frames: bytes = b"") -> None:
        """Put events from this number on into a new segment, after these frames. Raises OSError.

        No event is appended meanwhile: the caller sees to it.
        """
        segment.first = first
        try:
            segment.append(note_frame(START, [first]) + frames)
        except OSError:
            segment.close(is_done=True)
            raise
        with self._noting:
            self._segments.append(segment)
            self.current = segment
            self.written += 1
            if self._unnoted:
                self.note(DONE, [])

    def note(self, kind: int, numbers: Iterable[int]) -> None:
        """Note that these need not be sent again. What can't be written now is noted later."""
        frame = note_frame(kind, numbers)
        with self._noting:
            segment = self.current
            if segment is None or self._unnoted:
                self._unnoted.append(frame)
                if segment is None:
                    return
                frame = b"".join(self._unnoted)
            try:
                is_written = os.write(segment.descriptor, frame) == len(frame)
            except OSError:
                is_written = False
            self._unnoted = [] if is_written else [frame]
            self.written += 1

    def is_due(self, *, is_idle: bool) -> bool:
        """Whether another segment should follow. ``is_idle``: nothing in this one is needed."""
        segment = self.current
        if segment is None:
            return False
        size = os.fstat(segment.descriptor).st_size
        return size >= SEGMENT_BYTES or (is_idle and size >= _IDLE_BYTES)

    def is_whole(self) -> bool:
        """Whether no segment was removed, replaced or truncated."""
        return all(segment.is_whole() for segment in self._segments)

    def trim(self, oldest: int) -> None:
        """Delete the segments with nothing but events older than this number."""
        with self._noting:
            while len(self._segments) > 1 and self._segments[1].first <= oldest:
                self._segments.popleft().close(is_done=True)

    def frames(self, first: int, most: int) -> list[bytes]:
        """Returns the frames of events from this number on, at most this many. Raises OSError.

        Continues where the last call ended, if it can, so that no file is read twice.
        """
        found: list[bytes] = []
        segments = list(self._segments)
        index = sum(1 for segment in segments[1:] if segment.first <= first)
        position = 0
        number, segment, start = self._cursor
        if number == first and segment in segments:
            index, position = segments.index(segment), start
        while index < len(segments) and len(found) < most:
            data = segments[index].read(position, _CHUNK_BYTES)
            used = 0
            for record in scan(data):
                if isinstance(record, Damage):
                    if record.is_torn:
                        break
                    used += len(record.content)
                    continue
                used += len(record.frame)
                if record.kind == EVENT and number_of(record.frame) >= first:
                    found.append(record.frame)
                    if len(found) == most:
                        break
            position += used
            if not used and index + 1 < len(segments):
                index, position = index + 1, 0
            elif not used:
                break
        if found:
            self._cursor = (
                number_of(found[-1]) + 1,
                segments[min(index, len(segments) - 1)],
                position,
            )
        return found

    def sync(self) -> None:
        """Have the disk write what was appended until now, once for all that wait. Raises OSError.

        One thread waits for the disk; those that come meanwhile share the next time.
        """
        wanted = self.written
        with self._syncing:
            if self._synced < wanted:
                synced = self.written
                with self._noting:  # the last but one may have been written to until just now
                    last = [os.dup(segment.descriptor) for segment in [*self._segments][-2:]]
                try:
                    for descriptor in last:
                        os.fdatasync(descriptor)
                finally:
                    for descriptor in last:
                        os.close(descriptor)
                self._synced = synced

    def recover(self) -> None:
        """Call it after an exception that may have struck anywhere in ``sync``."""
        release_fully(self._noting)
        release_fully(self._syncing)

    def close(self, *, is_done: bool, most: int = 0) -> None:
        """Close the files, but the newest ``most``; delete them if nothing in them is needed."""
        with self._noting:
            if not most:
                self.current = None
            while len(self._segments) > most:
                self._segments.popleft().close(is_done=is_done)


def segments_of(file: Path, token: str) -> list[Path]:
    """Returns the segments of a process's journal, oldest first."""
    pattern = re.compile(rf"{re.escape(file.name)}-{token}-\d+\.journal")
    return sorted(each for each in file.parent.iterdir() if pattern.fullmatch(each.name))


def tokens_beside(file: Path) -> set[str]:
    """Returns the owners that have left a lock or a segment beside this file."""
    pattern = re.compile(rf"{re.escape(file.name)}-([0-9a-f]{{16}})(?:-\d+\.journal|\.lock)")
    found = (pattern.fullmatch(each.name) for each in file.parent.iterdir())
    return {match[1] for match in found if match}


def read_segment(path: Path) -> bytes:
    """Returns the content of a segment; nothing if it is gone, or can't be read."""
    try:
        with open(path, "rb", opener=lambda name, _: os.open(name, _READ_FLAGS)) as file:
            return file.read()
    except OSError:
        return b""
