"""The transport over libcurl: one thread keeps many requests in flight, in one loop.

It needs the extra ``curl``, uses a fraction of the processor time of the transport over requests,
and speaks HTTP/2 if the server does.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from functools import partial
from os import PathLike

from requests.utils import select_proxy

from amplitude_moloco.transports.base import Endpoint, SendResult
from amplitude_moloco.transports.causes import causes_for
from amplitude_moloco.transports.clock import RealClock
from amplitude_moloco.transports.curl_handle import CurlHandle
from amplitude_moloco.transports.curl_loop import CurlLoop
from amplitude_moloco.transports.curl_options import curl_options
from amplitude_moloco.transports.network import read_network_settings

_POLL_SECONDS = 1.0


class CurlTransport:
    """Posts to one endpoint through libcurl.

    It follows no redirects, keeps no cookies and reads no ``.netrc``. Proxies and a CA bundle come
    from the environment, as requests reads it. TLS verification is always on.

    A fork leaves the connections to the parent. A child must open its own transport, and may drop
    or close this one.

    Args:
        endpoint: Where to post, and the credential.
        connections: How many connections each loop keeps alive at the most, and how many idle
            loops are kept for threads that call ``send()``.
        timeout_seconds: From the start of a request, connecting included, to the end of the
            answer. It may start again when libcurl itself replaces a kept-alive connection that
            ended under the request. Connecting may take nine tenths of it: a request that could
            hardly be answered in what is left is not sent.
        ca_bundle: Path of the certificates to trust instead of the default ones.
        monotonic: The clock by which idle connections are closed.

    Raises:
        ConfigurationError: The certificates can't be read, the proxy can't be used, or libcurl was
            built without TLS.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        connections: int = 16,
        timeout_seconds: float = 10.0,
        ca_bundle: str | PathLike[str] | None = None,
        monotonic: Callable[[], float] = RealClock.monotonic,
    ) -> None:
        network = read_network_settings(endpoint, ca_bundle)
        proxy = select_proxy(endpoint.url, network.proxies)
        causes = causes_for(endpoint, proxy, timeout_seconds)
        options = curl_options(endpoint, network)
        self._new_handle = partial(CurlHandle, options, endpoint, causes, timeout_seconds)
        self._connections = self._max_idle = connections
        self._monotonic = monotonic
        self._idle: deque[CurlLoop] = deque()

    def send(self, body: bytes) -> SendResult:
        try:
            loop = self._idle.pop()  # the last one used: its connection is the freshest
        except IndexError:
            loop = self.open_loop()
        try:
            loop.start(None, body)
            results = loop.poll(_POLL_SECONDS)
            while not results:
                results = loop.poll(_POLL_SECONDS)
        except BaseException:
            loop.close()  # the request may still be in flight, and must not reach another caller
            raise
        self._idle.append(loop)
        if len(self._idle) > self._max_idle:
            self._close_surplus()
        return results[0][1]

    def open_loop(self) -> CurlLoop:
        return CurlLoop(self._new_handle, self._connections, self._monotonic)

    def close(self) -> None:
        self._max_idle = 0  # loops in use are closed after their request
        self._close_surplus()

    def _close_surplus(self) -> None:
        with contextlib.suppress(IndexError):  # another thread has just taken the last one
            while len(self._idle) > self._max_idle:
                self._idle.popleft().close()
