"""How a request gets to MCM, and what its answer means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol, runtime_checkable

from amplitude_moloco.errors import ConfigurationError

__all__ = [
    "ConcurrentTransport",
    "SendResult",
    "TakeRequest",
    "Transport",
    "TransportFactory",
    "Verdict",
    "classify",
    "transport_named",
]


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


class Verdict(Enum):
    """What an answer means for the event."""

    DELIVERED = auto()
    RETRY = auto()
    """Moloco's side or the network failed: again later."""
    THROTTLED = auto()
    """Too fast: again later."""
    MISCONFIGURED = auto()
    """The key, the platform or the address is wrong: every event would fare the same."""
    REJECTED = auto()
    """MCM will never take this event."""


class Transport(Protocol):
    """Sends one body at a time to MCM, from several threads."""

    def send(self, body: bytes) -> SendResult:
        """Send one event. A fault of the network is a result, not an exception."""
        ...

    def close(self) -> None:
        """Close the connections; a request under way may fail."""
        ...


TakeRequest = Callable[[], "tuple[bytes, Callable[[SendResult], object]] | float"]
"""Gives the next body to send, and what to call with its result; or, if there is none now, a float:
in how many seconds to ask again. Neither of the two raises."""


@runtime_checkable
class ConcurrentTransport(Transport, Protocol):
    """Can have many requests on their way in one thread, which costs far less than many threads."""

    def send_each(self, take: TakeRequest) -> None:
        """Send what ``take`` gives, until it gives nothing and all that was sent is answered.

        It is asked at the start, after every answer, and again in so many seconds as it says, or
        sooner. It is ``take`` that sees to it that not too many are on their way at a time.
        """
        ...


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


def classify(result: SendResult) -> Verdict:
    """Read an answer as Moloco's failure protocol wants it."""
    status = result.status
    if status is None or status < 200 or status == 408 or status >= 500:
        return Verdict.RETRY
    if status < 300:
        return Verdict.DELIVERED
    if status == 429:
        return Verdict.THROTTLED
    # A redirect is not followed: it would carry the key to another host.
    if status < 400 or status in (401, 403, 404):
        return Verdict.MISCONFIGURED
    return Verdict.REJECTED
