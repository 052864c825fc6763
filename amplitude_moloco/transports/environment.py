"""What a transport takes from its surroundings: certificates, and the way through a proxy."""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import Literal

import requests

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.transports.base import Endpoint


@dataclass(frozen=True)
class Environment:
    """Read once, as requests reads it."""

    certificates: str | Literal[True]
    """The path of those to trust, a file or a directory; True for the usual ones."""
    proxies: dict[str, str] = field(repr=False)  # they may hold a password
    """As :func:`requests.utils.select_proxy` takes them."""


def environment(endpoint: Endpoint, ca_bundle: str | PathLike[str] | None) -> Environment:
    """What holds for requests to an endpoint.

    A CA bundle that is given goes before the environment's. Raises ConfigurationError where it is
    not there.
    """
    if ca_bundle is not None and not Path(ca_bundle).exists():
        raise ConfigurationError(f"ca_bundle: {fspath(ca_bundle)!r} is not there")
    verify = fspath(ca_bundle) if ca_bundle is not None else True
    with requests.Session() as session:
        merged = session.merge_environment_settings(endpoint.url, {}, None, verify, None)
    return Environment(
        certificates=merged["verify"] or True,  # there is no way to switch it off
        # A proxy is elsewhere: this host's own addresses mean nothing there, and what is sent to
        # them in plain http must not leave the host.
        proxies={} if endpoint.is_plain else dict(merged["proxies"]),
    )
