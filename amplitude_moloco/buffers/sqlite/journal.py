"""The journal of one process: files that are only appended to, one after the other.

Only the oldest segment is ever deleted, once its events are done or in the store: a note about an
older segment's event is there for as long as that segment.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from amplitude_moloco.buffers.sqlite.record import DONE, START, note_frame

SEGMENT_BYTES = 4 * 1024**2
"""A segment that is larger is followed by a new one."""
_CRAMPED_BYTES = 1024**2
"""The same where the disk is nearly full."""
_IDLE_BYTES = 64 * 1024
"""A segment in which everything is done is given up at this size."""
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


class Segment:
    """One file of a journal. Raises OSError where it can't be created."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first = 0
        """The events from this number on are here, not in an older segment."""
        self._appended_bytes = 0
        self.descriptor = os.open(path, _FLAGS, 0o600)

    def __del__(self) -> None:
        self.close(is_done=False)

    def append(self, frames: bytes) -> None:
        """Append with one system call. Raises OSError."""
        written = os.write(self.descriptor, frames)
        self._appended_bytes += written
        if written != len(frames):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def size(self) -> int:
        return os.fstat(self.descriptor).st_size

    def is_whole(self) -> bool:
        """Whether the file is where it was, and nothing was cut off."""
        appended_bytes = self._appended_bytes  # first, since both may grow meanwhile
        return self._is_there() and self.size() >= appended_bytes

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(self.path.lstat(), os.fstat(self.descriptor))
        except OSError:
            return False

    def delete(self) -> None:
        """Delete the file, if it is still there. Raises OSError."""
        with suppress(FileNotFoundError):
            if os.path.samestat(self.path.lstat(), os.fstat(self.descriptor)):
                self.path.unlink()

    def close(self, *, is_done: bool) -> None:
        """Close the file. ``is_done``: nothing in it is needed, so it goes as well."""
        descriptor = getattr(self, "descriptor", -1)
        if descriptor >= 0:
            if is_done:
                with suppress(OSError):
                    self.delete()
            self.descriptor = -1
            os.close(descriptor)


class Journal:
    """The segments of one process. Not safe from several threads at a time.

    Args:
        is_synced: Whether it has to survive a loss of power.
    """

    def __init__(self, file: Path, token: str, *, is_synced: bool) -> None:
        self.is_synced = is_synced
        self._start = f"{file}-{token}"
        self._segments: deque[Segment] = deque()
        self._count = 0
        self.written = 0
        """How often something was appended to it."""
        self.current: Segment | None = None
        """Where the next event goes; None while nothing can be written."""
        self.unnoted: list[int] = []
        """The numbers of events here that are done, and are not noted yet."""
        self._last = 0
        """While nothing can be written: the newest event that may be here."""

    def new_segment(self) -> Segment:
        """Create the file of the next segment. Raises OSError."""
        self._count += 1
        segment = Segment(Path(f"{self._start}-{self._count:08d}.journal"))
        if self.is_synced:  # its name must survive a loss of power, too
            folder = os.open(segment.path.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return segment

    def begin(self, segment: Segment, first: int, frames: bytes = b"") -> None:
        """Put events from this number on into a new segment, after these frames. Raises OSError."""
        segment.first = first
        try:
            segment.append(note_frame(START, [first]) + frames)
        except OSError:
            segment.close(is_done=True)
            raise
        self._segments.append(segment)
        self.current = segment
        self.written += 1

    def append(self, frames: bytes) -> None:
        """Append to the newest segment. Raises OSError."""
        if self.current is None:
            raise OSError(errno.EIO, "the journal can't be written")
        self.current.append(frames)
        self.written += 1

    def end(self, numbers: Iterable[int]) -> None:
        """Events with these numbers are done. What is not here need not be noted here."""
        if self.current is None:
            numbers = [each for each in numbers if each <= self._last]
        self.unnoted += numbers

    def note_done(self) -> None:
        """Append a note about all that is done, as soon as it can be written. Raises OSError."""
        if self.unnoted and self.current is not None:
            self.append(self.done_frame())
            self.unnoted = []

    def done_frame(self) -> bytes:
        """Returns the frame of a note about all that is done and not noted yet."""
        return note_frame(DONE, self.unnoted)

    def give_up(self, last: int) -> None:
        """Write nothing more for now; ``last`` is the number of the newest event."""
        if self.current is not None:
            self.current, self._last = None, last

    def is_due(self, *, is_cramped: bool, is_idle: Callable[[], bool]) -> bool:
        """Whether another segment should follow. ``is_idle``: nothing in this one is needed."""
        if self.current is None:
            return True
        size = self.current.size()
        most = _CRAMPED_BYTES if is_cramped else SEGMENT_BYTES
        return size >= most or (size >= _IDLE_BYTES and is_idle())

    def is_whole(self) -> bool:
        """Whether no segment was removed, replaced or truncated."""
        return all(segment.is_whole() for segment in self._segments)

    def trim(self, oldest: Callable[[], float]) -> None:
        """Delete the segments with nothing but events older than this number. Raises OSError.

        One that can't be deleted now is tried again: it must not outlive the notes about it.
        """
        while len(self._segments) > 1 and self._segments[1].first <= oldest():
            self._segments[0].delete()
            self._segments.popleft().close(is_done=True)

    def last_descriptors(self) -> list[int]:
        """Returns copies of those that something was written to since the last rotation."""
        return [os.dup(segment.descriptor) for segment in [*self._segments][-2:]]

    def close(self, *, is_done: bool, most: int = 0) -> None:
        """Close the files, but the newest ``most``; delete them if nothing in them is needed."""
        if not most:
            self.current = None
        while len(self._segments) > most:
            self._segments.popleft().close(is_done=is_done)
        if is_done:
            self.unnoted = []
