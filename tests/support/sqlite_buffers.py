"""What the tests of the buffer in a file do with it."""

from __future__ import annotations

import threading
from typing import Any, Protocol

from amplitude_moloco.buffers.base import Entry
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.reasons import DeadLetterReason

DAY = 24 * 3600.0
LONG = 60.0
"""Seconds after which a wait in a test has failed."""
TARGET = "https://mcm.test|SHOP"


class OpenBuffer(Protocol):
    """The fixture open_buffer."""

    def __call__(self, **settings: Any) -> SqliteBuffer: ...


def put(buffer: SqliteBuffer, *ids: str, body: bytes = b"body") -> None:
    for id in ids:
        assert buffer.put(id, "HOME", body) is None


def claim(buffer: SqliteBuffer, limit: int = 1000) -> list[str]:
    return [entry.id for entry in buffer.claim(limit).entries]


def claim_one(buffer: SqliteBuffer) -> Entry:
    (entry,) = buffer.claim(1).entries
    return entry


def bury_entry(
    buffer: SqliteBuffer, entry: Entry, reason: DeadLetterReason = DeadLetterReason.REJECTED
) -> bool:
    return buffer.bury(entry, reason, status=400, message="no")


def bury(buffer: SqliteBuffer, *ids: str, body: bytes = b"body") -> None:
    put(buffer, *ids, body=body)
    for entry in buffer.claim(len(ids)).entries:
        assert bury_entry(buffer, entry)


def dead(buffer: SqliteBuffer) -> list[str]:
    return [letter.id for letter in buffer.dead_letters()]


def resend_all(buffer: SqliteBuffer) -> int:
    """How many of the dead letters are resent."""
    return sum(map(buffer.resend, list(buffer.dead_letters())))


class Stuck:
    """An id that SQLite gets only when the test lets it go on."""

    def __init__(self) -> None:
        self.is_awaited, self.go_on = threading.Event(), threading.Event()

    def __conform__(self, protocol: object) -> str:
        self.is_awaited.set()
        assert self.go_on.wait(LONG)
        return "stuck"
