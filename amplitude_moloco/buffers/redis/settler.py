"""Tells Redis what became of claimed entries, in batches."""

from __future__ import annotations

import logging

from amplitude_moloco.buffers.base import Lost
from amplitude_moloco.buffers.redis.desk import Desk
from amplitude_moloco.buffers.redis.faults import RedisAway
from amplitude_moloco.buffers.redis.link import Link
from amplitude_moloco.buffers.redis.outcome import packed
from amplitude_moloco.buffers.redis.scripts import SETTLE

logger = logging.getLogger(__name__)

_BATCH = 250
_MOST_LETTERS = 100_000


class Settler:
    """For one thread at a time. An outcome leaves the desk once Redis has answered.

    Redis may learn it twice, if an answer was lost: the second time changes nothing.

    Args:
        consumer: Names the claims of this process.
        most_letters: How many dead letters Redis keeps. Beyond them, the oldest are forgotten.
    """

    def __init__(
        self, link: Link, desk: Desk, consumer: str, most_letters: int = _MOST_LETTERS
    ) -> None:
        self._most_letters = most_letters
        self._link = link
        self._desk = desk
        self._consumer = consumer
        self._is_repeated = False
        self._gone = 0

    def settle(self) -> None:
        """Tell the outcomes that are there now: what comes meanwhile makes another batch.

        Raises RedisAway.
        """
        left = self._desk.unsettled
        while batch := self._desk.outcomes(min(left, _BATCH)):
            left -= len(batch)
            others, gone = self._tell(packed(batch))
            self._desk.settled(len(batch))
            if not self._is_repeated:
                self._gone += gone
                if others:
                    logger.info("%d claims were another process's when they ended", others)
            self._is_repeated = False

    def _tell(self, outcomes: bytes) -> tuple[int, int]:
        """Returns how many entries were another process's, and how many were gone."""
        try:
            others, gone = self._link.run(SETTLE, [self._consumer, self._most_letters, outcomes])
        except RedisAway as error:
            self._is_repeated = self._is_repeated or error.may_be_done
            raise
        return others, gone

    def take_news(self) -> list[Lost]:
        """Returns what was learned of lost entries since the last call."""
        gone, self._gone = self._gone, 0
        return [Lost(gone, "claimed events were deleted in Redis")] if gone else []
