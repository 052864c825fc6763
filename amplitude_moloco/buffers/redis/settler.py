"""Tells Redis what became of claimed entries, in batches."""

from __future__ import annotations

import logging
import struct
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, TypeVar

from amplitude_moloco.buffers.base import Lost
from amplitude_moloco.buffers.redis.desk import Burial, Desk, Return
from amplitude_moloco.buffers.redis.faults import RedisAway
from amplitude_moloco.buffers.redis.layout import MICROSECONDS
from amplitude_moloco.buffers.redis.link import Argument, Link
from amplitude_moloco.buffers.redis.record import Record, to_bytes
from amplitude_moloco.buffers.redis.scripts import ACK, BURY, RETURN

logger = logging.getLogger(__name__)
T = TypeVar("T")

_ACK = struct.Struct(">BBdI")
_BATCH = 100
_MOST_LETTERS = 100_000
_GONE = -1


class Settler:
    """For one thread at a time. An outcome leaves the desk once Redis has answered.

    Redis may learn it twice, if an answer was lost: the second time changes nothing.
    """

    def __init__(self, link: Link, desk: Desk, consumer: str) -> None:
        self._link = link
        self._desk = desk
        self._consumer = consumer
        self._is_repeated = False
        self._gone = 0

    def settle(self) -> None:
        """Tell all outcomes that are there. Raises RedisAway."""
        desk = self._desk
        try:
            self._tell(desk.acks, self._ack)
            self._tell(desk.returns, self._return)
            self._tell(desk.burials, self._bury)
        except RedisAway as error:
            self._is_repeated = self._is_repeated or error.may_be_done
            raise
        self._is_repeated = False

    def take_news(self) -> list[Lost]:
        """Returns what was learned of lost entries since the last call."""
        gone, self._gone = self._gone, 0
        return [Lost(gone, "claimed events were deleted in Redis")] if gone else []

    def _tell(self, outcomes: deque[T], tell: Callable[[Sequence[T]], Sequence[int]]) -> None:
        while batch := list(islice(outcomes, _BATCH)):
            done = tell(batch)
            for _ in batch:
                outcomes.popleft()
            if not self._is_repeated:
                self._gone += sum(each == _GONE for each in done)
                others = sum(not each for each in done)
                if others:
                    logger.info("%d claims were another process's when they ended", others)
            self._is_repeated = False

    def _ack(self, batch: Sequence[Record]) -> Sequence[int]:
        parts: list[bytes] = []
        for each in batch:
            head = _ACK.pack(each.stream, len(each.place), each.number, len(each.body))
            parts += (head, each.place)
        return self._answers(self._link.run(ACK, [self._consumer, b"".join(parts)]))

    def _return(self, batch: Sequence[Return]) -> Sequence[int]:
        arguments: list[Argument] = [self._consumer]
        for record, delay_seconds, attempts, strikes in batch:
            delay = round(delay_seconds * MICROSECONDS)
            arguments += [record.stream, record.place, delay, attempts, strikes]
        return self._answers(self._link.run(RETURN, arguments))

    def _bury(self, batch: Sequence[Burial]) -> Sequence[int]:
        arguments: list[Argument] = [self._consumer, _MOST_LETTERS]
        for record, attempts, reason, status, message in batch:
            how = str(reason), "" if status is None else status, to_bytes(message)
            arguments += [record.stream, record.place, attempts, *how]
        return self._answers(self._link.run(BURY, arguments))

    def _answers(self, done: Any) -> Sequence[int]:
        return [int(each) for each in done]
