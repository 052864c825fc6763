"""A proxy between a client and Redis that cuts connections where the test says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_SIZE = 1 << 20


class RedisProxy:
    """Passes on requests and answers, over all connections, and counts the requests.

    A request is what arrives at a time: the client sends a command at once, and waits.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self.requests = self.cuts = 0
        self.cut: list[bytes] = []
        """The requests at which a connection was cut."""
        self._lost_request = self._lost_answer = 0
        self._bytes_left: int | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_request(self, number: int) -> None:
        """Cut the connection in place of passing on this request, counted from now."""
        with self._lock:
            self._lost_request = self.requests + number

    def lose_answer(self, number: int) -> None:
        """Pass on this request, and cut the connection in place of its answer."""
        with self._lock:
            self._lost_answer = self.requests + number

    def lead_to(self, port: int) -> None:
        """Lead connections that are made from now on to another server."""
        self._target = port

    def cut_after(self, size: int) -> None:
        """Pass on this many bytes of requests, then cut the connection."""
        with self._lock:
            self._bytes_left = size

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client, self._connect() as server:
            is_mute = threading.Event()
            answers = threading.Thread(
                target=self._pass_answers, args=[server, client, is_mute], daemon=True
            )
            answers.start()
            while request := client.recv(_SIZE):
                part, is_over = self._examine(request, is_mute)
                server.sendall(part)
                if is_over:
                    break
            if is_mute.is_set():
                answers.join()
            _end(server)
            _end(client)

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._target))

    def _examine(self, request: bytes, is_mute: threading.Event) -> tuple[bytes, bool]:
        """Returns what of a request is passed on, and whether it is the last."""
        with self._lock:
            self.requests += 1
            if self.requests == self._lost_request:
                self._note_cut(request)
                return b"", True
            if self.requests == self._lost_answer:
                self._note_cut(request)
                is_mute.set()
                return request, True
            if self._bytes_left is None:
                return request, False
            part = request[: self._bytes_left]
            self._bytes_left -= len(part)
            is_over = self._bytes_left == 0
            if is_over:
                self._note_cut(request)
                self._bytes_left = None
            return part, is_over

    def _note_cut(self, request: bytes) -> None:
        self.cuts += 1
        self.cut.append(request)

    def _pass_answers(
        self, server: socket.socket, client: socket.socket, is_mute: threading.Event
    ) -> None:
        with suppress(OSError):
            while answer := server.recv(_SIZE):
                if is_mute.is_set():
                    return  # the request has been carried out
                client.sendall(answer)
            _end(client)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy_to(port: int) -> Iterator[RedisProxy]:
    """Start a proxy, and stop it afterwards."""
    proxy = RedisProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
