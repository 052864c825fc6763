"""Where the MMP may send a postback. Pure."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def may_get_postbacks(url: str) -> bool:
    """Returns whether a postback may go there: by https, or by http to this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and _is_here(host)))


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
