"""Turns an HTTP answer into a result of bounded size, without the secret."""

from __future__ import annotations

import re
from functools import lru_cache
from math import inf

from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from amplitude_moloco.transports.base import Endpoint, SendResult
from amplitude_moloco.transports.causes import Causes

MAX_ANSWER_BYTES = 16 * 1024
"""No more of an answer is read. The connection of a longer one is closed."""
_MAX_MESSAGE_LENGTH = 300
# Also the line ends of Unicode, and what changes the direction of writing.
_CONTROL_CHARACTER = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
_RETRY = Retry()
# Newer releases of urllib3 limit the result, to six hours by default. Older ones know no limit, and
# no such argument.
_RETRY.retry_after_max = inf  # type: ignore[assignment]  # it is only compared


NOT_ACCEPTED = "UnexpectedContent"
"""The message of a 2xx whose body is not the API's."""


def result_of(
    status: int,
    answer: bytes,
    retry_after_seconds: float,
    endpoint: Endpoint,
    causes: Causes,
    *,
    is_complete: bool = True,
) -> SendResult:
    """Return the result of an answer with this decoded body, or the beginning of one.

    A 2xx whose body is not the API's is a fault of the network: a login page, for example.
    """
    if status < 400:
        is_page = answer not in (b"{}", b"") and 200 <= status < 300
        if is_page and not endpoint.accepts(answer, is_complete):
            return SendResult(message=NOT_ACCEPTED, cause=causes.not_accepted(status))
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

    It is a whole number of seconds or a date, as HTTP defines it.
    """
    if value is None:
        return 0.0
    try:
        return float(_RETRY.parse_retry_after(value))
    except (HTTPError, ValueError, OverflowError):
        return 0.0
