"""One request at a time through a handle of libcurl."""

from __future__ import annotations

from collections import deque
from math import ceil

import pycurl

from amplitude_moloco.transports.answer import MAX_ANSWER_BYTES, read_retry_after, result_of
from amplitude_moloco.transports.base import Endpoint, SendResult
from amplitude_moloco.transports.causes import Causes
from amplitude_moloco.transports.clock import RealClock
from amplitude_moloco.transports.curl_faults import ENDED_CONNECTION, cause_of, name_of
from amplitude_moloco.transports.curl_options import CurlOptions

_CONNECT_SHARE = 0.9
"""Connecting may take this part of the timeout, so that time is left for an answer. libcurl sees to
it without asking Python, since each such call waits for the GIL behind an app that computes."""
_MAX_HEADER_LINES = 6000  # libcurl gives up at 5000, trailers included
_MAX_TIMEOUT_MILLIS = 2**31 - 1


class CurlHandle:
    """A handle of libcurl, used for one request after the other, over any connection of a loop.

    Args:
        options: Set once.
        endpoint: Reads the errors.
        causes: Says what a fault means.
        timeout_seconds: From the start of a request to the end of its answer.
    """

    def __init__(
        self, options: CurlOptions, endpoint: Endpoint, causes: Causes, timeout_seconds: float
    ) -> None:
        self._endpoint = endpoint
        self._causes = causes
        self._timeout_seconds = timeout_seconds
        self._started_at = 0.0
        self._is_second_attempt = False
        self._answer = _AnswerBody()
        # Appended to by C code alone: a function of Python for each line would cost far more.
        self._head: deque[bytes] = deque(maxlen=_MAX_HEADER_LINES)
        self.curl = pycurl.Curl()
        for option, value in options.values.items():
            self.curl.setopt(option, value)
        # Not methods of this object: that would be a cycle, which only the garbage collector
        # frees, and with it the connections.
        self.curl.setopt(pycurl.WRITEFUNCTION, self._answer.append)
        self.curl.setopt(pycurl.HEADERFUNCTION, self._head.append)
        self._set_timeout(timeout_seconds)

    def begin(self, body: bytes) -> None:
        """Prepare a request."""
        self._started_at = RealClock.monotonic()
        self._answer.data = b""
        self._head.clear()
        self.curl.setopt(pycurl.POSTFIELDS, body)
        if self._is_second_attempt:
            self._is_second_attempt = False
            self._set_timeout(self._timeout_seconds)

    def begin_again(self, fault: int) -> bool:
        """Prepare a second attempt within the same timeout, if a kept-alive connection ended.

        Servers close idle connections at any time. If the server did take the first attempt, the
        id in the body makes the second one harmless. Returns False for any other fault, after a
        second attempt, and if an answer could hardly come in time.
        """
        remaining_seconds = self._started_at + self._timeout_seconds - RealClock.monotonic()
        is_late = remaining_seconds < (1 - _CONNECT_SHARE) * self._timeout_seconds
        if is_late or self._is_second_attempt or not self._is_ended_connection(fault):
            return False
        self._is_second_attempt = True
        self._head.clear()
        self._set_timeout(remaining_seconds)
        return True

    def result(self, fault: int | None, text: str = "") -> SendResult:
        """Return the result of the request.

        Args:
            fault: libcurl's code; None for an answer.
            text: libcurl's text for it.
        """
        status: int = self.curl.getinfo(pycurl.RESPONSE_CODE)  # 0 before a head has arrived
        # libcurl reads a Retry-After where there is one, but takes malformed ones as well.
        if fault is None and status < 300 and not self.curl.getinfo(pycurl.RETRY_AFTER):
            return result_of(status, self._answer.data, 0.0, self._endpoint, self._causes)
        head = self._final_head()
        # Reading an answer that is too large was aborted. The head of a 2xx is the answer, even
        # if its body breaks off.
        is_answer = fault is None or self._answer.is_too_large
        is_complete = bool(self._answer.data) or _is_complete(head)
        if not is_answer and not (200 <= status < 300 and is_complete):
            name = name_of(fault or 0, self.curl, self._causes)
            cause = cause_of(name, fault or 0, text, self.curl, self._causes)
            return SendResult(message=name, cause=cause)
        return result_of(
            status,
            self._answer.data,
            read_retry_after(_retry_after_in(head)),
            self._endpoint,
            self._causes,
            is_complete=fault is None,
        )

    def _final_head(self) -> tuple[bytes, ...]:
        """Return the lines of the last head, without those of a proxy and of early answers.

        The blank line at its end is the last one: what follows the last chunk is none of it.
        """
        lines = tuple(self._head)
        starts = [number for number, line in enumerate(lines) if line.startswith(b"HTTP/")]
        head = lines[starts[-1] :] if starts else lines
        ends = [number for number, line in enumerate(head) if not line.strip()]
        return head[: ends[0] + 1] if ends else head

    def _set_timeout(self, seconds: float) -> None:
        millis = max(1, min(ceil(seconds * 1000), _MAX_TIMEOUT_MILLIS))  # 0 would mean no timeout
        self.curl.setopt(pycurl.TIMEOUT_MS, millis)
        self.curl.setopt(pycurl.CONNECTTIMEOUT_MS, ceil(millis * _CONNECT_SHARE))

    def _is_ended_connection(self, fault: int) -> bool:
        """Return whether a connection ended that an earlier request had kept alive.

        libcurl itself sends again if it notices this before it sends, and mostly if not a byte of
        an answer came; but not if the connection is reset while it sends.
        """
        is_reused = self.curl.getinfo(pycurl.NUM_CONNECTS) == 0
        is_answered = self.curl.getinfo(pycurl.RESPONSE_CODE) != 0
        return is_reused and not is_answered and fault in ENDED_CONNECTION


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


def _is_complete(head: tuple[bytes, ...]) -> bool:
    """Return whether a head has ended."""
    return bool(head) and not head[-1].strip()


def _retry_after_in(head: tuple[bytes, ...]) -> str | None:
    """Return the value of Retry-After in a head; all values of several, as requests does."""
    pairs = (line.partition(b":") for line in head)
    values = [value.strip() for name, _, value in pairs if name.lower() == b"retry-after"]
    return b", ".join(values).decode("latin-1") if values else None
