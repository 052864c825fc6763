"""The bare loops: the same prepared bytes, posted with one library alone, as fast as it can.

Each function takes the body and its address, and returns the loop: a callable that posts the body
a number of times over kept-alive connections, and returns when all requests are answered.
"""

from __future__ import annotations

import asyncio
import http.client
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple
from urllib.parse import urlsplit

HEADERS = {
    "x-api-key": "key",
    "Content-Type": "application/json",
    "Accept": "application/json",
}
"""The same as the destination sends."""

Loop = Callable[[int], None]


class Post(NamedTuple):
    """A body, its address, and the number of connections."""

    url: str
    body: bytes
    connections: int

    @property
    def address(self) -> tuple[str, int]:
        """The host and port of the URL."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 80

    @property
    def path(self) -> str:
        """The path of the URL."""
        return urlsplit(self.url).path


def with_requests(post: Post) -> Loop:
    """Shares one session between all threads, with a connection each."""
    requests: Any = import_module("requests")
    session = requests.Session()
    session.mount(post.url, requests.adapters.HTTPAdapter(pool_maxsize=post.connections))

    def send() -> int:
        status: int = session.post(post.url, data=post.body, headers=HEADERS).status_code
        return status

    return _in_threads([send] * post.connections)


def with_urllib3(post: Post) -> Loop:
    """Shares one pool between all threads, with a connection each."""
    urllib3: Any = import_module("urllib3")
    pool = urllib3.HTTPConnectionPool(*post.address, maxsize=post.connections)

    def send() -> int:
        status: int = pool.urlopen("POST", post.path, body=post.body, headers=HEADERS).status
        return status

    return _in_threads([send] * post.connections)


def with_http_client(post: Post) -> Loop:
    """Gives each thread a connection."""

    def send(connection: http.client.HTTPConnection) -> int:
        connection.request("POST", post.path, body=post.body, headers=HEADERS)
        with connection.getresponse() as response:
            response.read()
            return response.status

    connections = [http.client.HTTPConnection(*post.address) for _ in range(post.connections)]
    return _in_threads([partial(send, each) for each in connections])


def with_socket(post: Post) -> Loop:
    """Gives each thread a connection, with one write and one read per request: the minimum."""
    host, port = post.address
    head = [f"POST {post.path} HTTP/1.1", f"Host: {host}:{port}"]
    head += [f"{name}: {value}" for name, value in HEADERS.items()]
    head += [f"Content-Length: {len(post.body)}", "", ""]
    request = "\r\n".join(head).encode() + post.body

    def send(connection: socket.socket) -> int:
        connection.sendall(request)
        return int(connection.recv(4096)[9:12])

    connections = [socket.create_connection(post.address) for _ in range(post.connections)]
    return _in_threads([partial(send, each) for each in connections])


def with_aiohttp(post: Post) -> Loop:
    """Runs one task per connection in one thread."""
    aiohttp: Any = import_module("aiohttp")
    loop = asyncio.new_event_loop()

    async def make_session() -> Any:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=post.connections))

    async def send_all(session: Any, count: int) -> None:
        for _ in range(count):
            async with session.post(post.url, data=post.body, headers=HEADERS) as response:
                await response.read()
                _check(response.status)

    async def run(session: Any, count: int) -> None:
        await asyncio.gather(*(send_all(session, each) for each in _split(count, post.connections)))

    session = loop.run_until_complete(make_session())
    return lambda count: loop.run_until_complete(run(session, count))


def with_pycurl(post: Post) -> Loop:
    """Gives each thread a handle."""
    pycurl: Any = import_module("pycurl")

    def send(handle: Any) -> int:
        handle.perform()
        status: int = handle.getinfo(pycurl.RESPONSE_CODE)
        return status

    handles = [_curl_handle(pycurl, post) for _ in range(post.connections)]
    return _in_threads([partial(send, each) for each in handles])


def with_pycurl_multi(post: Post) -> Loop:
    """Drives all handles in one thread."""
    pycurl: Any = import_module("pycurl")
    handles = [_curl_handle(pycurl, post) for _ in range(post.connections)]
    multi = pycurl.CurlMulti()

    def run(count: int) -> None:
        unsent, unanswered = count, count
        idle = list(handles)
        while unanswered:
            while idle and unsent:
                multi.add_handle(idle.pop())
                unsent -= 1
            multi.perform()
            _, done, failed = multi.info_read()
            for handle in done:
                _check(handle.getinfo(pycurl.RESPONSE_CODE))
                multi.remove_handle(handle)
            if failed:
                raise RuntimeError(failed)
            idle += done
            unanswered -= len(done)
            if not done:
                multi.select(1.0)

    return run


def _curl_handle(pycurl: Any, post: Post) -> Any:
    handle = pycurl.Curl()
    handle.setopt(pycurl.URL, post.url)
    handle.setopt(pycurl.POST, 1)
    handle.setopt(pycurl.POSTFIELDS, post.body)
    handle.setopt(pycurl.HTTPHEADER, [f"{name}: {value}" for name, value in HEADERS.items()])
    handle.setopt(pycurl.WRITEFUNCTION, len)
    handle.setopt(pycurl.NOSIGNAL, 1)
    return handle


def _in_threads(sends: list[Callable[[], int]]) -> Loop:
    """Returns a loop with one thread per function. Each call posts once and returns the status."""

    def send_all(send: Callable[[], int], count: int) -> None:
        for _ in range(count):
            _check(send())

    def run(count: int) -> None:
        with ThreadPoolExecutor(len(sends)) as threads:
            list(threads.map(send_all, sends, _split(count, len(sends))))

    return run


def _split(count: int, parts: int) -> list[int]:
    """Returns ``count`` split into parts that differ by at most one."""
    return [count // parts + (number < count % parts) for number in range(parts)]


def _check(status: int) -> None:
    if status != 200:
        raise RuntimeError(f"answered with {status}")
