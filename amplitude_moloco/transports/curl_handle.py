"""One request at a time through a handle of libcurl."""

from __future__ import annotations

import time
from collections.abc import Mapping
from math import ceil
from typing import Any

import pycurl

from amplitude_moloco.transports.answer import MAX_ANSWER_BYTES, result_of
from amplitude_moloco.transports.base import Endpoint, SendResult
from amplitude_moloco.transports.curl_faults import ENDED_CONNECTION, FAULT_NAMES

_MAX_TIMEOUT_MILLIS = 2**31 - 1


class CurlHandle:
    """A handle of libcurl, used for one request after the other, over any connection of a loop.

    Args:
        options: Set once; see :func:`curl_options`.
        endpoint: Reads the errors.
        timeout_seconds: From the start of a request to the end of its answer.
    """

    def __init__(
        self, options: Mapping[int, Any], endpoint: Endpoint, timeout_seconds: float
    ) -> None:
        self._endpoint = endpoint
        self._timeout_seconds = timeout_seconds
        self._started_at = 0.0
        self._is_second_attempt = False
        self._answer = _AnswerBody()
        self._has_proxy = bool(options[pycurl.PROXY])
        self.curl = pycurl.Curl()
        for option, value in options.items():
            self.curl.setopt(option, value)
        # Not a method of this object: that would be a cycle, which only the garbage collector
        # frees, and with it the connections.
        self.curl.setopt(pycurl.WRITEFUNCTION, self._answer.append)
        self._set_timeout(timeout_seconds)

    def begin(self, body: bytes) -> None:
        """Prepare a request."""
        self._started_at = time.monotonic()
        self._answer.data = b""
        self.curl.setopt(pycurl.POSTFIELDS, body)
        if self._is_second_attempt:
            self._is_second_attempt = False
            self._set_timeout(self._timeout_seconds)

    def begin_again(self, fault: int) -> bool:
        """Prepare a second attempt within the same timeout, if a kept-alive connection ended.

        Servers close idle connections at any time. If the server did take the first attempt, the
        id in the body makes the second one harmless. Returns False for any other fault, and after
        a second attempt.
        """
        if self._is_second_attempt or not self._is_ended_connection(fault):
            return False
        self._is_second_attempt = True
        self._set_timeout(self._started_at + self._timeout_seconds - time.monotonic())
        return True

    def result(self, fault: int | None) -> SendResult:
        """Return the result of the request; ``fault`` is libcurl's code, None for an answer."""
        if fault is not None and not self._answer.is_too_large:  # reading that one was aborted
            return SendResult(message=self._name_of(fault))
        # libcurl parses the header: a callback of ours for each header line costs far more.
        retry_after_seconds = float(self.curl.getinfo(pycurl.RETRY_AFTER))
        return result_of(self._status, self._answer.data, retry_after_seconds, self._endpoint)

    @property
    def _status(self) -> int:
        """The status of the answer; 0 before its head has arrived."""
        return int(self.curl.getinfo(pycurl.RESPONSE_CODE))

    def _set_timeout(self, seconds: float) -> None:
        millis = max(1, min(ceil(seconds * 1000), _MAX_TIMEOUT_MILLIS))  # 0 would mean no timeout
        self.curl.setopt(pycurl.TIMEOUT_MS, millis)

    def _name_of(self, fault: int) -> str:
        """Return a fault's name. libcurl's own text could quote what was sent."""
        if fault == pycurl.E_OPERATION_TIMEDOUT:
            was_sent = self.curl.getinfo(pycurl.REQUEST_SIZE) > 0
            return "ReadTimeout" if was_sent else "ConnectTimeout"
        is_unreachable = self._has_proxy and fault == pycurl.E_COULDNT_CONNECT
        if is_unreachable or self.curl.getinfo(pycurl.HTTP_CONNECTCODE) >= 300:
            return "ProxyError"
        return FAULT_NAMES.get(fault, "CurlError")

    def _is_ended_connection(self, fault: int) -> bool:
        """Return whether a connection ended that an earlier request had kept alive.

        libcurl itself sends again if it notices this before it sends, and mostly if not a byte of
        an answer came; but not if the connection is reset while it sends.
        """
        is_reused = self.curl.getinfo(pycurl.NUM_CONNECTS) == 0
        return is_reused and not self._status and fault in ENDED_CONNECTION


class _AnswerBody:
    """Collects the body of an answer while it arrives. libcurl calls it."""

    def __init__(self) -> None:
        self.data = b""

    def append(self, part: bytes) -> int | None:
        """Append a part. Returns None to go on, or 0, fewer bytes than it got, to abort."""
        self.data += part
        return 0 if self.is_too_large else None

    @property
    def is_too_large(self) -> bool:
        return len(self.data) > MAX_ANSWER_BYTES
