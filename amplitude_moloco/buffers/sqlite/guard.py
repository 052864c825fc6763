"""Decides which files may serve as a SqliteBuffer's: regular, private, and not someone else's.

Nothing here closes a descriptor of the file while a connection may be open: that would release all
of SQLite's locks that this process holds on it.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
from contextlib import suppress
from pathlib import Path

from amplitude_moloco.buffers.sqlite.schema import APPLICATION_ID
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.text import one_line

logger = logging.getLogger(__name__)

SUSPECT = b"suspect"
"""The content of the lock file if the next start must check all of the file; else it is empty."""
_SQLITES_OWN = ("-wal", "-shm", "-journal")
"""What SQLite opens beside its file, and writes to."""
_BESIDE = (*_SQLITES_OWN, "-lock")
_OURS = (
    r"(-wal|-shm|-journal|-lock|\.corrupt-\d+(-wal|-shm)?"
    r"|-[0-9a-f]{16}(\.lock|-\d+\.(journal|damaged)))"
)
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MAGIC = b"SQLite format 3\0"
_APPLICATION_ID = slice(68, 72)
_SMALLEST_PAGE_BYTES = 512
_HEAD_BYTES = 64 * 1024
_SCHEMA_TEXT = b"TRIGGER fresh_out AFTER DELETE ON fresh"


def check_place(path: Path) -> None:
    """Check what lies at ``path`` and beside it, before any of it is opened.

    Raises ConfigurationError if the folder is missing, or a file is a link, is not a regular file,
    or holds something else than a buffer, or one beside it has a second name; OSError if the folder
    can't be read.
    """
    if not path.parent.exists():
        raise ConfigurationError(
            f"buffer: {one_line(path)} can't be used: the folder {one_line(path.parent)} does not "
            f"exist; create it, or use a path in a folder that exists (in a URL, an absolute path "
            f"comes after three slashes: sqlite:////folder/file.db)"
        )
    if path.name.endswith(_BESIDE):
        raise ConfigurationError(
            f"buffer: {one_line(path)} has the name of a file beside another buffer; use another "
            f"name"
        )
    check_files(path)
    # Without a lock file no process has it open, so that it may be opened and closed here.
    if not _exists(f"{path}-lock") and _exists(path) and not (_is_sqlite(path) or is_ours(path)):
        raise stranger(path)


def check_files(path: Path) -> None:
    """As ``check_place``, for the kind of each file that exists."""
    for suffix in ("", *_BESIDE):
        # What the lock file holds is looked at when it is opened.
        _check_file(Path(f"{path}{suffix}"), is_single=suffix in _SQLITES_OWN)


def clear(path: Path) -> None:
    """Remove a file, and those of SQLite beside it. What a link leads to stays. Raises OSError."""
    for suffix in ("", *_SQLITES_OWN):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def narrow(path: Path) -> None:
    """Make the buffer's files private that others can read or write. Raises ConfigurationError.

    Journals are among them, and what was kept of damaged files.
    """
    name = re.escape(path.name)
    ours = re.compile(rf"{name}|{name}{_OURS}")
    for each in path.parent.iterdir():
        if ours.fullmatch(each.name):
            with suppress(FileNotFoundError):
                # Whatever else has a second name may be another's file.
                if each.name == path.name or each.lstat().st_nlink == 1:
                    _narrow(each)


def _narrow(path: Path) -> None:
    found = path.lstat()
    if stat.S_ISREG(found.st_mode) and found.st_mode & _OTHERS:
        try:
            path.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS)
        except PermissionError:
            raise ConfigurationError(
                f"buffer: {one_line(path)} belongs to another user, and others than this user can "
                f"read it; change its owner, or use another path"
            ) from None
        if found.st_size:
            logger.warning(
                "Other users could read the buffer's file %s (mode %03o); now only its owner can",
                *(one_line(path), stat.S_IMODE(found.st_mode)),
            )


def open_lock(path: Path) -> int:
    """Open the lock file, which is created if missing. Returns its descriptor.

    Raises ConfigurationError if it holds something else, or has a second name. Raises OSError.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _link(path) from None
        raise
    if os.pread(descriptor, len(SUSPECT) + 1, 0) not in (b"", SUSPECT):
        os.close(descriptor)
        raise ConfigurationError(
            f"buffer: {one_line(path)} is not a buffer's lock file, and is left as it is; use "
            f"another path for the buffer"
        )
    if os.fstat(descriptor).st_nlink > 1:
        os.close(descriptor)
        raise _second_name(path)
    return descriptor


def is_ours(path: Path) -> bool:
    """Whether a file, or its WAL, has the marks of a buffer, however damaged the rest is.

    Only for a file that no connection of this process has open.
    """
    heads = [_head(each) for each in (path, Path(f"{path}-wal")) if _exists(each)]
    mark = APPLICATION_ID.to_bytes(4, "big")
    return any(
        (head.startswith(_MAGIC) and head[_APPLICATION_ID] == mark)
        # Both are pages of SQLite. A script of SQL, which may have this text too, holds no zeros.
        or (_SCHEMA_TEXT in head and b"\0" in head)
        for head in heads
    )


def was_ours(path: Path) -> bool:
    """Whether a damaged file was a buffer, judging by its marks, or else by its lock file.

    A lock file is made only for a buffer, or beside a SQLite file. As ``is_ours`` for the rest.
    """
    return is_ours(path) or not _is_sqlite(path)


def stranger(path: Path) -> ConfigurationError:
    """Returns the refusal of a file that is not a buffer."""
    return ConfigurationError(
        f"buffer: {one_line(path)} is not a buffer, and is left as it is; use a path where no "
        f"other file lies"
    )


def _check_file(path: Path, *, is_single: bool = False) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISLNK(found.st_mode):
        raise _link(path)
    if not stat.S_ISREG(found.st_mode):
        raise ConfigurationError(
            f"buffer: {one_line(path)} can't be used: unable to open database file; it is not a "
            f"regular file; use another path"
        )
    if is_single and found.st_nlink > 1:  # it may be another program's
        raise _second_name(path)


def _second_name(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"buffer: {one_line(path)} has a second name (a hard link), and is left as it is; remove "
        f"it, or use another path"
    )


def _link(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"buffer: {one_line(path)} is a link, which is not followed; remove it, or use another path"
    )


def _exists(path: Path | str) -> bool:
    return os.path.lexists(path)


def _is_sqlite(path: Path) -> bool:
    """Whether this is SQLite's file, of any application. An empty one is."""
    head = _head(path)
    return not head or (head.startswith(_MAGIC) and len(head) >= _SMALLEST_PAGE_BYTES)


def _head(path: Path) -> bytes:
    with open(path, "rb", opener=_open_safely) as file:
        return file.read(_HEAD_BYTES)


def _open_safely(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
