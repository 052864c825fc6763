"""Which hosts are this machine itself: traffic to them passes no network."""

from __future__ import annotations

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Whether a host, in lower case and without brackets, is always this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
