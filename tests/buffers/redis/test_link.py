"""The ways to a server, and what its errors mean."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme
from redis import exceptions
from support.clock import Clock
from support.redis_buffers import carry, ids_of, messages_of, open_still
from support.redis_server import RedisServer, StartRedis, tls_settings

from amplitude_moloco.buffers.redis.desk import Desk
from amplitude_moloco.buffers.redis.faults import away
from amplitude_moloco.buffers.redis.record import Record


def test_a_socket_works(redis_server: RedisServer, clock: Clock) -> None:
    """A buffer reaches the server through its socket in the file system."""
    stream = redis_server.url().partition("stream=")[2]
    buffer = open_still(f"unix://{redis_server.socket}?stream={stream}", clock)
    buffer.put("a", "HOME", b"")
    carry(buffer, clock)
    assert ids_of(buffer) == ["a"]
    buffer.close()


@pytest.mark.parametrize("is_trusted", [True, False])
def test_certificates_are_verified(
    start_redis: StartRedis, clock: Clock, tmp_path: Path, *, is_trusted: bool
) -> None:
    """Over TLS a server is used only if its certificate is trusted."""
    authority, other = trustme.CA(), trustme.CA()
    trusted = tmp_path / "ca.pem"
    (authority if is_trusted else other).cert_pem.write_to_path(str(trusted))
    settings = tls_settings(tmp_path / "tls", authority)
    start_redis(**settings)
    port = settings["tls_port"]
    buffer = open_still(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={trusted}", clock)
    buffer.put("a", "HOME", b"")
    carry(buffer, clock)
    if is_trusted:
        assert ids_of(buffer) == ["a"]
        assert buffer.close() == []
    else:
        assert "CERTIFICATE_VERIFY_FAILED" in messages_of(buffer.tend())[0]
        assert [entry.id for entry in buffer.close()] == ["a"]


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (exceptions.BusyLoadingError("x"), "it is still loading its data"),
        (exceptions.TimeoutError("x"), "it did not answer in time"),
        (TimeoutError(), "it did not answer in time"),
        (exceptions.ReadOnlyError("x"), "it is a replica, which can't be written (x)"),
        (exceptions.NoPermissionError("x"), "its user lacks a permission (x)"),
        (exceptions.ResponseError("NOAUTH x"), "it refuses the user or the password (NOAUTH x)"),
        (exceptions.ConnectionError("x\ny"), "x\\ny"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_an_error_has_words(error: Exception, why: str) -> None:
    """Each kind of error says what is wrong, on one line."""
    assert str(away(error)) == why


IN_SCRIPT = "Error running script (call to f_04c8): @user_script:13: @user_script: 13: -"


@pytest.mark.parametrize(
    ("text", "why", "is_full"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", "has reached its max", True),
        ("READONLY You can't write against a read only replica.", "it is a replica", False),
    ],
)
def test_an_error_in_a_script_is_known(text: str, why: str, *, is_full: bool) -> None:
    """What a command in a script answers is known by its text, as Redis 6.2 has it, too."""
    fault = away(exceptions.ResponseError(IN_SCRIPT + text))
    assert why in str(fault)
    assert fault.is_full == is_full


def test_a_desk_forgets_only_what_it_has(clock: Clock) -> None:
    """What was lost to another process and is not here any more changes nothing."""
    desk = Desk("me", clock.monotonic)
    record = Record(1, b"1-0", "a", "HOME", b"", 0.0, 1, 0, 0)
    assert desk.claim(1, 0).entries == []
    assert desk.add([record]) == 1
    desk.forget([record._replace(place=b"2-0")])
    assert desk.ready == 1
    desk.close()
    assert desk.claim(1, 0).entries == []
    assert [each.record for each in desk.outcomes(9)] == [record]
