"""Acks that come together are made together."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from amplitude_moloco.buffers.base import Entry
from amplitude_moloco.buffers.sqlite.acks import Acks
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.buffers.sqlite.file import SqliteFile

NOW = 1_700_000_000.0
LONG = 20.0
"""Seconds after which a wait in a test has failed."""


class WatchedFile(SqliteFile):
    """Tells when somebody wants its turn, and what is changed."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, target="t", patience_seconds=LONG)
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
def path(tmp_path: Path) -> Path:
    return tmp_path / "buffer.db"


@pytest.fixture
def buffer(path: Path) -> Iterator[SqliteBuffer]:
    """Claims what the test acknowledges."""
    with closing(SqliteBuffer(path, target="t")) as buffer:
        yield buffer


@pytest.fixture
def file(path: Path) -> Iterator[WatchedFile]:
    with closing(WatchedFile(path)) as file:
        yield file


def claimed(buffer: SqliteBuffer, count: int) -> list[Entry]:
    """So many new entries, of two claims."""
    for number in range(count):
        assert buffer.put(str(number), "HOME", b"body", NOW) is None
    return buffer.claim(count // 2, NOW) + buffer.claim(count, NOW)


def make_together(file: WatchedFile, entries: list[Entry]) -> tuple[Acks, list[bool]]:
    """One thread waits for its turn with the first one; meanwhile the others come."""
    acks = Acks(file)
    first, *others = [(entry.key, entry.token) for entry in entries]
    with ThreadPoolExecutor(1) as pool:
        with file.turn():
            file.is_wanted.clear()
            result = pool.submit(acks.add, first)
            assert file.is_wanted.wait(LONG)
            told = [acks.add(each) for each in others]
            assert file.statements == 0
            assert len(acks) == len(entries)
        return acks, [result.result(LONG), *told]


def test_who_waits_makes_the_acks_of_all(buffer: SqliteBuffer, file: WatchedFile) -> None:
    """While one thread waits for its turn, others leave it their acks, and go on at once."""
    acks, told = make_together(file, claimed(buffer, 5))
    assert told == [True] * 5
    assert (file.statements, len(acks)) == (1, 0)
    assert file.read("SELECT count(*) FROM claimed") == [(0,)]


def test_an_ack_counts_for_its_own_claim_alone(buffer: SqliteBuffer, file: WatchedFile) -> None:
    """Among many acks, that of a claim that is lost changes nothing."""
    entries = claimed(buffer, 5)
    (heir,) = buffer.claim(1, NOW + 60)
    acks, _ = make_together(file, entries)
    assert (file.statements, len(acks)) == (1, 0)
    assert file.read("SELECT key FROM claimed") == [(heir.key,)]
    assert buffer.ack(heir)


def test_who_made_no_ack_good_is_told(buffer: SqliteBuffer, file: WatchedFile) -> None:
    """Where all claims are lost, the one that makes the acks is told so."""
    entries = claimed(buffer, 2)
    assert len(buffer.claim(2, NOW + 60)) == 2
    assert make_together(file, entries)[1][0] is False


def test_who_finds_its_ack_made_goes_on(buffer: SqliteBuffer, file: WatchedFile) -> None:
    """An ack that another thread has made meanwhile is not made again."""
    acks = Acks(file)
    (entry,) = claimed(buffer, 1)
    with ThreadPoolExecutor(1) as pool:
        with file.turn():
            file.is_wanted.clear()
            result = pool.submit(acks.add, (entry.key, entry.token))
            assert file.is_wanted.wait(LONG)
            assert acks.make() == 1
        assert result.result(LONG)
    assert file.statements == 1


def test_many_acks_are_made_some_at_a_time(buffer: SqliteBuffer, file: WatchedFile) -> None:
    """However many acks have come together, no statement has more than 64."""
    acks, _ = make_together(file, claimed(buffer, 150))
    assert (file.statements, len(acks)) == (3, 0)
    assert file.read("SELECT count(*) FROM claimed") == [(0,)]


def test_acks_that_fail_together_are_kept(path: Path) -> None:
    """Where another process has the lock, all are made by the next claim."""
    with closing(SqliteBuffer(path, target="t", patience_seconds=0.02)) as buffer:
        entries = claimed(buffer, 9)
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            with ThreadPoolExecutor(9) as pool:
                assert all(pool.map(buffer.ack, entries))
        assert buffer.claim(9, NOW + 60) == []
        assert buffer.state()[:2] == (0, 0)


def test_each_event_of_many_threads_is_acknowledged(buffer: SqliteBuffer) -> None:
    """However the acks of many threads meet, none is forgotten."""
    for number in range(400):
        assert buffer.put(str(number), "HOME", b"body", NOW) is None

    def send(number: int) -> list[bool]:
        return [buffer.ack(entry) for _ in range(25) for entry in buffer.claim(2, NOW)]

    with ThreadPoolExecutor(8) as pool:
        told = [is_acked for each in pool.map(send, range(8)) for is_acked in each]
    assert told == [True] * 400
    assert buffer.state()[:2] == (0, 0)
    assert buffer.claim(1, NOW + 1e9) == []
