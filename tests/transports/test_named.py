"""Transports by their name in the settings."""

from __future__ import annotations

import sys
from typing import Any

import pycurl
import pytest
from support.endpoint import endpoint_at
from support.faulty_server import FaultyServer

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.transports.base import SendResult, Transport
from amplitude_moloco.transports.curl import CurlTransport
from amplitude_moloco.transports.named import name_of_best, open_transport
from amplitude_moloco.transports.requests import RequestsTransport

URL = "http://127.0.0.1:9"


def forget_pycurl(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on pycurl is not installed."""
    monkeypatch.setitem(sys.modules, "pycurl", None)
    for module in list(sys.modules):
        if module.startswith("amplitude_moloco.transports.curl"):
            monkeypatch.delitem(sys.modules, module)


@pytest.mark.parametrize(
    ("name", "kind"), [("requests", RequestsTransport), ("curl", CurlTransport)]
)
def test_each_name_opens_its_transport(
    bare_environment: pytest.MonkeyPatch, name: str, kind: type[Transport]
) -> None:
    """There are two names, one for each transport."""
    transport = open_transport(name, endpoint_at(URL))
    assert type(transport) is kind
    transport.close()


@pytest.mark.parametrize("name", ["Curl", "pycurl", " ", 5])
def test_another_name_is_refused(name: Any) -> None:
    """An unknown name is refused with those that exist."""
    with pytest.raises(
        ConfigurationError, match=r"^transport: .* use 'auto', 'requests', 'curl', or a"
    ):
        open_transport(name, endpoint_at(URL))


def test_the_best_is_libcurl_where_it_is_installed_with_tls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without pycurl, or with a libcurl without TLS, the best transport is requests."""
    assert name_of_best() == "curl"
    info = list(pycurl.version_info())
    info[4] = 0
    with monkeypatch.context() as without_tls:
        without_tls.setattr(pycurl, "version_info", lambda: tuple(info))
        assert name_of_best() == "requests"
    forget_pycurl(monkeypatch)
    assert name_of_best() == "requests"


def test_curl_without_pycurl_is_refused_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If pycurl is not installed, choosing it is refused with the command that installs it."""
    forget_pycurl(monkeypatch)
    with pytest.raises(ConfigurationError, match=r"pip install 'amplitude-moloco\[curl\]'$"):
        open_transport("curl", endpoint_at(URL))


@pytest.mark.parametrize("name", ["requests", "curl"])
def test_the_settings_apply_to_each_transport(
    bare_environment: pytest.MonkeyPatch, server: FaultyServer, name: str
) -> None:
    """The timeout and the CA bundle of the settings are those of the transport."""
    server.will(lambda exchange: exchange.hang())
    transport = open_transport(name, endpoint_at(server.url), connections=1, timeout_seconds=0.1)
    assert transport.send(b"{}") == SendResult(None, "ReadTimeout")
    transport.close()
    with pytest.raises(ConfigurationError, match=r"^ca_bundle: "):
        open_transport(name, endpoint_at(URL), ca_bundle="/nonexistent")
