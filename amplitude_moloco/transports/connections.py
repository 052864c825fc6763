"""Connections that keep a deadline, and know whether they were used before.

A timeout of requests is one for each wait: a server that sends a byte now and then holds a thread
for ever. Here one deadline holds for the whole answer. What is overridden is what http.client and
urllib3 leave open for it: the class of a response, and the classes of a pool's connections.
"""

from __future__ import annotations

import io
import threading
import time
from contextlib import suppress
from http.client import HTTPResponse
from queue import Empty
from socket import socket
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection


class _Exchange(threading.local):
    """What this thread's request is allowed, and what is known of it."""

    deadline = 0.0
    """When the answer must be complete, in seconds of the monotonic clock."""
    is_on_used_connection = False
    """Whether it went over a connection that an earlier one was kept alive on."""


exchange = _Exchange()


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket no longer than the deadline of the exchange allows."""

    def __init__(self, raw: io.RawIOBase, sock: socket) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        # Never 0, which would mean not to wait at all, and is another error.
        self._sock.settimeout(max(0.001, exchange.deadline - time.monotonic()))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _DeadlineResponse(HTTPResponse):
    """A response that is read through a deadline, and whose early answers end the connection."""

    def __init__(self, sock: socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_DeadlineReader(self.fp.detach(), sock))

    def begin(self) -> None:
        super().begin()
        if self.status < 200:  # the real answer may follow, and must not be taken for another's
            self.will_close = True


class _Connection(HTTPConnection):
    """Tells the exchange whether it was used before."""

    response_class = _DeadlineResponse
    _requests = 0

    def connect(self) -> None:
        super().connect()
        self._requests = 0

    def request(self, *args: Any, **kwargs: Any) -> None:
        exchange.is_on_used_connection = self.sock is not None and self._requests > 0
        super().request(*args, **kwargs)  # connects first, where it is not connected
        self._requests += 1


class _TLSConnection(_Connection, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class DeadlineAdapter(HTTPAdapter):
    """The adapter of requests, over these connections, directly and through a proxy.

    For one URL, with the same certificates and proxies each time. What follows of them the adapter
    works out anew for every request, which takes a fifth of its time; here it is remembered.
    """

    _pool: Any = None
    _verified: Any = None
    _url: str | None = None

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool = self._pool  # once, since another thread may close
        if pool is None:
            pool = self._pool = super().get_connection_with_tls_context(*args, **kwargs)
        return pool

    def cert_verify(self, conn: Any, *args: Any, **kwargs: Any) -> None:
        if conn is not self._verified:
            # requests types neither this method nor what it takes.
            super().cert_verify(conn, *args, **kwargs)  # type: ignore[no-untyped-call]
            self._verified = conn

    def request_url(self, *args: Any, **kwargs: Any) -> str:
        if self._url is None:
            self._url = super().request_url(*args, **kwargs)
        return self._url

    def close_idle(self) -> None:
        """Close the connections that nobody uses now. To drop them would leave that to chance.

        What faults leave behind refers to its pool in circles, so the garbage collector decides.
        """
        idle = getattr(self._pool, "pool", None)  # none before the first one, and after close()
        with suppress(Empty):
            while idle:
                connection = idle.get(block=False)
                if connection:
                    connection.close()

    def close(self) -> None:
        pool, self._pool, self._verified = self._pool, None, None
        super().close()
        if pool:
            pool.close()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        use_own_connections(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        use_own_connections(manager)
        return manager


def use_own_connections(manager: PoolManager) -> None:
    """Have a manager of urllib3's make these connections; one of another kind keeps its own."""
    if type(manager) in (PoolManager, ProxyManager):  # one for SOCKS has connections of its own
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
