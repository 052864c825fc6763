"""What the scripts' answers say."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from amplitude_moloco.buffers.base import DeadLetter
from amplitude_moloco.buffers.redis.layout import MICROSECONDS
from amplitude_moloco.reasons import DeadLetterReason

_HEAD = struct.Struct(">BBIIIddII")
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


def records_from(answer: bytes) -> list[Record]:
    """Returns the entries that a script has claimed. What is no entry has a negative number."""
    records, at = [], 0
    while at < len(answer):
        stream, *sizes, accepted, number, attempts, strikes = _HEAD.unpack_from(answer, at)
        at += _HEAD.size
        parts = []
        for size in sizes:
            parts.append(answer[at : at + size])
            at += size
        place, id, sync, body = parts
        accepted_at = accepted / MICROSECONDS
        texts = to_text(id), to_text(sync)
        counts = int(number), attempts, strikes
        records.append(Record(stream, place, *texts, body, accepted_at, *counts))
    return records


def letter_from(place: bytes, fields: Sequence[bytes]) -> DeadLetter:
    """Returns a dead letter from its place in its stream, and its fields."""
    id, sync, body, accepted, buried, attempts, reason, status, message = fields[1::2]
    return DeadLetter(
        key=key_of(place),
        id=to_text(id),
        sync=to_text(sync),
        body=body,
        accepted_at=int(accepted) / MICROSECONDS,
        buried_at=int(buried) / MICROSECONDS,
        attempts=int(attempts),
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
