"""The way to a server, step by step: its name, a connection, TLS. Sends nothing."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH, select_proxy

from amplitude_moloco.text import one_line
from amplitude_moloco.transports.base import Endpoint
from amplitude_moloco.transports.causes import causes_for
from amplitude_moloco.transports.network import read_network_settings
from amplitude_moloco.transports.requests_faults import cause_of
from amplitude_moloco.transports.resolver import Resolver


class Step(NamedTuple):
    """One step, and what came of it."""

    name: str
    is_done: bool
    text: str
    """What was found, or the cause of the fault and what to check."""


class Route:
    """The way to an endpoint. Raises ConfigurationError if the network's settings can't work.

    Args:
        ca_bundle: Path of the trusted certificates; None for the usual ones.
        timeout_seconds: For all steps together.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        ca_bundle: str | os.PathLike[str] | None,
        timeout_seconds: float,
    ) -> None:
        parts = urlsplit(endpoint.url)
        self._host = parts.hostname or ""
        self._port = parts.port or (80 if endpoint.is_plain else 443)
        self._is_plain = endpoint.is_plain
        self._timeout_seconds = timeout_seconds
        network = read_network_settings(endpoint, ca_bundle)
        self._bundle = (
            network.ca_bundle if isinstance(network.ca_bundle, str) else DEFAULT_CA_BUNDLE_PATH
        )
        proxy = select_proxy(endpoint.url, network.proxies)
        self._causes = causes_for(endpoint, proxy, timeout_seconds)

    def steps(self) -> Iterator[Step]:
        """Yields each step once it is taken; one that fails is the last."""
        if self._causes.proxy:
            yield Step("proxy", True, f"{one_line(self._causes.proxy)} makes the connection")
            return
        self._deadline = time.monotonic() + self._timeout_seconds
        kinds = [("name", self._resolve), ("connection", self._connect), ("TLS", self._secure)]
        with ExitStack() as self._opened:
            for name, take in kinds[:2] if self._is_plain else kinds:
                try:
                    text = take()
                except OSError as fault:
                    yield Step(name, False, self._cause_of(fault))
                    return
                yield Step(name, True, one_line(text))

    def _resolve(self) -> str:
        addresses = Resolver().resolve(self._host, self._port, self._deadline)
        found = dict.fromkeys(str(address[4][0]) for address in addresses)
        return f"{self._host} is {', '.join(found)}"

    def _connect(self) -> str:
        began = time.monotonic()
        left = max(0.1, self._deadline - began)
        self._socket = socket.create_connection((self._host, self._port), left)
        self._opened.callback(self._socket.close)
        address, millis = self._socket.getpeername()[0], 1000 * (time.monotonic() - began)
        return f"{address}, port {self._port}, in {millis:.0f} ms"

    def _secure(self) -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        is_folder = Path(self._bundle).is_dir()
        context.load_verify_locations(**{"capath" if is_folder else "cafile": self._bundle})
        self._socket.settimeout(max(0.1, self._deadline - time.monotonic()))
        secured = context.wrap_socket(self._socket, server_hostname=self._host)
        self._opened.callback(secured.close)
        until = (secured.getpeercert() or {}).get("notAfter")
        return f"{secured.version()}, with a certificate that is valid until {until}"

    def _cause_of(self, fault: OSError) -> str:
        if isinstance(fault, TimeoutError):
            return self._causes.not_connected_in_time()
        return cause_of(fault, self._causes)
