"""Many requests in flight over libcurl, in one thread."""

from __future__ import annotations

import select
import threading
import weakref
from collections.abc import Callable
from typing import NamedTuple

import pycurl

from amplitude_moloco.host.fork import Origin, never_free
from amplitude_moloco.transports.base import SendResult
from amplitude_moloco.transports.curl_handle import CurlHandle

_MAX_WAIT_SECONDS = 0.02
"""The longest wait for the network at a time. It bounds how late the caller starts more requests,
how late libcurl's own timers run, and how late a file descriptor too high for select() is read."""
_KEEP_SECONDS = 10.0
"""Connections that were not in use for as long as this, up to twice, are closed."""


class CurlLoop:
    """Many requests at a time, and the connections that they keep alive. For one thread.

    After a fork, a child may drop or close its copy: the connections stay the parent's.

    Args:
        new_handle: Makes a handle; each is used for one request after the other.
        connections: How many connections are kept alive at the most. Those that were not in use for
            a while are closed.
        monotonic: The clock.
    """

    def __init__(
        self,
        new_handle: Callable[[], CurlHandle],
        connections: int,
        monotonic: Callable[[], float],
    ) -> None:
        self._new_handle = new_handle
        self._multi = pycurl.CurlMulti()
        # No multiplexing over HTTP/2: a connection that ends fails one request, and no others.
        self._multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_NOTHING)
        self._idle: list[CurlHandle] = []
        self._in_flight: dict[pycurl.Curl, _Request] = {}
        self._monotonic = monotonic
        self._connections = connections
        self._most_in_flight = self._kept = 0
        self._counted_from = monotonic()
        self._never = threading.Event()
        self._origin = Origin()
        # Freeing the handles says goodbye to the server (close_notify of TLS, GOAWAY of HTTP/2) on
        # connections that a forked child shares with its parent.
        resources = (self._multi, self._idle, self._in_flight)
        weakref.finalize(self, _leave_to_parent, self._origin, resources)

    def start(self, tag: object, body: bytes) -> None:
        handle = self._idle.pop() if self._idle else self._new_handle()
        handle.begin(body)
        self._multi.add_handle(handle.curl)
        self._in_flight[handle.curl] = _Request(tag, handle)
        if len(self._in_flight) > self._most_in_flight:
            self._most_in_flight = len(self._in_flight)
            if self._kept < min(self._most_in_flight, self._connections):
                self._keep(self._most_in_flight)

    def poll(self, timeout_seconds: float) -> list[tuple[object, SendResult]]:
        if self._monotonic() - self._counted_from > _KEEP_SECONDS:
            self._keep(self._most_in_flight)
            self._most_in_flight, self._counted_from = len(self._in_flight), self._monotonic()
        results = self._advance()
        if not results and timeout_seconds > 0:
            self._wait(min(timeout_seconds, _MAX_WAIT_SECONDS))
            results = self._advance()
        return results

    def close(self) -> None:
        if self._origin.is_elsewhere:
            return
        for curl in self._in_flight:
            self._multi.remove_handle(curl)
        self._in_flight.clear()
        self._idle.clear()
        self._multi.close()

    def _keep(self, connections: int) -> None:
        """Keep this many connections alive. Of others, one is closed with each request."""
        self._kept = max(1, min(connections, self._connections))
        self._multi.setopt(pycurl.M_MAXCONNECTS, self._kept)

    def _advance(self) -> list[tuple[object, SendResult]]:
        """Let libcurl read and write, and return the results of the requests that ended."""
        self._multi.perform()
        _, answered, failed = self._multi.info_read()
        ended = [(curl, None, "") for curl in answered] + failed
        results = []
        for curl, fault, text in ended:
            self._multi.remove_handle(curl)
            tag, handle = self._in_flight[curl]
            if fault is not None and handle.begin_again(fault):
                self._multi.add_handle(curl)  # libcurl has dropped the connection, and opens one
                continue
            del self._in_flight[curl]
            self._idle.append(handle)
            results.append((tag, handle.result(fault, text)))
        if len(results) < len(ended):
            self._multi.perform()  # starts the second attempts
        return results

    def _wait(self, seconds: float) -> None:
        """Wait until there is something to read or write."""
        read, write, other = self._multi.fdset()
        if read or write:
            select.select(read, write, other, seconds)
        else:  # nothing yet, or no file descriptor that select() can watch
            self._never.wait(seconds)


class _Request(NamedTuple):
    """A request in flight."""

    tag: object
    handle: CurlHandle


def _leave_to_parent(origin: Origin, resources: tuple[object, ...]) -> None:
    """In a forked child, keep what is the parent's from ever being freed."""
    if origin.is_elsewhere:
        never_free(resources)
