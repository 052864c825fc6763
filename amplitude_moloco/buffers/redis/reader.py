"""Reads what lies in Redis, and changes its dead letters, for a process that sends nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

from amplitude_moloco.buffers.base import DeadLetter
from amplitude_moloco.buffers.contents import Part
from amplitude_moloco.buffers.redis.address import RedisAddress
from amplitude_moloco.buffers.redis.layout import MICROSECONDS
from amplitude_moloco.buffers.redis.letters import Letters
from amplitude_moloco.buffers.redis.link import Link, connect
from amplitude_moloco.buffers.redis.record import Reading
from amplitude_moloco.buffers.redis.scripts import LOOK, MARKS
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.text import one_line

_TIMEOUT_SECONDS = 5.0


class RedisContents(NamedTuple):
    """What lies in Redis at one moment, of all processes."""

    stored: int
    """Events, claimed ones included."""
    stored_bytes: int
    """The size of their bodies."""
    claimed: int
    """Events on their way, or fetched to be sent soon."""
    retrying: int
    """Events that wait for another attempt."""
    dead: int
    dead_bytes: int
    oldest_age_seconds: float | None
    """The age of the event that was accepted first; None for none."""
    next_seconds: float | None
    """Seconds until something can be claimed; None if nothing waits."""

    @property
    def waiting(self) -> int:
        """The events that are not delivered yet."""
        return self.stored

    @property
    def parts(self) -> tuple[Part, ...]:
        return (
            Part("  in Redis", self.stored, self.stored_bytes),
            Part("  claimed", self.claimed),
            Part("  to be tried again", self.retrying),
        )

    @property
    def caption(self) -> str:
        return ""


class RedisReader:
    """A buffer in Redis, which it only looks at. All methods raise OSError.

    Raises ConfigurationError if there is no buffer with this stream.
    """

    def __init__(self, address: RedisAddress) -> None:
        self.path = str(address)
        self._link = Link(connect(address, _TIMEOUT_SECONDS), address)
        target = self._link.run(MARKS)
        if target is None:
            raise ConfigurationError(
                f"buffer: {one_line(self.path)} holds no buffer; use the stream that the app uses"
            )
        self.target = target.decode(errors="replace")
        self._letters = Letters(self._run)

    def contents(self) -> RedisContents:
        """Returns what lies in Redis now."""
        reading = Reading(*self._link.run(LOOK))
        age = reading.oldest_age
        return RedisContents(
            stored=reading.events,
            stored_bytes=reading.bytes,
            claimed=reading.claimed,
            retrying=reading.later,
            dead=reading.dead,
            dead_bytes=sum(len(each.body) for each in self.letters()),
            oldest_age_seconds=age / MICROSECONDS if age >= 0 else None,
            next_seconds=reading.next_seconds,
        )

    def letters(self) -> Iterator[DeadLetter]:
        """Yields the dead letters that are there now, oldest first, page by page."""
        return self._letters.read()

    def resend(self, letters: Iterable[DeadLetter]) -> int:
        """Turn dead letters into events that are due, with their ids and bodies, accepted now.

        Returns how many of them were still there.
        """
        return self._letters.resend([each.key for each in letters])[0]

    def delete(self, letters: Iterable[DeadLetter]) -> int:
        """Delete dead letters for good. Returns how many of them were still there."""
        return self._letters.delete([each.key for each in letters])

    def changing(self) -> nullcontext[RedisReader]:
        """Returns this reader: it changes letters, too."""
        return nullcontext(self)

    def close(self) -> None:
        self._link.close()

    def _run(self, script: str, arguments: Sequence[Any]) -> Any:
        return self._link.run(script, arguments)
