"""The counters add up at every moment, over every buffer, whatever threads and processes do."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.buffers import MakeBuffer
from support.engines import LONG, Bench, Gate, is_lawful

from amplitude_moloco.buffers.base import DeadLetter, Storage
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.engine.breaker import BreakerPolicy
from amplitude_moloco.engine.ledger import Stats
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.transports.base import SendResult

QUICK = RetrySchedule(delays_seconds=(0.001,), then_seconds=0.001, jitter=0)
QUICK_PROBES = BreakerPolicy(probe_delays_seconds=(0.001,), then_seconds=0.001)
STATUSES = (200, 200, 200, 400, 503)


def untidy_bench(buffer: Storage, *, is_concurrent: bool) -> Bench:
    """A bench whose server answers in all ways."""
    dice = random.Random(7)  # noqa: S311  # no secret
    gate = Gate(lambda body: SendResult(dice.choice(STATUSES)))
    return Bench(
        gate, buffer=buffer, is_concurrent=is_concurrent, retry=QUICK, breaker=QUICK_PROBES
    )


def unlawful_while(bench: Bench, work: Callable[[], None]) -> list[Stats]:
    """Look at the counters all the time while work is done; return those that break the law."""
    unlawful: list[Stats] = []
    is_done = threading.Event()

    def look() -> None:
        while not is_done.wait(0.0001):  # without a pause, it would hold up all other threads
            stats = bench.engine.stats()
            if not is_lawful(stats):
                unlawful.append(stats)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        work()
    finally:
        is_done.set()
        watcher.join(LONG)
    return unlawful


def in_threads(count: int, work: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
        assert not thread.is_alive()


@pytest.mark.parametrize("is_concurrent", [False, True], ids=["threads", "loop"])
def test_the_law_holds_while_threads_put_resend_and_close(
    make_buffer: MakeBuffer, is_concurrent: bool
) -> None:
    """While three threads track and one resends dead letters, each look at the counters adds up."""
    bench = untidy_bench(make_buffer(max_events=60), is_concurrent=is_concurrent)

    def use(number: int) -> None:
        for event in range(50):
            if number == 0:
                bench.engine.resend()
            else:
                bench.put(f"{number}-{event}")

    def work() -> None:
        in_threads(4, use)
        bench.engine.close(0.2)

    assert unlawful_while(bench, work) == []
    assert is_lawful(bench.engine.stats())


def test_resending_is_counted_before_anything_is_sent(make_buffer: MakeBuffer) -> None:
    """Fifty resent dead letters never make the number of buffered events negative."""
    buffer = make_buffer()
    answers = {"is": SendResult(400)}
    bench = Bench(Gate(lambda body: answers["is"]), buffer=buffer)
    bench.put(*map(str, range(50)))
    bench.engine.flush().result(LONG)
    assert bench.engine.stats().dead_lettered == {"rejected": 50}
    answers["is"] = SendResult(200)
    assert unlawful_while(bench, lambda: resend_all(bench)) == []
    stats = bench.engine.stats()
    assert (stats.accepted, stats.delivered, buffer.state().dead) == (100, 50, 0)
    bench.engine.close(LONG)


def resend_all(bench: Bench) -> None:
    assert bench.engine.resend() == 50
    bench.engine.flush().result(LONG)


def test_a_letter_that_is_resent_twice_at_a_time_is_counted_once(make_buffer: MakeBuffer) -> None:
    """Four threads that resend all dead letters send each of them once."""
    bench = Bench(Gate(lambda body: SendResult(400)), buffer=make_buffer())
    bench.put(*map(str, range(20)))
    bench.engine.flush().result(LONG)
    bench.gate.answer = lambda body: SendResult(200)
    resent: list[int] = []
    in_threads(4, lambda number: resent.append(bench.engine.resend()))
    bench.engine.flush().result(LONG)
    assert sum(resent) == 20
    assert bench.engine.stats().delivered == 20
    bench.engine.close(LONG)


def test_a_letter_that_is_gone_is_not_counted() -> None:
    """A dead letter that another process has resent meanwhile is not accepted here."""

    class Raced(MemoryBuffer):
        def resend(self, letter: DeadLetter) -> bool:
            return False

    bench = Bench(Gate(lambda body: SendResult(400)), buffer=Raced())
    bench.put("a")
    bench.engine.flush().result(LONG)
    assert bench.engine.resend() == 0
    stats = bench.engine.stats()
    assert (stats.accepted, stats.dead_lettered, stats.buffered) == (1, {"rejected": 1}, 0)
    bench.engine.close(LONG)


def test_two_processes_share_a_file_and_each_keeps_its_own_books(tmp_path: Path) -> None:
    """Over one file, what one engine stores and the other delivers adds up in both."""
    path = tmp_path / "moloco.db"
    first, second = (
        untidy_bench(SqliteBuffer(path, target="t"), is_concurrent=False) for _ in range(2)
    )

    def use(number: int) -> None:
        for event in range(100):
            (first, second)[number].put(f"{number}-{event}")

    def work() -> None:
        in_threads(2, use)
        for bench in (first, second):
            bench.engine.flush().result(LONG)

    assert unlawful_while(first, work) == []
    for bench in (first, second):
        bench.engine.close(LONG)
        stats = bench.engine.stats()
        assert is_lawful(stats)
        assert stats.buffered == 0


def test_after_a_restart_the_counters_start_at_zero_and_the_file_is_counted_apart(
    tmp_path: Path,
) -> None:
    """A new process has accepted nothing; what an earlier one left is the buffer's state."""
    path = tmp_path / "moloco.db"
    before = SqliteBuffer(path, target="t")
    for number in range(5):
        before.put(str(number), "HOME", b"body")
    before.close()
    bench = Bench(Gate(), buffer=SqliteBuffer(path, target="t"))
    assert bench.engine.buffer_state().waiting == 5
    assert (bench.engine.stats().accepted, bench.engine.stats().buffered) == (0, 0)
    bench.engine.start()
    bench.wait_for_delivered(5)
    bench.engine.close(LONG)
    stats = bench.engine.stats()
    assert (stats.accepted, stats.taken_over, stats.delivered) == (0, 5, 5)
    assert is_lawful(stats)
