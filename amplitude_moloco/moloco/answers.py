"""MCM's answers, read as Moloco's failure protocol wants them."""

from __future__ import annotations

import json

from amplitude_moloco.engine.verdict import Verdict
from amplitude_moloco.transports.base import SendResult


def classify(result: SendResult) -> Verdict:
    """Read an answer as Moloco's failure protocol wants it."""
    status = result.status
    if status is None or status < 200 or status == 408 or status >= 500:
        return Verdict.RETRY
    if status < 300:
        return Verdict.DELIVERED
    if status == 429:
        return Verdict.THROTTLED
    # A redirect is not followed: it would carry the key to another host.
    if status < 400 or status in (401, 403, 404):
        return Verdict.MISCONFIGURED
    return Verdict.REJECTED


def error_message(body: bytes) -> str:
    """The ``message`` of MCM's error, or the body itself where it has none."""
    text = body.decode(errors="replace")
    try:
        message = json.loads(text)["message"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return text
    return text if message is None else str(message)
