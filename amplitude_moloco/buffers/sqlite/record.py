"""One record of a journal: framed, with a checksum, and found again behind a damaged one.

A frame is a mark, a length, a CRC-32, a kind and a payload. The payload of an event is its number,
its time, its sync, its id and its body; that of a note is a list of numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from zlib import crc32

EVENT = 1
DONE = 2
"""The events of this journal with these numbers need not be sent again."""
ROWS_DONE = 3
"""The rows of the store with these keys need not be sent again."""
START = 4
"""The segment holds the events from this number on; older ones may follow, written once more."""
LETTERS_DONE = 5
"""The dead letters with these numbers are resent, as the record that follows."""

_MARK = b"\xf1MLJ"
_HEAD = struct.Struct("<4sIIB")  # mark, length of the payload, CRC of kind and payload, kind
_META = struct.Struct("<QdII")  # number, time, bytes of the sync, bytes of the id
_KIND_CRC = {kind: crc32(bytes([kind])) for kind in (EVENT, DONE, ROWS_DONE, START, LETTERS_DONE)}
OVERHEAD = _HEAD.size + _META.size
"""The bytes of an event's frame besides its sync, its id and its body."""


class Event(NamedTuple):
    """An event as its frame holds it."""

    number: int
    accepted_at: float
    """Unix time in seconds."""
    sync: str
    id: str
    body: bytes


class Record(NamedTuple):
    """A sound record."""

    kind: int
    frame: bytes


class Damage(NamedTuple):
    """Bytes that are no sound record."""

    content: bytes
    is_torn: bool
    """Whether it is the start of a record at the end of the file: its write did not end."""


def event_frame(number: int, accepted_at: float, sync: str, id: str, body: bytes) -> bytes:
    """Returns the frame of an event. Raises UnicodeEncodeError where a text can't be encoded."""
    sync_bytes, id_bytes = sync.encode(), id.encode()
    meta = _META.pack(number, accepted_at, len(sync_bytes), len(id_bytes))
    start = b"%b%b%b" % (meta, sync_bytes, id_bytes)
    crc = crc32(body, crc32(start, _KIND_CRC[EVENT]))
    return b"%b%b%b" % (_HEAD.pack(_MARK, len(start) + len(body), crc, EVENT), start, body)


def note_frame(kind: int, numbers: Iterable[int]) -> bytes:
    """Returns the frame of a note about these numbers."""
    payload = b"".join(number.to_bytes(8, "little") for number in numbers)
    return _HEAD.pack(_MARK, len(payload), crc32(payload, _KIND_CRC[kind]), kind) + payload


def read_event(frame: bytes) -> Event | None:
    """Returns the event in a frame; None if it is damaged, or is no event's."""
    record = _record_at(frame, 0)
    if record is None or record.kind != EVENT or len(record.frame) != len(frame):
        return None
    return event_of_frame(frame)


def numbers_of(record: Record) -> list[int]:
    """Returns the numbers in a note that ``scan`` has found."""
    payload = record.frame[_HEAD.size :]
    return [
        int.from_bytes(payload[start : start + 8], "little") for start in range(0, len(payload), 8)
    ]


def number_of(frame: bytes) -> int:
    """Returns the number of an event, of a frame that is known to be sound."""
    return int.from_bytes(frame[_HEAD.size : _HEAD.size + 8], "little")


def body_size(frame: bytes) -> int:
    """Returns the bytes of the body of an event, of a frame that is known to be sound."""
    _, _, sync_size, id_size = _META.unpack_from(frame, _HEAD.size)
    return len(frame) - OVERHEAD - int(sync_size) - int(id_size)


def scan(data: bytes) -> Iterator[Record | Damage]:
    """Yields all records of a journal in their order, and what lies between sound ones."""
    position = sound_until = 0
    while (position := data.find(_MARK, position)) >= 0:
        record = _record_at(data, position)
        if record is None:
            position += 1
            continue
        if position > sound_until:
            yield Damage(data[sound_until:position], is_torn=False)
        yield record
        position = sound_until = position + len(record.frame)
    rest = data[sound_until:]
    if rest:
        yield Damage(rest, is_torn=_is_torn(rest))


def _record_at(data: bytes, position: int) -> Record | None:
    if len(data) - position < _HEAD.size:
        return None
    mark, size, crc, kind = _HEAD.unpack_from(data, position)
    start = position + _HEAD.size
    end = start + size
    if mark != _MARK or kind not in _KIND_CRC or end > len(data):
        return None
    payload = memoryview(data)[start:end]
    if crc32(payload, _KIND_CRC[kind]) != crc:
        return None
    return Record(kind, data[position:end])


def _is_torn(rest: bytes) -> bool:
    """Whether these last bytes of a file are the start of one frame."""
    if len(rest) < _HEAD.size:
        return _MARK.startswith(rest[: len(_MARK)])
    mark, size, _, kind = _HEAD.unpack_from(rest)
    return mark == _MARK and kind in _KIND_CRC and _HEAD.size + size > len(rest)


def event_of_frame(frame: bytes) -> Event:
    """Returns the event in a frame that is known to be sound."""
    number, accepted_at, sync_size, id_size = _META.unpack_from(frame, _HEAD.size)
    ids_at = OVERHEAD + sync_size
    bodies_at = ids_at + id_size
    sync, id = frame[OVERHEAD:ids_at].decode(), frame[ids_at:bodies_at].decode()
    return Event(number, accepted_at, sync, id, frame[bodies_at:])
