"""libcurl's faults, under the names that requests gives them, and in words."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Final

import pycurl

from amplitude_moloco.transports.causes import Causes

_E_HTTP2_STREAM = 92  # pycurl has no names for these two
_E_PROXY = 97

ENDED_CONNECTION: Final = (pycurl.E_GOT_NOTHING, pycurl.E_SEND_ERROR, pycurl.E_RECV_ERROR)
"""The faults that the end of a connection causes."""

FAULT_NAMES: Final[dict[int, str]] = {
    **dict.fromkeys(
        (
            pycurl.E_UNSUPPORTED_PROTOCOL,  # the answer is no HTTP, or HTTP/0.9
            pycurl.E_COULDNT_RESOLVE_HOST,
            pycurl.E_COULDNT_CONNECT,
            pycurl.E_FTP_WEIRD_SERVER_REPLY,  # libcurl's "weird server reply", in any protocol
            pycurl.E_HTTP2,
            _E_HTTP2_STREAM,
            *ENDED_CONNECTION,
        ),
        "ConnectionError",
    ),
    **dict.fromkeys(
        (
            pycurl.E_SSL_CONNECT_ERROR,
            pycurl.E_PEER_FAILED_VERIFICATION,
            pycurl.E_SSL_CACERT_BADFILE,
        ),
        "SSLError",
    ),
    pycurl.E_COULDNT_RESOLVE_PROXY: "ProxyError",
    _E_PROXY: "ProxyError",
    pycurl.E_PARTIAL_FILE: "ChunkedEncodingError",
    pycurl.E_BAD_CONTENT_ENCODING: "ContentDecodingError",
}

_BREAKS_OFF: Final = (
    *ENDED_CONNECTION,
    pycurl.E_PARTIAL_FILE,
    pycurl.E_HTTP2,
    _E_HTTP2_STREAM,
)
_CAUSES: Final[dict[int, Callable[[Causes], str]]] = {
    pycurl.E_COULDNT_RESOLVE_HOST: Causes.unresolved,
    pycurl.E_SSL_CONNECT_ERROR: Causes.tls,
    pycurl.E_UNSUPPORTED_PROTOCOL: Causes.no_http,
    pycurl.E_FTP_WEIRD_SERVER_REPLY: Causes.no_http,
    pycurl.E_BAD_CONTENT_ENCODING: Causes.unreadable,
    **dict.fromkeys(_BREAKS_OFF, Causes.ended),
}
_NO_TLS = ("wrong version number", "http request", "record layer failure", "packet length too long")
_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL)


def name_of(fault: int, curl: pycurl.Curl, causes: Causes) -> str:
    """Returns the name of the exception that requests would raise."""
    if fault == pycurl.E_OPERATION_TIMEDOUT:
        was_sent = curl.getinfo(pycurl.REQUEST_SIZE) > 0
        return "ReadTimeout" if was_sent else "ConnectTimeout"
    is_unreachable = causes.proxy and fault == pycurl.E_COULDNT_CONNECT
    if is_unreachable or curl.getinfo(pycurl.HTTP_CONNECTCODE) >= 300:
        return "ProxyError"
    return FAULT_NAMES.get(fault, "CurlError")


def cause_of(name: str, fault: int, text: str, curl: pycurl.Curl, causes: Causes) -> str:
    """Returns what a fault means. Reads libcurl's own text, but quotes nothing of it."""
    if name == "ProxyError":
        status = curl.getinfo(pycurl.HTTP_CONNECTCODE)
        return causes.at_proxy(status if status >= 300 else 0)
    if name == "ConnectTimeout":
        return causes.not_connected_in_time()
    if name == "ReadTimeout":
        return causes.not_answered_in_time()
    if fault == pycurl.E_COULDNT_CONNECT:
        is_unreachable = curl.getinfo(pycurl.OS_ERRNO) in _UNREACHABLE
        return causes.unreachable() if is_unreachable else causes.refused()
    if fault == pycurl.E_PEER_FAILED_VERIFICATION:
        code = curl.getinfo(pycurl.SSL_VERIFYRESULT)
        # Without a code of OpenSSL, it was libcurl that compared the host.
        return causes.untrusted(code if code > 1 else 62)
    if fault == pycurl.E_SSL_CONNECT_ERROR and any(each in text.lower() for each in _NO_TLS):
        return causes.no_tls()
    return _CAUSES.get(fault, Causes.unknown)(causes)
