"""The network settings of the environment: trusted certificates, and proxies."""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import Literal

import requests

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.transports.base import Endpoint


@dataclass(frozen=True)
class NetworkSettings:
    """What requests reads from the environment, read once."""

    ca_bundle: str | Literal[True]
    """Path of the trusted certificates, a file or a directory; True for the default bundle."""
    proxies: dict[str, str] = field(repr=False)  # they may hold a password
    """As :func:`requests.utils.select_proxy` takes them."""


def read_network_settings(
    endpoint: Endpoint, ca_bundle: str | PathLike[str] | None
) -> NetworkSettings:
    """Read the settings that apply to requests to an endpoint.

    ``ca_bundle`` overrides the environment's bundle. Raises ConfigurationError if it does not
    exist.
    """
    if ca_bundle is not None and not Path(ca_bundle).exists():
        raise ConfigurationError(
            f"ca_bundle: {fspath(ca_bundle)!r} does not exist; use the path of a file or a "
            f"directory of certificates"
        )
    verify = fspath(ca_bundle) if ca_bundle is not None else True
    with requests.Session() as session:
        merged = session.merge_environment_settings(endpoint.url, {}, None, verify, None)
    return NetworkSettings(
        ca_bundle=merged["verify"] or True,  # verification can't be switched off
        # A proxy runs on another host: loopback addresses mean something else there, and plain
        # http must not leave this host.
        proxies={} if endpoint.is_plain else dict(merged["proxies"]),
    )
