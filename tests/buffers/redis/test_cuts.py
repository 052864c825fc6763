"""The connection to Redis is cut at each step of an entry's way, in each way that there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from hashlib import sha1

import pytest
from support.clock import Clock
from support.redis_buffers import carry, open_still
from support.redis_proxy import RedisProxy, proxy_to
from support.redis_server import RedisServer

from amplitude_moloco.buffers.base import Entry
from amplitude_moloco.buffers.redis import scripts
from amplitude_moloco.buffers.redis.buffer import RedisBuffer
from amplitude_moloco.reasons import DeadLetterReason

SHORT = 0.001
"""A lease, in seconds, that is over at once."""
STEPS = "PREPARE APPEND LOOK TAKE_OVER CLAIM RENEW SETTLE SWEEP".split()
"""The scripts that an entry meets on its way."""


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
    # With its keys, each request of a script is longer than that.
    "in-the-midst": lambda proxy, number: proxy.cut_after(number * 499),
}
SCRIPTS = {name: sha1(vars(scripts)[name].encode()).hexdigest() for name in STEPS}  # noqa: S324


def steps_in(requests: list[bytes]) -> set[str]:
    """The scripts that these requests run."""
    return {
        name for name, sha in SCRIPTS.items() for request in requests if sha.encode() in request
    }


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_a_cut_connection_loses_and_doubles_nothing(redis_server: RedisServer, cut: Cut) -> None:
    """Wherever the connection is cut, at any step, no event is lost, and none is there twice."""
    number, has_cut, steps = 0, True, set[str]()
    while has_cut:
        number += 1
        clock = Clock()
        url = redis_server.url()
        with proxy_to(redis_server.port) as proxy:
            cut(proxy, number)
            lost = way(url.replace(str(redis_server.port), str(proxy.port)), clock)
            has_cut = proxy.cuts > 0
            steps |= steps_in(proxy.cut)
        assert lost == []
        check(url, clock)
    assert steps == {*STEPS}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_a_takeover_may_be_cut(redis_server: RedisServer, cut: Cut) -> None:
    """A takeover that is cut is made again; the one who is taken for dead changes nothing more."""
    number, has_cut, steps = 0, True, set[str]()
    while has_cut:
        number += 1
        clock = Clock()
        url = redis_server.url()
        dead = open_still(url, clock)
        for id in "ab":
            assert dead.put(id, "HOME", id.encode()) is None
        carry(dead, clock)
        dead.claim(2)
        carry(dead, clock)
        with proxy_to(redis_server.port) as proxy:
            cut(proxy, number)
            through = url.replace(str(redis_server.port), str(proxy.port))
            heir = open_still(through, clock, lease_seconds=SHORT)
            entries = held(heir, clock)
            assert entries.keys() == {"a", "b"}
            assert heir.ack(entries["a"])
            assert heir.retry(entries["b"], 0.0, attempts=1)
            carry(heir, clock)
            assert heir.close() == []
            has_cut = proxy.cuts > 0
            steps |= steps_in(proxy.cut)
        assert dead.close() == []
        last = open_still(url, clock, lease_seconds=SHORT)
        assert {id: each.attempts for id, each in held(last, clock).items()} == {"b": 1}
        last.close()
    assert {"TAKE_OVER", "SETTLE"} <= steps
