"""A look at a buffer in Redis, by a process that sends nothing."""

from __future__ import annotations

from contextlib import closing

import pytest
from support.cli import run
from support.clock import NOW, Clock, RealClock
from support.redis_buffers import TARGET, carry, open_still
from support.redis_server import RedisServer, StartRedis

from amplitude_moloco.buffers.redis.address import parse_address
from amplitude_moloco.buffers.redis.buffer import RedisBuffer
from amplitude_moloco.buffers.redis.reader import RedisReader
from amplitude_moloco.buffers.redis.record import key_of, place_of
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.reasons import DeadLetterReason


@pytest.fixture
def url(redis_server: RedisServer) -> str:
    return redis_server.url()


def bury(buffer: RedisBuffer, clock: Clock, *ids: str) -> None:
    for id in ids:
        assert buffer.put(id, "HOME", b'{"id": "%b"}' % id.encode()) is None
    buffer.claim(len(ids))
    carry(buffer, clock)
    for entry in buffer.claim(buffer.ready).entries:
        assert buffer.bury(entry, DeadLetterReason.REJECTED, status=400, message="missing items")
    carry(buffer, clock)


def test_it_says_what_lies_there(url: str) -> None:
    """A reader counts what waits, what is claimed, what is to be tried again, and what is dead."""
    clock = RealClock()
    buffer = open_still(url, clock)
    bury(buffer, clock, "x", "y")
    for id in "abc":
        buffer.put(id, "HOME", b"body")
    buffer.claim(2)
    buffer.step()
    a, _ = buffer.claim(2).entries
    buffer.retry(a, 100.0, attempts=1)
    buffer.step()
    with closing(RedisReader(parse_address(url, {}))) as reader:
        found = reader.contents()
        assert (found.waiting, found.stored_bytes, found.claimed, found.retrying) == (3, 12, 1, 1)
        assert (found.dead, found.dead_bytes) == (2, 22)
        assert found.oldest_age_seconds is not None
        assert found.oldest_age_seconds < 1000
        assert found.next_seconds == 0
        assert reader.target == TARGET
    buffer.close()


def test_it_changes_dead_letters(url: str) -> None:
    """Dead letters can be resent and deleted, each once."""
    clock = RealClock()
    buffer = open_still(url, clock)
    bury(buffer, clock, "x", "y", "z")
    with closing(RedisReader(parse_address(url, {}))) as reader, reader.changing() as changes:
        x, y, z = reader.letters()
        assert (changes.resend([x, y]), changes.resend([x]), changes.delete([y, z])) == (2, 0, 1)
        assert list(reader.letters()) == []
        assert reader.contents().waiting == 2
    buffer.close()


def test_there_must_be_a_buffer(url: str) -> None:
    """A stream that no buffer uses is refused."""
    with pytest.raises(ConfigurationError, match="holds no buffer; use the stream that the app"):
        RedisReader(parse_address(url, {}))


def test_keys_ascend_as_the_places_do() -> None:
    """The number of an id in a stream leads back to it, and sorts as it does."""
    places = [b"0-1", b"1-0", b"1-18446744073709551615", b"1700000000000-3"]
    keys = [key_of(place) for place in places]
    assert keys == sorted(keys)
    assert [place_of(key).encode() for key in keys] == places


class TestCommands:
    """The commands for buffers, on Redis."""

    def test_stats(self, url: str) -> None:
        """What waits, and the dead letters, without the login."""
        clock = RealClock()
        buffer = open_still(url, clock)
        bury(buffer, clock, "x")
        buffer.put("a", "HOME", b"body")
        carry(buffer, clock)
        code, out, err = run("stats", url)
        assert (code, err) == (0, "")
        rows = [line.split() for line in out.splitlines()]
        assert ["in", "Redis", "1", "4", "bytes"] in rows
        assert ["HOME", "rejected", "1"] in rows
        found = run("stats", url, "--json").json
        assert (found["waiting"], found["dead"], found["path"]) == (1, 1, url)
        buffer.close()

    def test_dead(self, url: str) -> None:
        """Dead letters are listed, shown, resent and deleted."""
        clock = RealClock()
        buffer = open_still(url, clock)
        bury(buffer, clock, "x", "y", "z")
        assert "3 dead letters." in run("dead", "list", url).out
        assert "missing items" in run("dead", "show", url, "x").out
        assert run("dead", "resend", url, "x").out.startswith("1 dead letter resent")
        assert run("dead", "purge", url, "--all", "--yes").out.startswith("2 dead letters deleted")
        carry(buffer, clock)
        assert buffer.state() == (1, 0, 0)
        buffer.close()

    def test_redis_may_be_away(self, start_redis: StartRedis) -> None:
        """Without Redis a command says so, and ends with 3: try again later."""
        server = start_redis()
        server.end()
        url = server.url().replace("//", "//user:secret@")
        code, _, err = run("stats", url)
        assert code == 3
        assert "Error 111 connecting to 127.0.0.1" in err
        assert "secret" not in err


def test_the_time_is_redis_own(redis_server: RedisServer, url: str) -> None:
    """What is stored has Redis's time, whatever this machine's clock says."""
    clock = Clock()
    buffer = open_still(url, clock, is_real=True)
    buffer.put("a", "HOME", b"")
    carry(buffer, clock)
    buffer.claim(1)
    buffer.step()
    (entry,) = buffer.claim(1).entries
    with redis_server.client() as client:
        now = client.time()[0]
    assert abs(now - entry.accepted_at) < 300 < abs(entry.accepted_at - NOW)
    buffer.close()
