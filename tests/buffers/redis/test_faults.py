"""What a server does that restarts, hangs, is full, is emptied or is another one."""

from __future__ import annotations

import signal
import threading

import pytest
from support.clock import Clock
from support.redis_buffers import TARGET, carry, ids_of, messages_of, open_still
from support.redis_proxy import proxy_to
from support.redis_server import RedisServer, StartRedis

from amplitude_moloco.buffers.base import Degraded, Entry, Lost, News
from amplitude_moloco.buffers.redis.address import parse_address
from amplitude_moloco.buffers.redis.buffer import RedisBuffer
from amplitude_moloco.buffers.redis.faults import RedisAway
from amplitude_moloco.buffers.redis.layout import Layout
from amplitude_moloco.buffers.redis.link import refuse, warnings_about
from amplitude_moloco.buffers.redis.reader import RedisReader
from amplitude_moloco.reasons import DeadLetterReason, DropReason


def put(buffer: RedisBuffer, *ids: str) -> None:
    for id in ids:
        assert buffer.put(id, "HOME", id.encode()) is None


def is_away(buffer: RedisBuffer) -> bool:
    try:
        buffer.state()
    except OSError:
        return True
    return False


def test_it_need_not_be_there_at_the_start(start_redis: StartRedis, clock: Clock) -> None:
    """Without Redis a buffer opens and stages events; Redis gets them when it comes."""
    server = start_redis()
    server.end()
    buffer = open_still(server.url(), clock)
    put(buffer, "a", "b")
    carry(buffer, clock)
    assert is_away(buffer)
    (message,) = messages_of(buffer.tend())
    assert f"redis://127.0.0.1:{server.port}/0" in message
    assert "can't be used: Error 111 connecting to 127.0.0.1" in message
    server.start()
    carry(buffer, clock)
    assert (ids_of(buffer), buffer.tend()) == (["a", "b"], [])
    buffer.close()


def test_a_long_outage_is_staged(start_redis: StartRedis, clock: Clock) -> None:
    """Far more than a batch waits in the stage, and is written in its order."""
    server = start_redis()
    buffer = open_still(server.url(), clock)
    carry(buffer, clock)
    server.end()
    ids = [str(number) for number in range(250)]
    put(buffer, *ids)
    for _ in range(3):
        carry(buffer, clock)
    server.start()
    carry(buffer, clock)
    assert ids_of(buffer) == ids
    buffer.close()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_it_may_restart(
    start_redis: StartRedis,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    how: signal.Signals,
) -> None:
    """Over a restart every event, claim and dead letter stays, and is there once."""
    server = start_redis(appendfsync="always")
    buffer = open_still(server.url(), clock)
    put(buffer, "a", "b", "c", "d")
    carry(buffer, clock)
    a, b, c = claim(buffer, clock, 3)
    server.end(how)
    put(buffer, "e")
    assert buffer.ack(a)
    assert buffer.retry(b, 0.0, attempts=1)
    assert buffer.bury(c, DeadLetterReason.REJECTED, status=400, message="")
    carry(buffer, clock)
    assert is_away(buffer)
    server.start()
    carry(buffer, clock)
    assert ids_of(buffer) == ["b", "d", "e"]
    assert [letter.id for letter in buffer.dead_letters()] == ["c"]
    assert len(buffer.tend()) == 1
    clock.advance(10)
    carry(buffer, clock)
    assert "can be used again" in caplog.text
    buffer.close()


def claim(buffer: RedisBuffer, clock: Clock, limit: int) -> list[Entry]:
    buffer.claim(limit)
    carry(buffer, clock)
    return buffer.claim(buffer.ready).entries


def test_it_may_hang(start_redis: StartRedis, clock: Clock) -> None:
    """A server that answers nothing delays no put; what it carried out meanwhile is there once."""
    server = start_redis()
    buffer = open_still(server.url(), clock)
    put(buffer, "a")
    carry(buffer, clock)
    server.freeze()
    put(buffer, "b", "c")
    buffer.step()
    assert messages_of(buffer.tend())[0].endswith("it did not answer in time")
    put(buffer, "d")
    assert is_away(buffer)
    server.thaw()
    carry(buffer, clock)
    assert ids_of(buffer) == ["a", "b", "c", "d"]
    buffer.close()


def test_a_script_may_take_long(start_redis: StartRedis, clock: Clock) -> None:
    """While another client keeps Redis busy, nothing is lost or doubled."""
    server = start_redis()
    buffer = open_still(server.url(), clock)
    put(buffer, "a")
    carry(buffer, clock)
    with server.client() as other:
        sleeping = threading.Thread(target=other.execute_command, args=["DEBUG", "SLEEP", "1.5"])
        sleeping.start()
        count = 1
        while not is_away(buffer):
            put(buffer, "b")
            count += 1
            buffer.step()
        sleeping.join()
    carry(buffer, clock)
    assert len(ids_of(buffer)) == count
    buffer.close()


def test_it_may_be_full(start_redis: StartRedis, clock: Clock) -> None:
    """Without memory Redis takes no event, but those that were delivered go, and are counted."""
    server = start_redis()
    url = server.url()
    buffer = open_still(url, clock)
    put(buffer, "a", "bb", "ccc", "dddd")
    carry(buffer, clock)
    a, b, c = claim(buffer, clock, 3)
    with server.client() as client:
        client.config_set("maxmemory", "1")
        assert buffer.ack(a)
        assert buffer.retry(b, 5.0, attempts=1)
        assert buffer.bury(c, DeadLetterReason.REJECTED, status=None, message="")
        put(buffer, "e")
        buffer.step()
        carry(buffer, clock)
        assert "it has reached its maxmemory" in messages_of(buffer.tend())[0]
        assert client.xlen(f"{{{parse_address(url, {}).layout.stream}}}:new") == 1
        client.config_set("maxmemory", "0")
    carry(buffer, clock)
    reader = RedisReader(parse_address(url, {}))
    found = reader.contents()
    assert (found.stored, found.stored_bytes, found.dead, found.dead_bytes) == (3, 7, 1, 3)
    reader.close()
    clock.advance(5)
    assert ids_of(buffer) == ["bb", "dddd", "e"]
    buffer.close()


def test_what_is_there_goes_out_without_memory(start_redis: StartRedis, clock: Clock) -> None:
    """Without memory all that is in Redis is still claimed: retries, new entries, the newest."""
    server = start_redis()
    buffer = open_still(url := server.url(), clock)
    put(buffer, "a", "b", "c", "d")
    carry(buffer, clock)
    (a,) = claim(buffer, clock, 1)
    buffer.retry(a, 0.0, attempts=1)
    carry(buffer, clock)
    with server.client() as client:
        client.config_set("maxmemory", "1")
        other = open_still(url, clock)
        other.claim(3, newest=1)
        other.step()
        assert [entry.id for entry in other.claim(3).entries] == ["a", "b", "d"]
        put(other, "e")
        carry(other, clock)
        assert other.state() == (2, 3, 0)
        client.config_set("maxmemory", "0")
    assert other.close() == []
    buffer.close()


def test_a_replica_is_refused_until_it_is_the_master(start_redis: StartRedis, clock: Clock) -> None:
    """Nothing is written into a replica; once it is promoted, all is."""
    master = start_redis()
    replica = start_redis(replicaof=f"127.0.0.1 {master.port}")
    buffer = open_still(replica.url(), clock)
    put(buffer, "a")
    carry(buffer, clock)
    assert "it is a replica; use the address of the master" in messages_of(buffer.tend())[0]
    with replica.client() as client:
        client.execute_command("REPLICAOF", "NO", "ONE")
        carry(buffer, clock)
        assert ids_of(buffer) == ["a"]
        put(buffer, "b")
        client.execute_command("REPLICAOF", "127.0.0.1", str(master.port))
        buffer.step()
        assert "it is a replica, which can't be written" in messages_of(buffer.tend())[0]
        client.execute_command("REPLICAOF", "NO", "ONE")
    carry(buffer, clock)
    buffer.close()


def test_it_may_be_emptied(redis_server: RedisServer, clock: Clock) -> None:
    """When all keys are deleted, the loss is counted, and everything goes on after a pause."""
    buffer = open_still(url := redis_server.url(), clock)
    put(buffer, "a", "b", "c")
    carry(buffer, clock)
    (a,) = claim(buffer, clock, 1)
    delete_all(redis_server, url)
    put(buffer, "d")
    assert buffer.step() == 1.0
    carry(buffer, clock)
    news = buffer.tend()
    assert "its streams were deleted" in messages_of(news)[0]
    assert lost_in(news) == 2
    assert buffer.retry(a, 0.0, attempts=1)
    carry(buffer, clock)
    assert ids_of(buffer) == ["d"]
    buffer.close()


def test_all_data_may_be_flushed(start_redis: StartRedis, clock: Clock) -> None:
    """After FLUSHALL, of scripts too, the loss is counted, and what is put then is there once."""
    server = start_redis()
    buffer = open_still(server.url(), clock)
    put(buffer, "a", "b")
    carry(buffer, clock)
    with server.client() as client:
        client.flushall()
        client.script_flush()
    put(buffer, "c")
    carry(buffer, clock)
    assert (lost_in(buffer.tend()), ids_of(buffer)) == (2, ["c"])
    buffer.close()


def test_a_kill_without_a_file_loses_all(start_redis: StartRedis, clock: Clock) -> None:
    """What a server without an append-only file has lost is counted; what is staged is kept."""
    server = start_redis(appendonly="no")
    buffer = open_still(server.url(), clock)
    put(buffer, "a", "b", "c")
    carry(buffer, clock)
    server.end()
    put(buffer, "d")
    carry(buffer, clock)
    server.start()
    carry(buffer, clock)
    assert (lost_in(buffer.tend()), ids_of(buffer)) == (3, ["d"])
    buffer.close()


def delete_all(server: RedisServer, url: str) -> None:
    with server.client() as client:
        for key in parse_address(url, {}).layout.keys:
            client.delete(key)


def lost_in(news: list[News]) -> int:
    return sum(each.events for each in news if isinstance(each, Lost))


def test_a_flush_does_not_wait_for_what_is_gone(redis_server: RedisServer, clock: Clock) -> None:
    """A checkpoint is reached when the data that it was about was deleted."""
    buffer = open_still(url := redis_server.url(), clock)
    put(buffer, "a")
    carry(buffer, clock)
    is_reached = buffer.checkpoint()
    assert not is_reached()
    delete_all(redis_server, url)
    carry(buffer, clock)
    is_reached()
    carry(buffer, clock)
    assert is_reached()
    buffer.close()


def test_another_process_may_find_it_empty_first(redis_server: RedisServer, clock: Clock) -> None:
    """A process learns that all was deleted, though another one has made the streams again."""
    first = open_still(url := redis_server.url(), clock)
    second = open_still(url, clock)
    put(first, "a", "b", "c")
    carry(first, clock)
    carry(second, clock)
    delete_all(redis_server, url)
    carry(second, clock)
    carry(first, clock)
    assert (lost_in(first.tend()), lost_in(second.tend())) == (3, 3)
    first.close()
    second.close()


def test_a_replica_may_lack_the_newest(start_redis: StartRedis, clock: Clock) -> None:
    """What the next master had not got yet is lost, and counted; all else is there once."""
    master = start_redis()
    replica = start_redis(replicaof=f"127.0.0.1 {master.port}")
    with proxy_to(master.port) as proxy:
        url = master.url().replace(str(master.port), str(proxy.port))
        buffer = open_still(url, clock)
        put(buffer, "a", "b")
        carry(buffer, clock)
        with master.client() as client:
            assert client.wait(1, 0) == 1
        with replica.client() as client:
            client.execute_command("REPLICAOF", "NO", "ONE")
        put(buffer, "c", "d", "e")
        carry(buffer, clock)
        master.end()
        proxy.lead_to(replica.port)
        put(buffer, "f")
        carry(buffer, clock)
        assert (lost_in(buffer.tend()), ids_of(buffer)) == (3, ["a", "b", "f"])
        buffer.close()


def test_a_failover_may_lose_the_newest(redis_server: RedisServer, clock: Clock) -> None:
    """A server that has not got the newest events any more is noticed by their numbers."""
    buffer = open_still(url := redis_server.url(), clock)
    put(buffer, "a", "b", "c")
    carry(buffer, clock)
    layout = parse_address(url, {}).layout
    with redis_server.client() as client:  # as a replica that lags behind
        client.hset(layout.keys[-1], "last", "1")
        client.xtrim(layout.keys[0], maxlen=1, approximate=False)
    carry(buffer, clock)
    news = buffer.tend()
    assert [each.events for each in news if isinstance(each, Lost)] == [2]
    buffer.close()


def test_an_app_learns_that_all_was_deleted(redis_server: RedisServer, clock: Clock) -> None:
    """A write into data that another process has made since counts what was there, once."""
    first = open_still(url := redis_server.url(), clock)
    second = open_still(url, clock)
    for id in "ab":
        put(first, id)
        carry(first, clock)
    for entry in claim(first, clock, 1):
        first.ack(entry)
    carry(first, clock)
    delete_all(redis_server, url)
    carry(second, clock)
    put(first, "c")
    first.step()
    carry(first, clock)
    assert (lost_in(first.tend()), ids_of(first)) == (1, ["c"])
    first.close()
    second.close()


def test_a_group_may_be_missing(redis_server: RedisServer, clock: Clock) -> None:
    """A deleted group is made again from the first entry on: nothing is lost."""
    buffer = open_still(url := redis_server.url(), clock)
    put(buffer, "a", "b")
    carry(buffer, clock)
    claim(buffer, clock, 1)
    with redis_server.client() as client:
        client.xgroup_destroy(parse_address(url, {}).layout.keys[0], "senders")
    other = open_still(url, clock)
    carry(other, clock)
    assert ids_of(other) == ["a", "b"]
    other.close()
    buffer.close()


def test_its_scripts_may_be_flushed(redis_server: RedisServer, clock: Clock) -> None:
    """A server that has forgotten the scripts learns them again."""
    buffer = open_still(redis_server.url(), clock)
    put(buffer, "a")
    carry(buffer, clock)
    with redis_server.client() as client:
        client.script_flush()
    put(buffer, "b")
    carry(buffer, clock)
    assert ids_of(buffer) == ["a", "b"]
    assert buffer.tend() == []
    buffer.close()


@pytest.mark.parametrize(
    ("login", "why"),
    [("", "Authentication required"), ("user:secret@", "invalid username-password pair")],
)
def test_a_wrong_password_is_told(
    start_redis: StartRedis, clock: Clock, login: str, why: str
) -> None:
    """A login that Redis refuses is told in words, once, without the password."""
    server = start_redis(requirepass="other")
    buffer = open_still(server.url().replace("//", f"//{login}"), clock)
    put(buffer, "a")
    for _ in range(3):
        carry(buffer, clock)
    (message,) = messages_of(buffer.tend())
    assert "it refuses the user or the password" in message
    assert why in message
    assert "secret" not in message
    assert [entry.id for entry in buffer.close()] == ["a"]


def test_the_login_reaches_redis(start_redis: StartRedis, clock: Clock) -> None:
    """With the right password everything works."""
    server = start_redis(requirepass="s p@/ce")
    buffer = open_still(server.url().replace("//", "//:s%20p%40%2Fce@"), clock)
    put(buffer, "a")
    carry(buffer, clock)
    assert ids_of(buffer) == ["a"]
    buffer.close()


def test_a_user_may_lack_permissions(start_redis: StartRedis, clock: Clock) -> None:
    """Without INFO the settings can't be checked, which is told; without writing nothing works."""
    server = start_redis()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "-info")
        url = server.url().replace("//", "//app:pw@")
        buffer = open_still(url, clock)
        put(buffer, "a")
        carry(buffer, clock)
        (message,) = messages_of(buffer.tend())
        assert message.endswith("its user may not run INFO, so its settings can't be checked")
        assert ids_of(buffer) == ["a"]
        client.execute_command("ACL", "SETUSER", "app", "-xadd")
        put(buffer, "b")
        carry(buffer, clock)
        assert is_away(buffer)
    buffer.close()


def test_a_stream_has_one_target(redis_server: RedisServer, clock: Clock) -> None:
    """A stream that holds events for another target is refused, and the message names both."""
    url = redis_server.url()
    first = open_still(url, clock)
    put(first, "a")
    carry(first, clock)
    other = open_still(url, clock, target="https://other")
    put(other, "b")
    carry(other, clock)
    (message,) = messages_of(other.tend())
    assert message.endswith(f"its stream holds events for {TARGET}; use another stream")
    assert [entry.id for entry in other.close()] == ["b"]
    first.close()


def test_another_layout_is_refused(redis_server: RedisServer, clock: Clock) -> None:
    """What another release has written is left alone."""
    url = redis_server.url()
    with redis_server.client() as client:
        client.hset(parse_address(url, {}).layout.keys[-1], "layout", "99")
    buffer = open_still(url, clock)
    put(buffer, "a")
    carry(buffer, clock)
    assert messages_of(buffer.tend())[0].endswith("its layout is 99, this release uses 2")
    buffer.close()


def test_what_loses_events_is_told(start_redis: StartRedis, clock: Clock) -> None:
    """No append-only file and an eviction policy are told once, with what to set."""
    server = start_redis(appendonly="no", maxmemory_policy="allkeys-lru")
    buffer = open_still(server.url(), clock)
    carry(buffer, clock)
    server.end()
    carry(buffer, clock)
    server.start()
    carry(buffer, clock)
    aof, policy, _ = messages_of(buffer.tend())
    assert aof.endswith("set 'appendonly yes'")
    assert policy.endswith("set 'maxmemory-policy noeviction'")
    buffer.close()


def test_a_new_connection_looks_again(start_redis: StartRedis, clock: Clock) -> None:
    """Whoever answers next at the address is looked at, too, though Redis never seemed away."""
    server = start_redis()
    buffer = open_still(server.url(), clock)
    put(buffer, "a")
    carry(buffer, clock)
    assert buffer.tend() == []
    with server.client() as client:
        client.config_set("appendonly", "no")
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        while len(client.client_list()) > 1:
            pass
    put(buffer, "b")
    carry(buffer, clock)
    (message,) = messages_of(buffer.tend())
    assert message.endswith("set 'appendonly yes'")
    assert ids_of(buffer) == ["a", "b"]
    buffer.close()


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({"role": "master", "redis_version": "6.0.16"}, "it is version 6.0.16; use 6.2 or later"),
        ({"role": "master", "redis_version": "5.9"}, "it is version 5.9"),
        ({"role": "slave", "redis_version": "7.0"}, "it is a replica"),
        ({"role": "replica"}, "it is a replica"),
    ],
)
def test_what_cannot_be_used_is_refused(found: dict[str, str], why: str) -> None:
    """A replica, and a server before 6.2, are refused."""
    with pytest.raises(RedisAway, match=why):
        refuse(found)


@pytest.mark.parametrize("version", ["6.2.0", "7.0.15", "8.1", "unknown", ""])
def test_what_can_be_used_is_not_refused(version: str) -> None:
    """From 6.2 on every release is accepted, and Valkey, which calls itself 7.2."""
    found = {"role": "master", "redis_version": version, "maxmemory_policy": "noeviction"}
    refuse(found)
    assert warnings_about(found) == []


def test_the_bounds_are_redis(redis_server: RedisServer, clock: Clock) -> None:
    """What finds no room in Redis stays in the stage, and goes there when there is some."""
    url = redis_server.url(max_events=2)
    first, second = open_still(url, clock), open_still(url, clock)
    put(first, "a", "b")
    put(second, "c")
    carry(first, clock)
    carry(second, clock)
    assert second.put("d", "HOME", b"") is DropReason.FULL
    assert second.state().waiting == 3
    for entry in claim(first, clock, 2):
        first.ack(entry)
    carry(first, clock)
    carry(second, clock)
    assert second.put("d", "HOME", b"") is None
    carry(second, clock)
    assert ids_of(second) == ["c", "d"]
    first.close()
    second.close()


def test_layouts_share_one_slot() -> None:
    """All keys have one hash tag, so that one node of a cluster has them."""
    layout = Layout("a")
    assert all(key.startswith("{a}:") for key in (*layout.keys, layout.producer("p")))


def test_a_degraded_buffer_is_told_once(start_redis: StartRedis, clock: Clock) -> None:
    """However long Redis is away, that is told once, and again the next time."""
    server = start_redis()
    buffer = open_still(server.url(), clock)
    carry(buffer, clock)
    for _ in range(2):
        server.end()
        for _ in range(10):
            carry(buffer, clock)
        assert [type(each) for each in buffer.tend()].count(Degraded) in (1, 2)
        server.start()
        carry(buffer, clock)
        clock.advance(10)
        carry(buffer, clock)
        assert buffer.tend() == []
    buffer.close()
