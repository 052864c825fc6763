"""The network settings of the environment: trusted certificates, and proxies."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import requests
from requests.utils import select_proxy

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.transports.base import Endpoint

_BUNDLE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # in the order in which requests reads
_PROXY_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")
_HOST = re.compile(r"[\w.:%-]+")
_HAS_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


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

    ``ca_bundle`` overrides the environment's bundle. Raises ConfigurationError if the certificates
    can't be read, or the address of the proxy can't work.
    """
    if ca_bundle is not None:
        _check_bundle("ca_bundle", ca_bundle)
    verify: str | Literal[True] = fspath(ca_bundle) if ca_bundle is not None else True
    with requests.Session() as session:
        merged = session.merge_environment_settings(endpoint.url, {}, None, verify, None)
    if endpoint.is_plain:
        # A proxy runs on another host, where loopback addresses and private names mean something
        # else, and it would see the credential.
        return NetworkSettings(ca_bundle=verify, proxies={})
    if ca_bundle is None and isinstance(merged["verify"], str):
        name = next(filter(os.environ.get, _BUNDLE_VARIABLES), "REQUESTS_CA_BUNDLE")
        _check_bundle(name, merged["verify"])
    _check_proxy(endpoint.url, merged["proxies"])
    return NetworkSettings(
        ca_bundle=merged["verify"] or True,  # verification can't be switched off
        proxies=dict(merged["proxies"]),
    )


def _check_bundle(name: str, ca_bundle: str | PathLike[str]) -> None:
    """Raise ConfigurationError unless this is a directory, or a file of certificates."""
    advice = "use the path of a PEM file or of a directory of certificates"
    try:
        path = Path(ca_bundle)
    except TypeError:
        raise ConfigurationError(f"{name}: found {type(ca_bundle).__name__}; {advice}") from None
    if not fspath(ca_bundle):
        raise ConfigurationError(f"{name}: found an empty path; {advice}")
    try:
        if path.is_dir():
            _check_directory(name, os.listdir(path), fspath(path))  # noqa: PTH208  # names suffice
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise ConfigurationError(
            f"{name}: {fspath(path)!r} holds no certificates in PEM form; {advice}"
        ) from None
    except FileNotFoundError:
        raise ConfigurationError(f"{name}: {fspath(path)!r} does not exist; {advice}") from None
    except ConfigurationError:
        raise
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{name}: {fspath(path)!r} can't be read ({type(error).__name__}); {advice}"
        ) from None
    if not context.cert_store_stats()["x509"]:
        raise ConfigurationError(f"{name}: {fspath(path)!r} holds no certificates; {advice}")


def _check_directory(name: str, files: list[str], path: str) -> None:
    """Raise ConfigurationError if OpenSSL finds no certificate among these names."""
    if not any(map(_HASHED.fullmatch, files)):
        raise ConfigurationError(
            f"{name}: the directory {path!r} holds no certificate under a name that OpenSSL looks "
            f"for, such as 5ed36f99.0; run 'openssl rehash' for it, or use the path of a PEM file"
        )


def _check_proxy(url: str, proxies: Mapping[str, str]) -> None:
    """Raise ConfigurationError for a proxy that can't work. Quotes no login."""
    proxy = select_proxy(url, dict(proxies))
    if not proxy:
        return
    advice = "set HTTPS_PROXY or ALL_PROXY to an address like http://proxy.example:3128"
    try:
        parts = urlsplit(proxy if _HAS_SCHEME.match(proxy) else f"http://{proxy}")
        host = parts.hostname or ""
        labels = host.removesuffix(".").split(".")
        # urlsplit() leaves out line ends.
        is_right = bool(_HOST.fullmatch(host)) and proxy.isprintable() and proxy == proxy.strip()
        is_right = is_right and all(0 < len(label) < 64 for label in labels) and parts.port != 0
        is_right = is_right and host not in _PROXY_SCHEMES  # of http:/proxy or http//proxy
    except ValueError:
        is_right = False
        parts = urlsplit("")
    if not is_right:
        raise ConfigurationError(f"proxy: the environment's is no address; {advice}")
    if parts.scheme not in _PROXY_SCHEMES:
        raise ConfigurationError(
            f"proxy: the environment's has the scheme {parts.scheme!r}; {advice}"
        )
