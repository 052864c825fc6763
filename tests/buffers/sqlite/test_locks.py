"""How long the buffer in a file waits for other processes and for its own threads."""

from __future__ import annotations

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from math import nan
from pathlib import Path
from typing import Any

import pytest
from support.clock import Clock
from support.sqlite_buffers import (
    DAY,
    LONG,
    TARGET,
    OpenBuffer,
    Stuck,
    bury,
    bury_entry,
    claim,
    claim_one,
    put,
)
from support.sqlite_files import locked

from amplitude_moloco.buffers.base import BufferState
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.buffers.sqlite.file import SqliteFile
from amplitude_moloco.buffers.sqlite.gate import is_locked
from amplitude_moloco.reasons import DropReason


def test_a_put_waits_only_as_long_as_it_may(path: Path, open_buffer: OpenBuffer) -> None:
    """While another process keeps the lock, each put is refused in time, however many there are."""
    buffer = open_buffer(wait_seconds=0.05, patience_seconds=LONG)

    def timed_put(number: int) -> float:
        start = time.perf_counter()
        assert buffer.put(str(number), "HOME", b"") is DropReason.LOCKED
        return time.perf_counter() - start

    with locked(path), ThreadPoolExecutor(4) as pool:
        times = list(pool.map(timed_put, range(20)))
    assert min(times) >= 0.05
    assert max(times) < LONG / 2
    put(buffer, "a")
    assert claim(buffer) == ["a"]


def test_a_put_gets_through_as_soon_as_it_can(path: Path, open_buffer: OpenBuffer) -> None:
    """A put that waits is stored when the lock comes free in time."""
    buffer = open_buffer(wait_seconds=LONG)
    with ThreadPoolExecutor(1) as pool, locked(path) as db:
        result = pool.submit(buffer.put, "a", "HOME", b"")
        assert not result.done()
        db.execute("COMMIT")
        assert result.result(LONG) is None


def test_a_waiting_thread_lets_other_threads_go_first(path: Path, open_buffer: OpenBuffer) -> None:
    """A claim that waits for another process does not make a put wait longer than it may."""
    buffer = open_buffer(wait_seconds=0.05, patience_seconds=LONG)
    with ThreadPoolExecutor(1) as pool, locked(path) as db:
        claimed = pool.submit(buffer.claim, 9)
        puts = [buffer.put("a", "HOME", b"") for _ in range(3)]
        assert puts == [DropReason.LOCKED] * 3
        db.execute("COMMIT")
        claimed.result(LONG)


def test_no_call_waits_for_ever_for_another_thread(open_buffer: OpenBuffer) -> None:
    """While a thread is stuck in a put, others are refused in time, and close() returns."""
    buffer = open_buffer(wait_seconds=0.01, patience_seconds=0.02)
    stuck: Any = Stuck()
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(buffer.put, stuck, "HOME", b"")
        assert stuck.is_awaited.wait(LONG)
        assert buffer.put("a", "HOME", b"") is DropReason.LOCKED
        with pytest.raises(sqlite3.OperationalError) as caught:
            buffer.claim(1)
        assert is_locked(caught.value)
        assert buffer.close() == []
        stuck.go_on.set()
        assert result.result(LONG) is None
    assert buffer.put("a", "HOME", b"") is DropReason.CLOSED
    assert buffer.close() == []
    assert claim(open_buffer()) == ["stuck"]


def test_the_own_threads_do_not_refuse_an_event(open_buffer: OpenBuffer) -> None:
    """A put waits longer for a slow thread of its own process than for another process."""
    buffer = open_buffer(wait_seconds=0.01)
    stuck: Any = Stuck()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(buffer.put, stuck, "HOME", b"")
        assert stuck.is_awaited.wait(LONG)
        second = pool.submit(buffer.put, "a", "HOME", b"")
        assert wait([second], timeout=0.05).not_done
        stuck.go_on.set()
        assert (first.result(LONG), second.result(LONG)) == (None, None)
    assert claim(buffer) == ["stuck", "a"]


def test_no_event_is_refused_under_load(open_buffer: OpenBuffer) -> None:
    """While many threads settle, and some only use the processor, each put is stored."""
    buffer = open_buffer(wait_seconds=LONG / 2)
    is_over = threading.Event()

    def settle() -> None:
        while not is_over.is_set():
            for entry in buffer.claim(4).entries:
                assert buffer.ack(entry)

    def burn() -> None:
        while not is_over.is_set():
            pass

    with ThreadPoolExecutor(12) as pool:
        works = [pool.submit(work) for work in [settle] * 8 + [burn] * 4]
        refusals = [buffer.put(str(number), "HOME", b"body") for number in range(20)]
        is_over.set()
        for work in works:
            work.result(LONG)
    assert refusals == [None] * 20


def test_reading_keeps_no_put_waiting(open_buffer: OpenBuffer, path: Path) -> None:
    """While one thread reads, another one can put."""
    stuck: Any = Stuck()
    with ThreadPoolExecutor(1) as pool, closing(SqliteFile(path, target=TARGET)) as file:
        file.change("CREATE TEMP TABLE numbers (number)")
        result = pool.submit(file.read, "SELECT ?", (stuck,))
        assert stuck.is_awaited.wait(LONG)
        for number in range(100):  # one of these would check the room, which reads as well
            assert file.store("INSERT INTO numbers VALUES (?)", (number,), 10_000, 0.0) == 1
        stuck.go_on.set()
        assert result.result(LONG) == [("stuck",)]


def test_the_senders_get_the_error_of_a_lock_that_stays(
    path: Path, open_buffer: OpenBuffer, clock: Clock
) -> None:
    """Claims and outcomes wait longer, then raise; the entry comes back when its lease ends."""
    buffer = open_buffer(patience_seconds=0.02)
    put(buffer, "a", "b")
    a, b = buffer.claim(2).entries
    is_reached = buffer.checkpoint()
    with locked(path):
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            buffer.claim(1)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            buffer.retry(a, 0.0, attempts=1)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            bury_entry(buffer, b)
        assert buffer.state() == BufferState(2, 0, 0)
        assert not is_reached()
    assert buffer.claim(9) == ([], 60.0)
    clock.advance(60)
    assert claim(buffer) == ["a", "b"]


def test_an_ack_is_not_forgotten(path: Path, open_buffer: OpenBuffer, clock: Clock) -> None:
    """An ack that failed is made by the next claim, before anything is claimed."""
    buffer = open_buffer(patience_seconds=0.02)
    put(buffer, "a", "b")
    entry = claim_one(buffer)
    with locked(path):
        assert buffer.ack(entry)
        assert buffer.state() == BufferState(1, 0, 0)
    clock.advance(DAY)
    (other,), next_seconds = buffer.claim(9)
    assert (other.id, next_seconds) == ("b", None)
    assert buffer.state() == BufferState(0, 1, 0)


def test_an_ack_is_made_at_the_end_at_the_latest(path: Path, open_buffer: OpenBuffer) -> None:
    """close() makes the acks that failed before."""
    buffer = open_buffer(patience_seconds=0.02)
    put(buffer, "a")
    entry = claim_one(buffer)
    with locked(path):
        assert buffer.ack(entry)
        assert buffer.state() == BufferState(0, 0, 0)
    buffer.close()
    assert open_buffer().state().waiting == 0


def test_close_does_not_wait_for_a_lock(path: Path, open_buffer: OpenBuffer, clock: Clock) -> None:
    """If an ack can't be made at the end, the event comes again when its lease ends."""
    buffer = open_buffer(patience_seconds=0.02)
    put(buffer, "a")
    entry = claim_one(buffer)
    with locked(path):
        assert buffer.ack(entry)
        assert buffer.close() == []
    assert buffer.close() == []
    other = open_buffer()
    assert claim(other) == []
    clock.advance(60)
    assert claim(other) == ["a"]


def test_a_closed_buffer_says_so(open_buffer: OpenBuffer) -> None:
    """After close() nothing can be done any more, and the state is what it was at the end."""
    buffer = open_buffer()
    bury(buffer, "a")
    put(buffer, "b")
    entry = claim_one(buffer)
    is_reached = buffer.checkpoint()
    buffer.close()
    assert buffer.put("c", "HOME", b"") is DropReason.CLOSED
    assert not bury_entry(buffer, entry)
    assert buffer.claim(1) == ([], None)
    assert list(buffer.dead_letters()) == []
    assert buffer.state() == BufferState(0, 1, 1)
    assert is_reached()


def test_calls_that_wait_end_with_the_buffer(path: Path, open_buffer: OpenBuffer) -> None:
    """A put that waits for a lock when the buffer is closed is refused at once."""
    buffer = open_buffer(wait_seconds=LONG, patience_seconds=0.02)
    with locked(path), ThreadPoolExecutor(1) as pool:
        result = pool.submit(buffer.put, "a", "HOME", b"")
        buffer.close()
        assert result.result(LONG) is DropReason.CLOSED


def test_a_put_never_raises(buffer: SqliteBuffer, clock: Clock) -> None:
    """What can't be stored is refused, and harms nothing."""
    assert buffer.put("\udc80", "HOME", b"") is DropReason.UNAVAILABLE
    now = clock.wall()
    clock.set_wall(nan)
    assert buffer.put("a", "HOME", b"") is DropReason.UNAVAILABLE
    clock.set_wall(now)
    put(buffer, "b")
    assert claim(buffer) == ["b"]
