"""What goes wrong on the way to the server: each transport against real sockets and resolvers."""

from __future__ import annotations

import http.client
import itertools
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from freezegun import freeze_time
from support.black_hole import black_hole
from support.endpoint import KEY, endpoint_at
from support.faulty_server import FaultyServer, StartServer, Step
from support.refusing_port import refusing_port
from support.tls import Tls

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.transports.base import Endpoint, SendResult, Transport
from amplitude_moloco.transports.curl import CurlTransport
from amplitude_moloco.transports.requests import RequestsTransport

LONG = 60.0
"""Seconds after which a wait in a test has failed."""
SHORT = 0.5
"""The timeout of a transport that is meant to run into it, in seconds."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
DELIVERED = SendResult(200)
OpenTransport = Callable[..., Transport]


def opened(stack: ExitStack, kind: Callable[..., Transport]) -> OpenTransport:
    def open_one(url: str, **settings: Any) -> Transport:
        transport = kind(endpoint_at(url), **{"timeout_seconds": LONG, **settings})
        stack.callback(transport.close)
        return transport

    return open_one


@pytest.fixture(params=[RequestsTransport, CurlTransport], ids=lambda kind: kind.__name__)
def open_transport(
    request: pytest.FixtureRequest, bare_environment: pytest.MonkeyPatch
) -> Iterator[OpenTransport]:
    """Opens a transport of the kind under test; it is closed after the test."""
    with ExitStack() as stack:
        yield opened(stack, request.param)


@pytest.fixture
def open_requests(bare_environment: pytest.MonkeyPatch) -> Iterator[OpenTransport]:
    """Opens a transport over requests; it is closed after the test."""
    with ExitStack() as stack:
        yield opened(stack, RequestsTransport)


def cause(result: SendResult) -> str:
    """Returns the cause of a fault: one line of words, with neither the key nor a password."""
    assert result.status is None
    assert re.fullmatch("[A-Za-z]+", result.message)
    assert "; check " in result.cause
    assert result.cause.isprintable()
    assert KEY not in repr(result)
    assert "secret" not in repr(result)
    return result.cause


# -- causes in words -----------------------------------------------------------------------------


def test_a_name_that_can_not_be_resolved_is_named(open_transport: OpenTransport) -> None:
    """A host that does not exist is named, and the DNS to be checked."""
    said = cause(open_transport("https://no-such-shop.invalid").send(b"{}"))
    assert said.startswith("the name no-such-shop.invalid can't be resolved")


def test_a_refused_connection_names_host_and_port(open_transport: OpenTransport) -> None:
    """A port where no server listens is named."""
    with refusing_port() as port:
        said = cause(open_transport(f"http://127.0.0.1:{port}").send(b"{}"))
    assert said.startswith(f"127.0.0.1:{port} refuses the connection")


def test_a_black_hole_is_named(open_transport: OpenTransport) -> None:
    """A host that accepts no connection is named, with the time that was given to it."""
    with black_hole() as port:
        transport = open_transport(f"http://127.0.0.1:{port}", timeout_seconds=SHORT)
        said = cause(transport.send(b"{}"))
    assert said.startswith(f"no connection to 127.0.0.1:{port} within 0.5 s")


def test_silence_is_named(open_transport: OpenTransport, server: FaultyServer) -> None:
    """A server that does not answer in time is named."""
    server.will(lambda exchange: exchange.hang())
    said = cause(open_transport(server.url, timeout_seconds=SHORT).send(b"{}"))
    assert said.startswith(f"127.0.0.1:{server.port} has not answered within 0.5 s")


@pytest.mark.parametrize("framing", ["Content-Length: 9", "Transfer-Encoding: chunked"])
def test_silence_after_a_head_is_named(
    open_transport: OpenTransport, server: FaultyServer, framing: str
) -> None:
    """A server whose answer stops in its body is named as one that does not answer in time."""
    head = f"HTTP/1.1 503 No\r\n{framing}\r\n\r\n".encode()
    server.will(head, lambda exchange: exchange.hang())
    said = cause(open_transport(server.url, timeout_seconds=SHORT).send(b"{}"))
    assert said.startswith(f"127.0.0.1:{server.port} has not answered within 0.5 s")


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([lambda exchange: exchange.close()], "ended the connection before its answer"),
        ([lambda exchange: exchange.reset()], "ended the connection before its answer"),
        ([b"SSH-2.0-OpenSSH_9.6\r\n", lambda exchange: exchange.close()], "not as an HTTP server"),
        ([b"HTTP/1.1 503 No\r\nContent-Length: 9\r\n\r\n{}", lambda e: e.close()], "ended the"),
        (
            [b"HTTP/1.1 503 No\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"],
            "can't be decoded",
        ),
    ],
    ids=["close", "reset", "ssh", "short", "no-gzip"],
)
def test_a_broken_answer_is_named(
    open_transport: OpenTransport, server: FaultyServer, steps: list[Step], words: str
) -> None:
    """An answer that breaks off, or is none, is described in words."""
    server.will(*steps)
    said = cause(open_transport(server.url).send(b"{}"))
    assert f"127.0.0.1:{server.port} " in said
    assert words in said


def test_an_unknown_certificate_is_named(
    open_transport: OpenTransport, start_server: StartServer, tls: Tls
) -> None:
    """A certificate from an unknown authority is named as one, with what trusts it."""
    server = start_server(tls.context)
    said = cause(open_transport(server.url).send(b"{}"))
    assert said.startswith(f"the certificate of 127.0.0.1:{server.port} is not trusted: its ")
    assert "unknown" in said
    assert "ca_bundle" in said


def test_a_certificate_for_another_host_is_named(
    open_transport: OpenTransport, start_server: StartServer, tls: Tls
) -> None:
    """A certificate that is for another host is named as one."""
    server = start_server(tls.context)
    url = f"https://localhost:{server.port}"
    said = cause(open_transport(url, ca_bundle=tls.ca_bundle).send(b"{}"))
    assert "is not trusted: it was issued for another host" in said


def test_https_to_a_plain_port_is_named(
    open_transport: OpenTransport, server: FaultyServer
) -> None:
    """A port that speaks plain HTTP is named as one that does not speak TLS."""
    server.will_unread(b"HTTP/1.1 400 No\r\n\r\n", lambda exchange: exchange.close())
    url = server.url.replace("http:", "https:")
    assert "does not speak TLS" in cause(open_transport(url).send(b"{}"))


def test_a_failed_handshake_is_named(open_transport: OpenTransport, server: FaultyServer) -> None:
    """A server that speaks TLS, and refuses to agree on it, is named."""
    alert = b"\x15\x03\x03\x00\x02\x02\x28"  # handshake_failure
    server.will_unread(alert, lambda exchange: exchange.close())
    url = server.url.replace("http:", "https:")
    said = cause(open_transport(url).send(b"{}"))
    assert said.startswith(f"TLS with 127.0.0.1:{server.port} failed")


def test_an_answer_in_another_protocol_is_no_success(
    open_transport: OpenTransport, server: FaultyServer
) -> None:
    """A server that changes to another protocol has not accepted the event."""
    server.will(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
    transport = open_transport(server.url, timeout_seconds=4 * SHORT)
    assert transport.send(b"{}").status in (None, 101)
    assert transport.send(b"{}") == DELIVERED
    assert server.connections == 2


def test_http_to_a_tls_port_is_named(open_transport: OpenTransport, server: FaultyServer) -> None:
    """A port that speaks TLS alone is named as no HTTP server."""
    server.will_unread(b"\x15\x03\x03\x00\x02\x02\x28", lambda exchange: exchange.close())
    said = cause(open_transport(server.url).send(b"{}"))
    assert "not as an HTTP server" in said or "ended the connection" in said


@pytest.mark.parametrize("status", [407, 502])
def test_a_proxy_that_refuses_is_named(
    open_transport: OpenTransport,
    server: FaultyServer,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
) -> None:
    """A proxy that refuses is named with its status, but without its password."""
    server.answer(status)
    monkeypatch.setenv("HTTPS_PROXY", server.url.replace("//", "//user:secret@"))
    said = cause(open_transport("https://mcm.invalid").send(b"{}"))
    assert f"the proxy 127.0.0.1:{server.port} on the way to mcm.invalid" in said
    assert f"refuses with status {status}" in said


@pytest.mark.parametrize("proxy", ["http://user:secret@127.0.0.1:9", "http://no-proxy.invalid:9"])
def test_a_proxy_that_can_not_be_reached_is_named(
    open_transport: OpenTransport, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    """A proxy that is not there is blamed, and not the server."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    said = cause(open_transport("https://mcm.invalid").send(b"{}"))
    assert f"the proxy {proxy.rpartition('/')[2].rpartition('@')[2]} on the way" in said


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([lambda exchange: exchange.close()], "ended the connection"),
        ([b"SSH-2.0-OpenSSH_9.6\r\n", lambda exchange: exchange.close()], "not as an HTTP server"),
        ([lambda exchange: exchange.hang()], "no connection to"),
        ([b"HTTP/1.1 200 OK\r\n\r\nno TLS at all", lambda exchange: exchange.close()], "TLS"),
    ],
    ids=["close", "ssh", "hang", "plain"],
)
def test_where_either_may_have_failed_both_are_named(
    open_transport: OpenTransport,
    server: FaultyServer,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[Step],
    words: str,
) -> None:
    """A fault behind a proxy, or of the proxy itself, names the proxy beside the server."""
    server.will(*steps)
    monkeypatch.setenv("HTTPS_PROXY", server.url.replace("//", "//user:secret@") + "/")
    said = cause(open_transport("https://mcm.invalid", timeout_seconds=SHORT).send(b"{}"))
    assert f"mcm.invalid:443 (through the proxy 127.0.0.1:{server.port})" in said
    assert words in said
    assert "whether a proxy is needed" not in said


def test_requests_without_pysocks_is_refused(
    open_requests: OpenTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A SOCKS proxy that needs a missing package is refused with the command that installs it."""
    monkeypatch.setitem(sys.modules, "socks", None)
    monkeypatch.setenv("ALL_PROXY", "socks5h://user:secret@127.0.0.1:9")
    with pytest.raises(ConfigurationError, match=r"pip install 'requests\[socks\]'") as refused:
        open_requests("https://mcm.invalid")
    assert "secret" not in str(refused.value)


# -- pages that are not the API's ----------------------------------------------------------------


@pytest.mark.parametrize(
    "page",
    [
        b"<!DOCTYPE html><title>Log in</title>",
        b"\r\n  <html></html>",
        b"OK",
        b"\xef\xbb\xbf<html>",
        b"{{ template }}",
        b"\xff\xfe",
        b"<" * 40_000,
        b"{" * 10_000,
    ],
    ids=["html", "blanks", "text", "bom", "template", "bytes", "large", "nested"],
)
@pytest.mark.parametrize("kind", ["text/html", "application/json"])
def test_a_200_that_is_no_json_is_a_fault(
    open_transport: OpenTransport, server: FaultyServer, page: bytes, kind: str
) -> None:
    """A login page is no success, whatever its type says: the event is sent again."""
    server.answer(200, page, Content_Type=kind)
    transport = open_transport(server.url)
    said = cause(transport.send(b"{}"))
    assert f"127.0.0.1:{server.port} answers 200 with a page that is not the API's" in said
    assert transport.send(b"{}") == DELIVERED


@pytest.mark.parametrize("body", [b"", b" \r\n", b"{}", b"{ }\n", b'{"a": [1]}', b"null", b"[]"])
@pytest.mark.parametrize("kind", ["text/html", "application/json"])
def test_a_200_of_json_or_nothing_is_a_success(
    open_transport: OpenTransport, server: FaultyServer, body: bytes, kind: str
) -> None:
    """JSON and an empty body are a success, whatever their type says."""
    server.answer(200, body, Content_Type=kind)
    assert open_transport(server.url).send(b"{}") == DELIVERED


def test_a_login_page_that_breaks_off_is_a_fault(
    open_transport: OpenTransport, server: FaultyServer
) -> None:
    """A page that breaks off is still none of the API's."""
    server.will(
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n<html>", lambda exchange: exchange.close()
    )
    assert "a page that is not the API's" in cause(open_transport(server.url).send(b"{}"))


# -- early answers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "early", [[100], [102], [103], [103, 100, 103], [100] * 50, [199]], ids=str
)
def test_the_answer_after_early_ones_counts(
    open_transport: OpenTransport, server: FaultyServer, early: list[int]
) -> None:
    """The final answer after any early ones (1xx) is the answer, and the connection is kept."""
    heads = b"".join(b"HTTP/1.1 %d Early\r\nLink: </a>\r\n\r\n" % status for status in early)
    server.will(heads + OK)
    transport = open_transport(server.url)
    assert [transport.send(b"1"), transport.send(b"2")] == [DELIVERED, DELIVERED]
    assert server.connections == 1


@pytest.mark.parametrize("status", [100, 103])
def test_endless_early_answers_end_with_the_timeout(
    open_transport: OpenTransport, server: FaultyServer, status: int
) -> None:
    """A server that sends early answers for ever is a fault after the timeout."""

    def send_for_ever(exchange: Any) -> None:
        while True:
            exchange.send(b"HTTP/1.1 %d Early\r\n\r\n" % status * 100)

    server.will(send_for_ever)
    transport = open_transport(server.url, timeout_seconds=4 * SHORT)
    began = time.monotonic()
    assert transport.send(b"{}").status is None
    assert time.monotonic() - began < 40 * SHORT
    assert transport.send(b"{}") == DELIVERED


# -- one deadline --------------------------------------------------------------------------------

GetAddresses = Callable[..., list[Any]]


def resolving(
    monkeypatch: pytest.MonkeyPatch, *hosts: str, before: Callable[[], object] = lambda: None
) -> None:
    """Make the name "localhost" have these addresses, once ``before`` has returned."""
    real: GetAddresses = socket.getaddrinfo

    def look_up(host: str, *args: Any, **kwargs: Any) -> list[Any]:
        if host != "localhost":
            return real(host, *args, **kwargs)
        before()
        return [found for each in hosts for found in real(each, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def test_an_address_that_is_dead_leaves_time_for_the_others(
    open_transport: OpenTransport, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a dead first address, the event is delivered to the second one within the timeout."""
    resolving(monkeypatch, "::1", "127.0.0.1")  # libcurl gives localhost both in any case
    with black_hole("::1", server.port):
        transport = open_transport(f"http://localhost:{server.port}", timeout_seconds=4)
        assert transport.send(b"{}") == DELIVERED
    assert len(server.requests) == 1


def test_the_address_that_works_goes_first_from_then_on(
    open_requests: OpenTransport, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first connection waits for the dead addresses."""
    resolving(monkeypatch, "127.0.0.2", "127.0.0.3", "127.0.0.1")
    with black_hole("127.0.0.2", server.port), black_hole("127.0.0.3", server.port):
        transport = open_requests(f"http://localhost:{server.port}", timeout_seconds=3)
        for _ in range(2):
            server.will(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            assert transport.send(b"{}") == DELIVERED
            began = time.monotonic()
    assert time.monotonic() - began < 1  # the second one: without two shares of the timeout
    assert server.connections == 2


def test_dead_addresses_alone_end_with_the_timeout(
    open_requests: OpenTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If all addresses are dead, connecting ends with the timeout."""
    resolving(monkeypatch, "127.0.0.2", "127.0.0.3")
    with black_hole("127.0.0.2") as port, black_hole("127.0.0.3", port):
        transport = open_requests(f"http://localhost:{port}", timeout_seconds=SHORT)
        began = time.monotonic()
        assert transport.send(b"{}") == SendResult(None, "ConnectTimeout")
        assert SHORT - 0.02 < time.monotonic() - began < 10 * SHORT


def test_a_name_without_addresses_is_a_fault(
    open_requests: OpenTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resolver that finds no address at all is a fault."""
    resolving(monkeypatch)
    assert open_requests("http://localhost:9").send(b"{}").message == "ConnectTimeout"


def test_a_slow_resolver_ends_with_the_timeout_and_serves_the_next_request(
    open_requests: OpenTransport, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lookup slower than the timeout sends nothing, and its late answer is used later."""
    go_on, lookups = threading.Event(), itertools.count()

    def wait() -> None:
        next(lookups)
        go_on.wait(LONG)

    resolving(monkeypatch, "127.0.0.1", before=wait)
    transport = open_requests(f"http://localhost:{server.port}", timeout_seconds=SHORT)
    for _ in range(2):
        assert transport.send(b"1") == SendResult(None, "ConnectTimeout")
    assert server.connections == 0
    go_on.set()
    while not (result := transport.send(b"2")).status:
        assert result.message == "ConnectTimeout"
    assert [request.body for request in server.requests] == [b"2"]
    assert next(lookups) == 1  # all shared one


def test_a_late_refusal_of_the_resolver_is_not_remembered(
    open_requests: OpenTransport, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lookup that fails too late for its request does not fail the next one."""
    is_over, steps = threading.Event(), iter([True, False, False])

    def fail_once() -> None:
        if next(steps):
            is_over.wait(LONG)
            raise socket.gaierror(socket.EAI_AGAIN, "try again")

    resolving(monkeypatch, "127.0.0.1", before=fail_once)
    transport = open_requests(f"http://localhost:{server.port}", timeout_seconds=SHORT)
    assert transport.send(b"1") == SendResult(None, "ConnectTimeout")
    is_over.set()
    results = [transport.send(b"2") for _ in range(2)]
    assert results[-1] == DELIVERED


def test_a_name_that_can_not_be_encoded_is_a_fault(
    open_requests: OpenTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resolver that can't even read the name is a fault like any of its."""

    def refuse() -> None:
        raise UnicodeError("label too long")

    resolving(monkeypatch, before=refuse)
    assert "can't be resolved" in cause(open_requests("http://localhost:9").send(b"{}"))


def test_without_threads_a_name_is_resolved_all_the_same(
    open_requests: OpenTransport, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no thread can be started, as while the interpreter ends, names are still resolved."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    transport = open_requests(f"http://localhost:{server.port}")
    server.will(OK)
    real = threading.Thread.start
    monkeypatch.setattr(
        threading.Thread,
        "start",
        lambda thread: refuse(thread) if thread.name == "resolver" else real(thread),
    )
    assert transport.send(b"{}") == DELIVERED


def test_what_can_not_be_answered_in_time_is_not_sent(
    open_transport: OpenTransport, start_server: StartServer, tls: Tls
) -> None:
    """If connecting takes nearly all of the timeout, the request is not sent."""
    server = start_server()
    timeout_seconds = 2.0
    began = time.monotonic()

    def accept_late(exchange: Any) -> None:
        rest = began + 0.95 * timeout_seconds - time.monotonic()
        server.stopping.wait(max(0.0, rest))
        exchange.start_tls(tls.context)
        exchange.answer()

    server.will_unread(accept_late)
    transport = open_transport(
        server.url.replace("http:", "https:"),
        ca_bundle=tls.ca_bundle,
        timeout_seconds=timeout_seconds,
    )
    began = time.monotonic()
    assert transport.send(b"{}") == SendResult(None, "ConnectTimeout")
    assert server.requests == []


@pytest.mark.parametrize("moment", ["1999-01-01", "2037-01-01"])
def test_frozen_time_does_not_time_a_request_out(
    open_transport: OpenTransport, server: FaultyServer, moment: str
) -> None:
    """A test that freezes time while a request is in flight does not fail it."""
    arrived, is_frozen = threading.Event(), threading.Event()
    server.will(lambda _: arrived.set(), lambda _: is_frozen.wait(LONG), OK)
    transport = open_transport(server.url)
    results: list[SendResult] = []
    sender = threading.Thread(target=lambda: results.append(transport.send(b"{}")))
    sender.start()
    assert arrived.wait(LONG)
    with freeze_time(moment):
        is_frozen.set()
        sender.join(LONG)
        results.append(transport.send(b"{}"))
    assert results == [DELIVERED, DELIVERED]


# -- the key -------------------------------------------------------------------------------------


def everything_within(root: object) -> Iterator[object]:
    """Yields what an object holds, and what that holds."""
    waiting, seen = [root], set[int]()
    while waiting:
        each = waiting.pop()
        if id(each) in seen or len(seen) > 5000:
            continue
        seen.add(id(each))
        yield each
        if isinstance(each, dict):
            waiting += [*each.keys(), *each.values()]
        elif isinstance(each, (list, tuple, set)):
            waiting += each
        elif type(each).__module__.startswith(("amplitude_moloco", "requests", "functools")):
            waiting += vars(each).values() if hasattr(each, "__dict__") else []
            waiting += [getattr(each, name, None) for name in ("func", "args", "keywords")]


def test_the_key_is_in_no_repr_of_anything_inside(
    open_transport: OpenTransport, server: FaultyServer
) -> None:
    """Nothing that a transport holds shows the key in its repr."""
    transport = open_transport(server.url)
    assert transport.send(b"{}") == DELIVERED
    shown = [type(each) for each in everything_within(transport) if KEY in repr(each)]
    assert shown == []
    assert server.requests[0].headers["x-api-key"] == KEY


def test_an_endpoint_made_by_hand_hides_its_key_too(server: FaultyServer) -> None:
    """The headers and the credential of any endpoint are text whose repr hides the key."""
    made = Endpoint(server.url, {"Authorization": f"Bearer {KEY}"}, KEY, lambda body: "")
    assert KEY not in repr((made, made.headers, made.secret, list(made.headers.items())))
    assert made.headers == {"Authorization": f"Bearer {KEY}"}
    transport = RequestsTransport(made)
    assert transport.send(b"{}") == DELIVERED
    transport.close()
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"


def test_the_debug_output_of_http_client_does_not_show_the_key(
    open_transport: OpenTransport,
    server: FaultyServer,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """An app that debugs its own requests does not print ours."""
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    assert open_transport(server.url).send(b"{}") == DELIVERED
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("scheme", ["HTTP", "Http", "hTTP"])
@pytest.mark.parametrize("kind", [RequestsTransport, CurlTransport])
def test_plain_http_in_capitals_does_not_leave_the_host(
    bare_environment: pytest.MonkeyPatch,
    server: FaultyServer,
    start_server: StartServer,
    kind: Callable[..., Transport],
    scheme: str,
) -> None:
    """However the scheme is written, plain http goes through no proxy."""
    proxy = start_server()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        bare_environment.setenv(name, proxy.url)
    url = server.url.replace("http", scheme)
    transport = kind(endpoint_at(url))
    assert transport.send(b"{}") == DELIVERED
    transport.close()
    by_hand = kind(Endpoint(url, {}, KEY, lambda body: ""))
    assert by_hand.send(b"{}") == DELIVERED
    by_hand.close()
    assert (len(server.requests), proxy.connections) == (2, 0)
