"""How a request gets to MCM, and what its answer means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from amplitude_moloco.errors import ConfigurationError

__all__ = [
    "ConcurrentTransport",
    "Endpoint",
    "RequestLoop",
    "SendResult",
    "Transport",
    "TransportFactory",
    "transport_named",
]


@dataclass(frozen=True)
class Endpoint:
    """Where requests go, and what each carries. Its repr shows the URL alone."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    secret: str = field(repr=False)
    """The credential in the headers. It is removed from everything that an answer quotes."""
    read_error: Callable[[bytes], str] = field(repr=False)
    """Returns the message in the body of an error, which may be anything."""

    @property
    def is_plain(self) -> bool:
        """Whether requests go unencrypted: plain http, allowed on a loopback address only."""
        return self.url.startswith("http:")


@dataclass(frozen=True)
class SendResult:
    """What came of one request: a status, or a fault of the network."""

    status: int | None = None
    message: str = ""
    """The message of MCM's error, or the kind of the network's fault. Never the key."""
    retry_after_seconds: float = 0.0

    @property
    def reason(self) -> str:
        """For facts: the status, or the kind of the network's fault."""
        return str(self.status or self.message)


class Transport(Protocol):
    """Sends one body at a time, from several threads at once."""

    def send(self, body: bytes) -> SendResult:
        """Send one event. A fault of the network is a result, not an exception."""
        ...

    def close(self) -> None:
        """Close the connections. A request that is on its way may fail."""
        ...


class RequestLoop(Protocol):
    """Many requests on their way at once. For one thread."""

    def start(self, tag: object, body: bytes) -> None:
        """Begin to send one event. The tag is handed back with its result."""
        ...

    def poll(self, timeout_seconds: float) -> list[tuple[object, SendResult]]:
        """Move all requests on, and return the results that have come since the last call.

        Waits at most ``timeout_seconds`` for the first of them, or a little longer. A request
        fails by timeout only if ``poll`` is called while its time runs.
        """
        ...

    def close(self) -> None:
        """End the requests that are on their way, and release the connections."""
        ...


@runtime_checkable
class ConcurrentTransport(Transport, Protocol):
    """Can have many requests on their way in one thread, which costs far less than many threads."""

    def open_loop(self) -> RequestLoop: ...


TransportFactory = Callable[[], Transport]


def transport_named(name: str) -> Callable[..., Transport]:
    """What opens the transport that a setting names: ``requests`` or ``curl``.

    It takes an endpoint, and ``connections``, ``timeout_seconds`` and ``ca_bundle``. Raises
    ConfigurationError for another name, and for a transport whose library is not installed.
    """
    # They need the names above; and pycurl is optional.
    if name == "requests":
        from amplitude_moloco.transports.requests import RequestsTransport

        return RequestsTransport
    if name == "curl":
        try:
            from amplitude_moloco.transports.curl import CurlTransport
        except ImportError as error:
            raise ConfigurationError(
                f"transport: 'curl' needs pycurl ({error}); pip install 'amplitude-moloco[curl]'"
            ) from None
        return CurlTransport
    raise ConfigurationError(
        f"transport: {name!r} is none; use 'requests', 'curl', or a callable that opens one"
    )
