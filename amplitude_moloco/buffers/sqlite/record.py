"""One record of a journal: framed, with a checksum, and found again behind a damaged one.

A frame is a mark, a length, a CRC-32, a kind and a payload: an event, or a list of numbers.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from zlib import crc32

EVENT = 1
DONE = 2
"""The events with these numbers are delivered, or in the store."""
TAKEN = 3
"""The number of each event that was taken from the store, followed by the key that it had there."""
START = 4
"""The segment holds the events from this number on; older ones may follow, written once more."""
IN_LANE = 5
"""An event in a lane."""
EVENTS = (EVENT, IN_LANE)

_MARK = b"\xf1MLJ"
_HEAD = struct.Struct("<4sIIB")  # mark, length of the payload, CRC of kind and payload, kind
_META = struct.Struct("<QdIIII")  # see frame_of
_KIND_CRC = {kind: crc32(bytes([kind])) for kind in (EVENT, DONE, TAKEN, START, IN_LANE)}
_TEXTS_AT = _HEAD.size + _META.size
_LANE = struct.Struct("<I")  # the size of a lane's name, which follows the id


class Event(NamedTuple):
    """An event. Its frame holds all but the key and the due time."""

    number: int
    """Its place among those that this process has put or taken; 0 while it is in the store."""
    accepted_at: float
    """Unix time in seconds."""
    sync: str
    id: str
    body: bytes
    attempts: int = 0
    strikes: int = 0
    key: int = 0
    """The key that its row in the store has, or had; 0 if it was never there."""
    due: float = 0.0
    """Unix time at which its row is due; 0 if it was not sent yet."""
    lane: str = ""
    """The lane that it goes in; empty for none."""

    @property
    def order(self) -> tuple[bool, int]:
        """What was in the store is older."""
        return not self.key, self.key or self.number


class Record(NamedTuple):
    """A sound record."""

    kind: int
    frame: bytes


class Damage(NamedTuple):
    """Bytes that are no sound record."""

    content: bytes
    is_torn: bool
    """Whether it is the start of a record at the end of the file: its write did not end."""


def frame_of(event: Event) -> bytes:
    """Returns the frame of an event. Raises UnicodeEncodeError where a text can't be encoded."""
    number, accepted_at, sync, id, body, attempts, strikes, _, _, lane = event
    sync_bytes, id_bytes = sync.encode(), id.encode()
    meta = _META.pack(number, accepted_at, attempts, strikes, len(sync_bytes), len(id_bytes))
    start, kind = b"%b%b%b" % (meta, sync_bytes, id_bytes), EVENT
    if lane:
        lane_bytes = lane.encode()
        start += _LANE.pack(len(lane_bytes)) + lane_bytes
        kind = IN_LANE
    crc = crc32(body, crc32(start, _KIND_CRC[kind]))
    return b"%b%b%b" % (_HEAD.pack(_MARK, len(start) + len(body), crc, kind), start, body)


def note_frame(kind: int, numbers: Iterable[int]) -> bytes:
    """Returns the frame of a note about these numbers."""
    payload = pack(numbers)
    return _HEAD.pack(_MARK, len(payload), crc32(payload, _KIND_CRC[kind]), kind) + payload


def pack(numbers: Iterable[int]) -> bytes:
    """Returns numbers as bytes."""
    return array("Q", numbers).tobytes()


def unpack(packed: bytes) -> list[int]:
    """Returns what ``pack`` was given."""
    return array("Q", packed).tolist()


def read_event(frame: object) -> Event | None:
    """Returns the event in a frame; None if it is damaged, or is no event's."""
    record = _record_at(frame, 0) if isinstance(frame, bytes) else None
    if record is None or record.kind not in EVENTS or record.frame != frame:
        return None
    return event_of(record)


def event_of(record: Record) -> Event:
    """Returns the event in a record of such a kind."""
    frame = record.frame
    meta = _META.unpack_from(frame, _HEAD.size)
    number, accepted_at, attempts, strikes, sync_size, id_size = meta
    id_at = _TEXTS_AT + sync_size
    body_at = id_at + id_size
    sync, id, lane = frame[_TEXTS_AT:id_at].decode(), frame[id_at:body_at].decode(), ""
    if record.kind == IN_LANE:
        (lane_size,) = _LANE.unpack_from(frame, body_at)
        lane_at = body_at + _LANE.size
        body_at = lane_at + lane_size
        lane = frame[lane_at:body_at].decode()
    return Event(number, accepted_at, sync, id, frame[body_at:], attempts, strikes, lane=lane)


def numbers_of(record: Record) -> list[int]:
    """Returns the numbers in a record of another kind."""
    return unpack(record.frame[_HEAD.size :])


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
    if crc32(memoryview(data)[start:end], _KIND_CRC[kind]) != crc:
        return None
    return Record(kind, data[position:end])


def _is_torn(rest: bytes) -> bool:
    """Whether these last bytes of a file are the start of one frame."""
    if len(rest) < _HEAD.size:
        return _MARK.startswith(rest[: len(_MARK)])
    mark, size, _, kind = _HEAD.unpack_from(rest)
    return mark == _MARK and kind in _KIND_CRC and _HEAD.size + size > len(rest)
