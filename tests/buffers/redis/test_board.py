"""What the processes that share a buffer in Redis agree on."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import pytest
from support.clock import Clock
from support.redis_buffers import open_still
from support.redis_server import RedisServer, StartRedis

from amplitude_moloco.buffers.base import Agreement, Exchange
from amplitude_moloco.buffers.redis.buffer import RedisBuffer

STEP_SECONDS = 3.0


class Member:
    """Does what the test says, each time that it is called."""

    def __init__(self) -> None:
        self.due_seconds = inf
        self.meetings = 0
        self.script: Callable[[Exchange], object] = lambda exchange: None

    def due_in(self) -> float:
        return self.due_seconds

    def meet(self, exchange: Exchange) -> None:
        self.meetings += 1
        self.due_seconds = inf
        self.script(exchange)


@pytest.fixture
def url(redis_server: RedisServer) -> str:
    return redis_server.url()


def opened(url: str, clock: Clock) -> tuple[RedisBuffer, Member]:
    buffer, member = open_still(url, clock), Member()
    assert callable(buffer.join_fleet(member))
    return buffer, member


def meet(buffer: RedisBuffer, member: Member, *steps: tuple[int, bytes]) -> list[Agreement]:
    """Have a member exchange these. Returns the answers."""
    answers: list[Agreement] = []
    member.script = lambda exchange: answers.extend(exchange(*step) for step in steps)
    member.due_seconds = 0.0
    buffer.step()
    return answers


def test_a_text_is_stored_once_for_each_version(url: str, clock: Clock) -> None:
    """Of two processes that have read the same version, one stores its text, and is told so."""
    first, second = opened(url, clock), opened(url, clock)
    assert meet(*first, (-1, b"")) == [Agreement(0, b"", clock.wall(), is_stored=False)]
    clock.advance(1)
    assert meet(*first, (0, b"one")) == [Agreement(1, b"one", clock.wall(), is_stored=True)]
    late = [Agreement(1, b"one", clock.wall(), is_stored=False)]
    assert meet(*second, (0, b"two")) == late
    assert meet(*second, (1, b"\x00\xff two"), (-1, b"")) == [
        Agreement(2, b"\x00\xff two", clock.wall(), is_stored=stored) for stored in (True, False)
    ]
    assert meet(*first, (1, b"three"))[0].text == b"\x00\xff two"
    first[0].close()
    second[0].close()


def test_each_stream_has_its_own_text(redis_server: RedisServer, clock: Clock) -> None:
    """Buffers in two streams of one server have nothing to do with each other."""
    buffers = [opened(redis_server.url(), clock) for _ in range(2)]
    for number, each in enumerate(buffers):
        assert meet(*each, (0, b"%d" % number))[0].is_stored
        assert meet(*each, (-1, b""))[0].text == b"%d" % number
        each[0].close()


def test_a_member_is_called_when_it_is_due(url: str, clock: Clock) -> None:
    """The buffer's thread waits no longer than that, and does not end while it is due one day."""
    buffer, member = opened(url, clock)
    buffer.step()
    assert member.meetings == 0
    member.due_seconds = STEP_SECONDS
    assert buffer.step() <= STEP_SECONDS
    assert member.meetings == 0
    member.due_seconds = 0.0
    buffer.step()
    assert member.meetings == 1
    buffer.close()


def test_all_can_agree_while_redis_has_no_memory(start_redis: StartRedis, clock: Clock) -> None:
    """Otherwise nothing could be sent, and no memory would become free."""
    server = start_redis()
    buffer, member = opened(server.url(), clock)
    assert meet(buffer, member, (0, b"before"))[0].is_stored
    with server.client() as client:
        client.config_set("maxmemory", 1)
    assert meet(buffer, member, (1, b"during"))[0].is_stored
    assert meet(buffer, member, (-1, b""))[0].text == b"during"
    buffer.close()


def test_if_all_is_deleted_it_begins_anew(start_redis: StartRedis, clock: Clock) -> None:
    """Nothing that was read before can be stored then."""
    server = start_redis()
    buffer, member = opened(server.url(), clock)
    meet(buffer, member, (0, b"one"), (1, b"two"))
    with server.client() as client:
        client.flushall()
    assert meet(buffer, member, (2, b"three")) == [Agreement(0, b"", clock.wall(), is_stored=False)]
    assert meet(buffer, member, (0, b"three"))[0].is_stored
    buffer.close()


def test_a_member_that_redis_does_not_answer_is_called_again(
    start_redis: StartRedis, clock: Clock
) -> None:
    """An outage ends the meeting; after a pause there is another one."""
    server = start_redis()
    buffer, member = opened(server.url(), clock)
    assert meet(buffer, member, (0, b"one"))[0].is_stored
    server.end()
    assert meet(buffer, member, (1, b"two")) == []
    server.start()
    clock.advance(2)
    assert meet(buffer, member, (1, b"two"))[0].is_stored
    buffer.close()
