"""A master that Sentinel names: its login, TLS, and the server that succeeds it."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import trustme
from redis.backoff import NoBackoff
from redis.retry import Retry
from support.clock import Clock
from support.redis_buffers import carry, messages_of, open_still
from support.redis_server import (
    LONG,
    PROGRAM,
    RedisServer,
    StartRedis,
    free_port,
    tls_settings,
    wait_for_answer,
)

from amplitude_moloco.buffers.url import open_buffer

Encrypted = Callable[[trustme.CA, trustme.CA], tuple[RedisServer, str]]


@pytest.fixture
def servers(start_redis: StartRedis) -> tuple[RedisServer, RedisServer]:
    """A master, and a replica of it. Both want a password, each from the other, too."""
    login = {"requirepass": "word", "masterauth": "word"}
    master = start_redis(**login)
    return master, start_redis(replicaof=f"127.0.0.1 {master.port}", **login)


@contextmanager
def watched(folder: Path, port: int, *lines: str) -> Iterator[int]:
    """A Sentinel, with these lines in its configuration, that watches the master at this port.

    Gives the Sentinel's own port.
    """
    assert PROGRAM is not None
    own = free_port()
    configuration = folder / "sentinel.conf"
    head = f"port {own}", "bind 127.0.0.1", "protected-mode no", f"logfile {folder}/sentinel.log"
    monitor = f"sentinel monitor main 127.0.0.1 {port} 1"
    configuration.write_text("\n".join([*head, monitor, *lines, ""]))
    process = subprocess.Popen([PROGRAM, str(configuration), "--sentinel"])
    try:
        never = Retry(NoBackoff(), 0)
        with closing(redis.Redis(port=own, retry=never)) as client:
            wait_for_answer(client)
        yield own
    finally:
        process.kill()
        process.wait(LONG)


@pytest.fixture
def sentinel(tmp_path: Path, servers: tuple[RedisServer, RedisServer]) -> Iterator[redis.Redis]:
    """A Sentinel that watches the master, and knows its replica."""
    lines = (
        "sentinel auth-pass main word",
        "sentinel down-after-milliseconds main 1000",
        "sentinel failover-timeout main 5000",
    )
    with (
        watched(tmp_path, servers[0].port, *lines) as port,
        closing(redis.Redis(port=port)) as client,
    ):
        until(lambda: ask(client, "REPLICAS"))
        yield client


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
    buffer: Any = open_buffer(f"redis+sentinel://:word@127.0.0.1:{port}/main/0", target="t")

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


def takes_an_event(url: str, server: RedisServer) -> bool:
    """Whether what is put into a buffer at the URL gets into this server."""
    buffer = open_buffer(url, target="t")
    assert buffer.put("a", "HOME", b"") is None
    with server.client() as client:
        until(lambda: client.xlen("{events}:new") == 1)
    return buffer.close() == []


@pytest.mark.parametrize("is_in_url", [True, False])
def test_the_login_is_the_masters(
    start_redis: StartRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_in_url: bool
) -> None:
    """The master gets the login of the URL, or of the environment. Its Sentinel wants none."""
    master = start_redis(requirepass="w/rd")
    login = ":w%2Frd@" if is_in_url else ""
    monkeypatch.setenv("REDIS_PASSWORD", "another" if is_in_url else "w/rd")
    with watched(tmp_path, master.port, "sentinel auth-pass main w/rd") as port:
        assert takes_an_event(f"redis+sentinel://{login}127.0.0.1:{port}/main/0", master)


def told(url: str, clock: Clock) -> str:
    """The one message of a buffer at the URL, which keeps what is put."""
    buffer = open_still(url, clock)
    assert buffer.put("a", "HOME", b"") is None
    carry(buffer, clock)
    (message,) = messages_of(buffer.tend())
    assert [entry.id for entry in buffer.close()] == ["a"]
    return message


@pytest.mark.parametrize("word", ["word", "other"])
def test_a_login_of_the_sentinel_is_told(
    start_redis: StartRedis, clock: Clock, tmp_path: Path, word: str
) -> None:
    """A Sentinel that wants a login, be it the master's, is told in words without the login."""
    master = start_redis(requirepass="word")
    lines = "sentinel auth-pass main word", f"requirepass {word}"
    with watched(tmp_path, master.port, *lines) as port:
        message = told(f"redis+sentinel://:word@127.0.0.1:{port}/main/0", clock)
    place = f"redis+sentinel://127.0.0.1:{port}/main/0"
    assert message == f"{place} can't be used: a Sentinel wants a login, which is not supported"


@pytest.mark.parametrize(
    ("others", "more"), [("", ""), ("127.0.0.1:1,", "; some can't be reached")]
)
def test_an_unknown_master_is_told(
    start_redis: StartRedis, clock: Clock, tmp_path: Path, others: str, more: str
) -> None:
    """A name that no Sentinel knows is told in a few words, which mention silent Sentinels."""
    with watched(tmp_path, start_redis().port) as port:
        place = f"redis+sentinel://{others}127.0.0.1:{port}/mian/0"
        message = told(place, clock)
    assert message == f"{place} can't be used: no Sentinel names a working master{more}"


@pytest.fixture
def encrypted(start_redis: StartRedis, tmp_path: Path) -> Iterator[Encrypted]:
    """Starts a master and a Sentinel with certificates of these authorities."""
    with ExitStack() as stack:

        def start(master: trustme.CA, sentinel: trustme.CA) -> tuple[RedisServer, str]:
            settings = tls_settings(tmp_path / "master", master)
            server = start_redis(**settings)
            own = tls_settings(tmp_path / "sentinel", sentinel)
            lines = [f"{name.replace('_', '-')} {value}" for name, value in own.items()]
            port = int(settings["tls_port"])
            stack.enter_context(watched(tmp_path, port, "tls-replication yes", *lines))
            return server, own["tls_port"]

        yield start


def test_both_may_be_encrypted(encrypted: Encrypted, tmp_path: Path) -> None:
    """With TLS the Sentinel and the master are reached, where both certificates are trusted."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    master, port = encrypted(authority, authority)
    place = f"127.0.0.1:{port}/main/0?ssl_ca_certs={tmp_path}/ca.pem"
    assert takes_an_event(f"rediss+sentinel://{place}", master)


@pytest.mark.parametrize(
    ("is_masters", "why"), [(True, "CERTIFICATE_VERIFY_FAILED"), (False, "some can't be reached")]
)
def test_both_certificates_are_verified(
    encrypted: Encrypted, clock: Clock, tmp_path: Path, why: str, *, is_masters: bool
) -> None:
    """Neither a Sentinel nor a master is used whose certificate is not trusted."""
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    _, port = encrypted(*((other, authority) if is_masters else (authority, other)))
    place = f"127.0.0.1:{port}/main/0?ssl_ca_certs={tmp_path}/ca.pem"
    assert why in told(f"rediss+sentinel://{place}", clock)
