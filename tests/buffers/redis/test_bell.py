"""Processes that wait for entries are woken in Redis, one for each that is needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from support.clock import Clock
from support.engines import LONG, UnstartableThread
from support.redis_buffers import carry, open_still
from support.redis_server import RedisServer, StartRedis

from amplitude_moloco.buffers.redis.address import parse_address
from amplitude_moloco.buffers.redis.bell import LISTEN_SECONDS, Bell
from amplitude_moloco.buffers.redis.buffer import RedisBuffer
from amplitude_moloco.reasons import DeadLetterReason

OpenBell = Callable[..., Bell]


@pytest.fixture
def url(redis_server: RedisServer) -> str:
    return redis_server.url()


@pytest.fixture
def open_bell(url: str, clock: Clock) -> Iterator[OpenBell]:
    """Opens a bell, which is closed after the test."""
    with ExitStack() as stack:

        def open_bell(
            ring: Callable[[], object],
            new_thread: Callable[..., threading.Thread] = threading.Thread,
            at: str = url,
        ) -> Bell:
            bell = Bell(parse_address(at, {}), ring, clock.monotonic, new_thread)
            stack.callback(bell.close)
            return bell

        yield open_bell


def buffer_with(url: str, clock: Clock, *ids: str) -> RedisBuffer:
    """Open a buffer, and store these."""
    buffer = open_still(url, clock)
    carry(buffer, clock)
    for id in ids:
        assert buffer.put(id, "HOME", b"body") is None
    carry(buffer, clock)
    return buffer


def tokens(server: RedisServer, url: str) -> int:
    with server.client() as client:
        return int(client.llen(parse_address(url, {}).layout.bell))


def test_it_rings_when_something_is_stored(url: str, clock: Clock, open_bell: OpenBell) -> None:
    """A process that listens learns at once what another one has stored, then or before."""
    rung = threading.Event()
    bell = open_bell(rung.set)
    for _ in range(2):
        assert bell.listen()
        buffer = buffer_with(url, clock, "a")
        assert rung.wait(LONG)
        rung.clear()
        buffer.close()
    buffer_with(url, clock, "b").close()
    assert bell.listen()
    assert rung.wait(LONG)


def test_it_rings_for_one_and_then_for_the_next(
    redis_server: RedisServer, url: str, clock: Clock, open_bell: OpenBell
) -> None:
    """However much is stored, one process is woken; what that one leaves wakes another one."""
    rings = threading.Semaphore(0)
    for _ in range(2):
        assert open_bell(rings.release).listen()
    buffer = buffer_with(url, clock, "a", "b", "c")
    assert rings.acquire(timeout=LONG)
    assert not rings.acquire(blocking=False)
    buffer.claim(2)
    buffer.step()
    assert rings.acquire(timeout=LONG)
    buffer.claim(2)
    buffer.step()
    assert tokens(redis_server, url) == 0
    buffer.close()


def test_it_rings_for_what_comes_back(redis_server: RedisServer, url: str, clock: Clock) -> None:
    """What is given back at once, or resent, rings; what is due later does not."""
    buffer = buffer_with(url, clock, "a", "b", "c")
    key = parse_address(url, {}).layout.bell
    buffer.claim(9)
    buffer.step()
    a, b, c = buffer.claim(9).entries
    with redis_server.client() as client:
        client.delete(key)
        buffer.retry(a, 5.0, attempts=1)
        buffer.bury(b, DeadLetterReason.REJECTED, status=400, message="no")
        carry(buffer, clock)
        assert client.llen(key) == 0
        buffer.retry(c, 0.0, attempts=0)
        carry(buffer, clock)
        assert client.llen(key) == 1
        client.delete(key)
        (letter,) = buffer.dead_letters()
        assert buffer.resend(letter)
        assert client.llen(key) == 1
    buffer.close()


def test_it_rings_when_it_can_hear_nothing(start_redis: StartRedis, clock: Clock) -> None:
    """Without Redis the process is woken to see for itself, and does so for ten seconds."""
    server = start_redis()
    rung = threading.Event()
    bell = Bell(parse_address(server.url(), {}), rung.set, clock.monotonic)
    assert bell.listen()
    server.end()
    assert rung.wait(LONG)
    assert not bell.listen()
    clock.advance(9)
    assert not bell.listen()
    clock.advance(1)
    rung.clear()
    assert bell.listen()
    assert rung.wait(LONG)
    bell.close()


def test_its_thread_ends_with_it(open_bell: OpenBell) -> None:
    """However long it was going to listen, it ends when it is closed, and does not begin again."""
    threads: list[threading.Thread] = []

    def new_thread(**arguments: object) -> threading.Thread:
        threads.append(threading.Thread(**arguments))  # type: ignore[arg-type]
        return threads[-1]

    rung = threading.Event()
    bell = open_bell(rung.set, new_thread)
    assert bell.listen()
    assert bell.listen()
    bell.close()
    assert not bell.listen()
    (thread,) = threads
    thread.join(LONG)
    assert not thread.is_alive()


def test_it_listens_for_a_while(start_redis: StartRedis, clock: Clock) -> None:
    """When nothing has come for long it leaves what comes to others, until it listens again."""
    server = start_redis()
    url, rung, pause = server.url(), threading.Event(), threading.Event()
    bell = Bell(parse_address(url, {}), rung.set, clock.monotonic, seconds=0.001)
    assert bell.listen()
    with server.client() as client:
        while "cmdstat_blpop" not in client.info("commandstats"):
            pause.wait(0.001)
        while client.info("clients")["blocked_clients"]:
            pause.wait(0.001)
    buffer_with(url, clock, "a").close()
    assert (tokens(server, url), rung.is_set()) == (1, False)
    assert bell.listen()
    assert rung.wait(LONG)
    bell.close()


def test_it_needs_a_thread(open_bell: OpenBell) -> None:
    """Where no thread can be started, the process has to ask for itself."""
    assert not open_bell(lambda: None, UnstartableThread).listen()


def test_an_idle_process_is_woken(url: str, clock: Clock) -> None:
    """A process that has asked in vain for a while waits for the bell, and gets what comes."""
    is_due = threading.Event()
    buffer = open_still(url, clock, is_ahead=True, new_thread=threading.Thread)
    buffer.call_when_due(is_due.set)
    buffer.claim(10)
    while buffer.step() < LISTEN_SECONDS:
        pass
    buffer_with(url, clock, "a").close()
    assert is_due.wait(LONG)
    assert [entry.id for entry in buffer.claim(10).entries] == ["a"]
    buffer.close()
