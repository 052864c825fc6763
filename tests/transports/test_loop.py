"""A loop of requests: many in flight at once, in one thread."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pycurl
import pytest
from support.clock import Clock
from support.endpoint import KEY, endpoint_at
from support.faulty_server import FaultyServer, StartServer
from support.tls import Tls

from amplitude_moloco.transports.base import (
    ConcurrentTransport,
    Endpoint,
    RequestLoop,
    SendResult,
)
from amplitude_moloco.transports.curl import CurlTransport
from amplitude_moloco.transports.requests import RequestsTransport

LONG = 60.0
"""Seconds after which a wait in a test has failed."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
DELIVERED = SendResult(200)

OpenTransport = Callable[..., CurlTransport]
OpenLoop = Callable[..., RequestLoop]


@pytest.fixture
def open_transport(bare_environment: pytest.MonkeyPatch) -> Iterator[OpenTransport]:
    """Opens a transport that is closed after the test."""
    with ExitStack() as stack:

        def open_one(url: str, **settings: Any) -> CurlTransport:
            transport = CurlTransport(endpoint_at(url), **settings)
            stack.callback(transport.close)
            return transport

        yield open_one


@pytest.fixture
def open_loop(open_transport: OpenTransport) -> Iterator[OpenLoop]:
    """Opens a loop of a transport of its own; both are closed after the test."""
    with ExitStack() as stack:

        def open_one(url: str, **settings: Any) -> RequestLoop:
            loop = open_transport(url, **settings).open_loop()
            stack.callback(loop.close)
            return loop

        yield open_one


def start(loop: RequestLoop, count: int) -> None:
    """Start requests with the tags and bodies 0, 1 and so on."""
    for number in range(count):
        loop.start(number, b"%d" % number)


def poll(loop: RequestLoop, count: int) -> dict[object, SendResult]:
    """Poll until this many results have come, and return them by their tags."""
    results: list[tuple[object, SendResult]] = []
    while len(results) < count:
        results += loop.poll(LONG)
    assert len(results) == count
    return dict(results)


def all_delivered(count: int) -> dict[object, SendResult]:
    return dict.fromkeys(range(count), DELIVERED)


def test_only_a_transport_with_loops_is_concurrent(open_transport: OpenTransport) -> None:
    """The transport over libcurl offers loops, the one over requests does not."""
    assert isinstance(open_transport("http://127.0.0.1:9"), ConcurrentTransport)
    other = RequestsTransport(endpoint_at("http://127.0.0.1:9"))
    assert not isinstance(other, ConcurrentTransport)
    other.close()


# -- many at once --------------------------------------------------------------------------------


def test_one_thread_has_many_requests_in_flight(open_loop: OpenLoop, server: FaultyServer) -> None:
    """All requests are sent before the first of them is answered."""
    all_arrived = threading.Barrier(8)
    for _ in range(8):
        server.will(lambda _: all_arrived.wait(LONG), OK)
    loop = open_loop(server.url)
    start(loop, 8)
    assert poll(loop, 8) == all_delivered(8)
    assert {request.body for request in server.requests} == {b"%d" % each for each in range(8)}


def test_more_is_sent_as_answers_come(open_loop: OpenLoop, server: FaultyServer) -> None:
    """A request that is started after a result uses the connection that has become free."""
    loop = open_loop(server.url)
    results: list[tuple[object, SendResult]] = []
    started = 0
    while len(results) < 50:
        while started < 50 and started - len(results) < 2:
            loop.start(started, b"%d" % started)
            started += 1
        results += loop.poll(LONG)
    assert dict(results) == all_delivered(50)
    assert server.connections == 2


def test_no_more_connections_are_kept_than_were_asked_for(
    open_loop: OpenLoop, server: FaultyServer
) -> None:
    """More requests than ``connections`` may be in flight; surplus connections are closed."""
    all_arrived, ended = threading.Barrier(3), threading.Semaphore(0)
    for _ in range(3):
        server.will(
            lambda _: all_arrived.wait(LONG),
            OK,
            lambda exchange: exchange.hang(),
            lambda _: ended.release(),
        )
    loop = open_loop(server.url, connections=1)
    start(loop, 3)
    assert poll(loop, 3) == all_delivered(3)
    for _ in range(2):
        assert ended.acquire(timeout=LONG)
    assert not ended.acquire(blocking=False)


def test_connections_that_are_not_used_for_a_while_are_closed(
    open_loop: OpenLoop, server: FaultyServer, clock: Clock
) -> None:
    """After a peak, one surplus connection is closed with each request."""
    all_arrived = threading.Barrier(3)
    for _ in range(3):
        server.will(lambda _: all_arrived.wait(LONG), OK)
    loop = open_loop(server.url, monotonic=clock.monotonic)
    start(loop, 3)
    assert poll(loop, 3) == all_delivered(3)
    for _ in range(4):
        assert not server.ended.acquire(blocking=False)
        clock.advance(6)
        start(loop, 1)
        assert poll(loop, 1) == all_delivered(1)
    for _ in range(2):
        assert server.ended.acquire(timeout=LONG)
        start(loop, 1)
        assert poll(loop, 1) == all_delivered(1)
    assert server.connections == 3


def test_loops_share_no_connection(open_transport: OpenTransport, server: FaultyServer) -> None:
    """Each loop has connections of its own, and closing one does not affect the others."""
    transport = open_transport(server.url)
    first, second = transport.open_loop(), transport.open_loop()
    for loop in (first, second):
        start(loop, 1)
        assert poll(loop, 1) == all_delivered(1)
    first.close()
    start(second, 1)
    assert poll(second, 1) == all_delivered(1)
    assert server.connections == 2
    second.close()


@pytest.mark.parametrize("tag", [None, "text", [1], b"0"], ids=repr)
def test_a_tag_is_anything(open_loop: OpenLoop, server: FaultyServer, tag: object) -> None:
    """Each result comes with the very object that its request was started with."""
    loop = open_loop(server.url)
    loop.start(tag, b"{}")
    loop.start(tag, b"{}")
    results: list[tuple[object, SendResult]] = []
    while len(results) < 2:
        results += loop.poll(LONG)
    assert all(found is tag and result == DELIVERED for found, result in results)


# -- polling -------------------------------------------------------------------------------------


def test_poll_returns_before_its_timeout_so_that_more_can_be_started(
    open_loop: OpenLoop, server: FaultyServer
) -> None:
    """While a request waits for its answer, a long poll returns, and another one is sent."""
    arrived = threading.Event()
    server.will(lambda _: arrived.wait(LONG), OK)
    server.will(lambda _: arrived.set(), OK)
    loop = open_loop(server.url)
    loop.start(0, b"0")
    for _ in range(10):  # beyond all that connecting and sending could end a poll with
        assert loop.poll(3600) == []
    loop.start(1, b"1")
    assert poll(loop, 2) == all_delivered(2)


@pytest.mark.parametrize("seconds", [0, -1.0])
def test_a_poll_of_no_seconds_does_not_wait(
    open_loop: OpenLoop, server: FaultyServer, seconds: float
) -> None:
    """A thousand polls without a wait take less time than a thousand short waits."""
    server.will(lambda exchange: exchange.hang())
    loop = open_loop(server.url)
    loop.start(0, b"0")
    began = time.monotonic()
    assert not any(loop.poll(seconds) for _ in range(1000))
    assert time.monotonic() - began < LONG


def test_polling_without_a_request_returns_nothing(
    open_loop: OpenLoop, server: FaultyServer
) -> None:
    """An idle loop has no results, neither before its first request nor afterwards."""
    loop = open_loop(server.url)
    assert loop.poll(0.001) == []
    start(loop, 1)
    assert poll(loop, 1) == all_delivered(1)
    assert loop.poll(0.001) == []


def test_polling_between_slow_steps_keeps_answers_in_time(
    open_loop: OpenLoop, server: FaultyServer
) -> None:
    """A caller that handles results slowly still gets the other answers, if it polls in between."""
    all_arrived, is_slow, is_sent = threading.Barrier(5), threading.Event(), threading.Event()
    for _ in range(4):
        server.will(lambda _: all_arrived.wait(LONG), OK)
    server.will(
        lambda _: all_arrived.wait(LONG),
        lambda _: is_slow.wait(LONG),
        OK,
        lambda _: is_sent.set(),
    )
    loop = open_loop(server.url, timeout_seconds=2.0)
    began = time.monotonic()
    start(loop, 5)
    results = poll(loop, 4)
    is_slow.set()  # the first results are being handled, and that takes beyond the timeout
    assert is_sent.wait(LONG)
    while time.monotonic() - began < 2.5:
        results.update(loop.poll(0))
    assert results == all_delivered(5)


def test_requests_time_out_one_by_one(open_loop: OpenLoop, server: FaultyServer) -> None:
    """A request that is never answered fails after its own timeout, and no other one does."""
    server.will(lambda exchange: exchange.hang())
    loop = open_loop(server.url, timeout_seconds=1.0)
    loop.start("late", b"{}")
    while not server.requests:
        assert loop.poll(LONG) == []
    start(loop, 3)
    assert poll(loop, 4) == {"late": SendResult(None, "ReadTimeout"), **all_delivered(3)}


# -- connections that end ------------------------------------------------------------------------


def test_idle_connections_that_the_server_closed_are_replaced(
    open_loop: OpenLoop, server: FaultyServer
) -> None:
    """After the server closes every idle connection, the next requests use new ones."""
    all_arrived, closed = threading.Barrier(3), threading.Semaphore(0)
    for _ in range(3):
        server.will(
            lambda _: all_arrived.wait(LONG),
            OK,
            lambda exchange: exchange.close(),
            lambda _: closed.release(),
        )
    loop = open_loop(server.url)
    start(loop, 3)
    assert poll(loop, 3) == all_delivered(3)
    for _ in range(3):
        assert closed.acquire(timeout=LONG)
    start(loop, 3)
    assert poll(loop, 3) == all_delivered(3)
    assert server.connections == 6


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("is_secure", [False, True], ids=["http", "https"])
def test_connections_that_end_under_requests_are_all_replaced(
    open_loop: OpenLoop, start_server: StartServer, tls: Tls, *, is_secure: bool, end: str
) -> None:
    """If every kept-alive connection ends when it is used again, no request fails."""
    server = start_server(tls.context if is_secure else None)
    all_arrived = threading.Barrier(4)
    for _ in range(4):
        server.will(lambda _: all_arrived.wait(LONG), OK)
    for _ in range(4):
        server.will_unread(
            lambda _: all_arrived.wait(LONG), lambda exchange: getattr(exchange, end)()
        )
    loop = open_loop(server.url, ca_bundle=tls.ca_bundle)
    for _ in range(2):
        start(loop, 4)
        assert poll(loop, 4) == all_delivered(4)


# -- the end of a loop ---------------------------------------------------------------------------


def test_close_ends_requests_in_flight_and_idle_connections(
    open_transport: OpenTransport, server: FaultyServer
) -> None:
    """After close() the server sees the end of every connection, and no handle is left."""
    all_arrived, ended = threading.Barrier(2), threading.Semaphore(0)
    for _ in range(2):
        server.will(
            lambda _: all_arrived.wait(LONG),
            OK,
            lambda exchange: exchange.hang(),
            lambda _: ended.release(),
        )
    transport = open_transport(server.url)
    gc.collect()
    others = handles()
    loop = transport.open_loop()
    start(loop, 2)
    assert poll(loop, 2) == all_delivered(2)
    start(loop, 1)  # over one of the connections; the other one stays idle
    assert loop.poll(0) == []
    assert handles() == others + 2
    gc.disable()
    try:
        loop.close()
        loop.close()
        assert handles() == others
    finally:
        gc.enable()
    for _ in range(2):
        assert ended.acquire(timeout=LONG)
    assert server.connections == 2


def handles() -> int:
    """Return how many handles of libcurl there are."""
    return sum(type(each) is pycurl.Curl for each in gc.get_objects())  # isinstance() may raise


def test_a_transport_sends_after_a_loop_was_closed_in_the_middle(
    open_transport: OpenTransport, server: FaultyServer
) -> None:
    """Requests that a closed loop has dropped reach no other loop and no send()."""
    server.will(lambda exchange: exchange.hang())
    transport = open_transport(server.url)
    loop = transport.open_loop()
    loop.start("dropped", b"dropped")
    while not server.requests:
        assert loop.poll(LONG) == []
    loop.close()
    assert transport.send(b"{}") == DELIVERED
    loop = transport.open_loop()
    start(loop, 2)
    assert poll(loop, 2) == all_delivered(2)
    loop.close()


def test_closing_the_transport_leaves_open_loops_to_their_owners(
    open_transport: OpenTransport, server: FaultyServer
) -> None:
    """A loop still delivers after the transport was closed."""
    transport = open_transport(server.url)
    loop = transport.open_loop()
    start(loop, 2)
    transport.close()
    assert poll(loop, 2) == all_delivered(2)
    loop.close()


# -- exceptions ----------------------------------------------------------------------------------


def test_a_body_that_can_not_be_sent_affects_no_other_request(
    open_loop: OpenLoop, server: FaultyServer
) -> None:
    """A body of the wrong type raises where it is started, and the other requests go on."""
    loop = open_loop(server.url)
    loop.start(0, b"0")
    wrong: Any = object()
    with pytest.raises(TypeError):
        loop.start("wrong", wrong)
    loop.start(1, b"1")
    assert poll(loop, 2) == all_delivered(2)


class ErrorReader:
    """Reads the message of an error, but raises the first time."""

    def __init__(self, error: BaseException) -> None:
        self._errors = [error]

    def __call__(self, body: bytes) -> str:
        if self._errors:
            raise self._errors.pop()
        return body.decode()


def endpoint_that_raises(server: FaultyServer, error: BaseException) -> Endpoint:
    return replace(endpoint_at(server.url), read_error=ErrorReader(error))


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()], ids=repr)
def test_an_interrupted_send_leaves_nothing_behind(
    bare_environment: pytest.MonkeyPatch, server: FaultyServer, error: BaseException
) -> None:
    """After an exception in send(), the next one uses a new connection and gets its own answer."""
    for text in (b"first", b"second"):
        server.answer(400, text)
    transport = CurlTransport(endpoint_that_raises(server, error))
    with pytest.raises(type(error)):
        transport.send(b"1")
    assert transport.send(b"2") == SendResult(400, "second")
    assert [request.body for request in server.requests] == [b"1", b"2"]
    assert server.connections == 2
    transport.close()


def test_a_loop_can_be_closed_after_poll_has_raised(
    bare_environment: pytest.MonkeyPatch, server: FaultyServer
) -> None:
    """After an exception in poll(), close() ends the loop, and another one works."""
    all_arrived = threading.Barrier(3)
    for _ in range(3):
        server.will(lambda _: all_arrived.wait(LONG), server.reply(400, b"no"))
    transport = CurlTransport(endpoint_that_raises(server, RuntimeError("raised")))
    loop = transport.open_loop()
    start(loop, 3)
    with pytest.raises(RuntimeError, match="raised"):
        poll(loop, 3)
    loop.close()
    loop = transport.open_loop()
    start(loop, 2)
    assert poll(loop, 2) == all_delivered(2)
    loop.close()
    transport.close()


def test_the_key_is_in_no_repr_of_a_loop(open_loop: OpenLoop, server: FaultyServer) -> None:
    """A loop's repr does not contain the key."""
    assert KEY not in repr(open_loop(server.url))
