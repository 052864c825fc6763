"""The transport over libcurl: a pool of handles, each with a connection that is kept alive.

Needs the extra ``curl``. It costs a fraction of the processor time of the one over requests, and
speaks HTTP/2 where the server does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
import weakref
from collections import deque
from collections.abc import Mapping
from math import ceil
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import pycurl
from requests.utils import DEFAULT_CA_BUNDLE_PATH, select_proxy

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.transports import SendResult
from amplitude_moloco.transports.answer import MAX_ANSWER_BYTES, result_of
from amplitude_moloco.transports.endpoint import Endpoint
from amplitude_moloco.transports.environment import Environment, environment

_MAX_MILLIS = 2**31 - 1
_E_HTTP2_STREAM = 92  # pycurl has no names for these two
_E_PROXY = 97
_ENDS = (pycurl.E_GOT_NOTHING, pycurl.E_SEND_ERROR, pycurl.E_RECV_ERROR)
"""How the end of a connection shows."""
# The kinds of a fault, named as requests names them.
_KINDS = {
    **dict.fromkeys(
        (
            pycurl.E_UNSUPPORTED_PROTOCOL,  # what is no HTTP, or that of 1991
            pycurl.E_COULDNT_RESOLVE_HOST,
            pycurl.E_COULDNT_CONNECT,
            pycurl.E_FTP_WEIRD_SERVER_REPLY,  # whatever the protocol
            pycurl.E_HTTP2,
            _E_HTTP2_STREAM,
            pycurl.E_GOT_NOTHING,
            pycurl.E_SEND_ERROR,
            pycurl.E_RECV_ERROR,
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


class CurlTransport:
    """Posts to one endpoint through libcurl.

    Redirects are not followed, cookies not kept, a ``.netrc`` not read. Proxies and a CA bundle
    come from the environment, as requests reads it; TLS verification is always on.

    A fork leaves the connections to the parent: a child must open a transport of its own, and may
    let go of this one.

    Args:
        endpoint: Where to post, and the key.
        connections: How many connections are kept alive. More threads may send at a time.
        timeout_seconds: From the start to the end of the answer, with connecting. Where libcurl
            itself replaces a kept connection that ended under the request, it may begin anew.
        ca_bundle: Path of the certificates to trust instead of the usual ones.

    Raises:
        ConfigurationError: The certificates can't be read, or libcurl knows no TLS.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        connections: int = 16,
        timeout_seconds: float = 10.0,
        ca_bundle: str | PathLike[str] | None = None,
    ) -> None:
        self._api_key = endpoint.api_key
        self._timeout_seconds = timeout_seconds
        self._options = _options(endpoint, environment(endpoint, ca_bundle))
        self._room = connections
        self._idle: deque[_Handle] = deque()
        weakref.finalize(self, _leave_to_parent, os.getpid(), self._idle)

    def send(self, body: bytes) -> SendResult:
        try:
            handle = self._idle.pop()  # the one that was used last: the others may time out
        except IndexError:
            handle = _Handle(self._options)
        try:
            handle.post(body, self._timeout_seconds)
            return result_of(
                handle.status,
                handle.answer.body,
                handle.retry_after_seconds,
                api_key=self._api_key,
            )
        except pycurl.error as fault:
            return SendResult(message=handle.kind_of(fault))
        finally:
            self._idle.append(handle)
            if len(self._idle) > self._room:
                self._close_surplus()

    def close(self) -> None:
        self._room = 0  # a request under way closes its connection itself
        self._close_surplus()

    def _close_surplus(self) -> None:
        with contextlib.suppress(IndexError):  # another thread has just taken the last one
            while len(self._idle) > self._room:
                self._idle.popleft().close()


class _Answer:
    """Gathers an answer while it arrives. Called by libcurl."""

    def __init__(self) -> None:
        self.body = b""

    def clear(self) -> None:
        self.body = b""

    def take(self, part: bytes) -> int | None:
        """Take a part of the body. Fewer bytes than there were, if said so, end the connection."""
        self.body += part
        return 0 if self.is_too_large else None

    @property
    def is_too_large(self) -> bool:
        return len(self.body) > MAX_ANSWER_BYTES


class _Handle:
    """One of libcurl's, with its connection. For one thread at a time."""

    def __init__(self, options: Mapping[int, Any]) -> None:
        # Not this object's own methods: the handle would hold it, and be freed only by the
        # collection of cycles.
        self.answer = _Answer()
        self._curl = pycurl.Curl()
        self._has_proxy = bool(options[pycurl.PROXY])
        for option, value in options.items():
            self._curl.setopt(option, value)
        self._curl.setopt(pycurl.WRITEFUNCTION, self.answer.take)

    @property
    def status(self) -> int:
        """The answer's; 0 before its head has come."""
        return int(self._curl.getinfo(pycurl.RESPONSE_CODE))

    @property
    def retry_after_seconds(self) -> float:
        """As libcurl reads it: a function of ours that gets each line of a head costs far more."""
        return float(self._curl.getinfo(pycurl.RETRY_AFTER))

    def post(self, body: bytes, timeout_seconds: float) -> None:
        """Send, and once more at once where a kept-alive connection turns out to be closed.

        Servers close them when they please. Should the request have been taken all the same, its id
        makes the second one harmless. Raises pycurl.error where no whole answer came.
        """
        deadline = time.monotonic() + timeout_seconds
        self._curl.setopt(pycurl.POSTFIELDS, body)
        try:
            self._perform(deadline)
        except pycurl.error as fault:
            if not self._was_closed(fault):
                raise
            self._perform(deadline)  # libcurl has dropped the connection, and makes a new one

    def kind_of(self, fault: pycurl.error) -> str:
        """Its name. Its text could quote what was sent."""
        code = fault.args[0]
        if code == pycurl.E_OPERATION_TIMEDOUT:
            was_sent = self._curl.getinfo(pycurl.REQUEST_SIZE) > 0
            return "ReadTimeout" if was_sent else "ConnectTimeout"
        is_unreachable = self._has_proxy and code == pycurl.E_COULDNT_CONNECT
        if is_unreachable or self._curl.getinfo(pycurl.HTTP_CONNECTCODE) >= 300:
            return "ProxyError"
        return _KINDS.get(code, "CurlError")

    def close(self) -> None:
        self._curl.close()

    def _perform(self, deadline: float) -> None:
        self.answer.clear()
        self._curl.setopt(pycurl.TIMEOUT_MS, _millis(deadline - time.monotonic()))
        try:
            self._curl.perform()
        except pycurl.error:
            if not self.answer.is_too_large:  # else this is how its reading was ended
                raise

    def _was_closed(self, fault: pycurl.error) -> bool:
        """Whether it was the end of a connection that an earlier request was kept alive on.

        libcurl sends again by itself where it can tell so before anything was sent, and mostly
        where not a byte of an answer came; not where the connection is reset while it sends.
        """
        is_reused = self._curl.getinfo(pycurl.NUM_CONNECTS) == 0
        return is_reused and not self.status and fault.args[0] in _ENDS


def _millis(seconds: float) -> int:
    """As libcurl takes a timeout: 0 would mean none."""
    return max(1, min(ceil(seconds * 1000), _MAX_MILLIS))


def _options(endpoint: Endpoint, surroundings: Environment) -> dict[int, Any]:
    """What is set once on each handle. Raises ConfigurationError where libcurl knows no TLS."""
    features = pycurl.version_info()[4]
    if not features & pycurl.VERSION_SSL:
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
        "Expect": "",  # no waiting for leave to send a large body
    }
    return {
        pycurl.URL: endpoint.url,
        pycurl.PROTOCOLS: pycurl.PROTO_HTTP if endpoint.is_plain else pycurl.PROTO_HTTPS,
        pycurl.HTTP_VERSION: version,
        pycurl.HTTPHEADER: [f"{name}: {value}" for name, value in headers.items()],
        pycurl.ACCEPT_ENCODING: "",  # what is not asked for is understood all the same
        pycurl.NOSIGNAL: 1,  # signals are the app's
        **_trust(surroundings.certificates),
        **_way(select_proxy(endpoint.url, surroundings.proxies)),
    }


def _trust(certificates: str | Literal[True]) -> dict[int, Any]:
    """Verify the server, and a proxy, as requests does: by the certificates in one place."""
    path = DEFAULT_CA_BUNDLE_PATH if certificates is True else certificates
    place = os.fsencode(path)
    file, directory = (None, place) if Path(path).is_dir() else (place, None)
    return {
        pycurl.SSLVERSION: pycurl.SSLVERSION_TLSv1_2,  # at least
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


def _way(proxy: str | None) -> dict[int, Any]:
    """Through this proxy, or through none; libcurl does not look for one by itself."""
    return {
        pycurl.PROXY: os.fsencode(proxy or ""),
        pycurl.NOPROXY: "",
        pycurl.HEADEROPT: pycurl.HEADER_SEPARATE,  # a proxy does not see the key
    }


def _leave_to_parent(pid: int, idle: deque[_Handle]) -> None:
    """In a forked child, never free what is the parent's.

    Freeing a handle says goodbye to the server (TLS's close_notify, HTTP/2's GOAWAY) on a
    connection that the parent goes on using. Not even the interpreter's end may free it, hence a
    reference that nobody gives back.
    """
    if os.getpid() != pid:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(idle))
