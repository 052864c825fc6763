"""Connections with a deadline, which know whether they were used before.

The timeouts of requests limit each wait on its own, so a server that sends a byte now and then
blocks a thread forever, as do a slow resolver and an address that does not answer. Here one
deadline covers it all: looking the name up, connecting, sending, and the whole answer. This
overrides what http.client and urllib3 offer for it: the class of a response, a pool's classes of
connections, and how a connection is made.
"""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPResponse
from queue import Empty
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from amplitude_moloco.transports.clock import RealClock
from amplitude_moloco.transports.resolver import Address, Resolver

_LEAST_SHARE = 0.1
"""The part of the timeout that must be left when a request is sent. With less, an answer could
hardly come in time, and the server would process the request in vain."""


class _Exchange(threading.local):
    """The request that this thread is sending."""

    deadline = 0.0
    """When the answer must be complete, in seconds of the monotonic clock."""
    timeout_seconds = 0.0
    resolver = Resolver()
    is_on_used_connection = False
    """Whether it went over a connection that an earlier request had kept alive."""

    def begin(self, timeout_seconds: float, resolver: Resolver) -> None:
        """Begin a request in this thread."""
        self.timeout_seconds = timeout_seconds
        self.deadline = RealClock.monotonic() + timeout_seconds
        self.resolver = resolver

    @property
    def remaining_seconds(self) -> float:
        return self.deadline - RealClock.monotonic()


exchange = _Exchange()


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket until the deadline of the exchange."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining = exchange.remaining_seconds
        if remaining <= 0:  # although more may have come: a server could send for ever
            raise TimeoutError("timed out")
        self._sock.settimeout(remaining)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _DeadlineResponse(HTTPResponse):
    """A response read within the deadline. Early answers (1xx) before it are skipped."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_DeadlineReader(self.fp.detach(), sock))

    def begin(self) -> None:
        super().begin()  # skips any number of 100
        while 100 < self.status < 200 and self.status != 101:
            self.headers = self.msg = None  # type: ignore[assignment]  # as before the first one
            super().begin()
        if self.status < 200:  # another protocol follows
            self.will_close = True


class _Connection(HTTPConnection):
    """Connects and sends within the deadline. Records whether it was used before."""

    response_class = _DeadlineResponse
    debuglevel = 0
    """Not http.client's own, which an app may raise: it prints all headers."""
    _requests = 0

    def connect(self) -> None:
        try:
            super().connect()
        except TimeoutError as error:  # in the handshake of TLS, or at a proxy
            raise ConnectTimeoutError(self, "connecting timed out") from error
        self._requests = 0

    def request(self, *args: Any, **kwargs: Any) -> None:
        exchange.is_on_used_connection = self.sock is not None and self._requests > 0
        if self.sock is None:
            self.connect()
        self._require_time_for_an_answer()
        self.timeout = exchange.remaining_seconds  # for sending
        super().request(*args, **kwargs)
        self._requests += 1

    def _require_time_for_an_answer(self) -> None:
        if exchange.remaining_seconds < _LEAST_SHARE * exchange.timeout_seconds:
            self.close()
            raise ConnectTimeoutError(self, "connected too late for an answer")

    def _new_conn(self) -> socket.socket:
        host, port = self._dns_host, self.port or 0
        try:
            addresses = exchange.resolver.resolve(host, port, exchange.deadline)
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "the name was not resolved in time") from error
        except socket.gaierror as error:
            raise NewConnectionError(self, f"name resolution failed: {error}") from error
        return self._connect_to_one(host, port, addresses)

    def _connect_to_one(self, host: str, port: int, addresses: Sequence[Address]) -> socket.socket:
        """Connect to the first address that accepts. Each gets its share of the time left."""
        last_error: OSError | None = None
        for tried, address in enumerate(addresses):
            share = exchange.remaining_seconds / (len(addresses) - tried)
            if share <= 0:
                break
            try:
                connected = self._connect_to(address, share)
            except OSError as error:
                last_error = error
                continue
            if tried:
                exchange.resolver.prefer(host, port, address[4])
            return connected
        if last_error is None or isinstance(last_error, TimeoutError):
            raise ConnectTimeoutError(self, "connecting timed out") from last_error
        raise NewConnectionError(self, f"connecting failed: {last_error}") from last_error

    def _connect_to(self, address: Address, timeout_seconds: float) -> socket.socket:
        family, kind, protocol, _, place = address
        connected = socket.socket(family, kind, protocol)
        try:
            for option in self.socket_options or ():
                connected.setsockopt(*option)
            connected.settimeout(timeout_seconds)
            connected.connect(place)
            # Also for what follows: the handshake of TLS. Never 0, which means not to wait at all.
            connected.settimeout(max(0.001, exchange.remaining_seconds))
        except BaseException:
            connected.close()
            raise
        return connected


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

    def get_connection(self, *args: Any, **kwargs: Any) -> Any:
        """What requests 2.31 calls instead."""
        pool = self._pool
        if pool is None:
            pool = self._pool = super().get_connection(*args, **kwargs)
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
