"""Several processes share a stream: who holds what, and what a dead one leaves."""

from __future__ import annotations

import pytest
from support.clock import Clock
from support.redis_buffers import carry, ids_of, open_still
from support.redis_server import RedisServer

from amplitude_moloco.buffers.base import Entry, Lost, News
from amplitude_moloco.buffers.redis.address import parse_address
from amplitude_moloco.buffers.redis.buffer import RedisBuffer
from amplitude_moloco.reasons import DeadLetterReason

SHORT = 0.001


def claim(buffer: RedisBuffer, limit: int = 10) -> list[Entry]:
    buffer.claim(limit)
    buffer.step()
    return buffer.claim(buffer.ready).entries


def take_over(buffer: RedisBuffer, clock: Clock, count: int) -> list[Entry]:
    """Claim until the lease is over, and as many are there. The test's timeout is the bound."""
    entries: list[Entry] = []
    while len(entries) < count:
        clock.advance(1)
        entries += claim(buffer)
    return entries


def consumers(server: RedisServer, url: str) -> list[int]:
    """What each consumer of the new entries holds."""
    with server.client() as client:
        found = client.xinfo_consumers(parse_address(url, {}).layout.keys[0], "senders")
        return sorted(each["pending"] for each in found)


@pytest.fixture
def url(redis_server: RedisServer) -> str:
    return redis_server.url()


def put(url: str, clock: Clock, *ids: str) -> None:
    buffer = open_still(url, clock)
    for id in ids:
        assert buffer.put(id, "HOME", b"body") is None
    assert buffer.close() == []


def test_each_entry_has_one_holder(url: str, clock: Clock) -> None:
    """What one process has claimed, another one does not get while the lease lasts."""
    put(url, clock, "a", "b", "c")
    first, second = open_still(url, clock), open_still(url, clock)
    assert [entry.id for entry in claim(first, 2)] == ["a", "b"]
    assert [entry.id for entry in claim(second)] == ["c"]
    first.refresh()
    first.step()
    assert first.state() == (0, 3, 0)
    first.close()
    second.close()


def test_what_a_dead_process_holds_is_taken_over(url: str, clock: Clock) -> None:
    """After the lease another process has the claims; what the first one says of them is void."""
    put(url, clock, "a", "b", "c")
    first, second = open_still(url, clock), open_still(url, clock, lease_seconds=SHORT)
    a, b, c = claim(first)
    taken = take_over(second, clock, 3)
    assert [entry.id for entry in taken] == ["a", "b", "c"]
    first.ack(a)
    first.retry(b, 5.0, attempts=9)
    first.bury(c, DeadLetterReason.REJECTED, status=None, message="")
    first.step()
    assert second.state().dead == 0
    for entry in taken:
        assert second.ack(entry)
    carry(second, clock)
    assert second.state() == (0, 0, 0)
    first.close()
    second.close()


def test_much_that_a_dead_process_holds_is_taken_over_without_pauses(
    url: str, clock: Clock
) -> None:
    """What there was no room for is taken over as soon as there is some."""
    ids = [f"{number:02}" for number in range(30)]
    put(url, clock, *ids)
    first, second = open_still(url, clock), open_still(url, clock, lease_seconds=SHORT)
    assert len(claim(first, 30)) == 30
    entries = take_over(second, clock, 1)
    assert len(entries) < 30
    for _ in range(5):
        for entry in entries:
            second.ack(entry)
        entries += claim(second)
    assert [entry.id for entry in entries] == ids
    first.close()
    second.close()


def test_a_process_learns_that_it_was_taken_for_dead(url: str, clock: Clock) -> None:
    """When it renews its claims, a process drops those that another one has taken over."""
    put(url, clock, "a", "b")
    first, second = open_still(url, clock), open_still(url, clock, lease_seconds=SHORT)
    (a,) = claim(first, 1)
    first.claim(1)  # it is fetched, and not handed out
    first.step()
    assert len(take_over(second, clock, 2)) == 2
    clock.advance(20)
    first.step()
    assert first.ready == 0
    assert not first.ack(a)
    first.close()
    second.close()


def test_claims_are_renewed(redis_server: RedisServer, url: str, clock: Clock) -> None:
    """A process that lives renews what it holds: for Redis it is as if claimed just now."""
    put(url, clock, "a")
    buffer = open_still(url, clock)
    claim(buffer)
    key = parse_address(url, {}).layout.keys[0]
    with redis_server.client() as client:
        client.xclaim(key, "senders", consumer_of(client, key), 0, pending(client, key), idle=9000)
        (before,) = client.xpending_range(key, "senders", "-", "+", 1)
        clock.advance(10)
        buffer.step()
        (after,) = client.xpending_range(key, "senders", "-", "+", 1)
    assert before["time_since_delivered"] >= 9000 > after["time_since_delivered"]
    buffer.close()


def consumer_of(client: object, key: str) -> str:
    (found,) = client.xpending_range(key, "senders", "-", "+", 1)  # type: ignore[attr-defined]
    return str(found["consumer"].decode())


def pending(client: object, key: str) -> list[bytes]:
    found = client.xpending_range(key, "senders", "-", "+", 9)  # type: ignore[attr-defined]
    return [each["message_id"] for each in found]


def test_what_was_deleted_while_it_was_claimed_is_lost(
    redis_server: RedisServer, url: str, clock: Clock
) -> None:
    """An entry that someone deleted from the stream is counted as lost, and cleared away."""
    put(url, clock, "a", "b", "c")
    first, second = open_still(url, clock), open_still(url, clock, lease_seconds=SHORT)
    _, b, c = claim(first)
    key = parse_address(url, {}).layout.keys[0]
    with redis_server.client() as client:
        client.xdel(key, *pending(client, key))
    assert first.retry(b, 0.0, attempts=1)
    assert first.bury(c, DeadLetterReason.REJECTED, status=None, message="")
    first.step()
    assert [each.events for each in first.tend() if isinstance(each, Lost)] == [2]
    news: list[News] = []
    while not any(isinstance(each, Lost) for each in news):
        clock.advance(1)
        assert claim(second) == []
        news += second.tend()
    assert [each.events for each in news if isinstance(each, Lost)] == [1]
    first.close()
    second.close()


def test_a_consumer_that_holds_something_is_kept(
    redis_server: RedisServer, url: str, clock: Clock
) -> None:
    """At its end a process deletes its consumer; a dead one's stays while it holds something."""
    put(url, clock, "a", "b")
    dead, other = open_still(url, clock), open_still(url, clock)
    claim(dead, 1)
    (b,) = claim(other)
    other.ack(b)
    other.step()
    assert consumers(redis_server, url) == [0, 1]
    other.close()
    assert consumers(redis_server, url) == [1]
    dead.close()
    assert consumers(redis_server, url) == []


def test_the_end_gives_back_what_is_claimed(url: str, clock: Clock) -> None:
    """What a process has claimed or fetched can be claimed at once after its end."""
    put(url, clock, "a", "b")
    first = open_still(url, clock)
    claim(first, 1)
    first.claim(1)
    first.step()
    assert first.close() == []
    second = open_still(url, clock)
    assert ids_of(second) == ["a", "b"]
    second.close()


def test_what_is_not_claimed_is_left_to_others(url: str, clock: Clock) -> None:
    """What was fetched ahead goes back if no sender asks for it within five seconds."""
    put(url, clock, "a", "b", "c")
    buffer = open_still(url, clock, is_ahead=True)
    assert buffer.claim(2).entries == []
    buffer.step()
    assert buffer.ready == 2
    clock.advance(5.5)
    while buffer.step() == 0:
        pass
    assert buffer.ready == 0
    other = open_still(url, clock)
    assert ids_of(other) == ["a", "b", "c"]
    other.close()
    buffer.close()


def test_senders_find_more_than_they_asked_for(url: str, clock: Clock) -> None:
    """While senders claim, as much as they asked for last is fetched ahead."""
    put(url, clock, *map(str, range(8)))
    buffer = open_still(url, clock, is_ahead=True)
    buffer.claim(4, newest=1)
    buffer.step()
    assert [entry.id for entry in buffer.claim(4).entries] == ["0", "1", "2", "7"]
    buffer.step()
    assert [entry.id for entry in buffer.claim(3).entries] == ["3", "4", "5"]
    assert buffer.has_due
    buffer.close()


def test_what_is_no_entry_is_cleared_away(
    redis_server: RedisServer, url: str, clock: Clock
) -> None:
    """What something else has put into the stream is removed, and counted as lost."""
    put(url, clock, "a")
    with redis_server.client() as client:
        client.xadd(parse_address(url, {}).layout.keys[0], {"some": "thing"})
    put(url, clock, "b")
    buffer = open_still(url, clock)
    assert [entry.id for entry in claim(buffer)] == ["a", "b"]
    carry(buffer, clock)
    assert [each.events for each in buffer.tend() if isinstance(each, Lost)] == [1]
    assert buffer.state() == (0, 2, 0)
    buffer.close()
