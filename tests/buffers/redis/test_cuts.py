"""The connection to Redis is cut at each step of an entry's way, in each way that there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from support.clock import Clock
from support.redis_buffers import carry, open_still
from support.redis_proxy import RedisProxy, proxy_to
from support.redis_server import RedisServer

from amplitude_moloco.buffers.base import Entry
from amplitude_moloco.buffers.redis.buffer import RedisBuffer
from amplitude_moloco.reasons import DeadLetterReason

SHORT = 0.001
"""A lease, in seconds, that is over at once."""


def held(buffer: RedisBuffer, clock: Clock) -> dict[str, Entry]:
    """Claim until there is nothing more. An answer that was lost comes again after the lease."""
    entries: dict[str, Entry] = {}
    for _ in range(4):
        found = buffer.claim(10, newest=1).entries
        carry(buffer, clock)
        for entry in found + buffer.claim(buffer.ready).entries:
            assert entry.id not in entries
            entries[entry.id] = entry
    return entries


def way(url: str, clock: Clock) -> list[str]:
    """Let events end in all ways. Returns the ids that the buffer has lost at its end."""
    buffer = open_still(url, clock, lease_seconds=SHORT)
    for id in "abcde":
        assert buffer.put(id, "HOME", id.encode()) is None
    carry(buffer, clock)
    entries = held(buffer, clock)
    assert entries.keys() == set("abcde")
    assert buffer.ack(entries["a"])
    assert buffer.retry(entries["b"], 5.0, attempts=1)
    assert buffer.bury(entries["c"], DeadLetterReason.REJECTED, status=400, message="no")
    carry(buffer, clock)
    assert buffer.put("f", "HOME", b"f") is None
    carry(buffer, clock)
    return [entry.id for entry in buffer.close()]


def check(server_url: str, clock: Clock) -> None:
    """Each event is in one place, once: a is gone, c is dead, the others can be claimed."""
    clock.advance(10)
    buffer = open_still(server_url, clock, lease_seconds=SHORT)
    entries = held(buffer, clock)
    assert {entry.id: entry.body for entry in entries.values()} == {
        id: id.encode() for id in "bdef"
    }
    assert entries["b"].attempts == 1
    assert Counter(letter.id for letter in buffer.dead_letters()) == Counter("c")
    for entry in entries.values():
        assert buffer.ack(entry)
    carry(buffer, clock)
    assert buffer.state() == (0, 0, 1)
    buffer.close()


Cut = Callable[[RedisProxy, int], object]
CUTS: dict[str, Cut] = {
    "before-the-request": RedisProxy.lose_request,
    "before-the-answer": RedisProxy.lose_answer,
    "in-the-midst": lambda proxy, number: proxy.cut_after(number * 499),
}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_a_cut_connection_loses_and_doubles_nothing(redis_server: RedisServer, cut: Cut) -> None:
    """Wherever the connection is cut, no event is lost, and none is there twice."""
    number, has_cut = 0, True
    while has_cut:
        number += 1
        clock = Clock()
        url = redis_server.url()
        with proxy_to(redis_server.port) as proxy:
            cut(proxy, number)
            lost = way(url.replace(str(redis_server.port), str(proxy.port)), clock)
            has_cut = proxy.cuts > 0
        assert lost == []
        check(url, clock)
    assert number > 15


def test_a_takeover_may_be_cut(redis_server: RedisServer, clock: Clock) -> None:
    """A takeover whose answer is lost is another consumer's claim, which is taken over in turn."""
    url = redis_server.url()
    dead = open_still(url, clock)
    dead.put("a", "HOME", b"a")
    carry(dead, clock)
    dead.claim(1)
    carry(dead, clock)
    for number in range(1, 7):
        with proxy_to(redis_server.port) as proxy:
            through = url.replace(str(redis_server.port), str(proxy.port))
            buffer = open_still(through, clock, lease_seconds=SHORT)
            proxy.lose_answer(number)
            assert held(buffer, clock).keys() == {"a"}
    assert dead.close() == []
