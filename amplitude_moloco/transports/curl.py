"""The transport over libcurl: one thread has many requests on their way, in one loop.

Needs the extra ``curl``. It costs a fraction of the processor time of the one over requests, and
speaks HTTP/2 where the server does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from math import ceil
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pycurl
from requests.utils import DEFAULT_CA_BUNDLE_PATH, select_proxy

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.transports.answer import MAX_ANSWER_BYTES, result_of
from amplitude_moloco.transports.base import Endpoint, SendResult, TakeRequest
from amplitude_moloco.transports.environment import Environment, environment

_MAX_MILLIS = 2**31 - 1
_POLL_SECONDS = 0.02
"""So long a loop waits for an answer at most, before it asks for more to send. So it also sees to
libcurl's own times, and to the files with numbers so high that select() can't watch them."""
_LATE_SECONDS = 0.1
"""Who is told of a result may take time. Then answers are read in between, lest they seem late."""
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
        connections: How many connections a thread that sends keeps alive, and for how many such
            threads they are kept.
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
        options = _options(endpoint, environment(endpoint, ca_bundle))
        self._new_handle = partial(_Handle, options, endpoint, timeout_seconds)
        self._connections = self._room = connections
        self._idle: deque[_Loop] = deque()
        weakref.finalize(self, _leave_to_parent, os.getpid(), self._idle)

    def send(self, body: bytes) -> SendResult:
        results: list[SendResult] = []
        requests = iter([(body, results.append)])
        self.send_each(lambda: next(requests, _POLL_SECONDS))
        return results[0]

    def send_each(self, take: TakeRequest) -> None:
        try:
            loop = self._idle.pop()  # the one that was used last: the others may time out
        except IndexError:
            loop = _Loop(self._new_handle, self._connections)
        try:
            loop.run(take)
        except BaseException:
            loop.close()  # nobody knows what it is in the middle of
            raise
        self._idle.append(loop)
        if len(self._idle) > self._room:
            self._close_surplus()

    def close(self) -> None:
        self._room = 0  # a loop that runs closes its connections itself
        self._close_surplus()

    def _close_surplus(self) -> None:
        with contextlib.suppress(IndexError):  # another thread has just taken the last one
            while len(self._idle) > self._room:
                self._idle.popleft().close()


class _Loop:
    """Many requests at a time, and the connections they are kept alive on. For one thread."""

    def __init__(self, new_handle: Callable[[], _Handle], connections: int) -> None:
        self._new_handle = new_handle
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, connections)
        # Over HTTP/2, too: a connection that ends takes one request with it, and no others.
        self._multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_NOTHING)
        self._pause = threading.Event()
        self._idle: list[_Handle] = []
        self._on_their_way: dict[pycurl.Curl, _Request] = {}

    def run(self, take: TakeRequest) -> None:
        """Send what is given, until nothing is and all is answered."""
        while True:
            while not isinstance(request := take(), float):
                self._start(*request)
            if not self._on_their_way:
                return
            self._multi.perform()
            if not self._finish():
                self._wait(request)

    def close(self) -> None:
        for request in self._on_their_way.values():
            self._multi.remove_handle(request.handle.curl)
        self._multi.close()

    def _start(self, body: bytes, done: Callable[[SendResult], object]) -> None:
        handle = self._idle.pop() if self._idle else self._new_handle()
        handle.begin(body)
        self._on_their_way[handle.curl] = _Request(handle, done)
        self._multi.add_handle(handle.curl)

    def _finish(self) -> bool:
        """Tell of all results that are there; False if there are none."""
        performed_at = time.monotonic()
        _, answered, faults = self._multi.info_read()
        ended = [(curl, None) for curl in answered] + [(curl, code) for curl, code, _ in faults]
        for curl, fault in ended:
            self._multi.remove_handle(curl)
            handle, done = self._on_their_way[curl]
            if fault is not None and handle.begin_again(fault):
                self._multi.add_handle(curl)  # libcurl has dropped the connection, and makes one
                continue
            del self._on_their_way[curl]
            self._idle.append(handle)
            done(handle.result(fault))
            if time.monotonic() - performed_at > _LATE_SECONDS:
                self._multi.perform()
                performed_at = time.monotonic()
        return bool(ended)

    def _wait(self, seconds: float) -> None:
        """Until there is something to read or write, for so long at most."""
        seconds = min(seconds, _POLL_SECONDS)
        read, write, other = self._multi.fdset()
        if read or write:
            select.select(read, write, other, seconds)
        else:  # not yet, or none that select() can watch
            self._pause.wait(seconds)


class _Request(NamedTuple):
    """One that is on its way."""

    handle: _Handle
    done: Callable[[SendResult], object]


class _Answer:
    """Gathers an answer while it arrives. Called by libcurl."""

    def __init__(self) -> None:
        self.body = b""

    def take(self, part: bytes) -> int | None:
        """Take a part of the body. Fewer bytes than there were, if said so, end the connection."""
        self.body += part
        return 0 if self.is_too_large else None

    @property
    def is_too_large(self) -> bool:
        return len(self.body) > MAX_ANSWER_BYTES


class _Handle:
    """One of libcurl's: one request at a time, over any connection of its loop."""

    def __init__(
        self, options: Mapping[int, Any], endpoint: Endpoint, timeout_seconds: float
    ) -> None:
        self._endpoint = endpoint
        self._timeout_seconds = timeout_seconds
        self._begun_at = 0.0
        self._is_second = False  # attempt, at once after the first one
        # Not this object's own methods: the handle would hold it, and be freed only by the
        # collection of cycles.
        self._answer = _Answer()
        self._has_proxy = bool(options[pycurl.PROXY])
        self.curl = pycurl.Curl()
        for option, value in options.items():
            self.curl.setopt(option, value)
        self.curl.setopt(pycurl.WRITEFUNCTION, self._answer.take)
        self._set_timeout(timeout_seconds)

    def begin(self, body: bytes) -> None:
        """Get ready to send."""
        self._begun_at = time.monotonic()
        self._answer.body = b""
        self.curl.setopt(pycurl.POSTFIELDS, body)
        if self._is_second:
            self._is_second = False
            self._set_timeout(self._timeout_seconds)

    def begin_again(self, fault: int) -> bool:
        """Get ready to send once more, where a kept-alive connection turned out to be closed.

        Servers close them when they please. Should the request have been taken all the same, its id
        makes the second one harmless. False if it was something else.
        """
        if self._is_second or not self._was_closed(fault):
            return False
        self._is_second = True
        self._set_timeout(self._begun_at + self._timeout_seconds - time.monotonic())
        return True

    def result(self, fault: int | None) -> SendResult:
        """What came of it."""
        if fault is not None and not self._answer.is_too_large:  # else its reading was ended so
            return SendResult(message=self._kind_of(fault))
        # As libcurl reads it: a function of ours that gets each line of a head costs far more.
        retry_after_seconds = float(self.curl.getinfo(pycurl.RETRY_AFTER))
        return result_of(self._status, self._answer.body, retry_after_seconds, self._endpoint)

    @property
    def _status(self) -> int:
        """The answer's; 0 before its head has come."""
        return int(self.curl.getinfo(pycurl.RESPONSE_CODE))

    def _set_timeout(self, seconds: float) -> None:
        self.curl.setopt(pycurl.TIMEOUT_MS, _millis(seconds))

    def _kind_of(self, fault: int) -> str:
        """Its name. Its text could quote what was sent."""
        if fault == pycurl.E_OPERATION_TIMEDOUT:
            was_sent = self.curl.getinfo(pycurl.REQUEST_SIZE) > 0
            return "ReadTimeout" if was_sent else "ConnectTimeout"
        is_unreachable = self._has_proxy and fault == pycurl.E_COULDNT_CONNECT
        if is_unreachable or self.curl.getinfo(pycurl.HTTP_CONNECTCODE) >= 300:
            return "ProxyError"
        return _KINDS.get(fault, "CurlError")

    def _was_closed(self, fault: int) -> bool:
        """Whether it was the end of a connection that an earlier request was kept alive on.

        libcurl sends again by itself where it can tell so before anything was sent, and mostly
        where not a byte of an answer came; not where the connection is reset while it sends.
        """
        is_reused = self.curl.getinfo(pycurl.NUM_CONNECTS) == 0
        return is_reused and not self._status and fault in _ENDS


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


def _leave_to_parent(pid: int, idle: deque[_Loop]) -> None:
    """In a forked child, never free what is the parent's.

    Freeing a loop says goodbye to the server (TLS's close_notify, HTTP/2's GOAWAY) on a
    connection that the parent goes on using. Not even the interpreter's end may free it, hence a
    reference that nobody gives back.
    """
    if os.getpid() != pid:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(idle))
