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

_held: set[tuple[int, Path]] = set()
"""The process and the file of each lock that is held here."""
_holding = threading.RLock()
_SIGNATURE_BYTES = 100
_REST = re.compile(r"([0-9a-f]{16})(?:-\d+\.journal|\.lock)")
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Owner:
    """The lock of one buffer, of this process or of one that has died.

    Raises BlockingIOError if a living process holds it, and OSError.
    """

    def __init__(self, file: Path, token: str) -> None:
        self.token = token
        self.path = Path(f"{file}-{token}.lock")
        self._origin = Origin()
        self._descriptor = -1
        self._take()

    def __del__(self) -> None:
        self.release()

    def hold(self) -> bool:
        """Take the lock again. Returns False if its file was gone, so that others may have had it.

        Raises BlockingIOError if another process has it now, and OSError.
        """
        if self._descriptor >= 0:
            with suppress(BlockingIOError):
                _lock(self._descriptor)
                if _is_at(self.path, self._descriptor):
                    return True
        self.release()
        self._take()
        return False

    def release(self, *, is_done: bool = False) -> None:
        """Free the lock. ``is_done``: nothing of its process is left, so its file goes as well."""
        descriptor, self._descriptor = getattr(self, "_descriptor", -1), -1
        if descriptor < 0:
            return
        with _holding:
            if is_done:
                with suppress(OSError):
                    self.path.unlink()
            os.close(descriptor)
            if not self._origin.is_elsewhere:
                _held.discard((process_id(), self.path))

    def _take(self) -> None:
        with _holding:
            if (process_id(), self.path) in _held:
                raise BlockingIOError(errno.EAGAIN, "held by this process")
            descriptor = os.open(self.path, _FLAGS, 0o600)
            try:
                _lock(descriptor)
                if os.fstat(descriptor).st_nlink > 1:  # it may be another program's
                    raise OSError(errno.EMLINK, "a lock file has a second name", str(self.path))
                signature = os.pread(descriptor, _SIGNATURE_BYTES, 0)
                if not _is_at(self.path, descriptor) or _is_alive(signature):
                    raise BlockingIOError(errno.EAGAIN, "its process lives")
                os.pwrite(descriptor, _own_signature(), 0)
            except BaseException:
                os.close(descriptor)
                raise
            _held.add((process_id(), self.path))
            self._descriptor = descriptor


def new_owner(file: Path) -> Owner:
    """Returns the lock of a new buffer of this process. Raises OSError."""
    while True:
        # Another process may take a lock file that was created just now for a dead one's.
        with suppress(BlockingIOError):
            return Owner(file, os.urandom(8).hex())


def tokens_beside(file: Path) -> set[str]:
    """Returns the owners that have left a lock or a segment beside this file. Raises OSError."""
    prefix = f"{file.name}-"
    names = os.listdir(file.parent)  # noqa: PTH208  # a Path for each would take longer
    rests = (name[len(prefix) :] for name in names if name.startswith(prefix))
    return {match[1] for match in map(_REST.fullmatch, rests) if match}


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


def _own_signature() -> bytes:
    """Returns this process's id, and when it started, where the system says it."""
    return (b"%d %b" % (process_id(), _started(process_id()))).ljust(_SIGNATURE_BYTES)


def _is_alive(signature: bytes) -> bool:
    """Whether another process, which has signed, lives although its lock is free.

    Its app has read the lock file, and so dropped the lock. A lock of this process is known.
    """
    words = signature.split()
    if len(words) != 2 or not words[0].isdigit() or int(words[0]) == process_id():
        return False
    return _started(int(words[0])) == words[1]


def _started(pid: int) -> bytes:
    """Returns when a process started; nothing if it is dead, or where the system has no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return b""
    fields = stat.rpartition(b")")[2].split()
    return b"" if fields[0] in (b"Z", b"X") else fields[19]
