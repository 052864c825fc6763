"""Opens a transport by its name in the settings."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.text import shown
from amplitude_moloco.transports.base import Endpoint, Transport
from amplitude_moloco.transports.nowhere import NowhereTransport

_DISTRIBUTION = __name__.partition(".")[0].replace("_", "-")
"""The name of this library for pip."""


def open_transport(
    name: str,
    endpoint: Endpoint,
    *,
    connections: int = 16,
    timeout_seconds: float = 10.0,
    ca_bundle: str | PathLike[str] | None = None,
) -> Transport:
    """Open the transport called ``requests``, ``curl`` or ``none``, which sends nothing.

    The other arguments are those of :class:`RequestsTransport` and :class:`CurlTransport`. Raises
    ConfigurationError for any other name, if the transport's library is not installed, and for
    certificates that can't be read.
    """
    if known_name(name) == "none":
        return NowhereTransport(endpoint)
    kind = _kind_named(name)
    return kind(
        endpoint, connections=connections, timeout_seconds=timeout_seconds, ca_bundle=ca_bundle
    )


def known_name(name: str) -> str:
    """Returns the name of a transport. Raises ConfigurationError for any other name."""
    if name in ("requests", "curl", "none"):
        return name
    raise ConfigurationError(
        f"transport: unknown name {shown(name)}; use 'auto', 'requests', 'curl', or a callable "
        f"that opens a transport; 'none' sends nothing, for tests"
    )


def name_of_best() -> str:
    """Returns the name of the transport that takes the least processor time here."""
    try:
        from amplitude_moloco.transports.curl_options import has_tls
    except ImportError:  # pycurl is optional
        return "requests"
    return "curl" if has_tls() else "requests"


def _kind_named(name: str) -> Callable[..., Transport]:
    # Imported only when chosen: pycurl is optional.
    if name == "requests":
        from amplitude_moloco.transports.requests import RequestsTransport

        return RequestsTransport
    try:
        from amplitude_moloco.transports.curl import CurlTransport
    except ImportError as error:
        raise ConfigurationError(
            f"transport: 'curl' needs pycurl ({error}); pip install '{_DISTRIBUTION}[curl]'"
        ) from None
    return CurlTransport
