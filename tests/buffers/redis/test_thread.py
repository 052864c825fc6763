"""The buffer's own thread: when it starts and ends, and that nothing waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
from support.clock import Clock
from support.engines import LONG, UnstartableThread
from support.redis_buffers import open_still
from support.redis_server import RedisServer, StartRedis

from amplitude_moloco.buffers.base import BufferState, Entry
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.buffers.redis.address import parse_address
from amplitude_moloco.buffers.redis.buffer import RedisBuffer
from amplitude_moloco.buffers.redis.worker import Worker
from amplitude_moloco.reasons import DropReason


@pytest.fixture
def live(redis_server: RedisServer) -> Iterator[RedisBuffer]:
    with closing(open_live(redis_server.url())) as buffer:
        yield buffer


def open_live(url: str, **settings: object) -> RedisBuffer:
    return RedisBuffer(parse_address(url, {}), MemoryBuffer(), target="t", **settings)  # type: ignore[arg-type]


def until(is_true: Callable[[], object]) -> None:
    """The timeout of the test is the bound. On a busy machine Redis may be too slow for once."""
    pause = threading.Event()
    while True:
        with suppress(OSError):
            if is_true():
                return
        pause.wait(0.005)


def test_a_thread_carries_what_is_put(live: RedisBuffer) -> None:
    """What is put is in Redis soon, and what is there is claimed without being asked for."""
    is_due = threading.Event()
    live.call_when_due(is_due.set)
    assert live.claim(10).entries == []
    for number in range(250):
        assert live.put(str(number), "HOME", b"body") is None
    assert is_due.wait(LONG)
    seen: list[str] = []

    def has_all() -> bool:
        for entry in live.claim(50).entries:
            assert live.ack(entry)
            seen.append(entry.id)
        return len(seen) == 250

    until(has_all)
    assert sorted(seen, key=int) == [*map(str, range(250))]
    until(lambda: live.state() == (0, 0, 0))


def test_a_flush_ends(redis_server: RedisServer) -> None:
    """A checkpoint is reached once each entry was tried, though by another process."""
    url = redis_server.url()
    with closing(open_live(url)) as one, closing(open_live(url)) as other:
        assert one.put("a", "HOME", b"") is None
        is_reached = one.checkpoint()
        entries: list[Entry] = []
        while not entries:
            entries = other.claim(1).entries
        assert not is_reached()
        assert other.retry(entries[0], 100.0, attempts=1)
        until(is_reached)


def test_no_put_waits(start_redis: StartRedis) -> None:
    """While Redis answers nothing, events are put, claimed and settled without its answer."""
    server = start_redis()
    buffer = open_live(server.url())
    buffer.put("a", "HOME", b"")
    until(lambda: buffer.claim(1).entries or False)
    server.freeze()
    try:
        assert [buffer.put(str(number), "HOME", b"") for number in range(1000)] == [None] * 1000
        buffer.claim(100)
        buffer.checkpoint()()
        until(lambda: is_away(buffer))
    finally:
        server.thaw()
    until(lambda: not is_away(buffer) and sum(buffer.state()[:2]) == 1001)
    assert buffer.close() == []


def is_away(buffer: RedisBuffer) -> bool:
    try:
        buffer.state()
    except OSError:
        return True
    return False


def test_the_end_without_redis_returns_what_is_lost(start_redis: StartRedis) -> None:
    """Without Redis the events in memory are lost at the end, and returned."""
    server = start_redis()
    server.end()
    buffer = open_live(server.url(), patience_seconds=0.3)
    for id in "abc":
        buffer.put(id, "HOME", b"")
    assert [entry.id for entry in buffer.close()] == ["a", "b", "c"]
    assert buffer.state() == (3, 0, 0)
    assert buffer.close() == []
    assert buffer.put("d", "HOME", b"") is DropReason.CLOSED
    assert buffer.share()


def test_no_thread_is_needed_at_the_end(redis_server: RedisServer) -> None:
    """Where no thread can be started, the end writes what is staged."""
    url = redis_server.url()
    buffer = open_live(url, new_thread=UnstartableThread, patience_seconds=LONG)
    for number in range(12_000):
        assert buffer.put(str(number), "HOME", b"") is None
    assert buffer.close() == []
    with closing(open_live(url)) as other:
        until(lambda: other.state().waiting == 12_000)


def test_what_is_staged_can_be_shared(redis_server: RedisServer) -> None:
    """A process that claims nothing writes what is staged when it is asked to."""
    url = redis_server.url()
    buffer = open_live(url, new_thread=UnstartableThread)
    body = bytes(600_000)
    for id in "abc":
        assert buffer.put(id, "HOME", body) is None
    assert buffer.share()
    assert buffer.share()
    with closing(open_live(url)) as other:
        until(lambda: other.state() == (3, 0, 0))
    assert buffer.close() == []


class Broken(MemoryBuffer):
    """A stage that can't be used any more."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error: BaseException | None = error

    def put(self, id: str, sync: str, body: bytes, lane: str = "") -> DropReason | None:
        if self.error is not None:
            raise self.error
        return super().put(id, sync, body)

    def checkpoint(self) -> Callable[[], bool]:
        raise OSError("no")

    def state(self) -> BufferState:
        raise OSError("no")


def test_an_interrupted_put_leaves_the_buffer_whole(redis_server: RedisServer) -> None:
    """An exception that strikes in a put reaches the app, and the next put works."""
    url = redis_server.url()
    stage = Broken(KeyboardInterrupt())
    buffer = RedisBuffer(parse_address(url, {}), stage, target="t")
    with pytest.raises(KeyboardInterrupt):
        buffer.put("a", "HOME", b"")
    stage.error = None
    assert buffer.put("b", "HOME", b"") is None
    with closing(open_live(url)) as other:
        until(lambda: other.state() == (1, 0, 0))
    assert not buffer.share()
    assert buffer.close() == []


def test_an_entry_with_a_lane_is_refused(redis_server: RedisServer) -> None:
    """What must keep its order is not stored: several senders would get it at once."""
    with closing(open_live(redis_server.url())) as buffer:
        assert buffer.put("a", "HOME", b"", "device-1") is DropReason.UNAVAILABLE
        assert buffer.state() == (0, 0, 0)


def test_a_broken_stage_does_not_hold_up_the_end(redis_server: RedisServer) -> None:
    """A stage whose file can't be read any more is closed all the same."""
    buffer = RedisBuffer(parse_address(redis_server.url(), {}), Broken(OSError()), target="t")
    assert buffer.close() == []


class TestWorker:
    """The thread itself."""

    def test_it_ends_when_there_is_nothing_to_do(self) -> None:
        """An idle thread ends, and the next work starts another one."""
        has_ended, steps = threading.Event(), []

        def new_thread(**settings: object) -> threading.Thread:
            run = settings.pop("target")

            def run_and_tell() -> None:
                run()  # type: ignore[operator]
                has_ended.set()

            return threading.Thread(target=run_and_tell, **settings)  # type: ignore[arg-type]

        def step() -> float:
            steps.append(threading.current_thread())
            return 0.0

        worker = Worker(step, lambda: True, name="w", new_thread=new_thread, idle_seconds=0.0)
        for _ in range(2):
            worker.wake()
            assert has_ended.wait(LONG)
            until(lambda: not worker.is_running)
            has_ended.clear()
        assert len(set(steps)) == 2

    def test_work_that_comes_while_it_ends_is_done(self) -> None:
        """A thread that was woken in what was to be its last step is followed by another one."""
        is_done, threads = threading.Event(), []

        def step() -> float:
            threads.append(threading.current_thread())
            worker.wake() if len(threads) == 1 else is_done.set()
            return 0.0

        worker = Worker(step, lambda: True, name="w", idle_seconds=0.0)
        worker.wake()
        assert is_done.wait(LONG)
        assert len(set(threads)) == 2

    def test_a_wake_waits_for_no_lock(self) -> None:
        """While one thread starts the worker's, another one wakes it, and goes on at once."""
        is_starting, go_on = threading.Event(), threading.Event()

        def new_thread(**settings: Any) -> threading.Thread:
            is_starting.set()
            assert go_on.wait(LONG)
            return threading.Thread(**settings)

        steps = threading.Semaphore(0)

        def step() -> float:
            steps.release()
            return LONG

        worker = Worker(step, lambda: False, name="w", new_thread=new_thread)
        first = threading.Thread(target=worker.wake)
        first.start()
        assert is_starting.wait(LONG)
        worker.recover()
        worker.wake()
        assert first.is_alive()
        go_on.set()
        assert steps.acquire(timeout=LONG)
        worker.stop(LONG)

    def test_it_survives_its_step(self, caplog: pytest.LogCaptureFixture) -> None:
        """A step that raises is logged, and the thread goes on."""
        steps = threading.Semaphore(0)

        def step() -> float:
            steps.release()
            raise ValueError("no")

        worker = Worker(step, lambda: False, name="w")
        worker.wake()
        assert steps.acquire(timeout=LONG)
        worker.wake()
        assert steps.acquire(timeout=LONG)
        worker.stop(LONG)
        assert not worker.is_running
        worker.wake()
        assert not worker.is_running
        assert "The buffer's thread failed, and goes on" in caplog.text

    def test_it_wakes_at_most_as_often_as_it_must(self) -> None:
        """While it works, further work wakes it once."""
        is_going, go_on, steps = threading.Event(), threading.Event(), []

        def step() -> float:
            steps.append(1)
            is_going.set()
            assert go_on.wait(LONG)
            return 1000.0

        worker = Worker(step, lambda: False, name="w")
        worker.wake()
        assert is_going.wait(LONG)
        for _ in range(100):
            worker.wake()
        go_on.set()
        until(lambda: len(steps) == 2)
        worker.recover()
        worker.stop(LONG)
        assert len(steps) == 2


def test_a_process_that_waits_asks_less_and_less_often(
    redis_server: RedisServer, clock: Clock
) -> None:
    """While senders wait and nothing comes, the pauses double up to two seconds."""
    buffer = open_still(redis_server.url(), clock, is_ahead=True)
    buffer.claim(10)
    pauses = [buffer.step() for _ in range(8)]
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0])
    assert buffer.put("a", "HOME", b"a") is None
    buffer.step()
    (entry,) = buffer.claim(10).entries
    buffer.retry(entry, 0.3, attempts=1)
    buffer.step()
    buffer.claim(10)
    for _ in range(4):  # it asks again as soon as the retry is due
        assert buffer.step() <= 0.3
    buffer.close()


def test_what_has_happened_is_told_at_once(start_redis: StartRedis, clock: Clock) -> None:
    """Senders are called when there is news: they need not look for it often."""
    server = start_redis()
    buffer = open_still(server.url(), clock)
    calls: list[object] = []
    buffer.call_when_due(lambda: calls.append(buffer.tend()))
    buffer.step()
    assert calls == []
    server.end()
    clock.advance(20)
    buffer.refresh()
    buffer.step()
    buffer.step()
    (news,) = calls
    assert news
    buffer.close()
