"""A process that delivers nothing: it stores events, and gives them to other processes."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.engines import (
    LONG,
    SERVER,
    Bench,
    Gate,
    UnstartableThread,
    closing,
    is_lawful,
    senders,
)
from support.relays import until

from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.engine.handover import Handover
from amplitude_moloco.engine.runtime import Runtime
from amplitude_moloco.reasons import DeadLetterReason, DropReason

WAITING: dict[str, Any] = {"flush_queue_size": 1000, "flush_interval_millis": 1_000_000}


class Sharing(MemoryBuffer):
    """Looks like a durable buffer, and shares only if the test lets it."""

    is_durable = True

    def __init__(self) -> None:
        super().__init__()
        self.can_share = threading.Event()
        self.asked = threading.Semaphore(0)

    def share(self) -> bool:
        self.asked.release()
        return self.can_share.is_set()


def test_nothing_is_sent_and_no_sender_starts(tmp_path: Path) -> None:
    """One thread looks after the buffer; there is none that sends, and no request."""
    buffer = SqliteBuffer(tmp_path / "buffer.db", target="t")
    with closing(Bench(Gate(), buffer=buffer, delivers=False)) as bench:
        bench.engine.start()
        bench.put("a", "b")
        bench.engine.flush().result(LONG)
        assert senders() == []
        assert [each.name for each in threading.enumerate() if SERVER in each.name] == [
            f"{SERVER}-storer"
        ]
    assert bench.gate.sent == []


def test_a_flush_ends_when_another_process_finds_all(tmp_path: Path) -> None:
    """What was put before a flush lies in the shared file once the flush is done."""
    path = tmp_path / "buffer.db"
    bench = Bench(Gate(), buffer=SqliteBuffer(path, target="t"), delivers=False, **WAITING)
    with closing(bench):
        bench.put(*map(str, range(100)))
        stats = bench.engine.flush().result(LONG)
        assert (stats.accepted, stats.handed_on, stats.buffered) == (100, 100, 0)
        other = SqliteBuffer(path, target="t")
        assert len(other.claim(1000).entries) == 100
        other.close()


def test_what_is_put_is_handed_over_after_the_interval(tmp_path: Path) -> None:
    """Without any flush another process finds an event a little later."""
    path = tmp_path / "buffer.db"
    other = SqliteBuffer(path, target="t")
    bench = Bench(Gate(), buffer=SqliteBuffer(path, target="t"), delivers=False)
    with closing(bench):
        bench.put("a")
        until(lambda: bool(other.claim(10).entries))
    other.close()


def test_the_end_hands_over_what_is_left(tmp_path: Path) -> None:
    """close() needs no time for it: all that was put lies in the shared file."""
    path = tmp_path / "buffer.db"
    bench = Bench(Gate(), buffer=SqliteBuffer(path, target="t"), delivers=False, **WAITING)
    bench.put(*map(str, range(50)))
    bench.engine.close(LONG)
    heir = SqliteBuffer(path, target="t")
    assert heir.state().waiting == 50
    heir.close()
    stats = bench.engine.stats()
    assert stats.handed_on == 50
    assert is_lawful(stats)


def test_a_handover_that_fails_is_tried_again() -> None:
    """While the file can't be written a flush waits, and it is done once that works."""
    buffer = Sharing()
    with closing(Bench(Gate(), buffer=buffer, delivers=False)) as bench:
        bench.put("a")
        future = bench.engine.flush()
        for _ in range(2):
            assert buffer.asked.acquire(timeout=LONG)
        assert not future.done()
        buffer.can_share.set()
        future.result(LONG)


def test_the_end_waits_for_no_handover_that_fails() -> None:
    """close() ends although the file can't be written: the journal keeps what is in it."""
    buffer = Sharing()
    bench = Bench(Gate(), buffer=buffer, delivers=False)
    bench.put("a")
    bench.engine.close(LONG)
    assert is_lawful(bench.engine.stats())


def test_without_any_thread_the_end_hands_over(tmp_path: Path) -> None:
    """Where no thread can be started close() does the work in its own."""
    path = tmp_path / "buffer.db"
    buffer = SqliteBuffer(path, target="t")
    runtime = Runtime(new_thread=UnstartableThread)
    bench = Bench(Gate(), buffer=buffer, delivers=False, runtime=runtime)
    bench.put("a")
    bench.engine.close(LONG)
    heir = SqliteBuffer(path, target="t")
    assert heir.state().waiting == 1
    heir.close()


def test_a_dead_letter_that_is_resent_is_handed_over(tmp_path: Path) -> None:
    """A process that does not deliver can have dead letters sent again by another one."""
    path = tmp_path / "buffer.db"
    other = SqliteBuffer(path, target="t")
    other.put("a", "HOME", b"a")
    (entry,) = other.claim(1).entries
    assert other.bury(entry, DeadLetterReason.REJECTED, status=400, message="no")
    other.close()
    with closing(Bench(Gate(), buffer=SqliteBuffer(path, target="t"), delivers=False)) as bench:
        assert bench.engine.resend() == 1
        bench.engine.flush().result(LONG)
        other = SqliteBuffer(path, target="t")
        assert [entry.id for entry in other.claim(10).entries] == ["a"]
        other.close()


def test_a_buffer_in_memory_is_shared_with_none() -> None:
    """Where a forked process can't open its file events wait in memory, and are told at the end."""
    bench = Bench(Gate(), buffer=MemoryBuffer(), delivers=False)
    bench.put("a", "b")
    bench.engine.flush().result(LONG)
    assert bench.engine.stats().buffered == 2
    bench.engine.close(LONG)
    stats = bench.engine.stats()
    assert stats.dropped == {DropReason.SHUTDOWN: 2}
    assert is_lawful(stats)


def test_the_status_says_that_another_process_sends(tmp_path: Path) -> None:
    """A health check sees what waits, and that this process does not send it."""
    buffer = SqliteBuffer(tmp_path / "buffer.db", target="t")
    with closing(Bench(Gate(), buffer=buffer, delivers=False)) as bench:
        bench.put("a")
        bench.engine.flush().result(LONG)
        bench.engine.start()
        status = bench.engine.status()
        assert (status.delivers, status.waiting, status.on_their_way) == (False, 1, 0)
    with closing(Bench(Gate())) as bench:
        assert bench.engine.status().delivers


def test_the_totals_at_the_end_are_what_was_stored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The last line of the log says how many events were handed on, and is debug if all is well."""
    caplog.set_level(logging.DEBUG, "amplitude_moloco.engine.reporter")
    buffer = SqliteBuffer(tmp_path / "buffer.db", target="t")
    bench = Bench(Gate(), buffer=buffer, delivers=False)
    bench.put("a", "b", "c")
    bench.engine.close(LONG)
    (line,) = (each for each in caplog.records if each.name.endswith("reporter"))
    assert line.getMessage() == f"Events of this process for {SERVER}: 3 handed on"
    assert line.levelno == logging.DEBUG


def test_an_event_during_a_handover_belongs_to_the_next() -> None:
    """A checkpoint taken while one is under way is reached by the next one."""
    checkpoints = []

    class Busy(MemoryBuffer):
        """An event comes while it shares."""

        def share(self) -> bool:
            checkpoints.append(handover.checkpoint())
            return True

    handover = Handover(Busy())
    handover.claim(is_closing=False, is_flushing=True)
    assert not checkpoints[0]()
    handover.claim(is_closing=False, is_flushing=True)
    assert checkpoints[0]()


@pytest.mark.parametrize("order", [[False, True], [True, False]], ids=["before", "after"])
def test_another_engine_of_the_process_sends_what_this_one_stores(
    tmp_path: Path, order: list[bool]
) -> None:
    """Whichever of two engines on one file is opened first, the one that delivers watches it."""
    path, runtime = tmp_path / "buffer.db", Runtime(idle_seconds=0.02)
    with ExitStack() as stack:
        benches: dict[bool, Bench] = {}
        for delivers in order:
            buffer = SqliteBuffer(path, target="t")
            bench = Bench(Gate(), buffer=buffer, delivers=delivers, runtime=runtime)
            benches[delivers] = stack.enter_context(closing(bench))
            bench.engine.start()
            bench.put("own")
            bench.engine.flush().result(LONG)  # it is tended from now on
        for number in range(1, 4):
            benches[False].put("other's")
            benches[True].wait_for_delivered(2 + number)
