"""What every transport in TRANSPORTS does, against a real server on loopback that misbehaves."""

from __future__ import annotations

import datetime as dt
import gc
import gzip
import itertools
import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support.endpoint import KEY, endpoint_at
from support.faulty_server import Exchange, FaultyServer, StartServer, Step
from support.refusing_port import refusing_port
from support.tls import Tls

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.transports.base import SendResult, Transport
from amplitude_moloco.transports.curl import CurlTransport
from amplitude_moloco.transports.requests import RequestsTransport

TRANSPORTS = [RequestsTransport, CurlTransport]

PATH = "/rmp/event/v1/platforms/MY_SHOP/userevents"
LONG = 60.0
"""Seconds after which a wait in a test has failed."""
SHORT = 2.0
CONNECTING = 0.9 * SHORT
"""The shortest time after which connecting is given up: libcurl leaves a tenth for the answer."""
"""The timeout of a transport that is meant to run into it, in seconds."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
DELIVERED = SendResult(200)


def assert_fault(result: SendResult) -> None:
    """Assert that this is a network fault, described by the name of its kind alone."""
    assert result.status is None
    assert re.fullmatch("[A-Za-z]+", result.message)
    assert result.retry_after_seconds == 0


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Assert that the block takes no longer, on a machine that may be ten times slower."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 10 * seconds


@contextmanager
def at_least(seconds: float) -> Iterator[None]:
    """Assert that the block takes this long, as far as a coarse clock can show."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began > seconds - 0.02


class OpenTransport(Protocol):
    """The fixture open_transport."""

    def __call__(
        self,
        url: str,
        *,
        platform_id: str = "MY_SHOP",
        connections: int = 4,
        timeout_seconds: float = LONG,
        ca_bundle: Path | None = None,
    ) -> Transport: ...


@pytest.fixture(params=TRANSPORTS, ids=lambda kind: kind.__name__)
def open_transport(
    request: pytest.FixtureRequest, bare_environment: pytest.MonkeyPatch
) -> Iterator[OpenTransport]:
    """Opens a transport of the kind under test; it is closed after the test."""
    with ExitStack() as stack:

        def open_one(
            url: str,
            *,
            platform_id: str = "MY_SHOP",
            ca_bundle: Path | None = None,
            connections: int = 4,
            timeout_seconds: float = LONG,
        ) -> Transport:
            transport: Transport = request.param(
                endpoint_at(url, platform_id=platform_id),
                connections=connections,
                timeout_seconds=timeout_seconds,
                ca_bundle=ca_bundle,
            )
            stack.callback(transport.close)
            return transport

        yield open_one


# -- the request ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [b'{"event_type":"HOME"}', "가격 😀".encode(), bytes(range(256)), b"x" * 1_000_000],
    ids=["json", "utf-8", "any-byte", "1-MB"],
)
def test_the_request_is_mcms(
    open_transport: OpenTransport, server: FaultyServer, body: bytes
) -> None:
    """A body is posted unchanged to the platform's path, with the key and MCM's headers."""
    assert open_transport(server.url).send(body) == DELIVERED
    (request,) = server.requests
    assert (request.method, request.target, request.body) == ("POST", PATH, body)
    assert request.headers.get_all("x-api-key") == [KEY]
    assert request.headers.get_all("Content-Type") == ["application/json"]
    assert request.headers.get_all("Accept") == ["application/json"]
    assert request.headers.get_all("Content-Length") == [str(len(body))]
    assert request.headers.get_all("Host") == [f"127.0.0.1:{server.port}"]
    for name in ("Authorization", "Cookie", "Transfer-Encoding"):
        assert name not in request.headers


def test_a_path_before_mcms_is_kept(open_transport: OpenTransport, server: FaultyServer) -> None:
    """A base URL may have a path, such as a gateway's."""
    open_transport(f"{server.url}/gateway/").send(b"{}")
    assert server.requests[0].target == f"/gateway{PATH}"


def test_the_platform_id_arrives_quoted(
    open_transport: OpenTransport, server: FaultyServer
) -> None:
    """A platform id with any characters is one segment of the path on the wire."""
    open_transport(server.url, platform_id="A/B ü?").send(b"{}")
    assert server.requests[0].target == "/rmp/event/v1/platforms/A%2FB%20%C3%BC%3F/userevents"


# -- connections ---------------------------------------------------------------------------------


def test_the_connection_is_kept_alive(open_transport: OpenTransport, server: FaultyServer) -> None:
    """Consecutive requests use one connection, even after an error."""
    for status in (200, 400, 503):
        server.answer(status, b"{}")
    server.answer(204)
    server.will(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
    transport = open_transport(server.url)
    statuses = [transport.send(b"{}").status for _ in range(6)]
    assert statuses == [200, 400, 503, 204, 200, 200]
    assert len({request.client_port for request in server.requests}) == 1
    assert server.connections == 1


def test_each_thread_has_its_connection(
    open_transport: OpenTransport, server: FaultyServer
) -> None:
    """With a connection for each thread, all threads send at once, and none reconnects."""
    threads = 4
    all_arrived = threading.Barrier(threads)
    for _ in range(3 * threads):
        server.will(lambda _: all_arrived.wait(LONG), OK)
    transport = open_transport(server.url, connections=threads)
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(3):
            results = list(pool.map(transport.send, [b"{}"] * threads))
            assert results == [DELIVERED] * threads
    assert server.connections == threads


def test_a_connection_that_the_server_closed_is_replaced(
    open_transport: OpenTransport, server: FaultyServer
) -> None:
    """After the server closes an idle connection, the next request uses a new one."""
    closed = threading.Event()
    server.will(OK, lambda exchange: exchange.close(), lambda _: closed.set())
    transport = open_transport(server.url)
    assert transport.send(b"1") == DELIVERED
    assert closed.wait(LONG)
    assert transport.send(b"2") == DELIVERED
    assert [request.body for request in server.requests] == [b"1", b"2"]


@pytest.mark.parametrize("is_secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("size", [1, 5_000_000], ids=["after-the-request", "in-the-request"])
def test_a_connection_that_ends_under_a_request_is_replaced_at_once(
    open_transport: OpenTransport,
    start_server: StartServer,
    tls: Tls,
    is_secure: bool,
    *,
    end: str,
    size: int,
) -> None:
    """A kept-alive connection that ends when it is used again does not fail the request."""
    server = start_server(tls.context if is_secure else None)
    server.will(OK)
    server.will_unread(
        lambda exchange: exchange.read_head(), lambda exchange: getattr(exchange, end)()
    )
    transport = open_transport(server.url, ca_bundle=tls.ca_bundle)
    bodies = [b"1", b"2" * size]
    assert [transport.send(body) for body in bodies] == [DELIVERED, DELIVERED]
    assert [request.body for request in server.requests] == bodies


def test_connections_that_end_under_requests_are_all_replaced(
    open_transport: OpenTransport, server: FaultyServer
) -> None:
    """If every kept-alive connection ends when it is used again, no thread's request fails."""
    threads = 4
    all_arrived = threading.Barrier(threads)
    for _ in range(threads):
        server.will(lambda _: all_arrived.wait(LONG), OK)
    for _ in range(threads):
        server.will_unread(lambda _: all_arrived.wait(LONG), lambda exchange: exchange.close())
    transport = open_transport(server.url, connections=threads)
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(2):
            results = list(pool.map(transport.send, [b"{}"] * threads))
            assert results == [DELIVERED] * threads


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_tunnel_that_ends_under_a_request_is_replaced_at_once(
    open_transport: OpenTransport,
    server: FaultyServer,
    tls: Tls,
    monkeypatch: pytest.MonkeyPatch,
    end: str,
) -> None:
    """The same holds for a connection through a proxy."""
    server.will(ESTABLISHED, lambda exchange: exchange.start_tls(tls.context))
    server.will(OK)
    server.will_unread(lambda exchange: getattr(exchange, end)())
    server.will(ESTABLISHED, lambda exchange: exchange.start_tls(tls.context))
    monkeypatch.setenv("HTTPS_PROXY", server.url)
    transport = open_transport("https://acme-evt.mcm-api.moloco.com", ca_bundle=tls.ca_bundle)
    assert [transport.send(b"1"), transport.send(b"2")] == [DELIVERED, DELIVERED]
    assert [request.body for request in server.requests] == [b"", b"1", b"", b"2"]


def test_tunnels_that_end_under_requests_are_all_replaced(
    open_transport: OpenTransport, server: FaultyServer, tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a proxy closes every tunnel when it is used again, no request fails."""
    threads = 6
    all_arrived = threading.Barrier(threads)
    for _ in range(threads):
        server.will(
            lambda _: all_arrived.wait(LONG),
            ESTABLISHED,
            lambda exchange: exchange.start_tls(tls.context),
            lambda exchange: exchange.read(),
            lambda _: all_arrived.wait(LONG),
            OK,
            lambda exchange: exchange.wait(),  # for the next request
            lambda exchange: exchange.close(),
        )
    server.will(ESTABLISHED, lambda exchange: exchange.start_tls(tls.context))
    monkeypatch.setenv("HTTPS_PROXY", server.url)
    transport = open_transport(
        "https://acme-evt.mcm-api.moloco.com", connections=threads, ca_bundle=tls.ca_bundle
    )
    with ThreadPoolExecutor(threads) as pool:
        assert set(pool.map(transport.send, [b"1"] * threads)) == {DELIVERED}
    assert transport.send(b"2") == DELIVERED


@pytest.mark.parametrize("is_secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("was_closed", [False, True], ids=["first", "reconnected"])
def test_a_new_connection_that_ends_under_a_request_is_a_fault(
    open_transport: OpenTransport,
    start_server: StartServer,
    tls: Tls,
    is_secure: bool,
    was_closed: bool,
) -> None:
    """A request that fails on a new connection is not sent a second time."""
    server = start_server(tls.context if is_secure else None)
    transport = open_transport(server.url, ca_bundle=tls.ca_bundle)
    if was_closed:
        closed = threading.Event()
        server.will(OK, lambda exchange: exchange.close(), lambda _: closed.set())
        assert transport.send(b"1") == DELIVERED
        assert closed.wait(LONG)
        server.requests.clear()
    for _ in range(3):
        server.will(lambda exchange: exchange.close())
    assert_fault(transport.send(b"2"))
    assert [request.body for request in server.requests] == [b"2"]


def test_no_more_connections_are_kept_than_were_asked_for(
    open_transport: OpenTransport, server: FaultyServer
) -> None:
    """More threads than ``connections`` may send; surplus connections are closed afterwards."""
    threads = 3
    all_arrived, ends = threading.Barrier(threads), threading.Semaphore(0)
    for _ in range(threads):
        server.will(
            lambda _: all_arrived.wait(LONG),
            OK,
            lambda exchange: exchange.hang(),
            lambda _: ends.release(),
        )
    transport = open_transport(server.url, connections=1)
    with ThreadPoolExecutor(threads) as pool:
        assert list(pool.map(transport.send, [b"{}"] * threads)) == [DELIVERED] * threads
    for _ in range(threads - 1):
        assert ends.acquire(timeout=LONG)
    assert not ends.acquire(blocking=False)


def test_close_closes_the_connections(open_transport: OpenTransport, server: FaultyServer) -> None:
    """After close() the server sees the end of the connection, and no socket stays open."""
    ended = threading.Event()
    server.will(OK, lambda exchange: exchange.hang(), lambda _: ended.set())
    transport = open_transport(server.url)
    assert transport.send(b"{}") == DELIVERED
    assert not ended.is_set()
    transport.close()
    transport.close()
    assert ended.wait(LONG)
    del transport
    gc.collect()  # a socket that is left open would warn here


def test_close_leaves_no_connection_of_a_request_in_flight(
    open_transport: OpenTransport, server: FaultyServer
) -> None:
    """The connection of a request in flight at close() is closed after its answer."""
    arrived, is_closed, ended = threading.Event(), threading.Event(), threading.Event()
    server.will(
        lambda _: arrived.set(),
        lambda _: is_closed.wait(LONG),
        OK,
        lambda exchange: exchange.hang(),
        lambda _: ended.set(),
    )
    transport = open_transport(server.url)
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(transport.send, b"{}")
        assert arrived.wait(LONG)
        transport.close()
        is_closed.set()
        sending.result(LONG)
    assert ended.wait(LONG)
    del transport
    gc.collect()


# -- answers -------------------------------------------------------------------------------------

HTML = b"<html><body>hello</body></html>"
ERROR = b'{"code":3,"message":"missing page_id","details":[]}'


def message(body: bytes, *headers: str, status: int = 200) -> bytes:
    """An answer on the wire."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def chunked(*chunks: bytes, status: int = 200) -> bytes:
    """An answer on the wire whose body comes in chunks."""
    head = f"HTTP/1.1 {status} Whatever\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        pytest.param(message(b"{}"), SendResult(200), id="json"),
        pytest.param(message(b" [1]\r\n"), SendResult(200), id="other-json"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", SendResult(204), id="no-body"),
        pytest.param(message(b"", status=202), SendResult(202), id="empty-body"),
        pytest.param(chunked(b"{", b"}"), SendResult(200), id="chunked"),
        pytest.param(
            message(gzip.compress(b"{}"), "Content-Encoding: gzip"), SendResult(200), id="gzip"
        ),
        pytest.param(
            b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", SendResult(200), id="http-1.0"
        ),
        pytest.param(b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", SendResult(200), id="no-phrase"),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\n" + message(b"{}"), SendResult(200), id="100-first"
        ),
        pytest.param(message(ERROR, status=400), SendResult(400, "missing page_id"), id="error"),
        pytest.param(
            chunked(ERROR[:20], ERROR[20:], status=400),
            SendResult(400, "missing page_id"),
            id="chunked-error",
        ),
        pytest.param(
            message(gzip.compress(ERROR), "Content-Encoding: gzip", status=400),
            SendResult(400, "missing page_id"),
            id="gzip-error",
        ),
        pytest.param(message(b"", status=503), SendResult(503), id="error-without-body"),
    ],
)
def test_an_answer_is_read(
    open_transport: OpenTransport, server: FaultyServer, answer: bytes, result: SendResult
) -> None:
    """The result has the status, and for an error MCM's message, in any encoding."""
    server.will(answer)
    transport = open_transport(server.url)
    assert transport.send(b"{}") == result
    assert transport.send(b"{}") == DELIVERED


def test_an_answer_may_end_with_its_connection(
    open_transport: OpenTransport, server: FaultyServer
) -> None:
    """An answer without a length is read until the server closes the connection."""
    server.will(b"HTTP/1.1 400 No\r\n\r\n", ERROR, lambda exchange: exchange.close())
    transport = open_transport(server.url)
    assert transport.send(b"{}") == SendResult(400, "missing page_id")
    assert transport.send(b"{}") == DELIVERED


@pytest.mark.parametrize(
    ("body", "text"),
    [
        pytest.param(
            b'{"code": 16, "message": "no key", "details": [{"a": 1}]}', "no key", id="mcms"
        ),
        pytest.param('{"message": "가격 😀"}'.encode(), "가격 😀", id="utf-8"),
        pytest.param(json.dumps({"message": "m" * 301}).encode(), "m" * 300, id="too-long"),
        pytest.param(b"h" * 301, "h" * 300, id="no-json-too-long"),
        pytest.param(HTML, HTML.decode(), id="html"),
        pytest.param(b"", "", id="empty"),
        pytest.param(b"\xff\xfe", "\ufffd\ufffd", id="no-utf-8"),
        pytest.param(b'{"error": "no"}', '{"error": "no"}', id="no-message"),
        pytest.param(b'{"message": null}', '{"message": null}', id="null-message"),
        pytest.param(b'["message"]', '["message"]', id="array"),
        pytest.param(b'"message"', '"message"', id="string"),
        pytest.param(b"503", "503", id="number"),
        pytest.param(b'{"message": 7}', "7", id="message-of-another-type"),
        pytest.param(b"[" * 10_000, "[" * 300, id="nested-too-deep"),
        pytest.param(b"9" * 10_000, "9" * 300, id="number-too-long"),
    ],
)
def test_an_errors_message_is_quoted(
    open_transport: OpenTransport, server: FaultyServer, body: bytes, text: str
) -> None:
    """An error's message is MCM's, or else the beginning of its body; at most 300 characters."""
    server.answer(400, body)
    assert open_transport(server.url).send(b"{}") == SendResult(400, text)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(json.dumps({"message": f"key {KEY} has expired"}), id="message"),
        pytest.param(f"<html>{KEY}</html>", id="html"),
        pytest.param(json.dumps({"request": {"x-api-key": KEY}}), id="headers"),
        pytest.param("x" * 290 + KEY, id="across-the-cut"),
        pytest.param(KEY * 1000, id="again-and-again"),
    ],
)
def test_a_server_that_echoes_the_key_is_not_quoted(
    open_transport: OpenTransport, server: FaultyServer, body: str
) -> None:
    """No part of the key in an answer appears in the result."""
    server.answer(403, body.encode(), X_Echo=KEY)
    result = open_transport(server.url).send(b"{}")
    assert result.status == 403
    assert "[key]" in result.message
    assert KEY[:8] not in repr(result).replace("x-api-key", "")


@pytest.mark.parametrize(("size", "connections"), [(16 * 1024, 1), (24 * 1024, 2)])
def test_16_kib_of_an_answer_are_read(
    open_transport: OpenTransport, server: FaultyServer, size: int, connections: int
) -> None:
    """The connection of an answer of 16 KiB is kept alive; that of a larger one is closed."""
    server.answer(500, b"h" * size)
    transport = open_transport(server.url)
    assert transport.send(b"{}") == SendResult(500, "h" * 300)
    assert transport.send(b"{}") == DELIVERED
    assert server.connections == connections


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 1000000000000", b"X-Until: closed", b"Transfer-Encoding: chunked"],
    ids=["length", "until-closed", "chunked"],
)
@pytest.mark.parametrize("status", [200, 500])
def test_an_endless_answer_is_not_read_to_its_end(
    open_transport: OpenTransport, server: FaultyServer, status: int, head: bytes
) -> None:
    """Only the beginning of an endless answer is read, and the next request works."""

    def send_for_ever(exchange: Exchange) -> None:
        exchange.send(b"1\r\n{\r\n" if b"chunked" in head else b"{")
        while True:
            exchange.send(b"1000\r\n%b\r\n" % (b"a" * 0x1000))

    server.will(b"HTTP/1.1 %d Whatever\r\n%b\r\n\r\n" % (status, head), send_for_ever)
    transport = open_transport(server.url)
    result = transport.send(b"{}")
    assert result.status == status
    assert len(result.message) == (0 if status == 200 else 300)
    assert transport.send(b"{}") == DELIVERED
    assert len({request.client_port for request in server.requests}) == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(
    open_transport: OpenTransport, server: FaultyServer, start_server: StartServer, status: int
) -> None:
    """A redirect is an answer like any other: the key and the event go to no other server."""
    elsewhere = start_server()
    server.answer(status, Location=f"{elsewhere.url}{PATH}")
    transport = open_transport(server.url)
    assert transport.send(b"{}").status == status
    assert (elsewhere.connections, len(server.requests)) == (0, 1)


@pytest.mark.parametrize("status", [102, 103])
def test_a_late_answer_belongs_to_no_other_request(
    open_transport: OpenTransport, server: FaultyServer, status: int
) -> None:
    """What follows an early answer (1xx) is never taken for the answer to the next request."""
    server.will(
        b"HTTP/1.1 %d Early\r\n\r\n" % status,
        lambda exchange: exchange.wait(),  # for the next request, or the connection's end
        OK,
    )
    server.answer(400, ERROR)
    transport = open_transport(server.url, timeout_seconds=SHORT)
    assert transport.send(b"1").status in (None, status)
    assert transport.send(b"2") == SendResult(400, "missing page_id")


# -- faults of the network -----------------------------------------------------------------------


def broken_bodies(status: int) -> dict[str, list[Step]]:
    """Return answers with this status whose head is complete, but whose body is not."""
    head = b"HTTP/1.1 %d Whatever\r\nContent-Length: 9\r\n\r\n" % status
    short = message(b"{}", status=status).replace(b": 2", b": 9")
    chunks = chunked(b"{}", status=status)
    return {
        "silence-after-the-head": [head, lambda exchange: exchange.hang()],
        "short-body": [short, lambda exchange: exchange.close()],
        "reset-in-the-body": [short, lambda exchange: exchange.reset()],
        "missing-chunk": [chunks.removesuffix(b"0\r\n\r\n"), lambda exchange: exchange.close()],
        "garbage-for-a-chunk": [chunks.replace(b"\r\n2\r\n", b"\r\nno\r\n")],
        "negative-chunk": [chunks.replace(b"\r\n2\r\n", b"\r\n-2\r\n")],
        "endless-trailers": [
            chunks.removesuffix(b"\r\n") + b"a: b\r\n" * 60_000,
            lambda exchange: exchange.hang(),
        ],
        "endless-trailers-of-nothing": [
            chunks.replace(b"2\r\n{}\r\n", b"").removesuffix(b"\r\n") + b"a: b\r\n" * 60_000,
            lambda exchange: exchange.hang(),
        ],
        "garbage-for-gzip": [message(b"no zip", "Content-Encoding: gzip", status=status)],
        "unknown-encoding": [message(b"no zip", "Content-Encoding: zz", status=status)],
        "unknown-encodings": [message(b"no", "Content-Encoding: identity, Zz", status=status)],
    }


SLOWLY = 0.1
"""Seconds between two bytes of a server that drips."""


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([lambda exchange: exchange.close()], id="close"),
        pytest.param([lambda exchange: exchange.reset()], id="reset"),
        pytest.param([lambda exchange: exchange.hang()], id="silence"),
        pytest.param([b"HTTP/1.1 2", lambda exchange: exchange.close()], id="half-a-status"),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\nContent-Le", lambda exchange: exchange.reset()], id="half-a-head"
        ),
        *(pytest.param(steps, id=f"{name}-of-a-503") for name, steps in broken_bodies(503).items()),
        pytest.param([b"SSH-2.0-OpenSSH_9.6\r\n"], id="another-protocol"),
        pytest.param([bytes(range(256)) * 4, b"\n"], id="garbage"),
        pytest.param([b"\r\n\r\n"], id="blank-lines"),
        pytest.param([b"HTTP/1.1 99999 OK\r\n\r\n"], id="no-status"),
        pytest.param([b"HTTP/1.1 200 " + b"a" * 70_000], id="endless-line"),
        pytest.param([b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200], id="endless-head"),
        pytest.param(
            [message(b"{}", "Content-Length: 3"), lambda exchange: exchange.close()],
            id="two-lengths",
        ),
        pytest.param(
            [b"HTTP/1.1 100 Continue\r\n\r\n", lambda exchange: exchange.hang()],
            id="nothing-after-100",
        ),
        pytest.param(
            [b"\x15\x03\x03\x00\x02\x02\x28", lambda exchange: exchange.close()], id="tls-alert"
        ),
    ],
)
def test_a_fault_of_the_network_is_a_result(
    open_transport: OpenTransport, server: FaultyServer, steps: list[Step]
) -> None:
    """Without a complete answer the result has no status, and names the fault without the key."""
    server.will(*steps)
    transport = open_transport(server.url, timeout_seconds=SHORT)
    assert_fault(transport.send(b"{}"))
    assert transport.send(b"{}") == DELIVERED


@pytest.mark.parametrize("status", [200, 202, 299])
@pytest.mark.parametrize("broken", broken_bodies(200))
def test_the_head_of_a_2xx_is_the_answer(
    open_transport: OpenTransport, server: FaultyServer, status: int, broken: str
) -> None:
    """A 2xx whose body breaks off is an answer, but its connection is not used again."""
    server.will(*broken_bodies(status)[broken])
    transport = open_transport(server.url, timeout_seconds=SHORT)
    assert transport.send(b"{}") == SendResult(status)
    server.answer(400, ERROR)
    assert transport.send(b"{}") == SendResult(400, "missing page_id")
    # A body that can't be decoded may have been read to its end all the same.
    is_undecoded = broken in ("garbage-for-gzip", "unknown-encoding", "unknown-encodings")
    assert server.connections in ((1, 2) if is_undecoded else (2,))


def test_a_reset_while_the_request_is_sent_is_a_result(
    open_transport: OpenTransport, server: FaultyServer
) -> None:
    """A server that resets the connection in the middle of a request is a fault."""
    server.will_unread(lambda exchange: exchange.read_head(), lambda exchange: exchange.reset())
    transport = open_transport(server.url)
    assert_fault(transport.send(b"x" * 10_000_000))
    assert transport.send(b"{}") == DELIVERED


def test_a_server_that_reads_nothing_is_a_result(
    open_transport: OpenTransport, server: FaultyServer
) -> None:
    """A request to a server that stops reading fails after the timeout."""
    given_up = threading.Event()
    server.will_unread(lambda _: given_up.wait(LONG), lambda exchange: exchange.reset())
    transport = open_transport(server.url, timeout_seconds=SHORT)
    with at_most(SHORT):
        assert_fault(transport.send(b"x" * 30_000_000))
    given_up.set()


def test_a_refused_connection_is_a_result(open_transport: OpenTransport) -> None:
    """If no server listens, the result names the fault."""
    with refusing_port() as port:
        assert_fault(open_transport(f"http://127.0.0.1:{port}").send(b"{}"))


def test_connecting_takes_no_longer_than_the_timeout(open_transport: OpenTransport) -> None:
    """Connecting to a host that never accepts fails after the timeout, not before."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):  # they fill the backlog: the next one is never accepted
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        transport = open_transport(
            f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_seconds=SHORT
        )
        with at_least(CONNECTING), at_most(SHORT):
            assert transport.send(b"{}") == SendResult(None, "ConnectTimeout")


def test_an_answer_takes_no_longer_than_the_timeout(
    open_transport: OpenTransport, server: FaultyServer
) -> None:
    """A request that is never answered fails after the timeout, not before."""
    server.will(lambda exchange: exchange.hang())
    transport = open_transport(server.url, timeout_seconds=SHORT)
    with at_least(SHORT), at_most(SHORT):
        assert_fault(transport.send(b"{}"))


@pytest.mark.parametrize(
    ("head", "drops"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a", id="head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", b"a", id="body"),
        pytest.param(b"HTTP/1.1 500 No\r\n\r\n", b"a", id="body-until-closed"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n", id="chunks"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4000\r\n", b"a", id="chunk"
        ),
    ],
)
def test_a_slow_answer_takes_no_longer_than_the_timeout(
    open_transport: OpenTransport, server: FaultyServer, head: bytes, drops: bytes
) -> None:
    """One timeout covers the whole answer, even while bytes of it keep arriving."""
    server.will(head, lambda exchange: exchange.drip(itertools.cycle(drops), SLOWLY))
    transport = open_transport(server.url, timeout_seconds=SHORT)
    with at_most(SHORT):
        transport.send(b"{}")
    assert transport.send(b"{}") == DELIVERED


def test_an_answer_that_begins_slowly_takes_no_longer_than_the_timeout(
    open_transport: OpenTransport, server: FaultyServer
) -> None:
    """The timeout covers the status line as well."""
    status_line = itertools.chain(b"HTTP/1.1 200 ", itertools.repeat(ord("a")))
    server.will(lambda exchange: exchange.drip(status_line, SLOWLY))
    transport = open_transport(server.url, timeout_seconds=SHORT)
    with at_most(SHORT):
        assert_fault(transport.send(b"{}"))
    assert transport.send(b"{}") == DELIVERED


def test_a_slow_proxy_takes_no_longer_than_the_timeout(
    open_transport: OpenTransport, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The timeout covers the answer of a proxy that opens a tunnel."""
    answer = itertools.chain(ESTABLISHED[:-2] + b"X-Slow: ", itertools.repeat(ord("a")))
    server.will(lambda exchange: exchange.drip(answer, SLOWLY))
    monkeypatch.setenv("HTTPS_PROXY", server.url)
    transport = open_transport("https://127.0.0.1:9", timeout_seconds=SHORT)
    with at_most(SHORT):
        assert_fault(transport.send(b"{}"))


def test_a_slow_answer_over_tls_takes_no_longer_than_the_timeout(
    open_transport: OpenTransport, start_server: StartServer, tls: Tls
) -> None:
    """One timeout covers the whole answer over TLS as well."""
    server = start_server(tls.context)
    answer = itertools.chain(b"HTTP/1.1 200 OK\r\nX-Slow: ", itertools.repeat(ord("a")))
    server.will(lambda exchange: exchange.drip(answer, SLOWLY))
    transport = open_transport(server.url, ca_bundle=tls.ca_bundle, timeout_seconds=SHORT)
    with at_most(SHORT):
        assert_fault(transport.send(b"{}"))
    assert transport.send(b"{}") == DELIVERED


def test_a_handshake_takes_no_longer_than_the_timeout(
    open_transport: OpenTransport, server: FaultyServer, tls: Tls
) -> None:
    """A request to a server that never answers the TLS handshake fails within the timeout."""
    server.will_unread(lambda exchange: exchange.hang())
    transport = open_transport(
        server.url.replace("http:", "https:"), ca_bundle=tls.ca_bundle, timeout_seconds=SHORT
    )
    with at_least(CONNECTING), at_most(SHORT):
        assert_fault(transport.send(b"{}"))


def test_each_request_has_a_timeout_of_its_own(
    open_transport: OpenTransport, server: FaultyServer
) -> None:
    """On one connection, the second answer may take as long as the first one."""
    never = threading.Event()
    for _ in range(2):
        server.will(OK[:9], lambda _: never.wait(1.1), OK[9:])
    transport = open_transport(server.url, timeout_seconds=2.0)
    assert [transport.send(b"{}"), transport.send(b"{}")] == [DELIVERED, DELIVERED]
    assert server.connections == 1


def test_a_replaced_connection_has_no_timeout_of_its_own(
    open_transport: OpenTransport, server: FaultyServer
) -> None:
    """If a request goes over a second connection, one timeout covers both."""
    never = threading.Event()
    server.will(OK)
    server.will(lambda _: never.wait(1.5), lambda exchange: exchange.close())
    server.will(lambda exchange: exchange.hang())
    transport = open_transport(server.url, timeout_seconds=2.0)
    assert transport.send(b"1") == DELIVERED
    began = time.monotonic()
    assert_fault(transport.send(b"2"))
    # libcurl replaces this one itself. Its later versions then start the timeout again.
    most = LONG if isinstance(transport, CurlTransport) else 1.5 + 2.0
    assert 2.0 - 0.02 < time.monotonic() - began < most
    assert [request.body for request in server.requests] == [b"1", b"2", b"2"]


# -- Retry-After ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        pytest.param("0", 0, id="zero"),
        pytest.param("7", 7, id="seconds"),
        pytest.param("007", 7, id="leading-zeros"),
        pytest.param(" 7 ", 7, id="blanks"),
        pytest.param("21600", 21600, id="six-hours"),
        pytest.param("Mon, 06 Jul 2020 12:00:00 GMT", 0, id="past"),
        pytest.param("Mon, 06 Jul 0001 12:00:00 GMT", 0, id="long-past"),
        pytest.param("Mon, 99 Jul 2026 12:00:00 GMT", 0, id="no-date"),
        pytest.param("Mon, 06 Jul 2020 12:00:00 -0500", 0, id="past-with-a-zone"),
        pytest.param("-7", 0, id="negative"),
        pytest.param("+7", 0, id="signed"),
        pytest.param("inf", 0, id="infinite"),
        pytest.param("nan", 0, id="nan"),
        pytest.param("", 0, id="empty"),
        pytest.param("soon", 0, id="garbage"),
        pytest.param("7.5", 0, id="fraction"),
        pytest.param("7, 8", 0, id="two"),
        pytest.param("7s", 0, id="unit"),
        pytest.param("1000000000", 1e9, id="years"),
        pytest.param("Mon, 06 Jul 2020", 0, id="date-without-a-time"),
        pytest.param("9" * 10_000, 0, id="too-many-digits"),
    ],
)
def test_retry_after_is_read(
    open_transport: OpenTransport, server: FaultyServer, value: str, seconds: float
) -> None:
    """Retry-After is read as seconds or as a date; a malformed one asks for no wait."""
    server.answer(429, Retry_After=value)
    assert open_transport(server.url).send(b"{}") == SendResult(429, retry_after_seconds=seconds)


def test_several_retry_afters_are_none(open_transport: OpenTransport, server: FaultyServer) -> None:
    """Two of the header contradict each other, and ask for no wait."""
    server.will(message(b"", "Retry-After: 7", "Retry-After: 8", status=429))
    assert open_transport(server.url).send(b"{}") == SendResult(429)


def test_the_retry_after_of_another_head_is_not_read(
    open_transport: OpenTransport, server: FaultyServer
) -> None:
    """Neither an early answer nor the one before asks for a wait of this one."""
    server.answer(429, b"{}", Retry_After="7")
    server.will(b"HTTP/1.1 103 Early\r\nRetry-After: 9\r\n\r\n" + message(b"{}", status=503))
    transport = open_transport(server.url)
    assert transport.send(b"{}") == SendResult(429, "{}", 7)
    assert transport.send(b"{}") == SendResult(503, "{}")


def test_a_retry_after_behind_the_body_is_not_read(
    open_transport: OpenTransport, server: FaultyServer
) -> None:
    """A Retry-After that follows the last chunk is none, over either transport."""
    server.will(chunked(status=429).removesuffix(b"\r\n") + b"Retry-After: 7\r\n\r\n")
    assert open_transport(server.url).send(b"{}") == SendResult(429)


@pytest.mark.parametrize("status", [202, 400, 503])
def test_retry_after_is_read_whatever_the_status(
    open_transport: OpenTransport, server: FaultyServer, status: int
) -> None:
    """Retry-After is read from an answer with any status."""
    server.answer(status, Retry_After="7")
    assert open_transport(server.url).send(b"{}") == SendResult(status, retry_after_seconds=7)


def test_a_retry_after_beyond_all_numbers_is_a_result(
    open_transport: OpenTransport, server: FaultyServer
) -> None:
    """A number of seconds that no float can hold asks for no wait, and raises nothing."""
    server.answer(429, Retry_After="9" * 400)
    assert open_transport(server.url).send(b"{}") == SendResult(429)


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sets the local time to nine hours ahead of UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Seoul")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_from_greenwich")
@pytest.mark.parametrize(
    "form", ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"]
)
def test_the_date_of_retry_after_is_in_utc(
    open_transport: OpenTransport, server: FaultyServer, form: str
) -> None:
    """A date is read as UTC in each of HTTP's forms, in any time zone."""
    server.answer(429, Retry_After=time.strftime(form, time.gmtime(time.time() + 600)))
    assert 500 < open_transport(server.url).send(b"{}").retry_after_seconds <= 600


def test_a_result_without_retry_after_has_none(
    open_transport: OpenTransport, server: FaultyServer
) -> None:
    """Without the header, the result asks for no wait."""
    server.answer(429)
    assert open_transport(server.url).send(b"{}").retry_after_seconds == 0


# -- TLS -----------------------------------------------------------------------------------------


def test_a_trusted_server_gets_the_event(
    open_transport: OpenTransport, start_server: StartServer, tls: Tls
) -> None:
    """With the right CA bundle, events go over one TLS connection."""
    server = start_server(tls.context)
    transport = open_transport(server.url, ca_bundle=tls.ca_bundle)
    assert [transport.send(b"1"), transport.send(b"2")] == [DELIVERED, DELIVERED]
    assert [request.body for request in server.requests] == [b"1", b"2"]
    assert server.connections == 1


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"REQUESTS_CA_BUNDLE": "", "CURL_CA_BUNDLE": ""},
        {"PYTHONHTTPSVERIFY": "0"},
        {"SSL_NO_VERIFY": "1", "CURL_INSECURE": "1"},
    ],
    ids=["bare", "empty-bundles", "python", "others"],
)
def test_an_unknown_certificate_is_refused(
    open_transport: OpenTransport,
    start_server: StartServer,
    tls: Tls,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
) -> None:
    """A server with a self-made certificate receives nothing, whatever the environment says."""
    server = start_server(tls.context)
    transport = open_transport(server.url)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    transports = [transport, open_transport(server.url)]
    for transport in transports:
        assert_fault(transport.send(b"{}"))
    assert server.requests == []


def test_a_certificate_for_another_host_is_refused(
    open_transport: OpenTransport, start_server: StartServer, tls: Tls
) -> None:
    """A trusted certificate is accepted only from the host it was issued for."""
    server = start_server(tls.context)
    url = f"https://localhost:{server.port}"
    assert_fault(open_transport(url, ca_bundle=tls.ca_bundle).send(b"{}"))
    assert server.requests == []


def test_a_server_without_tls_is_a_fault(
    open_transport: OpenTransport, server: FaultyServer, tls: Tls
) -> None:
    """A server that speaks plain HTTP receives nothing that was meant for https."""
    server.will_unread(b"HTTP/1.1 400 No\r\n\r\n", lambda exchange: exchange.close())
    url = server.url.replace("http:", "https:")
    assert_fault(open_transport(url, ca_bundle=tls.ca_bundle, timeout_seconds=SHORT).send(b"{}"))
    assert server.requests == []


def test_a_server_with_tls_only_is_a_fault(
    open_transport: OpenTransport, start_server: StartServer, tls: Tls
) -> None:
    """Plain HTTP to a server that speaks TLS is a fault."""
    url = start_server(tls.context).url.replace("https:", "http:")
    assert_fault(open_transport(url, timeout_seconds=SHORT).send(b"{}"))


# -- the environment -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_bundle_of_the_environment_is_trusted(
    open_transport: OpenTransport,
    start_server: StartServer,
    tls: Tls,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """The CA bundle that the environment names is trusted."""
    monkeypatch.setenv(name, str(tls.ca_bundle))
    assert open_transport(start_server(tls.context).url).send(b"{}") == DELIVERED


def test_the_setting_goes_before_the_environments_bundle(
    open_transport: OpenTransport,
    start_server: StartServer,
    tls: Tls,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If a CA bundle is given, the environment's is not even read."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent")
    server = start_server(tls.context)
    assert open_transport(server.url, ca_bundle=tls.ca_bundle).send(b"{}") == DELIVERED


def test_a_bundle_that_does_not_exist_is_refused(open_transport: OpenTransport) -> None:
    """A CA bundle that does not exist is refused."""
    with pytest.raises(ConfigurationError, match=r"^ca_bundle: .*nonexistent"):
        open_transport("https://mcm.invalid", ca_bundle=Path("/nonexistent/ca.pem"))


@pytest.mark.parametrize(
    "content", [b"", b"no certificate", b"\x30\x82\x01\x00" * 9, b"-----BEGIN CERTIFICATE-----\n"]
)
@pytest.mark.parametrize("name", ["ca_bundle", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_bundle_without_certificates_is_refused(
    open_transport: OpenTransport,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    content: bytes,
) -> None:
    """A CA bundle that holds no certificates in PEM form is refused, and the setting named."""
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(content)
    if name != "ca_bundle":
        monkeypatch.setenv(name, str(bundle))
    with pytest.raises(
        ConfigurationError, match=rf"^{name}: .*ca.pem.* use the path of a PEM file"
    ):
        open_transport("https://mcm.invalid", ca_bundle=bundle if name == "ca_bundle" else None)


def test_a_bundle_of_revocations_alone_is_refused(
    open_transport: OpenTransport, tmp_path: Path
) -> None:
    """A revocation list is in PEM form, but trusts no one."""
    now = dt.datetime.now(dt.timezone.utc)
    builder = x509.CertificateRevocationListBuilder(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Tests")]), now, now
    )
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    bundle = tmp_path / "crl.pem"
    bundle.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    with pytest.raises(ConfigurationError, match=r"^ca_bundle: .*holds no certificates"):
        open_transport("https://mcm.invalid", ca_bundle=bundle)


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_bundle_of_the_environment_that_does_not_exist_is_refused(
    open_transport: OpenTransport, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A variable that names no file is refused at construction, and named."""
    monkeypatch.setenv(name, "/nowhere")
    with pytest.raises(ConfigurationError, match=rf"^{name}: '/nowhere' does not exist"):
        open_transport("https://mcm.invalid")


@pytest.mark.parametrize("bundle", [7, b"\xff", "a\x00b", ""], ids=repr)
def test_a_bundle_that_is_no_path_is_refused(open_transport: OpenTransport, bundle: Any) -> None:
    """A value that can't be a path is refused, whatever its type."""
    with pytest.raises(ConfigurationError, match=r"^ca_bundle: "):
        open_transport("https://mcm.invalid", ca_bundle=bundle)


@pytest.mark.parametrize("name", [None, "bundle.pem", "5ed36f99.pem", "5ed36f99", "xed36f99.0"])
def test_a_directory_without_a_certificate_is_refused(
    open_transport: OpenTransport, tls: Tls, tmp_path: Path, name: str | None
) -> None:
    """OpenSSL finds none there, and would trust no server."""
    if name:
        shutil.copy(tls.ca_bundle, tmp_path / name)
    with pytest.raises(ConfigurationError, match="run 'openssl rehash' for it, or use"):
        open_transport("https://mcm.invalid", ca_bundle=tmp_path)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to name a certificate")
def test_a_bundle_may_be_a_directory(
    open_transport: OpenTransport, start_server: StartServer, tls: Tls, tmp_path: Path
) -> None:
    """Certificates in a directory are trusted if their files are named as OpenSSL requires."""
    server = start_server(tls.context)
    (tmp_path / "00000000.0").touch()  # the name of another certificate
    assert_fault(open_transport(server.url, ca_bundle=tmp_path).send(b"{}"))
    command = ["openssl", "x509", "-noout", "-hash", "-in", str(tls.ca_bundle)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=True)
    shutil.copy(tls.ca_bundle, tmp_path / f"{done.stdout.strip()}.0")
    assert open_transport(server.url, ca_bundle=tmp_path).send(b"{}") == DELIVERED


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_plain_http_never_leaves_the_host(
    open_transport: OpenTransport,
    server: FaultyServer,
    start_server: StartServer,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """Plain http to a loopback address does not go through a proxy."""
    proxy = start_server()
    monkeypatch.setenv(name, proxy.url)
    assert open_transport(server.url).send(b"{}") == DELIVERED
    assert (server.connections, proxy.connections) == (1, 0)


def test_no_proxy_is_used_where_the_environment_says_so(
    open_transport: OpenTransport,
    start_server: StartServer,
    tls: Tls,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A host in NO_PROXY is reached without the proxy."""
    server, proxy = start_server(tls.context), start_server()
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert open_transport(server.url, ca_bundle=tls.ca_bundle).send(b"{}") == DELIVERED
    assert (server.connections, proxy.connections) == (1, 0)


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_of_https_sees_neither_key_nor_event(
    open_transport: OpenTransport,
    server: FaultyServer,
    tls: Tls,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """The key and the events go through the proxy in a tunnel, over one connection."""
    server.will(
        ESTABLISHED,
        lambda exchange: exchange.start_tls(tls.context),
    )
    monkeypatch.setenv(name, server.url)
    transport = open_transport("https://acme-evt.mcm-api.moloco.com", ca_bundle=tls.ca_bundle)
    assert [transport.send(b"1"), transport.send(b"2")] == [DELIVERED, DELIVERED]
    connect, *events = server.requests
    assert (connect.method, connect.target) == ("CONNECT", "acme-evt.mcm-api.moloco.com:443")
    assert (connect.body, KEY in str(connect.headers)) == (b"", False)
    assert [(r.target, r.body, r.headers["x-api-key"]) for r in events] == [
        (PATH, b"1", KEY),
        (PATH, b"2", KEY),
    ]
    assert server.connections == 1


@pytest.mark.parametrize("status", [302, 407, 502])
def test_a_proxy_that_refuses_is_a_fault(
    open_transport: OpenTransport,
    server: FaultyServer,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
) -> None:
    """A proxy's own answer is never taken for MCM's."""
    server.answer(status, b"{}", Location="http://127.0.0.1:9/")
    monkeypatch.setenv("HTTPS_PROXY", server.url.replace("//", "//user:secret@"))
    result = open_transport("https://127.0.0.1:9").send(b"{}")
    assert_fault(result)
    assert "secret" not in repr(result)
    assert len(server.requests) == 1


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "127.0.0.1:9", "http://가격.invalid:9"])
def test_a_proxy_that_can_not_work_is_a_fault(
    open_transport: OpenTransport,
    start_server: StartServer,
    tls: Tls,
    monkeypatch: pytest.MonkeyPatch,
    proxy: str,
) -> None:
    """With an unusable proxy nothing is raised, and nothing bypasses it."""
    server = start_server(tls.context)
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    assert_fault(open_transport(server.url, ca_bundle=tls.ca_bundle).send(b"{}"))
    assert server.connections == 0


@pytest.mark.parametrize(
    "proxy",
    [
        "http://",
        "http://[",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:port",
        "http://mcm..invalid",
        f"http://{'a' * 64}.invalid",
        "ftp://user:secret@127.0.0.1:9",
        "htp://127.0.0.1:9",
        "http://mcm proxy.invalid:9",
        "http://mcm\n.invalid:9",
        " http://127.0.0.1:9",
        "http://127.0.0.1:9\x1b[31m",
        "http://mcm<.invalid",
        "http:/127.0.0.1:9",
        "https//127.0.0.1:9",
    ],
)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_that_is_no_address_is_refused(
    open_transport: OpenTransport, monkeypatch: pytest.MonkeyPatch, name: str, proxy: str
) -> None:
    """A proxy of the environment that can't be one is refused, without quoting its login."""
    monkeypatch.setenv(name, proxy)
    with pytest.raises(ConfigurationError, match=r"^proxy: .*HTTPS_PROXY or ALL_PROXY") as refused:
        open_transport("https://mcm.invalid")
    assert "secret" not in str(refused.value)


def test_netrc_is_not_used(
    open_transport: OpenTransport,
    server: FaultyServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A login for the host in .netrc adds nothing to the request."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password my-own-secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert open_transport(server.url).send(b"{}") == DELIVERED
    assert server.requests[0].headers["Authorization"] is None


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        pytest.param([lambda exchange: exchange.close()], "ConnectionError", id="close"),
        pytest.param([lambda exchange: exchange.hang()], "ReadTimeout", id="silence"),
        pytest.param(
            broken_bodies(503)["short-body"],
            "ChunkedEncodingError",
            id="short-body",
        ),
        pytest.param(broken_bodies(503)["garbage-for-gzip"], "ContentDecodingError", id="gzip"),
    ],
)
def test_a_fault_has_the_name_that_requests_gives_it(
    open_transport: OpenTransport, server: FaultyServer, steps: list[Step], kind: str
) -> None:
    """The message of a fault is the name of requests' exception, whatever the transport."""
    server.will(*steps)
    transport = open_transport(server.url, timeout_seconds=SHORT)
    assert transport.send(b"{}") == SendResult(None, kind)


def test_a_fault_of_connecting_has_the_name_that_requests_gives_it(
    open_transport: OpenTransport,
    start_server: StartServer,
    tls: Tls,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fault while connecting has the name of requests' exception as well."""
    assert open_transport("http://127.0.0.1:9").send(b"{}").message == "ConnectionError"
    assert open_transport(start_server(tls.context).url).send(b"{}").message == "SSLError"
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert open_transport("https://mcm.invalid").send(b"{}").message == "ProxyError"
    proxy = start_server()
    proxy.answer(502)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    assert open_transport("https://mcm.invalid").send(b"{}").message == "ProxyError"


def test_the_key_is_in_no_repr_and_no_output(
    open_transport: OpenTransport, server: FaultyServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither a transport's repr nor its output contains the key."""
    transport = open_transport(server.url)
    assert transport.send(b"{}") == DELIVERED
    server.will(lambda exchange: exchange.close())
    transport.send(b"{}")
    assert KEY not in repr(transport)
    assert capfd.readouterr() == ("", "")
