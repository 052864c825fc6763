"""Turns an HTTP answer into a result of bounded size, without the secret."""

from __future__ import annotations

import re
from functools import lru_cache

from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from amplitude_moloco.transports.base import Endpoint, SendResult

MAX_ANSWER_BYTES = 16 * 1024
"""No more of an answer is read. The connection of a longer one is closed."""
MAX_RETRY_AFTER_SECONDS = 6 * 3600
"""A longer Retry-After counts as this one. libcurl has the same limit."""
_MAX_RETRY_AFTER_LENGTH = 40
"""Longer than any date of HTTP."""
_MAX_MESSAGE_LENGTH = 300
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")
_RETRY = Retry()


def result_of(
    status: int, answer: bytes, retry_after_seconds: float, endpoint: Endpoint
) -> SendResult:
    """Return the result of an answer with this decoded body."""
    if status < 400:
        return _result_without_message(status, retry_after_seconds)
    return SendResult(status, _message(answer, endpoint), retry_after_seconds)


@lru_cache(maxsize=16)
def _result_without_message(status: int, retry_after_seconds: float) -> SendResult:
    """Return a shared result: nearly all are equal, and none can be changed."""
    return SendResult(status, retry_after_seconds=retry_after_seconds)


def _message(answer: bytes, endpoint: Endpoint) -> str:
    """Return the message of an error: bounded, on one line, without the secret."""
    message = endpoint.read_error(answer).replace(endpoint.secret, "[key]")[:_MAX_MESSAGE_LENGTH]
    return _CONTROL_CHARACTER.sub(" ", message)


def read_retry_after(value: str | None) -> float:
    """Return the seconds that a Retry-After asks for; 0 if it is missing or malformed.

    It is a whole number of seconds or a date, as HTTP defines it. libcurl reads these alike, but
    rounds a date to whole seconds, takes the number at the start of a malformed value ("7.5",
    "7, 8"), accepts a date without a time, and rejects numbers above 2**63 instead of limiting
    them.
    """
    if value is None or len(value) > _MAX_RETRY_AFTER_LENGTH:
        return 0.0
    try:
        seconds = _RETRY.parse_retry_after(value)
    except (HTTPError, ValueError, OverflowError):
        return 0.0
    return float(min(seconds, MAX_RETRY_AFTER_SECONDS))  # older releases of urllib3 have no limit
