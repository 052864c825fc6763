"""A server on a loopback port that follows a script of answers and faults."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from email.message import Message
from functools import partial
from http.client import parse_headers
from io import BufferedReader
from types import TracebackType
from typing import NamedTuple, Protocol

_END_TIMEOUT = 10.0
"""The longest wait for a thread of a server to end, in seconds."""
_NO_LINGER = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing resets the connection."""


class Received(NamedTuple):
    """One request, as received."""

    method: str
    target: str
    headers: Message
    body: bytes
    client_port: int


class Exchange:
    """One connection, as the script sees it. A client that closes it ends the script silently."""

    def __init__(self, server: FaultyServer, connection: socket.socket, client_port: int) -> None:
        self._server = server
        self._client_port = client_port
        self._use(connection)

    def wait(self) -> bool:
        """Wait for the first byte of a request. Returns False at the end of the connection."""
        return not self._reader.closed and bool(self._reader.peek(1))

    def read_head(self) -> tuple[str, str, Message]:
        method, target, _ = self._reader.readline().decode("latin-1").split(" ", 2)
        return method, target, parse_headers(self._reader)

    def read(self) -> Received:
        """Read a whole request, and record it."""
        method, target, headers = self.read_head()
        length = int(headers.get("Content-Length", 0))
        body = self._reader.read(length)
        if len(body) < length:
            raise EOFError
        received = Received(method, target, headers, body, self._client_port)
        self._server.requests.append(received)
        return received

    def answer(self) -> None:
        """Read a whole request, and do what the server's ``decide`` returns for it."""
        step = self._server.decide(self.read())
        if isinstance(step, bytes):
            self.send(step)
        else:
            step(self)

    def receive(self) -> bytes:
        """Return what has arrived; b"" at the end of the connection."""
        return self._reader.read1(65_536)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def drip(self, data: Iterable[int], every_seconds: float) -> None:
        """Send byte by byte until the client closes the connection. ``data`` may be endless."""
        for byte in data:
            self.send(bytes([byte]))
            if self._server.stopping.wait(every_seconds):
                return

    def hang(self) -> None:
        """Send nothing until the client closes the connection."""
        self._reader.read()
        self.close()

    def close(self) -> None:
        self._reader.close()
        self._socket.close()

    def reset(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.close()

    def shut_down(self) -> None:
        """End the connection from another thread; a thread that reads from it is woken."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def start_tls(self, context: ssl.SSLContext) -> None:
        self._reader.close()
        self._use(context.wrap_socket(self._socket, server_side=True))

    def _use(self, connection: socket.socket) -> None:
        self._socket = connection
        self._reader: BufferedReader = connection.makefile("rb")


Step = bytes | Callable[[Exchange], object]
"""Bytes to send, or an action."""


class FaultyServer:
    """Answers on a loopback port as its script says, and then as ``decide`` does: 200 by default.

    It speaks HTTP/1.1 and keeps connections alive, unless the script does something else.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.script: deque[tuple[Step, ...]] = deque()
        self.requests: list[Received] = []
        """Requests that were read completely."""
        self.decide: Callable[[Received], Step] = lambda request: self.reply(200)
        self.connections = 0
        self.ended = threading.Semaphore(0)
        """Released with the end of each connection."""
        self.stopping = threading.Event()
        self._tls = tls
        self._exchanges: list[Exchange] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"

    def will(self, *steps: Step) -> None:
        """Add to the script: read a request, then take these steps."""
        self.script.append((Exchange.read, *steps))

    def will_unread(self, *steps: Step) -> None:
        """Add to the script: take these steps as soon as a request begins to arrive."""
        self.script.append(steps)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Add to the script: read a request, then send a well-formed answer."""
        self.will(self.reply(status, body, **headers))

    @staticmethod
    def reply(status: int, body: bytes = b"{}", **headers: str) -> bytes:
        """Return a well-formed answer."""
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    def __enter__(self) -> FaultyServer:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stopping.set()
        with suppress(OSError):  # wakes the thread that accepts
            socket.create_connection(("127.0.0.1", self.port), _END_TIMEOUT).close()
        self._threads[0].join(_END_TIMEOUT)
        self._listener.close()
        for exchange in self._exchanges:
            exchange.shut_down()
        for thread in self._threads:
            thread.join(_END_TIMEOUT)
        assert not any(thread.is_alive() for thread in self._threads)

    def _start(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, name="faulty-server", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            connection, (_, client_port) = self._listener.accept()
            if self.stopping.is_set():
                connection.close()
                return
            self.connections += 1
            exchange = Exchange(self, connection, client_port)
            self._exchanges.append(exchange)
            self._start(partial(self._serve, exchange))

    def _serve(self, exchange: Exchange) -> None:
        try:
            with suppress(OSError, EOFError, ValueError):  # the client closed, or sent no HTTP
                if self._tls:
                    exchange.start_tls(self._tls)
                while exchange.wait():
                    for step in self._next_answer():
                        if isinstance(step, bytes):
                            exchange.send(step)
                        else:
                            step(exchange)
        finally:
            exchange.close()
            self.ended.release()

    def _next_answer(self) -> tuple[Step, ...]:
        try:
            return self.script.popleft()
        except IndexError:
            return (Exchange.answer,)


class StartServer(Protocol):
    """The fixture start_server."""

    def __call__(self, tls: ssl.SSLContext | None = None) -> FaultyServer: ...
