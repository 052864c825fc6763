"""Connections with a deadline, which know whether they were used before.

The timeouts of requests limit each wait on its own, so a server that sends a byte now and then
blocks a thread forever. Here one deadline covers the whole answer. This overrides only what
http.client and urllib3 offer for it: the class of a response, and a pool's classes of connections.
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
    """The request that this thread is sending."""

    deadline = 0.0
    """When the answer must be complete, in seconds of ``time.monotonic``."""
    is_on_used_connection = False
    """Whether it went over a connection that an earlier request had kept alive."""


exchange = _Exchange()


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket until the deadline of the exchange."""

    def __init__(self, raw: io.RawIOBase, sock: socket) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        # Never 0: that makes the socket non-blocking, whose error is another one.
        self._sock.settimeout(max(0.001, exchange.deadline - time.monotonic()))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _DeadlineResponse(HTTPResponse):
    """A response read within the deadline. An early answer (1xx) ends the connection."""

    def __init__(self, sock: socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_DeadlineReader(self.fp.detach(), sock))

    def begin(self) -> None:
        super().begin()
        if self.status < 200:  # the final answer may follow: no other request must read it
            self.will_close = True


class _Connection(HTTPConnection):
    """Records in the exchange whether it was used before."""

    response_class = _DeadlineResponse
    _requests = 0

    def connect(self) -> None:
        super().connect()
        self._requests = 0

    def request(self, *args: Any, **kwargs: Any) -> None:
        exchange.is_on_used_connection = self.sock is not None and self._requests > 0
        super().request(*args, **kwargs)  # connects first if necessary
        self._requests += 1


class _TLSConnection(_Connection, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class DeadlineAdapter(HTTPAdapter):
    """An adapter of requests over these connections, directly and through a proxy.

    For one URL, with the same certificates and proxies each time. HTTPAdapter derives the pool and
    the path from them for every request, which takes a fifth of its time. This one does so once.
    """

    _pool: Any = None
    _verified: Any = None
    _url: str | None = None

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool = self._pool  # read once, since another thread may close the adapter
        if pool is None:
            pool = self._pool = super().get_connection_with_tls_context(*args, **kwargs)
        return pool

    def cert_verify(self, conn: Any, *args: Any, **kwargs: Any) -> None:
        if conn is not self._verified:
            # requests types neither this method nor its arguments.
            super().cert_verify(conn, *args, **kwargs)  # type: ignore[no-untyped-call]
            self._verified = conn

    def request_url(self, *args: Any, **kwargs: Any) -> str:
        if self._url is None:
            self._url = super().request_url(*args, **kwargs)
        return self._url

    def close_idle(self) -> None:
        """Close the idle connections.

        Dropping them is not enough: after a fault, reference cycles keep them open until the
        garbage collector runs.
        """
        idle = getattr(self._pool, "pool", None)  # None before the first request and after close()
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
    """Make a manager of urllib3 use these connections. A subclass keeps its own, as for SOCKS."""
    if type(manager) in (PoolManager, ProxyManager):
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
