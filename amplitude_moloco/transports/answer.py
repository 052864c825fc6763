"""What an answer says, in whatever way it came: a result, without the key and of bounded size."""

from __future__ import annotations

import re
import time
from datetime import timezone
from email.utils import parsedate_to_datetime
from functools import lru_cache

from amplitude_moloco.transports.base import Endpoint, SendResult

MAX_ANSWER_BYTES = 16 * 1024
"""So much of an answer is read. The connection of one that goes on is closed."""
_MAX_MESSAGE = 300
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def result_of(
    status: int, answer: bytes, retry_after_seconds: float, endpoint: Endpoint
) -> SendResult:
    """The result of an answer with this decoded body."""
    if status < 400:
        return _without_message(status, retry_after_seconds)
    return SendResult(status, _message(answer, endpoint), retry_after_seconds)


@lru_cache(maxsize=16)
def _without_message(status: int, retry_after_seconds: float) -> SendResult:
    """Nearly all results are the same one, which nobody can change."""
    return SendResult(status, retry_after_seconds=retry_after_seconds)


def _message(answer: bytes, endpoint: Endpoint) -> str:
    """The message of an error, bounded, in one line, and without the secret."""
    message = endpoint.read_error(answer).replace(endpoint.secret, "[key]")[:_MAX_MESSAGE]
    return _CONTROL.sub(" ", message)


def read_retry_after(value: str | None) -> float:
    """A Retry-After in seconds, be it a number or a date; 0 for none, and for one without sense."""
    if value is None:
        return 0.0
    try:
        return max(0.0, float(int(value)))
    except OverflowError:
        return 0.0
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(value)
        date = date if date.tzinfo else date.replace(tzinfo=timezone.utc)  # as HTTP's dates are
        return max(0.0, date.timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
