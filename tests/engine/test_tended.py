"""A buffer that needs care: it is tended all the time, and what happens to it is told."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import ExitStack
from math import inf
from pathlib import Path

import pytest
from support.clock import Clock
from support.engines import LONG, Bench, Gate, closing, is_lawful, senders
from support.waiting import await_that

from amplitude_moloco.buffers.base import Degraded, Entry, Lost, News
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.engine.ledger import Ledger
from amplitude_moloco.engine.runtime import Runtime
from amplitude_moloco.engine.tending import Tending
from amplitude_moloco.reasons import DropReason


class Tended(MemoryBuffer):
    """A buffer in memory that passes for a durable one, with news and needs of its own."""

    is_durable = True
    tend_seconds = 0.1

    def __init__(self) -> None:
        super().__init__()
        self.news: list[News] = []
        self.tendings = threading.Semaphore(0)

    def tend(self) -> list[News]:
        self.tendings.release()
        news, self.news = self.news, []
        return news

    def wait_for_tendings(self, count: int) -> None:
        for _ in range(count):
            assert self.tendings.acquire(timeout=LONG)


class Resting(Tended):
    """One that needs no care while another of this process watches its file."""

    may_rest = True


@pytest.fixture(params=[False, True], ids=["threads", "loop"])
def is_concurrent(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_a_process_that_never_tracks_tends_its_buffer(*, is_concurrent: bool) -> None:
    """From its start on an engine tends a durable buffer, again and again, without any event."""
    buffer = Tended()
    with closing(Bench(Gate(), buffer=buffer, is_concurrent=is_concurrent)) as bench:
        bench.engine.start()
        buffer.wait_for_tendings(3)


def test_a_buffer_is_tended_while_all_senders_wait(*, is_concurrent: bool) -> None:
    """While no answer comes, and as many requests are on their way as may be, it is tended."""
    buffer, gate = Tended(), Gate()
    gate.open.clear()
    bench = Bench(gate, buffer=buffer, is_concurrent=is_concurrent, connections=1)
    with closing(bench):
        bench.put("a", "b")
        gate.wait_for(1)
        while buffer.tendings.acquire(blocking=False):
            pass
        buffer.wait_for_tendings(3)


def test_a_buffer_that_rests_is_never_due() -> None:
    """A buffer that rests is not tended, however late it is, until it needs care again."""
    clock, buffer = Clock(), Resting()
    tending = Tending(buffer, Ledger(), clock.monotonic)
    clock.advance(10)
    assert (tending.begin_in(), tending.is_needed) == (inf, False)
    buffer.may_rest = False
    assert (tending.begin_in(), tending.is_needed) == (0, True)
    assert tending.begin_in() == pytest.approx(buffer.tend_seconds)


def test_what_happens_to_a_buffer_is_told_and_counted() -> None:
    """Hooks get what the buffer tells; lost events are counted apart from the law."""
    buffer = Tended()
    news: list[News] = [Lost(3, "damaged"), Degraded("no room"), Lost(1, "damaged", number=7)]
    buffer.news = list(news)
    with closing(Bench(Gate(), buffer=buffer)) as bench:
        bench.engine.start()
        bench.wait_for_fact(Degraded)
        bench.put("a")
        bench.wait_for_delivered(1)
        assert bench.facts[:3] == news
        assert bench.engine.stats().lost == 4
        assert is_lawful(bench.engine.stats())


def test_what_a_durable_buffer_cannot_keep_is_told_at_the_end() -> None:
    """Events that close() could not keep, in flight or waiting, are dropped, and the law holds."""
    gate = Gate()
    gate.open.clear()
    bench = Bench(gate, buffer=Tended(), connections=1)
    bench.put("a", "b", "c")
    gate.wait_for(1)
    bench.engine.close(0)
    stats = bench.engine.stats()
    assert stats.dropped == {"shutdown": 3}
    assert is_lawful(stats)
    gate.open.set()


@pytest.mark.parametrize("make_buffer", [Tended, MemoryBuffer])
def test_a_service_has_a_pulse(make_buffer: type[MemoryBuffer], *, is_concurrent: bool) -> None:
    """From its start on the senders beat, whether the buffer needs care or not."""
    beats = threading.Semaphore(0)
    bench = Bench(
        Gate(),
        buffer=make_buffer(),
        is_concurrent=is_concurrent,
        heartbeat=beats.release,
        heartbeat_seconds=0.01,
    )
    with closing(bench):
        bench.engine.start()
        for _ in range(3):
            assert beats.acquire(timeout=LONG)


def test_a_service_has_a_pulse_while_all_senders_wait(*, is_concurrent: bool) -> None:
    """While no answer comes, and as many requests are on their way as may be, the senders beat."""
    beats, gate = threading.Semaphore(0), Gate()
    gate.open.clear()
    bench = Bench(
        gate,
        is_concurrent=is_concurrent,
        connections=1,
        heartbeat=beats.release,
        heartbeat_seconds=0.01,
    )
    with closing(bench):
        bench.put("a", "b")
        gate.wait_for(1)
        while beats.acquire(blocking=False):
            pass
        for _ in range(3):
            assert beats.acquire(timeout=LONG)


def test_a_service_leaves_what_waits_whatever_the_buffer_says(tmp_path: Path) -> None:
    """An engine that may not drain sends nothing more at the end, despite drain_at_exit."""
    path = tmp_path / "buffer.db"
    buffer = SqliteBuffer(path, target="t", drain_at_exit=True)
    bench = Bench(
        Gate(),
        buffer=buffer,
        may_drain=False,
        flush_queue_size=1000,
        flush_interval_millis=1_000_000,
    )
    bench.put(*map(str, range(50)))
    bench.engine.close(LONG)
    heir = SqliteBuffer(path, target="t")
    assert heir.state().waiting == 50 - len(bench.gate.sent)
    heir.close()


def test_a_service_returns_what_is_claimed_and_not_sent(
    tmp_path: Path, *, is_concurrent: bool
) -> None:
    """At the end only the requests on their way are waited for; the rest is given back."""
    path, gate = tmp_path / "buffer.db", Gate()
    gate.open.clear()
    buffer = SqliteBuffer(path, target="t")
    bench = Bench(gate, buffer=buffer, is_concurrent=is_concurrent, connections=2, may_drain=False)
    bench.put(*map(str, range(50)))
    gate.wait_for(2)
    ending = threading.Thread(target=bench.engine.close, args=[LONG])
    ending.start()
    while not bench.engine.stats().dropped:  # it refuses new events once it ends
        bench.put("late")
    gate.open.set()
    ending.join(LONG)
    stats = bench.engine.stats()
    assert len(gate.sent) == 2
    assert is_lawful(stats)
    heir = SqliteBuffer(path, target="t")
    assert heir.state().waiting == stats.accepted - 1 - 2
    heir.close()


@pytest.mark.parametrize("drain_at_exit", [True, False])
def test_the_end_waits_for_what_is_stored_if_it_should(
    tmp_path: Path, *, drain_at_exit: bool, is_concurrent: bool
) -> None:
    """With drain_at_exit close() sends all that waits here; else it stays for the next start."""
    path = tmp_path / "buffer.db"
    buffer = SqliteBuffer(path, target="t", drain_at_exit=drain_at_exit)
    bench = Bench(
        Gate(),
        buffer=buffer,
        is_concurrent=is_concurrent,
        flush_queue_size=1000,
        flush_interval_millis=1_000_000,
    )
    bench.put(*map(str, range(50)))
    bench.engine.close(LONG)
    heir = SqliteBuffer(path, target="t")
    assert heir.state().waiting == (0 if drain_at_exit else 50 - len(bench.gate.sent))
    assert not drain_at_exit or len(bench.gate.sent) == 50
    heir.close()


def test_the_end_does_not_wait_for_other_processes(tmp_path: Path, *, is_concurrent: bool) -> None:
    """With drain_at_exit close() ends as soon as nothing waits here, however long it may take."""
    buffer = SqliteBuffer(tmp_path / "buffer.db", target="t", drain_at_exit=True)
    bench = Bench(Gate(), buffer=buffer, is_concurrent=is_concurrent)
    bench.put("a")
    bench.wait_for_delivered(1)
    ending = threading.Thread(target=bench.engine.close, args=[1_000_000], daemon=True)
    ending.start()
    ending.join(LONG)
    assert not ending.is_alive()


def test_an_event_that_can_be_kept_nowhere_is_refused() -> None:
    """A closed engine refuses, and its durable buffer is not asked."""
    bench = Bench(Gate(), buffer=Tended())
    bench.engine.close(LONG)
    bench.put("late")
    assert bench.engine.stats().dropped == {DropReason.CLOSED: 1}
    assert [entry for entry in bench.buffer.close() if isinstance(entry, Entry)] == []


# -- several on one file in one process ----------------------------------------------------------

DYING = """
import os, sys
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
assert SqliteBuffer(sys.argv[1], target="t").put("left behind", "sync", b"{}") is None
os._exit(0)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "buffer.db"


def engine_on(path: Path, stack: ExitStack, *, is_concurrent: bool) -> Bench:
    """A started engine on a file, whose senders end soon when there is nothing to do."""
    buffer = SqliteBuffer(path, target="t")
    runtime = Runtime(idle_seconds=0.02)
    bench = Bench(Gate(), buffer=buffer, runtime=runtime, is_concurrent=is_concurrent)
    stack.enter_context(closing(bench))
    bench.engine.start()
    return bench


def test_of_many_engines_on_one_file_one_goes_on_tending(
    path: Path, *, is_concurrent: bool
) -> None:
    """The others have no thread while they are idle, and work again with the next event."""
    with ExitStack() as stack:
        benches = [engine_on(path, stack, is_concurrent=is_concurrent) for _ in range(5)]
        for number in range(2):
            for bench in benches:
                bench.put(f"{number}")
                bench.wait_for_delivered(number + 1)
            await_that(lambda: len(senders()) == 1)


def test_another_engine_tends_once_the_first_is_closed(path: Path, *, is_concurrent: bool) -> None:
    """What a dead process has left is sent, though the engine that tended was closed."""
    with ExitStack() as stack:
        first, second, third = (
            engine_on(path, stack, is_concurrent=is_concurrent) for _ in range(3)
        )
        await_that(lambda: len(senders()) == 1)
        second.engine.close(LONG)
        first.engine.close(LONG)
        await_that(lambda: len(senders()) == 1)
        subprocess.run([sys.executable, "-c", DYING, str(path)], check=True, timeout=LONG)
        third.wait_for_delivered(1)
