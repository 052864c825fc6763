"""What became of a claimed entry, as Redis is told."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from amplitude_moloco.buffers.redis.layout import MICROSECONDS
from amplitude_moloco.buffers.redis.record import Record, to_bytes
from amplitude_moloco.reasons import DeadLetterReason

_HEAD = struct.Struct(">BIIdI")
_RETURN = struct.Struct(">BdII")
_BURIAL = struct.Struct(">BI")
_RETURNED, _BURIED = 1, 2


class Outcome(NamedTuple):
    """An entry was delivered, or what the detail says."""

    record: Record
    detail: bytes = b""

    @property
    def is_burial(self) -> bool:
        return self.detail[:1] == bytes([_BURIED])

    @property
    def is_end(self) -> bool:
        """Whether the entry is no longer to be delivered."""
        return not self.detail or self.is_burial


def returned(record: Record, delay_seconds: float, attempts: int, strikes: int) -> Outcome:
    """An entry is given back, to be due again."""
    delay = round(delay_seconds * MICROSECONDS)
    return Outcome(record, _RETURN.pack(_RETURNED, delay, attempts, strikes))


def buried(
    record: Record, attempts: int, reason: DeadLetterReason, status: int | None, message: str
) -> Outcome:
    """An entry becomes a dead letter."""
    texts = str(reason), "" if status is None else str(status), message
    return Outcome(record, _BURIAL.pack(_BURIED, attempts) + b"\0".join(map(to_bytes, texts)))


def packed(outcomes: Iterable[Outcome]) -> bytes:
    """Returns outcomes as the script ``SETTLE`` reads them."""
    parts: list[bytes] = []
    for record, detail in outcomes:
        sizes = len(record.place), len(detail)
        head = _HEAD.pack(record.stream, *sizes, record.number, len(record.body))
        parts += (head, record.place, detail)
    return b"".join(parts)
