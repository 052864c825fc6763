"""A server for benchmarks: as fast as Python lets it be, in a process of its own.

    with Server() as server: ...

Answers every POST with 200, or with what ``set_status`` says, after a delay that can be set. It
counts what it answered with 200, and keeps nothing.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any
from urllib.request import urlopen

_STATE = {"status": 200, "taken": 0, "delay_millis": 0}
_ANSWERS = {
    status: b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    % (status, len(body), body)
    for status, body in (
        (200, b'{"code": 200}'),
        (503, b'{"message": "down"}'),
    )
}


class _Protocol(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            _, _, length = head.partition(b"content-length:")
            total = end + 4 + int(length.split(b"\r\n", 1)[0] or 0)
            if len(self._buffer) < total:
                return
            self._buffer = self._buffer[total:]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        if head.startswith(b"get /set/"):
            name, value = head.split(b" ")[1].decode().split("/")[2:]
            _STATE[name] = int(value)
            self._transport.write(_ANSWERS[200])
        elif head.startswith(b"get /taken"):
            body = str(_STATE["taken"]).encode()
            self._transport.write(
                b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            )
        else:
            _STATE["taken"] += _STATE["status"] == 200
            answer = _ANSWERS[_STATE["status"]]
            if _STATE["delay_millis"]:
                loop = asyncio.get_running_loop()
                loop.call_later(_STATE["delay_millis"] / 1000, self._transport.write, answer)
            else:
                self._transport.write(answer)


class Server:
    """The server's process, and its address."""

    def __enter__(self) -> Server:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None  # noqa: S101  # for mypy: it is a pipe
        self.url = self._process.stdout.readline().strip()
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.communicate()

    def set(self, name: str, value: int) -> None:
        """Set ``status`` or ``delay_millis``."""
        urlopen(f"{self.url}/set/{name}/{value}").close()  # noqa: S310  # its own server

    @property
    def taken(self) -> int:
        """How many requests were answered with 200."""
        with urlopen(f"{self.url}/taken") as answer:  # noqa: S310  # its own server
            return int(answer.read())


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Protocol, "127.0.0.1", 0, backlog=512)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
