"""A server for benchmarks, in its own process, which plays both Moloco and Amplitude.

    with Server() as server: ...

It answers every POST after a configurable delay: Amplitude's uploads with 200, all others with a
configurable status. It counts the requests that it answered with 200, and keeps nothing.

It must never be the bottleneck. So it runs one loop over epoll, decodes nothing, and looks a
request's head up among the earlier ones, which are nearly identical for one client.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from typing import NamedTuple
from urllib.request import urlopen

_END_OF_HEAD = b"\r\n\r\n"
_MOST_HEADS = 1_000
_UPLOADS = (b"POST /2/httpapi ", b"POST /batch ")
_EVENT = b'"event_type"'
"""Appears once per event in an upload to Amplitude."""


def _answer(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        status,
        len(body),
        body,
    )


_UPLOADED = _answer(200, b'{"code":200,"events_ingested":1,"payload_size_bytes":1}')
_DELIVERED = _answer(200, b"{}")
_FAILED = _answer(503, b'{"code":14,"message":"down","details":[]}')


class Counts(NamedTuple):
    """The server's counters since its start."""

    taken: int
    """Requests answered with 200, without Amplitude's."""
    uploaded: int
    """Events in Amplitude's uploads."""
    cpu_seconds: float


class Server:
    """The server's process, and its address."""

    def __enter__(self) -> Server:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,  # it stops at its end, however this process ends
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that a Ctrl-C reaches this process only
        )
        assert self._process.stdout is not None  # noqa: S101  # for mypy: it is a pipe
        self.url = self._process.stdout.readline().strip()
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.communicate()

    def set(self, name: str, value: int) -> None:
        """Set ``status`` (200 or 503) or ``delay_millis``."""
        urlopen(f"{self.url}/set/{name}/{value}").close()  # noqa: S310  # its own server

    @property
    def counts(self) -> Counts:
        """The server's counters since its start."""
        with urlopen(f"{self.url}/counts") as answer:  # noqa: S310  # its own server
            return Counts(*json.load(answer))

    @property
    def taken(self) -> int:
        """Requests answered with 200, without Amplitude's."""
        return self.counts.taken


class _Head(NamedTuple):
    """The relevant part of a request's head."""

    body_bytes: int
    is_upload: bool
    is_post: bool


class _Loop:
    """All connections, settings and counters."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._epoll = select.epoll()
        self._epoll.register(listener.fileno(), select.EPOLLIN)
        self._connections: dict[int, socket.socket] = {}
        self._unread: dict[int, bytes] = {}
        self._heads: dict[bytes, _Head] = {}
        self._delayed: deque[tuple[float, socket.socket, bytes]] = deque()
        self._settings = {"status": 200, "delay_millis": 0}
        self._taken = self._uploaded = 0

    def run(self) -> None:
        """Answer requests until stdin ends."""
        accepts, ends = self._listener.fileno(), sys.stdin.fileno()
        self._epoll.register(ends, select.EPOLLIN)
        while True:
            for number, _ in self._epoll.poll(self._seconds_to_next()):
                if number == accepts:
                    self._accept()
                elif number == ends:
                    return
                else:
                    self._receive(number)
            self._send_delayed()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[connection.fileno()] = connection
        self._epoll.register(connection.fileno(), select.EPOLLIN)

    def _receive(self, number: int) -> None:
        connection = self._connections[number]
        try:
            data = connection.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            del self._connections[number]
            self._unread.pop(number, None)
            connection.close()  # also removes it from epoll
            return
        if number in self._unread:
            data = self._unread.pop(number) + data
        while data:
            end = data.find(_END_OF_HEAD) + len(_END_OF_HEAD)
            if end < len(_END_OF_HEAD):
                break
            head = self._head(data[:end])
            if len(data) < end + head.body_bytes:
                break
            self._take(connection, head, data)
            data = data[end + head.body_bytes :]
        if data:
            self._unread[number] = data

    def _head(self, text: bytes) -> _Head:
        head = self._heads.get(text)
        if head is None:
            _, _, length = text.lower().partition(b"\r\ncontent-length:")
            length = length.partition(b"\r\n")[0]
            head = _Head(int(length or 0), text.startswith(_UPLOADS), text.startswith(b"POST"))
            if len(self._heads) >= _MOST_HEADS:
                self._heads.clear()
            self._heads[text] = head
        return head

    def _take(self, connection: socket.socket, head: _Head, data: bytes) -> None:
        """Count and answer the request at the start of ``data``."""
        if not head.is_post:
            self._send(connection, self._obey(data))
            return
        if head.is_upload:
            self._uploaded += data.count(_EVENT)
            answer = _UPLOADED
        elif self._settings["status"] == 200:
            self._taken += 1
            answer = _DELIVERED
        else:
            answer = _FAILED
        if delay_millis := self._settings["delay_millis"]:
            due = time.monotonic() + delay_millis / 1000
            self._delayed.append((due, connection, answer))
        else:
            self._send(connection, answer)

    def _obey(self, request: bytes) -> bytes:
        """Execute a command of the benchmark, and return the answer."""
        _, name, *value = request.split(b" ")[1].decode().split("/")
        if name == "set":
            self._settings[value[0]] = int(value[1])
        return _answer(200, json.dumps([self._taken, self._uploaded, time.process_time()]).encode())

    def _send(self, connection: socket.socket, answer: bytes) -> None:
        with suppress(OSError):  # the client has gone
            connection.send(answer)  # short enough to be sent in one piece

    def _seconds_to_next(self) -> float | None:
        if not self._delayed:
            return None
        return max(0.0, self._delayed[0][0] - time.monotonic())

    def _send_delayed(self) -> None:
        while self._delayed and self._delayed[0][0] <= time.monotonic():
            _, connection, answer = self._delayed.popleft()
            self._send(connection, answer)


def _serve() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        listener.setblocking(False)
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        _Loop(listener).run()


if __name__ == "__main__":
    _serve()
