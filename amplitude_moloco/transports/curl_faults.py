"""libcurl's faults, under the names that requests gives them."""

from __future__ import annotations

from typing import Final

import pycurl

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
