"""Buffers in Redis whose thread is the test: each step is taken when the test asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from support.clock import Clock
from support.engines import UnstartableThread
from support.redis_server import RedisServer

from amplitude_moloco.buffers.base import (
    BufferState,
    Claim,
    DeadLetter,
    Degraded,
    Entry,
    News,
    Storage,
)
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.buffers.redis.address import parse_address
from amplitude_moloco.buffers.redis.buffer import RedisBuffer
from amplitude_moloco.buffers.redis.reader import RedisReader
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.reasons import DeadLetterReason, DropReason

TARGET = "https://mcm.test|SHOP"


def open_still(
    url: str,
    clock: Clock,
    stage: Storage | None = None,
    kind: type[RedisBuffer] = RedisBuffer,
    *,
    is_real: bool = False,
    **settings: Any,
) -> RedisBuffer:
    """Open a buffer that does something only in its steps, at the time of the test's clock.

    What it stores can have Redis's real time instead.
    """
    address = parse_address(url, {})
    given: dict[str, Any] = {
        "target": TARGET,
        "is_ahead": False,
        "patience_seconds": 0.0,
        "read_seconds": 0.0,
        "clock": None if is_real else clock.wall,
        "monotonic": clock.monotonic,
        "new_thread": UnstartableThread,
        **address.numbers,
        **settings,
    }
    return kind(address, stage or MemoryBuffer(monotonic=clock.monotonic), **given)


class PromptRedisBuffer(RedisBuffer):
    """Takes a step with each call, so that Redis knows at once what the caller does."""

    def tick(self) -> None:
        self.refresh()
        self.step()

    def put(self, id: str, sync: str, body: bytes, lane: str = "") -> DropReason | None:
        refused = super().put(id, sync, body, lane)
        self.tick()
        return refused

    def claim(self, limit: int, newest: int = 0) -> Claim:
        entries = super().claim(limit, newest).entries
        self.tick()
        more, next_seconds = super().claim(min(limit - len(entries), self.ready))
        return Claim(entries + more, next_seconds)

    def ack(self, entry: Entry) -> bool:
        is_ours = super().ack(entry)
        self.tick()
        return is_ours

    def retry(self, entry: Entry, delay_seconds: float, *, attempts: int, strikes: int = 0) -> bool:
        is_ours = super().retry(entry, delay_seconds, attempts=attempts, strikes=strikes)
        self.tick()
        return is_ours

    def bury(
        self, entry: Entry, reason: DeadLetterReason, *, status: int | None, message: str
    ) -> bool:
        is_ours = super().bury(entry, reason, status=status, message=message)
        self.tick()
        return is_ours

    def checkpoint(self) -> Callable[[], bool]:
        self.tick()
        is_reached = super().checkpoint()

        def is_reached_now() -> bool:
            self.tick()
            return is_reached()

        return is_reached_now

    def state(self) -> BufferState:
        self.tick()
        return super().state()

    def oldest_age_seconds(self) -> float | None:
        self.tick()
        return super().oldest_age_seconds()

    def dead_letters(self) -> Iterator[DeadLetter]:
        self.tick()
        return super().dead_letters()

    def resend(self, letter: DeadLetter) -> bool:
        is_there = super().resend(letter)
        self.tick()
        return is_there


def open_redis(
    server: RedisServer, directory: Path, max_events: int, max_bytes: int, clock: Clock
) -> Storage:
    """For the contract of all buffers."""
    bounds: dict[str, Any] = {"max_events": max_events, "max_bytes": max_bytes}
    return open_still(server.url(), clock, kind=PromptRedisBuffer, **bounds)


def carry(buffer: RedisBuffer, clock: Clock) -> None:
    """Let the buffer do all that it can do now: also what it does after a pause."""
    for _ in range(3):
        buffer.refresh()
        buffer.step()
        clock.advance(1)


def ids_of(buffer: RedisBuffer) -> list[str]:
    """Claim all that is due, and give it back as it was."""
    buffer.claim(1000)
    buffer.step()
    entries = buffer.claim(buffer.ready).entries
    for entry in entries:
        buffer.retry(entry, 0.0, attempts=entry.attempts, strikes=entry.strikes)
    buffer.step()
    return [entry.id for entry in entries]


def messages_of(news: list[News]) -> list[str]:
    return [each.message for each in news if isinstance(each, Degraded)]


def stored(url: str) -> int:
    """How many events lie in Redis; -1 if it was too slow to say, on a busy machine."""
    try:
        with closing(RedisReader(parse_address(url, {}))) as reader:
            return reader.contents().waiting
    except ConfigurationError:  # nothing has been stored yet
        return 0
    except OSError:
        return -1
