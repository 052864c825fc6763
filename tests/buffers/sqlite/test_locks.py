"""What happens to events while other processes and threads hold what the buffer needs."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.clock import Clock
from support.sqlite_buffers import LONG, OpenBuffer, bury, bury_entry, claim, claim_one, put
from support.sqlite_files import locked

from amplitude_moloco.buffers.base import BufferState, Degraded
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.reasons import DropReason


def test_a_held_lock_refuses_no_event(path: Path, open_buffer: OpenBuffer, clock: Clock) -> None:
    """While another process keeps the file locked, events are stored, sent and settled as usual."""
    buffer = open_buffer(patience_seconds=0.02)
    with locked(path):
        put(buffer, "a", "b", "c", "d")
        a, b, c = buffer.claim(3).entries
        assert buffer.ack(a)
        assert buffer.retry(b, 5.0, attempts=1)
        assert bury_entry(buffer, c)
        assert buffer.state() == BufferState(2, 0, 1)
        for _ in range(3):
            clock.advance(0.6)
            buffer.tend()
        assert claim(buffer, 1) == ["d"]
    clock.advance(5)
    assert buffer.tend() == []
    assert claim(buffer) == ["b"]
    assert [letter.id for letter in buffer.dead_letters()] == ["c"]


def test_a_lock_that_stays_is_told_once(
    path: Path, open_buffer: OpenBuffer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A lock that is held for more than a second is told, once; its end is logged."""
    buffer = open_buffer(patience_seconds=0.02)
    put(buffer, "a")
    assert bury_entry(buffer, claim_one(buffer))
    news = []
    with locked(path):
        for _ in range(5):
            clock.advance(0.6)
            news += buffer.tend()
    (told,) = news
    assert isinstance(told, Degraded)
    assert "locked" in told.message
    clock.advance(10)
    assert buffer.tend() == []
    assert "can be used again" in caplog.text
    with locked(path):
        clock.advance(1)
        assert buffer.tend() == []  # nothing to write, and not long yet


def test_what_the_app_asks_for_raises_what_a_lock_causes(
    path: Path, open_buffer: OpenBuffer
) -> None:
    """Reading dead letters that must be stored first, and resending, raise that it is locked."""
    buffer = open_buffer(patience_seconds=0.02)
    bury(buffer, "a")
    (letter,) = buffer.dead_letters()
    bury(buffer, "b")
    with locked(path):
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            list(buffer.dead_letters())
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            buffer.resend(letter)
    assert [letter.id for letter in buffer.dead_letters()] == ["a", "b"]


def test_a_file_can_be_opened_while_another_process_writes(
    path: Path, open_buffer: OpenBuffer
) -> None:
    """A lock that is held for a moment keeps no process from starting."""
    open_buffer().close()
    with locked(path):
        buffer = open_buffer(patience_seconds=0.02)
        put(buffer, "a")
        assert claim(buffer) == ["a"]


def test_a_fork_waits_for_no_thread_that_is_stuck(open_buffer: OpenBuffer, clock: Clock) -> None:
    """A thread that does not come back from the file holds up a fork for seconds, not for ever."""
    first = open_buffer()
    put(first, "a")
    first.close()
    is_stuck, go_on, calls = threading.Event(), threading.Event(), []

    def wall() -> float:
        if threading.current_thread().name == "stuck":
            calls.append(1)
            if len(calls) == 2:  # in the transaction
                is_stuck.set()
                assert go_on.wait(LONG)
        return clock.wall()

    buffer = open_buffer(wall=wall, patience_seconds=0.02)
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.extend(claim(buffer)), name="stuck")
    thread.start()
    assert is_stuck.wait(LONG)
    buffer.before_fork()
    buffer.after_fork(is_child=False)
    buffer.after_fork(is_child=False)
    go_on.set()
    thread.join(LONG)
    assert found == ["a"]


def test_a_lock_at_the_end_leaves_the_journal_to_the_next_start(
    path: Path, open_buffer: OpenBuffer
) -> None:
    """If nothing can be moved when the buffer is closed, the next start finds all of it."""
    buffer = open_buffer(patience_seconds=0.02)
    put(buffer, "a", "b", "c")
    a, _b = buffer.claim(2).entries
    assert buffer.ack(a)
    with locked(path):
        assert buffer.close() == []
    assert buffer.close() == []
    assert claim(open_buffer()) == ["b", "c"]


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
    assert buffer.tend() == []
    assert is_reached()


def test_a_put_never_raises(buffer: SqliteBuffer) -> None:
    """What can't be stored is refused, and harms nothing."""
    assert buffer.put("\udc80", "HOME", b"") is DropReason.UNAVAILABLE
    put(buffer, "b")
    assert claim(buffer) == ["b"]


@pytest.mark.parametrize("synchronous", ["FULL", "1s"])
def test_no_event_is_refused_under_load(open_buffer: OpenBuffer, synchronous: str) -> None:
    """While many threads settle, put and tend, and some only use the processor, all goes well."""
    buffer = open_buffer(synchronous=synchronous)
    is_over = threading.Event()
    ended: list[str] = []

    def settle() -> None:
        while not is_over.is_set():
            for entry in buffer.claim(4).entries:
                assert buffer.ack(entry)
                ended.append(entry.id)
            assert buffer.tend() == []

    def burn() -> None:
        while not is_over.is_set():
            pass

    def put_some(number: int) -> list[DropReason | None]:
        return [buffer.put(f"{number}-{each}", "HOME", b"body") for each in range(20)]

    with ThreadPoolExecutor(12) as pool:
        works = [pool.submit(work) for work in [settle] * 4 + [burn] * 2]
        refusals = [each for puts in pool.map(put_some, range(4)) for each in puts]
        while buffer.state() != BufferState(0, 0, 0):
            pass
        is_over.set()
        for work in works:
            work.result(LONG)
    assert refusals == [None] * 80
    assert len(ended) == len(set(ended)) == 80
