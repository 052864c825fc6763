"""What is specific to libcurl: HTTP/2, handles, forks, and how it was built."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any, Protocol

import h2.events
import pycurl
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from support.endpoint import KEY, endpoint_at
from support.faulty_server import Exchange, FaultyServer, StartServer
from support.tls import Tls

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.transports.base import SendResult
from amplitude_moloco.transports.curl import CurlTransport

PATH = "/rmp/event/v1/platforms/MY_SHOP/userevents"
LONG = 60.0
"""Seconds after which a wait in a test has failed."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
DELIVERED = SendResult(200)


class OpenTransport(Protocol):
    """The fixture open_transport."""

    def __call__(self, url: str, **settings: Any) -> CurlTransport: ...


@pytest.fixture
def open_transport(bare_environment: pytest.MonkeyPatch) -> Iterator[OpenTransport]:
    """Opens a transport; it is closed after the test."""
    with ExitStack() as stack:

        def open_one(url: str, **settings: Any) -> CurlTransport:
            transport = CurlTransport(endpoint_at(url), **settings)
            stack.callback(transport.close)
            return transport

        yield open_one


# -- HTTP/2 --------------------------------------------------------------------------------------


EndOfStream = Callable[[H2Connection, int], object]


class Http2:
    """The server's side of HTTP/2 connections, each over a TLS exchange."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.next_end: EndOfStream | None = None
        """Called instead of the next answer."""
        self._status, self._headers, self._body = "200", [("x", "y")], b"{}"

    def answer_with(self, status: str, body: bytes) -> None:
        """Give this answer from now on."""
        self._status, self._headers, self._body = status, [("retry-after", "7")], body

    def serve(self, exchange: Exchange) -> None:
        with suppress(ProtocolError):  # the client sends more after the end of the connection
            self._serve(exchange)
        exchange.close()

    def _serve(self, exchange: Exchange) -> None:
        connection = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        exchange.send(connection.data_to_send())
        heads: dict[int, dict[str, str]] = {}
        bodies: dict[int, bytes] = {}
        while data := exchange.receive():
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    heads[event.stream_id] = dict(event.headers)  # type: ignore[arg-type]  # as text, see above
                elif isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] = bodies.get(event.stream_id, b"") + event.data
                    connection.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id
                    )
                elif isinstance(event, h2.events.StreamEnded):
                    stream = event.stream_id
                    self.requests.append((heads.pop(stream), bodies.pop(stream, b"")))
                    self._answer(connection, stream)
            exchange.send(connection.data_to_send())

    def _answer(self, connection: H2Connection, stream: int) -> None:
        if self.next_end:
            end, self.next_end = self.next_end, None
            end(connection, stream)
        else:
            connection.send_headers(stream, [(":status", self._status), *self._headers])
            connection.send_data(stream, self._body, end_stream=True)


@pytest.fixture
def http_2(start_server: StartServer, tls: Tls) -> tuple[FaultyServer, Http2]:
    """A server of HTTP/2, and the requests that it received."""
    server, protocol = start_server(tls.http_2), Http2()
    for _ in range(4):
        server.will_unread(protocol.serve)
    return server, protocol


def test_http_2_is_used_if_the_server_offers_it(
    open_transport: OpenTransport, http_2: tuple[FaultyServer, Http2], tls: Tls
) -> None:
    """If the server offers HTTP/2, consecutive requests use it, over one connection."""
    server, protocol = http_2
    transport = open_transport(server.url, ca_bundle=tls.ca_bundle)
    large = b"2" * 200_000
    assert [transport.send(b"1"), transport.send(large)] == [DELIVERED, DELIVERED]
    protocol.answer_with("429", b'{"message": "not so fast"}')
    assert transport.send(b"3") == SendResult(429, "not so fast", 7)
    assert [body for _, body in protocol.requests] == [b"1", large, b"3"]
    head = protocol.requests[0][0]
    assert (head[":method"], head[":path"]) == ("POST", PATH)
    assert (head["x-api-key"], head["content-type"]) == (KEY, "application/json")
    assert server.connections == 1


def end_the_connection(connection: H2Connection, stream: int) -> None:
    """Ends as a server whose process dies."""
    raise EOFError


def test_a_connection_of_http_2_that_ends_under_a_request_is_replaced_at_once(
    open_transport: OpenTransport, http_2: tuple[FaultyServer, Http2], tls: Tls
) -> None:
    """A kept-alive HTTP/2 connection that ends when it is used again fails no request."""
    server, protocol = http_2
    transport = open_transport(server.url, ca_bundle=tls.ca_bundle)
    assert transport.send(b"1") == DELIVERED
    protocol.next_end = end_the_connection
    assert transport.send(b"2") == DELIVERED
    assert [body for _, body in protocol.requests] == [b"1", b"2", b"2"]
    assert server.connections == 2


@pytest.mark.parametrize(
    "end",
    [
        lambda connection, stream: connection.reset_stream(stream, ErrorCodes.REFUSED_STREAM),
        lambda connection, stream: connection.close_connection(last_stream_id=0),
    ],
    ids=["refused-stream", "goaway"],
)
def test_a_request_that_an_http_2_server_did_not_process_is_sent_again_at_once(
    open_transport: OpenTransport,
    http_2: tuple[FaultyServer, Http2],
    tls: Tls,
    end: EndOfStream,
) -> None:
    """A request that the server reports as unprocessed does not fail."""
    server, protocol = http_2
    protocol.next_end = end
    transport = open_transport(server.url, ca_bundle=tls.ca_bundle)
    assert transport.send(b"1") == DELIVERED


@pytest.mark.parametrize("is_used", [False, True], ids=["new", "used"])
def test_a_stream_that_is_reset_is_a_fault(
    open_transport: OpenTransport, http_2: tuple[FaultyServer, Http2], tls: Tls, is_used: bool
) -> None:
    """A request whose HTTP/2 stream is reset is sent once, even on a kept-alive connection."""
    server, protocol = http_2
    transport = open_transport(server.url, ca_bundle=tls.ca_bundle)
    if is_used:
        assert transport.send(b"1") == DELIVERED
        protocol.requests.clear()
    protocol.next_end = lambda connection, stream: connection.reset_stream(
        stream, ErrorCodes.INTERNAL_ERROR
    )
    assert transport.send(b"2") == SendResult(None, "ConnectionError")
    assert [body for _, body in protocol.requests] == [b"2"]


def test_requests_at_a_time_never_share_a_connection(
    open_transport: OpenTransport, http_2: tuple[FaultyServer, Http2], tls: Tls
) -> None:
    """Over HTTP/2, each request in flight has a connection of its own."""
    server, protocol = http_2
    loop = open_transport(server.url, ca_bundle=tls.ca_bundle).open_loop()
    for count in (1, 3):  # the second time, there is a connection that all could share
        for number in range(count):
            loop.start(number, b"{}")
        results: list[tuple[object, SendResult]] = []
        while len(results) < count:
            results += loop.poll(LONG)
        assert dict(results) == dict.fromkeys(range(count), DELIVERED)
    loop.close()
    assert server.connections == 3
    assert len(protocol.requests) == 4


# -- how libcurl was built -----------------------------------------------------------------------


def without(feature: int) -> Callable[[], tuple[Any, ...]]:
    """Returns what ``pycurl.version_info`` would be for a libcurl without a feature."""
    info = pycurl.version_info()
    return lambda: (*info[:4], info[4] & ~feature, *info[5:])


def test_without_http_2_it_speaks_http_1_1(
    open_transport: OpenTransport,
    start_server: StartServer,
    tls: Tls,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A libcurl that was built without HTTP/2 does not offer it."""
    server = start_server(tls.http_2)
    monkeypatch.setattr(pycurl, "version_info", without(pycurl.VERSION_HTTP2))
    assert open_transport(server.url, ca_bundle=tls.ca_bundle).send(b"1") == DELIVERED
    assert server.requests[0].target == PATH


def test_without_tls_it_is_refused(
    open_transport: OpenTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A libcurl that was built without TLS is refused."""
    monkeypatch.setattr(pycurl, "version_info", without(pycurl.VERSION_SSL))
    with pytest.raises(ConfigurationError, match=r"^transport: .*without TLS"):
        open_transport("https://mcm.invalid")


# -- handles -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [1e-9, 1e12])
def test_any_timeout_is_accepted(
    open_transport: OpenTransport, server: FaultyServer, seconds: float
) -> None:
    """A timeout outside libcurl's range becomes the nearest one within."""
    if seconds < 1:
        server.will(lambda exchange: exchange.hang())
    result = open_transport(server.url, timeout_seconds=seconds).send(b"{}")
    assert (result.status == 200) == (seconds > 1)


def test_a_dropped_transport_closes_its_connections(
    open_transport: OpenTransport, server: FaultyServer
) -> None:
    """A transport without references is freed at once, with its connections, without close()."""
    ended = threading.Event()
    server.will(OK, lambda exchange: exchange.hang(), lambda _: ended.set())
    gc.disable()
    try:
        assert CurlTransport(endpoint_at(server.url)).send(b"1") == DELIVERED
        assert ended.wait(LONG)
    finally:
        gc.enable()


def test_close_is_safe_at_any_moment(open_transport: OpenTransport, server: FaultyServer) -> None:
    """close() while threads send fails no request, and leaves no connection open afterwards."""
    threads = 4
    transport = open_transport(server.url, connections=threads)
    stop = threading.Event()

    def send() -> set[SendResult]:
        results = set()
        while not stop.is_set():
            results.add(transport.send(b"{}"))
        return results

    with ThreadPoolExecutor(threads) as pool:
        sending = [pool.submit(send) for _ in range(threads)]
        while len(server.requests) < 100:
            transport.close()
        stop.set()
        assert set().union(*(each.result(LONG) for each in sending)) == {DELIVERED}
    assert server.connections > threads  # none was kept after close()


FORKING = """
import gc, os, sys
from amplitude_moloco.transports.curl import CurlTransport
from amplitude_moloco.moloco.endpoint import endpoint

url, ca_bundle = sys.argv[1:]
address = endpoint(api_key="key", platform_id="P", platform_name=None, base_url=url)
transport = CurlTransport(address, ca_bundle=ca_bundle)
assert transport.send(b"1").status == 200
child = os.fork()
if child == 0:
    {end}
assert os.waitpid(child, 0) == (child, 0)
result = transport.send(b"2")
assert result.status == 200, result
"""

FORKING_WITH_A_LOOP = """
import gc, os, sys
from amplitude_moloco.transports.curl import CurlTransport
from amplitude_moloco.moloco.endpoint import endpoint

url, ca_bundle = sys.argv[1:]
address = endpoint(api_key="key", platform_id="P", platform_name=None, base_url=url)
transport = CurlTransport(address, ca_bundle=ca_bundle)
loop = transport.open_loop()

def send(*bodies):
    results = []
    for body in bodies:
        loop.start(body, body)
    while len(results) < len(bodies):
        results += loop.poll(10)
    assert all(result.status == 200 for _, result in results), results

send(b"1")
loop.start(b"2", b"2")  # in flight at the fork
results = loop.poll(0)
child = os.fork()
if child == 0:
    {end}
assert os.waitpid(child, 0) == (child, 0)
while not results:
    results = loop.poll(10)
assert results[0][1].status == 200, results
send(b"3")
"""


@pytest.mark.parametrize(
    "end",
    [
        pytest.param("del NAME; gc.collect(); os._exit(0)", id="collected"),
        pytest.param("NAME.close(); del NAME; gc.collect(); os._exit(0)", id="closed"),
        pytest.param("sys.exit()", id="end-of-interpreter"),
    ],
)
@pytest.mark.parametrize(
    ("script", "name"),
    [(FORKING, "transport"), (FORKING_WITH_A_LOOP, "loop")],
    ids=["transport", "loop"],
)
@pytest.mark.parametrize("is_http_2", [False, True], ids=["1.1", "2"])
def test_a_forked_child_leaves_the_parents_connections_alone(
    http_2: tuple[FaultyServer, Http2],
    start_server: StartServer,
    tls: Tls,
    bare_environment: pytest.MonkeyPatch,
    *,
    is_http_2: bool,
    script: str,
    name: str,
    end: str,
) -> None:
    """However a child drops a transport or a loop, its parent goes on with the same connection."""
    server = http_2[0] if is_http_2 else start_server(tls.context)
    script = script.format(end=end.replace("NAME", name))
    subprocess.run(
        [sys.executable, "-c", script, server.url, str(tls.ca_bundle)], timeout=40, check=True
    )
    assert server.connections == 1


FORKING_IN_FLIGHT = """
import os, sys, threading
from amplitude_moloco.transports.curl import CurlTransport
from amplitude_moloco.moloco.endpoint import endpoint

url, ca_bundle = sys.argv[1:]
address = endpoint(api_key="key", platform_id="P", platform_name=None, base_url=url)
transport = CurlTransport(address, ca_bundle=ca_bundle)
results = [transport.send(b"1")]
thread = threading.Thread(target=lambda: results.append(transport.send(b"2")))
thread.start()
sys.stdin.readline()  # the server has it
child = os.fork()
if child == 0:
    sys.exit()
assert os.waitpid(child, 0) == (child, 0)
print("answer it", flush=True)
thread.join()
results.append(transport.send(b"3"))
assert [result.status for result in results] == [200] * 3, results
"""


def test_a_forked_child_leaves_a_request_in_flight_alone(
    start_server: StartServer,
    tls: Tls,
    bare_environment: pytest.MonkeyPatch,
) -> None:
    """A request in flight at a fork gets its answer after the child has ended."""
    server = start_server(tls.context)
    arrived, is_over = threading.Event(), threading.Event()
    server.will(OK)
    server.will(lambda _: arrived.set(), lambda _: is_over.wait(LONG), OK)
    with subprocess.Popen(
        [sys.executable, "-c", FORKING_IN_FLIGHT, server.url, str(tls.ca_bundle)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        assert arrived.wait(LONG)
        parent.stdin.write("\n")
        parent.stdin.flush()
        assert parent.stdout.readline() == "answer it\n"
        is_over.set()
        parent.communicate(timeout=LONG)
    assert parent.returncode == 0
    assert server.connections == 1


# -- second attempts ---------------------------------------------------------------------------


def test_a_kept_connection_that_is_reset_while_it_sends_is_replaced_at_once(
    open_transport: OpenTransport, server: FaultyServer
) -> None:
    """If a kept-alive connection ends in the middle of a body, the whole body is sent again."""
    server.will(OK)
    server.will_unread(lambda exchange: exchange.reset())
    transport = open_transport(server.url)
    large = b"2" * 20_000_000
    assert [transport.send(b"1"), transport.send(large)] == [DELIVERED] * 2
    assert transport.send(b"3") == DELIVERED
    assert [len(request.body) for request in server.requests] == [1, len(large), 1]
    assert server.connections == 2


class ResetOnce:
    """A CurlMulti that resets the connection under the first request of each handle.

    libcurl fails to send only if the reset comes between its last read and its write, which no
    server can arrange.
    """

    def __init__(self) -> None:
        self.waiting: list[Handle] = []

    def add_handle(self, handle: Handle) -> None:
        handle.attempts += 1
        self.waiting.append(handle)

    def info_read(self) -> tuple[int, list[Handle], list[tuple[Handle, int, str]]]:
        waiting, self.waiting = self.waiting, []
        fault = (pycurl.E_SEND_ERROR, "Connection reset by peer")
        answered = [handle for handle in waiting if handle.attempts > 1]
        return 0, answered, [(handle, *fault) for handle in waiting if handle.attempts == 1]

    def fdset(self) -> tuple[list[int], list[int], list[int]]:
        return [], [], []

    def setopt(self, option: int, value: object) -> None: ...
    def perform(self) -> None: ...
    def remove_handle(self, handle: Handle) -> None: ...
    def close(self) -> None: ...


class Handle:
    """A Curl over a kept-alive connection."""

    def __init__(self) -> None:
        self.attempts = 0
        self.timeouts: list[int] = []

    def setopt(self, option: int, value: Any) -> None:
        if option == pycurl.TIMEOUT_MS:
            self.timeouts.append(value)

    def getinfo(self, name: int) -> int:
        return 200 if name == pycurl.RESPONSE_CODE and self.attempts > 1 else 0


@pytest.fixture
def handles(monkeypatch: pytest.MonkeyPatch) -> list[Handle]:
    """The handles that are made while each first request is reset."""
    made: list[Handle] = []

    def new_handle() -> Handle:
        made.append(Handle())
        return made[-1]

    monkeypatch.setattr(pycurl, "Curl", new_handle)
    monkeypatch.setattr(pycurl, "CurlMulti", ResetOnce)
    return made


def test_a_request_that_libcurl_does_not_send_again_is_sent_again(handles: list[Handle]) -> None:
    """A second attempt over a new connection has the rest of the timeout, the next request all."""
    transport = CurlTransport(endpoint_at("http://127.0.0.1:9"), timeout_seconds=7)
    assert [transport.send(b"1"), transport.send(b"2")] == [DELIVERED] * 2
    (handle,) = handles
    assert handle.attempts == 3
    first, second, third = handle.timeouts
    assert first == third == 7000
    assert 0 < second <= 7000
    transport.close()


def test_no_second_attempt_is_made_that_could_not_be_answered(handles: list[Handle]) -> None:
    """Where next to nothing of the timeout is left, the reset is the result."""
    transport = CurlTransport(endpoint_at("http://127.0.0.1:9"), timeout_seconds=1e-9)
    assert transport.send(b"1") == SendResult(None, "ConnectionError")
    assert [handle.attempts for handle in handles] == [1]
    transport.close()


# -- file descriptors ---------------------------------------------------------------------------

WITH_MANY_FILES = """
import os, resource, sys
from amplitude_moloco.transports.curl import CurlTransport
from amplitude_moloco.moloco.endpoint import endpoint

resource.setrlimit(resource.RLIMIT_NOFILE, (2000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
address = endpoint(api_key="key", platform_id="P", platform_name=None, base_url=sys.argv[1])
transport = CurlTransport(address)
assert [transport.send(b"{}").status for _ in range(10)] == [200] * 10
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such file descriptors there")
def test_a_process_with_many_files_open_can_send(
    server: FaultyServer, bare_environment: pytest.MonkeyPatch
) -> None:
    """A connection whose file descriptor is too high for select() works like any other."""
    subprocess.run([sys.executable, "-c", WITH_MANY_FILES, server.url], timeout=40, check=True)
    assert len(server.requests) == 10
