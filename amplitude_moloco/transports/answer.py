"""Turns an HTTP answer into a result of bounded size, without the secret."""

from __future__ import annotations

import re
from functools import lru_cache
from math import inf

from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from amplitude_moloco.transports.base import Endpoint, SendResult

MAX_ANSWER_BYTES = 16 * 1024
"""No more of an answer is read. The connection of a longer one is closed."""
_MAX_MESSAGE_LENGTH = 300
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")
_RETRY = Retry()
# Newer releases of urllib3 limit the result, to six hours by default. Older ones know no limit, and
# no such argument.
_RETRY.retry_after_max = inf  # type: ignore[assignment]  # it is only compared


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

    It is a whole number of seconds or a date, as HTTP defines it. libcurl reads these alike, except
    that it limits a wait to six hours, and rounds the time until a date to whole seconds. It also
    takes a number at the start of a malformed value ("7.5", "7, 8"), and a date without a time.
    """
    if value is None:
        return 0.0
    try:
        return float(_RETRY.parse_retry_after(value))
    except (HTTPError, ValueError, OverflowError):
        return 0.0
