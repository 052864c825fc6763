"""Acks of several threads are made together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from support.clock import Clock
from support.sqlite_buffers import DAY, LONG, TARGET, OpenBuffer, claim_one, put
from support.sqlite_files import locked

from amplitude_moloco.buffers.base import BufferState, Entry
from amplitude_moloco.buffers.sqlite.acks import Acks, ClaimKey
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.buffers.sqlite.file import SqliteFile


class WatchedFile(SqliteFile):
    """Shows when a thread wants its turn, and counts the changes."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, target=TARGET, patience_seconds=LONG)
        self.is_wanted = threading.Event()
        self.statements = 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        self.is_wanted.set()
        with super().turn():
            yield

    def change(self, statement: str, values: Any = ()) -> int | None:
        self.statements += 1
        return super().change(statement, values)


@pytest.fixture
def file(path: Path) -> Iterator[WatchedFile]:
    with closing(WatchedFile(path)) as file:
        yield file


def claimed(buffer: SqliteBuffer, count: int) -> list[Entry]:
    """Puts new entries, and claims them in two claims."""
    put(buffer, *map(str, range(count)))
    return buffer.claim(count // 2).entries + buffer.claim(count).entries


def claim_key(entry: Entry) -> ClaimKey:
    return cast("ClaimKey", entry.key)


def make_together(file: WatchedFile, entries: list[Entry]) -> tuple[Acks, list[bool]]:
    """One thread waits for its turn with the first ack; meanwhile the others are added."""
    acks = Acks(file)
    first, *others = map(claim_key, entries)
    with ThreadPoolExecutor(1) as pool:
        with file.turn():
            file.is_wanted.clear()
            result = pool.submit(acks.add, first)
            assert file.is_wanted.wait(LONG)
            returned = [acks.add(each) for each in others]
            assert file.statements == 0
            assert len(acks) == len(entries)
        return acks, [result.result(LONG), *returned]


def test_a_waiting_thread_makes_the_acks_of_all(
    buffer: SqliteBuffer, file: WatchedFile, open_buffer: OpenBuffer
) -> None:
    """While one thread waits for its turn, others leave it their acks, and continue at once."""
    acks, returned = make_together(file, claimed(buffer, 5))
    assert returned == [True] * 5
    assert (file.statements, len(acks)) == (1, 0)
    assert open_buffer().state() == BufferState(0, 0, 0)


def test_an_ack_counts_for_its_own_claim_alone(
    buffer: SqliteBuffer, file: WatchedFile, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """Among many acks, that of a lost claim changes nothing."""
    entries = claimed(buffer, 5)
    clock.advance(60)
    heir = claim_one(buffer)
    acks, _ = make_together(file, entries)
    assert (file.statements, len(acks)) == (1, 0)
    assert open_buffer().state() == BufferState(1, 0, 0)
    assert buffer.ack(heir)
    assert open_buffer().state() == BufferState(0, 0, 0)


def test_acks_of_lost_claims_alone_return_false(
    buffer: SqliteBuffer, file: WatchedFile, clock: Clock
) -> None:
    """If all claims are lost, the thread that makes the acks gets False."""
    entries = claimed(buffer, 2)
    clock.advance(60)
    assert len(buffer.claim(2).entries) == 2
    assert make_together(file, entries)[1][0] is False


def test_an_ack_that_was_made_meanwhile_is_not_made_again(
    buffer: SqliteBuffer, file: WatchedFile
) -> None:
    """A thread whose ack another one has made meanwhile continues."""
    acks = Acks(file)
    (entry,) = claimed(buffer, 1)
    with ThreadPoolExecutor(1) as pool:
        with file.turn():
            file.is_wanted.clear()
            result = pool.submit(acks.add, claim_key(entry))
            assert file.is_wanted.wait(LONG)
            assert acks.make() == 1
        assert result.result(LONG)
    assert file.statements == 1


def test_many_acks_are_made_in_several_statements(
    buffer: SqliteBuffer, file: WatchedFile, open_buffer: OpenBuffer
) -> None:
    """However many acks there are, no statement has more than 64."""
    acks, _ = make_together(file, claimed(buffer, 150))
    assert (file.statements, len(acks)) == (3, 0)
    assert open_buffer().state() == BufferState(0, 0, 0)


def test_acks_that_fail_together_are_kept(
    path: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """If another process has the lock, the next claim makes all acks."""
    buffer = open_buffer(patience_seconds=0.02)
    entries = claimed(buffer, 9)
    with locked(path), ThreadPoolExecutor(9) as pool:
        assert all(pool.map(buffer.ack, entries))
    clock.advance(60)
    assert buffer.claim(9) == ([], None)
    assert buffer.state() == BufferState(0, 0, 0)


def test_each_event_of_many_threads_is_acknowledged(buffer: SqliteBuffer, clock: Clock) -> None:
    """However the acks of many threads meet, none is forgotten."""
    put(buffer, *map(str, range(400)))

    def send(number: int) -> list[bool]:
        return [buffer.ack(entry) for _ in range(25) for entry in buffer.claim(2).entries]

    with ThreadPoolExecutor(8) as pool:
        returned = [is_acked for each in pool.map(send, range(8)) for is_acked in each]
    assert returned == [True] * 400
    assert buffer.state() == BufferState(0, 0, 0)
    clock.advance(365 * DAY)
    assert buffer.claim(1) == ([], None)
