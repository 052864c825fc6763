"""The members of a zip whose list is missing: a download that was cut off.

The list is at the end. Each member also has a head of its own, so that those before the cut can be
read one after the other.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

_HEAD = struct.Struct("<4s2xHH8xL4xHH")  # signature, flags, method, size, lengths of name and extra
_SIGNATURE = b"PK\x03\x04"
_ENCRYPTED, _SIZE_FOLLOWS, _IS_UTF_8 = 0x1, 0x8, 0x800
_LONGEST_TRAILER = 24  # of a member whose size follows
_CHUNK_BYTES = 64 * 1024


def members_before_cut(stream: BinaryIO) -> Iterator[tuple[str, BinaryIO]]:
    """Yields the name and the content of each member that begins before the cut.

    The content of the last one may end with EOFError, or too early. Stops at anything but a plain
    member: an encrypted one, another compression, or one that is stored with its size behind it.
    The stream must be one that can be sought in.
    """
    stream.seek(0)
    while True:
        head = stream.read(_HEAD.size)
        if len(head) < _HEAD.size or not head.startswith(_SIGNATURE):
            return
        _, flags, method, size, name_length, extra_length = _HEAD.unpack(head)
        name = stream.read(name_length)
        stream.seek(extra_length, os.SEEK_CUR)
        is_size_known = not flags & _SIZE_FOLLOWS
        is_deflated = method == zipfile.ZIP_DEFLATED
        if flags & _ENCRYPTED or not (
            is_deflated or (method == zipfile.ZIP_STORED and is_size_known)
        ):
            return
        content = _Content(stream, size if is_size_known else None, is_deflated=is_deflated)
        encoding = "utf-8" if flags & _IS_UTF_8 else "cp437"
        yield name.decode(encoding, "replace"), cast(BinaryIO, io.BufferedReader(content))
        content.skip()
        end = stream.tell()
        at = stream.read(_LONGEST_TRAILER + len(_SIGNATURE)).find(_SIGNATURE)
        if at < 0:
            return
        stream.seek(end + at)


class _Content(io.RawIOBase):
    """The content of a member, which ends with its compression or after its size."""

    def __init__(self, stream: BinaryIO, size: int | None, *, is_deflated: bool) -> None:
        super().__init__()
        self._stream = stream
        self._left = size
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS) if is_deflated else None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        most = len(buffer)
        data = _inflate(self._inflater, self._take, most) if self._inflater else self._take(most)
        buffer[: len(data)] = data
        return len(data)

    def skip(self) -> None:
        """Moves the stream to the end of the member. Raises EOFError or zlib.error."""
        while self.read(_CHUNK_BYTES):
            pass
        if self._inflater and self._left is None:
            self._stream.seek(-len(self._inflater.unused_data), os.SEEK_CUR)

    def _take(self, most: int) -> bytes:
        data = self._stream.read(most if self._left is None else min(most, self._left))
        if self._left is not None:
            self._left -= len(data)
        return data


def _inflate(inflater: Any, take: Callable[[int], bytes], most: int) -> bytes:
    """Returns some bytes more; none at the end. Raises EOFError for a compression that is cut."""
    while not inflater.eof:
        packed = inflater.unconsumed_tail or take(_CHUNK_BYTES)
        if not packed:
            raise EOFError
        data: bytes = inflater.decompress(packed, most)
        if data:
            return data
    return b""
