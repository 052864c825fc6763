"""Says which processes live: each holds a lock on a file of its own, which the kernel frees.

It is a record lock (``fcntl``). A child that is forked never inherits it, not even one that C code
forks: so a process is dead once it has died, however long its children live. Such a lock also goes
when its process closes any descriptor of the file. So nothing here opens the lock file of a buffer
of this process, the process takes the lock again each second, and where the lock is free the
process id in the file has the last word.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import threading
from contextlib import suppress
from pathlib import Path

from amplitude_moloco.host.fork import Origin, process_id

_SUFFIX = ".lock"
_held: dict[tuple[int, Path], tuple[int, int] | None] = {}
"""For the process and the file of each lock that is held here, what was published."""
_holding = threading.RLock()
_LINE_BYTES = 100
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Owner:
    """The lock of one buffer, of this process or of one that has died.

    Raises BlockingIOError if a living process holds it, and OSError.
    """

    def __init__(self, file: Path, token: str) -> None:
        self.token = token
        self.path = lock_path(file, token)
        self._origin = Origin()
        self._descriptor: int | None = None
        with _holding:
            mine = process_id(), self.path
            if mine in _held:
                raise BlockingIOError(errno.EAGAIN, "held by this process")
            descriptor = os.open(self.path, _FLAGS, 0o600)
            try:
                _lock(descriptor)
                line = os.pread(descriptor, _LINE_BYTES, 0)
                if not _is_at(self.path, descriptor) or _is_alive(line):
                    raise BlockingIOError(errno.EAGAIN, "its process lives")
            except BaseException:
                os.close(descriptor)
                raise
            _held[mine] = None
            self._descriptor = descriptor

    def __del__(self) -> None:
        self.release()

    def publish(self, events: int, size: int) -> None:
        """Write that this process lives, and how many events and bytes it has. Raises OSError."""
        if self._descriptor is not None and _held.get((process_id(), self.path)) != (events, size):
            _held[process_id(), self.path] = events, size
            line = b"%s %d %d\n" % (_signature(process_id()), events, size)
            os.pwrite(self._descriptor, line.ljust(_LINE_BYTES), 0)

    def is_held(self) -> bool:
        """Take the lock again. Returns False if it is lost, or its file was removed."""
        if self._descriptor is None:
            return False
        try:
            _lock(self._descriptor)
        except OSError:
            return False
        return _is_at(self.path, self._descriptor)

    def release(self, *, is_done: bool = False) -> None:
        """Free the lock. ``is_done``: nothing of its process is left, so its file goes as well."""
        descriptor, self._descriptor = getattr(self, "_descriptor", None), None
        if descriptor is None:
            return
        with _holding:
            if is_done:
                with suppress(OSError):
                    self.path.unlink()
            with suppress(OSError):
                os.close(descriptor)
            if not self._origin.is_elsewhere:
                _held.pop((process_id(), self.path), None)


def lock_path(file: Path, token: str) -> Path:
    """Returns the lock file of an owner."""
    return Path(f"{file}-{token}{_SUFFIX}")


def published(file: Path, token: str) -> tuple[int, int]:
    """Returns how many events, and bytes, wait in an owner's journal, as it has published."""
    path = lock_path(file, token)
    with _holding:
        if (process_id(), path) in _held:  # opening the file would drop the lock
            return _held[process_id(), path] or (0, 0)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return 0, 0
        try:
            words = os.read(descriptor, _LINE_BYTES).split()
        finally:
            os.close(descriptor)
    numbers = [int(word) for word in words[-2:] if word.isdigit()]
    return (numbers[0], numbers[1]) if len(words) == 4 and len(numbers) == 2 else (0, 0)


def new_owner(file: Path) -> Owner:
    """Returns the lock of a new buffer of this process. Raises OSError."""
    while True:
        # Another process may take a lock file that was created just now for a dead one's.
        with suppress(BlockingIOError):
            owner = Owner(file, new_token())
            owner.publish(0, 0)
            return owner


def new_token() -> str:
    """Returns a name for a new owner."""
    return os.urandom(8).hex()


def _lock(descriptor: int) -> None:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:  # it depends on the system
        raise BlockingIOError(errno.EAGAIN, str(error)) from None


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the file that is open still has this name."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except OSError:
        return False


def _signature(pid: int) -> bytes:
    """Returns a process id with the time of its start, where the system tells it."""
    return b"%d %s" % (pid, _started(pid))


def _started(pid: int) -> bytes:
    """Returns when a process started; nothing if it is dead, or where the system tells nothing."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return b""
    fields = stat.rpartition(b")")[2].split()
    return b"" if fields[0] in (b"Z", b"X") else fields[19]


def _is_alive(signature: bytes) -> bool:
    """Whether another process, which has signed, lives although its lock is free.

    Its app has read the lock file, and so dropped the lock. A lock of this process is known.
    """
    words = signature.split()
    if len(words) < 2 or not words[0].isdigit() or int(words[0]) == process_id():
        return False
    return _started(int(words[0])) == words[1]


def tokens_beside(file: Path) -> set[str]:
    """Returns the owners that have left a lock or a segment beside this file."""
    pattern = re.compile(rf"{re.escape(file.name)}-([0-9a-f]{{16}})(?:-\d+\.journal|\.lock)")
    found = (pattern.fullmatch(each.name) for each in file.parent.iterdir())
    return {match[1] for match in found if match}
