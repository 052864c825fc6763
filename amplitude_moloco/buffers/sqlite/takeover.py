"""Takes over what a dead process has left: its journal, and its claims in the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from amplitude_moloco.buffers.base import Lost
from amplitude_moloco.buffers.sqlite.journal import tokens_beside
from amplitude_moloco.buffers.sqlite.mover import Watermark, unpacked
from amplitude_moloco.buffers.sqlite.owner import Owner, published
from amplitude_moloco.buffers.sqlite.record import body_size, number_of
from amplitude_moloco.buffers.sqlite.remains import Remains
from amplitude_moloco.buffers.sqlite.schema import EVENT_COLUMNS, insert
from amplitude_moloco.buffers.sqlite.store import Store

_CHUNK = 1000
_MOST_CHUNKS = 20
"""The numbers that are left are written with each chunk, so there are not many of them."""
_WAIT_SECONDS = 1.0


def take_over_dead(file: Path, store: Store, own_token: str) -> Iterator[Lost]:
    """Move what dead processes have left into the store, and yield what can't be read.

    Raises sqlite3.Error and OSError; what was not moved is left for the next time.
    """
    owners = {
        owner
        for (owner,) in store.read("SELECT DISTINCT owner FROM events WHERE owner IS NOT NULL")
    }
    tokens = tokens_beside(file) - {own_token}
    for token in sorted(tokens):
        with suppress(BlockingIOError, FileNotFoundError):
            dead = Owner(file, token)
            try:
                yield from _take_over(file, store, token)
            except BaseException:
                dead.release()
                raise
            dead.release(is_done=True)
            _forget(store, token)
    for token in sorted(owners - tokens - {own_token}):  # their lock is gone, too
        _release_claims(store, token)


def waiting_in_journals(file: Path, store: Store, own_token: str) -> int:
    """Returns how many events lie in the journals of all other processes."""
    count = 0
    for token in tokens_beside(file) - {own_token}:
        left = Remains(file, token).left()
        count += len(_not_moved(store, token, left))
    return count


def journal_sizes(file: Path, own_token: str) -> tuple[int, int]:
    """Returns how many events, and bytes, all other processes' journals hold, as published."""
    sizes = [published(file, token) for token in tokens_beside(file) - {own_token}]
    return sum(events for events, _ in sizes), sum(size for _, size in sizes)


def _take_over(file: Path, store: Store, token: str) -> Iterator[Lost]:
    remains = Remains(file, token)
    left = _not_moved(store, token, remains.left())
    missing = _not_moved(store, token, remains.missing())
    last = max(left, default=0)
    frames = remains.frames(left)
    size = max(_CHUNK, len(left) // _MOST_CHUNKS)
    while chunk := list(islice(frames, size)):
        left -= set(map(number_of, chunk))
        still_open = sorted(left)
        with store.transaction(_WAIT_SECONDS) as db:
            here = Watermark(db, token)
            rows = [
                (0.0, None, 0, 0, body_size(frame), frame)
                for frame in chunk
                if not here.has(number_of(frame))
            ]
            insert(db, "events", EVENT_COLUMNS, rows)
            here.advance(last, lambda until, still=still_open: still)  # type: ignore[misc]
    with store.transaction(_WAIT_SECONDS) as db:
        for row in remains.rows_done:
            db.execute("DELETE FROM events WHERE key = ? AND owner = ?", (row, token))
        for number in remains.letters_done:
            db.execute("DELETE FROM letters WHERE number = ?", (number,))
    _release_claims(store, token)
    remains.delete()
    for number in sorted(missing):
        yield Lost(1, "a record of the journal was damaged", number=number)
    if remains.damaged and not missing:
        yield Lost(1, "the end of the journal was damaged")


def _not_moved(store: Store, token: str, numbers: set[int]) -> set[int]:
    for moved, packed in store.read("SELECT moved, open FROM journals WHERE token = ?", (token,)):
        still_open = set(unpacked(packed))
        return {number for number in numbers if number > moved or number in still_open}
    return numbers


def _release_claims(store: Store, token: str) -> None:
    with store.transaction(_WAIT_SECONDS) as db:
        db.execute("UPDATE events SET owner = NULL WHERE owner = ?", (token,))


def _forget(store: Store, token: str) -> None:
    with suppress(sqlite3.Error), store.transaction(_WAIT_SECONDS) as db:
        db.execute("DELETE FROM journals WHERE token = ?", (token,))
