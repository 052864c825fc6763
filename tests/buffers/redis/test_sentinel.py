"""A master that Sentinel names, and that another server succeeds."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from support.redis_server import LONG, PROGRAM, RedisServer, StartRedis, free_port, wait_for_answer

from amplitude_moloco.buffers.url import open_buffer


@pytest.fixture
def servers(start_redis: StartRedis) -> tuple[RedisServer, RedisServer]:
    """A master, and a replica of it."""
    master = start_redis()
    return master, start_redis(replicaof=f"127.0.0.1 {master.port}")


@pytest.fixture
def sentinel(tmp_path: Path, servers: tuple[RedisServer, RedisServer]) -> Iterator[redis.Redis]:
    """A Sentinel that watches the master, and knows its replica."""
    assert PROGRAM is not None
    port = free_port()
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(
        f"port {port}\nbind 127.0.0.1\nprotected-mode no\nlogfile {tmp_path}/sentinel.log\n"
        f"sentinel monitor main 127.0.0.1 {servers[0].port} 1\n"
        "sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n"
    )
    process = subprocess.Popen([PROGRAM, str(configuration), "--sentinel"])
    try:
        with closing(redis.Redis(port=port)) as client:
            wait_for_answer(client)
            until(lambda: ask(client, "REPLICAS"))
            yield client
    finally:
        process.kill()
        process.wait(LONG)


def ask(sentinel: Any, what: str) -> Any:
    return sentinel.execute_command("SENTINEL", what, "main")


def until(is_true: Callable[[], object]) -> None:
    """The timeout of the test is the bound."""
    pause = threading.Event()
    while not is_true():
        pause.wait(0.05)


def test_the_next_master_is_found(
    servers: tuple[RedisServer, RedisServer], sentinel: redis.Redis
) -> None:
    """After a failover events go to the new master, which has those from before, too."""
    port: Any = sentinel.connection_pool.connection_kwargs["port"]
    buffer: Any = open_buffer(f"redis+sentinel://127.0.0.1:{port}/main/0", target="t")

    def holds(count: int) -> bool:
        try:
            return bool(sum(buffer.state()[:2]) == count)
        except OSError:
            return False

    for number in range(10):
        assert buffer.put(str(number), "HOME", b"") is None
    until(lambda: holds(10))
    with servers[0].client() as client:
        assert client.wait(1, 0) == 1  # the replica has them
    until(lambda: is_failing_over(sentinel))
    with servers[0].client() as client:  # what it took meanwhile would be lost with it
        until(lambda: client.role()[0] == b"slave")
    for number in range(10, 20):
        assert buffer.put(str(number), "HOME", b"") is None
    with servers[1].client() as client:
        until(lambda: client.xlen("{events}:new") == 20)
    assert buffer.close() == []


def is_failing_over(sentinel: redis.Redis) -> bool:
    try:
        ask(sentinel, "FAILOVER")
    except redis.ResponseError:  # the replica is not ready yet
        return False
    return True
