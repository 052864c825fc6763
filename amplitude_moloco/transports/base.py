"""The seam between the engine and the network: what is sent, where, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

from amplitude_moloco.transports.loopback import is_loopback
from amplitude_moloco.transports.secret import Secret

__all__ = [
    "ConcurrentTransport",
    "Endpoint",
    "RequestLoop",
    "SendResult",
    "Transport",
    "TransportFactory",
]


@dataclass(frozen=True)
class Endpoint:
    """Where requests go, and what each carries. Its repr shows the URL alone.

    The credential is text whose repr hides it, here and in the headers.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    secret: str = field(repr=False)
    """The credential in the headers; empty if there is none. It is removed from everything that an
    answer quotes."""
    read_error: Callable[[bytes], str] = field(repr=False)
    """Returns the message in the body of an error. It must accept any bytes, and never raise."""
    accepts: Callable[[bytes, bool], bool] = field(
        repr=False, default=lambda body, is_complete: True
    )
    """Returns whether the body of a 2xx, or its beginning, comes from the API, not from a login
    page on the way. It must accept any bytes, and never raise."""

    def __post_init__(self) -> None:
        secret = Secret(self.secret)
        headers = {
            name: Secret(value) if secret and secret in value else value
            for name, value in self.headers.items()
        }
        object.__setattr__(self, "secret", secret)
        object.__setattr__(self, "headers", headers)

    @property
    def is_plain(self) -> bool:
        """Whether requests go unencrypted: plain http, to this machine or a private host only."""
        return self.url[:5].lower() == "http:"

    @property
    def exposed_host(self) -> str:
        """The host that gets the credential unencrypted over a network; empty if none does."""
        host = urlsplit(self.url).hostname or ""
        return "" if not self.is_plain or is_loopback(host) else host


@dataclass(frozen=True)
class SendResult:
    """The result of one request: a status, or a network fault."""

    status: int | None = None
    """The HTTP status; None without a complete answer."""
    message: str = ""
    """The server's error message, or the kind of the network fault. Never the secret."""
    retry_after_seconds: float = 0.0
    """The wait that the server asks for; 0 for none."""
    cause: str = field(default="", compare=False)
    """A network fault in words: the host, what happened and what to check. Never the secret."""

    @property
    def explanation(self) -> str:
        """The cause, or else the status and the message, for people."""
        return self.cause or f"{self.status or ''} {self.message}".strip()

    @property
    def reason(self) -> str:
        """The status, or the kind of the network fault, for facts and logs."""
        return str(self.status or self.message)


class Transport(Protocol):
    """Sends one body at a time. Safe to use from several threads at once."""

    def send(self, body: bytes) -> SendResult:
        """Send one body. Returns a network fault as a result; it never raises one."""
        ...

    def close(self) -> None:
        """Close the idle connections. Requests in flight may fail."""
        ...


class RequestLoop(Protocol):
    """Many requests in flight at once. For one thread. Not usable after ``close()``."""

    def start(self, tag: object, body: bytes) -> None:
        """Start sending one body. ``poll`` returns the tag with its result."""
        ...

    def poll(self, timeout_seconds: float) -> list[tuple[object, SendResult]]:
        """Advance all requests, and return the results since the last call.

        Waits at most ``timeout_seconds`` for the first result. It may return an empty list
        earlier, so that the caller can start more requests. With 0 or less, it does not wait.

        Requests advance only inside this method. An answer that is not read before its deadline
        counts as a timeout, so a caller that handles results slowly calls ``poll(0)`` in between.
        """
        ...

    def close(self) -> None:
        """Drop the requests in flight, and close the connections. May be called twice."""
        ...


@runtime_checkable
class ConcurrentTransport(Transport, Protocol):
    """Can keep many requests in flight in one thread, which costs far less than many threads."""

    def open_loop(self) -> RequestLoop:
        """Open a loop with connections of its own. The caller closes it."""
        ...


TransportFactory = Callable[[Endpoint], Transport]
