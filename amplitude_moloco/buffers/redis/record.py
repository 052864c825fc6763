"""What the scripts' answers say."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from amplitude_moloco.buffers.base import DeadLetter
from amplitude_moloco.buffers.redis.layout import MICROSECONDS
from amplitude_moloco.reasons import DeadLetterReason

_CLAIMED = struct.Struct(">BII")
_ENTRY = struct.Struct(">ddIIII")
_LENGTHS = struct.Struct(">II")
_PLACES = 1 << 64
"""More than the second half of a stream's id can be."""


class Record(NamedTuple):
    """An entry of a stream, as this process has claimed it."""

    stream: int
    """Its place among the keys: ``NEW`` or ``DUE``."""
    place: bytes
    """Its id in the stream."""
    id: str
    sync: str
    body: bytes
    accepted_at: float
    """Unix time in seconds."""
    number: int
    attempts: int
    strikes: int


class Reading(NamedTuple):
    """What lies in Redis at one moment, of all processes. Bytes are those of the bodies."""

    born: bytes = b""
    """Names this data: other data has another one, and none has none."""
    last: int = 0
    """The number of the newest entry."""
    bytes: int = 0
    new: int = 0
    new_claimed: int = 0
    due: int = 0
    due_claimed: int = 0
    later: int = 0
    dead: int = 0
    untried: int = -1
    """The lowest number of an entry that was never sent; -1 if there is none."""
    oldest_age: int = -1
    """The age of the entry that was accepted first, in microseconds; -1 if there is none."""
    next_due: int = -1
    """Microseconds until the next retry is due; -1 if there is none."""
    now: int = 0
    """Redis's time, in microseconds."""

    @property
    def events(self) -> int:
        return self.new + self.due + self.later

    @property
    def claimed(self) -> int:
        return self.new_claimed + self.due_claimed

    @property
    def next_seconds(self) -> float | None:
        """Seconds until something can be claimed; None if nothing waits."""
        if self.new > self.new_claimed or self.due > self.due_claimed:
            return 0.0
        return self.next_due / MICROSECONDS if self.next_due >= 0 else None


def to_bytes(value: str) -> bytes:
    """Returns a text as Redis keeps it. Any text can be kept."""
    return value.encode("utf-8", "surrogatepass")


def to_text(value: bytes) -> str:
    """Returns what ``to_bytes`` was given."""
    return value.decode("utf-8", "surrogatepass")


def tail_of(id: str, sync: str, body: bytes) -> bytes:
    """Returns the part of a new entry that its process knows; see ``layout.py``."""
    id_bytes, sync_bytes = to_bytes(id), to_bytes(sync)
    return _LENGTHS.pack(len(id_bytes), len(sync_bytes)) + id_bytes + sync_bytes + body


def records_from(answer: bytes) -> list[Record]:
    """Returns the entries that a script has claimed. What is no entry has a negative number."""
    records, at = [], 0
    while at < len(answer):
        stream, of_place, of_entry = _CLAIMED.unpack_from(answer, at)
        at += _CLAIMED.size
        place, at = answer[at : at + of_place], at + of_place
        records.append(_record(stream, place, answer, at, at + of_entry))
        at += of_entry
    return records


def _record(stream: int, place: bytes, text: bytes, start: int, end: int) -> Record:
    """Returns the entry that lies between two places of a text."""
    if start == end:
        return Record(stream, place, "", "", b"", 0.0, -1, 0, 0)
    accepted, number, attempts, strikes, of_id, of_sync = _ENTRY.unpack_from(text, start)
    sync_at = start + _ENTRY.size + of_id
    body_at = sync_at + of_sync
    id, sync = to_text(text[sync_at - of_id : sync_at]), to_text(text[sync_at:body_at])
    accepted_at = accepted / MICROSECONDS
    return Record(
        *(stream, place, id, sync, text[body_at:end], accepted_at, int(number), attempts, strikes)
    )


def letter_from(place: bytes, fields: Sequence[bytes]) -> DeadLetter:
    """Returns a dead letter from its place in its stream, and its fields."""
    entry, buried, reason, status, message = fields[1::2]
    record = _record(0, place, entry, 0, len(entry))
    return DeadLetter(
        key=key_of(place),
        id=record.id,
        sync=record.sync,
        body=record.body,
        accepted_at=record.accepted_at,
        buried_at=int(buried) / MICROSECONDS,
        attempts=record.attempts,
        reason=DeadLetterReason(reason.decode()),
        status=int(status) if status else None,
        message=to_text(message),
    )


def key_of(place: bytes) -> int:
    """Returns a number for an id in a stream. Numbers sort as the ids do."""
    first, _, second = place.partition(b"-")
    return int(first) * _PLACES + int(second)


def place_of(key: int) -> str:
    """Returns the id in a stream that has this number."""
    return "-".join(map(str, divmod(key, _PLACES)))
