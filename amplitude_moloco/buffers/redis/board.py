"""Where the processes that share a buffer in Redis agree on something."""

from __future__ import annotations

from math import inf

from amplitude_moloco.buffers.base import Agreement, Member
from amplitude_moloco.buffers.redis.layout import MICROSECONDS
from amplitude_moloco.buffers.redis.link import Link
from amplitude_moloco.buffers.redis.scripts import AGREE


class Board:
    """Calls this process's member when it is due. For one thread at a time."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.member: Member | None = None

    def due_in(self) -> float:
        """Returns the seconds until the member is due; infinity for never. For any thread."""
        return inf if self.member is None else self.member.due_in()

    def step(self) -> None:
        """Let the member agree with the others, if it is due. Raises RedisAway."""
        if self.member is not None and self.member.due_in() <= 0:
            self.member.meet(self._exchange)

    def _exchange(self, version: int, text: bytes) -> Agreement:
        found = self._link.run(AGREE, [version, text])
        return Agreement(found[0], found[1], found[2] / MICROSECONDS, bool(found[3]))
