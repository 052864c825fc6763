"""The one host that may get plain http over a network: a private one, named in the settings.

Plain http shows the key and what shoppers do to everything on the way. It is for a sandbox in
another container or on another machine of one's own network.
"""

from __future__ import annotations

import os
from ipaddress import ip_address, ip_network

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.partner.placeholders import refuse_placeholder
from amplitude_moloco.text import shown

PLAIN_HTTP_VARIABLE = "MOLOCO_ALLOW_PLAIN_HTTP"
"""Stands in for the setting ``allow_plain_http``."""
EXPOSURE = "Plain http to %s, as allow_plain_http says: the key and all events travel unencrypted"
"""For the log, with the host."""

_NETWORKS = tuple(
    ip_network(network) for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
"""RFC 1918, and the unique local addresses of IPv6."""
_DOMAINS = (".internal", ".local", ".localhost", ".test")
"""Reserved for private use: no public name ends so."""
_ADVICE = (
    "use the host in base_url: a name without a dot, one that ends in .internal, .local, "
    ".localhost or .test, or a private address"
)


def allowed_host(setting: str | None) -> str | None:
    """Returns the host that may get plain http, in lower case and without brackets.

    Without a ``setting``, the environment's ``MOLOCO_ALLOW_PLAIN_HTTP`` is used. Raises
    ConfigurationError for anything but a private host.
    """
    name, host = "allow_plain_http", setting
    if setting is None:
        name, host = PLAIN_HTTP_VARIABLE, os.environ.get(PLAIN_HTTP_VARIABLE) or None
    if host is None:
        return None
    refuse_placeholder(name, host)
    plain = host.lower().removeprefix("[").removesuffix("]") if isinstance(host, str) else ""
    if not plain.isascii() or not is_private(plain):
        raise ConfigurationError(f"{name}: found {shown(host)}; {_ADVICE}")
    return plain


def is_private(host: str) -> bool:
    """Whether the public internet has no such host, in lower case and without brackets."""
    try:
        address = ip_address(host)
    except ValueError:
        return bool(host) and ("." not in host or host.endswith(_DOMAINS))
    return any(address in network for network in _NETWORKS)
