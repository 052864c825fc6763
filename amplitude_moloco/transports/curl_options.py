"""The options that every handle of libcurl gets once."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pycurl
from requests.utils import DEFAULT_CA_BUNDLE_PATH, select_proxy

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.transports.base import Endpoint
from amplitude_moloco.transports.network import NetworkSettings
from amplitude_moloco.transports.secret import Secret


@dataclass(frozen=True)
class CurlOptions:
    """The options. No repr shows their values: the credential is among them."""

    values: dict[int, Any] = field(repr=False)


def has_tls() -> bool:
    """Whether this libcurl can speak TLS."""
    return bool(pycurl.version_info()[4] & pycurl.VERSION_SSL)


def curl_options(endpoint: Endpoint, network: NetworkSettings) -> CurlOptions:
    """Return the options. Raises ConfigurationError if libcurl was built without TLS."""
    features = pycurl.version_info()[4]
    if not has_tls():
        raise ConfigurationError(
            'transport: this libcurl was built without TLS; install another one, or use "requests"'
        )
    version = (
        pycurl.CURL_HTTP_VERSION_2TLS
        if features & pycurl.VERSION_HTTP2
        else pycurl.CURL_HTTP_VERSION_1_1
    )
    headers = {
        **endpoint.headers,
        "Accept-Encoding": "identity",
        "Expect": "",  # send a large body without waiting for "100 Continue"
    }
    values = {
        pycurl.URL: endpoint.url,
        pycurl.PROTOCOLS: pycurl.PROTO_HTTP if endpoint.is_plain else pycurl.PROTO_HTTPS,
        pycurl.HTTP_VERSION: version,
        pycurl.HTTPHEADER: [Secret(f"{name}: {value}") for name, value in headers.items()],
        pycurl.ACCEPT_ENCODING: "",  # decode an encoding even though none was asked for
        pycurl.NOSIGNAL: 1,  # signals are the app's
        **_certificate_options(network.ca_bundle),
        **_proxy_options(select_proxy(endpoint.url, network.proxies)),
    }
    return CurlOptions(values)


def _certificate_options(ca_bundle: str | Literal[True]) -> dict[int, Any]:
    """Verify the server, and a proxy, against the same certificates as requests does."""
    path = DEFAULT_CA_BUNDLE_PATH if ca_bundle is True else ca_bundle
    encoded = os.fsencode(path)
    file, directory = (None, encoded) if Path(path).is_dir() else (encoded, None)
    return {
        pycurl.SSLVERSION: pycurl.SSLVERSION_TLSv1_2,  # or later
        pycurl.SSL_VERIFYPEER: 1,
        pycurl.SSL_VERIFYHOST: 2,
        pycurl.CAINFO: file,
        pycurl.CAPATH: directory,
        pycurl.PROXY_SSLVERSION: pycurl.SSLVERSION_TLSv1_2,
        pycurl.PROXY_SSL_VERIFYPEER: 1,
        pycurl.PROXY_SSL_VERIFYHOST: 2,
        pycurl.PROXY_CAINFO: file,
        pycurl.PROXY_CAPATH: directory,
    }


def _proxy_options(proxy: str | None) -> dict[int, Any]:
    """Use this proxy, or none: libcurl must not read the environment itself."""
    return {
        pycurl.PROXY: os.fsencode(proxy or ""),
        pycurl.NOPROXY: "",
        pycurl.HEADEROPT: pycurl.HEADER_SEPARATE,  # a proxy does not see the credential
    }
