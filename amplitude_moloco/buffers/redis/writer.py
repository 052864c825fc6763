"""Writes staged entries into Redis, each once."""

from __future__ import annotations

import struct
import uuid
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import NamedTuple

from amplitude_moloco.buffers.base import Buffer, Entry
from amplitude_moloco.buffers.redis.layout import MICROSECONDS
from amplitude_moloco.buffers.redis.link import Argument, Link
from amplitude_moloco.buffers.redis.record import tail_of
from amplitude_moloco.buffers.redis.scripts import APPEND

_BATCH = 100
_BATCH_BYTES = 1024 * 1024
_HEAD = struct.Struct(">dII")
_REMEMBERED_SECONDS = 24 * 3600
"""A write that is repeated within this time is there once."""


class _Numbered(NamedTuple):
    number: int
    entry: Entry
    taken_at: float


class Writer:
    """For one thread at a time. An entry leaves the stage once Redis has answered.

    A write whose answer was lost is repeated with the same numbers, which Redis has kept.

    Args:
        bounds: Of events and bytes in Redis.
        monotonic: The clock, in seconds.
    """

    def __init__(
        self,
        stage: Buffer,
        link: Link,
        bounds: tuple[int, int],
        monotonic: Callable[[], float],
    ) -> None:
        self._stage = stage
        self._link = link
        self._bounds = bounds
        self._monotonic = monotonic
        self._producer = uuid.uuid4().hex
        self._numbers = count(1)
        self._taken: deque[_Numbered] = deque()
        self.last = 0
        """The highest number in Redis that an entry of this process can have."""
        self.room = bounds
        """How many events and bytes there is room for, as far as this process knows."""

    @property
    def is_empty(self) -> bool:
        """Whether all that was staged when it wrote last is in Redis."""
        return not self._taken

    def write(self, note: Callable[[bytes, int], object]) -> bool:
        """Write a batch. Returns whether more may be staged. Raises what stage and link raise.

        ``note`` is told what was there before: the mark of the data, and its last number.
        """
        self._take()
        batch = self._batch()
        if not batch:
            return False
        arguments: list[Argument] = [batch[0].number, *self._bounds, _REMEMBERED_SECONDS]
        arguments.append(_packed(batch, self._monotonic()))
        answer = self._link.run(APPEND, arguments, producer=self._producer)
        written, last, events, size, born, before = answer
        note(born, before)
        self.learn(last, events, size)
        for _ in range(written):
            self._stage.ack(self._taken.popleft().entry)
        return bool(written == len(batch) and (self._taken or written == _BATCH))

    def learn(self, last: int, events: int, size: int) -> None:
        """Note what Redis holds."""
        self.last = max(self.last, last)
        self.room = self._bounds[0] - events, self._bounds[1] - size

    def _take(self) -> None:
        wanted = _BATCH - len(self._taken)
        if wanted > 0:
            now = self._monotonic()
            self._taken.extend(
                _Numbered(next(self._numbers), entry, now)
                for entry in self._stage.claim(wanted).entries
            )

    def _batch(self) -> list[_Numbered]:
        """Returns the first entries, of a size that is written quickly."""
        batch: list[_Numbered] = []
        size = 0
        for each in self._taken:
            size += len(each.entry.body)
            if batch and size > _BATCH_BYTES:
                break
            batch.append(each)
        return batch


def _packed(batch: list[_Numbered], now: float) -> bytes:
    """Returns records as the script reads them."""
    parts: list[bytes] = []
    for _, entry, taken_at in batch:
        age = round(max(0.0, entry.age_seconds + now - taken_at) * MICROSECONDS)
        text = tail_of(entry.id, entry.sync, entry.body)
        parts += (_HEAD.pack(age, len(text), len(entry.body)), text)
    return b"".join(parts)
