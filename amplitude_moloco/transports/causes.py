"""What a fault of the network means, in words, and what to check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from amplitude_moloco.transports.base import Endpoint, SendResult

CERTIFICATE_FAULTS: Final[dict[int, str]] = {
    2: "its issuer is unknown",
    9: "it is not valid yet: is this machine's clock right?",
    10: "it has expired",
    18: "it is self-signed",
    19: "its authority is self-signed, and unknown here",
    20: "its issuer is unknown",
    21: "its issuer is unknown",
    23: "it was revoked",
    62: "it was issued for another host",
    64: "it was issued for another address",
}
"""By OpenSSL's codes, which both transports report."""


@dataclass(frozen=True)
class Causes:
    """The causes of faults on the way to one endpoint. Each names the host and what to check.

    None quotes a text of the server or of a library: those may hold the credential.
    """

    host: str
    place: str
    """Host and port, and the proxy on the way: what failed may be either."""
    proxy: str
    """Host and port of the proxy; empty for none. Never its password."""
    timeout_seconds: float

    def unresolved(self) -> str:
        return (
            f"the name {self.host} can't be resolved; check the address in the settings, and this "
            f"machine's DNS"
        )

    def refused(self) -> str:
        return f"{self.place} refuses the connection; check host and port, and firewalls"

    def unreachable(self) -> str:
        return f"there is no route to {self.place}; check this machine's network"

    def not_connected_in_time(self) -> str:
        proxies = "HTTPS_PROXY" if self.proxy else "whether a proxy is needed (HTTPS_PROXY)"
        return (
            f"no connection to {self.place} within {self.timeout_seconds:g} s; check the address, "
            f"DNS and firewalls, and {proxies}"
        )

    def not_answered_in_time(self) -> str:
        return (
            f"{self.place} has not answered within {self.timeout_seconds:g} s; check the server, "
            f"and the setting timeout_seconds"
        )

    def untrusted(self, code: int) -> str:
        why = CERTIFICATE_FAULTS.get(code, "it can't be verified")
        return (
            f"the certificate of {self.place} is not trusted: {why}; check the address, ca_bundle "
            f"or REQUESTS_CA_BUNDLE, and whether a proxy on the way replaces certificates"
        )

    def no_tls(self) -> str:
        return (
            f"{self.place} does not speak TLS; check the port, and whether the address should "
            f"begin with http or https"
        )

    def tls(self) -> str:
        return f"TLS with {self.place} failed; check the port, and proxies on the way"

    def no_http(self) -> str:
        return (
            f"{self.place} answers, but not as an HTTP server; check the port, and whether the "
            f"address should begin with http or https"
        )

    def ended(self) -> str:
        return (
            f"{self.place} ended the connection before its answer was complete; check the server, "
            f"and proxies on the way"
        )

    def unreadable(self) -> str:
        return f"the answer of {self.place} can't be decoded; check the server, and proxies"

    def not_accepted(self, status: int) -> str:
        return (
            f"{self.place} answers {status} with a page that is not the API's; check the address, "
            f"and whether a login page or a proxy answers in its place"
        )

    def at_proxy(self, status: int = 0) -> str:
        refusal = f"refuses with status {status}" if status else "can't be reached or used"
        return (
            f"the proxy {self.proxy} on the way to {self.host} {refusal}; check HTTPS_PROXY, its "
            f"login and NO_PROXY"
        )

    def unknown(self) -> str:
        return f"the request to {self.place} failed; check the address and the network"


def was_never_sent(result: SendResult) -> bool:
    """Returns whether there was no connection, so that the server can't have got the request."""
    is_early = result.message in ("ConnectTimeout", "SSLError", "ProxyError")
    return is_early or any(each in result.cause for each in _NO_CONNECTION)


_NO_CONNECTION = ("can't be resolved", "refuses the connection", "there is no route to")
"""As ``unresolved``, ``refused`` and ``unreachable`` say it."""


def causes_for(endpoint: Endpoint, proxy: str | None, timeout_seconds: float) -> Causes:
    """Returns the causes for an endpoint, and the proxy on the way."""
    parts = urlsplit(endpoint.url)
    host = parts.hostname or ""
    port = parts.port or (80 if endpoint.is_plain else 443)
    place = _place(host, port)
    proxy = (proxy or "").rstrip("/").rpartition("/")[2].rpartition("@")[2]
    if proxy:
        place = f"{place} (through the proxy {proxy})"
    return Causes(host, place, proxy, timeout_seconds)


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
