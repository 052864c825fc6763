"""What each of Adjust's answers means.

=========================================  =============  =========================================
answer                                     verdict        what follows
=========================================  =============  =========================================
200                                        DELIVERED      The event leaves the buffer.
202                                        DELIVERED      As well; a warning says once that the
                                                          token is not right.
400 ``earlier unique event tracked``       DELIVERED      Adjust has this event already.
400 ``Invalid app token``, 401,            MISCONFIGURED  The event stays. Sending pauses, and is
404 ``App token not found``, 3xx,                         probed.
403 ``App is inactive``,
403 ``Tracking disabled``
404 ``Device not found``, 451, other 4xx   REJECTED       A dead letter. It ends alone.
429                                        THROTTLED      Sent again later, and everything slower.
no answer after it was sent, 502, 504      RETRY, or      By ``on_ambiguous``: Adjust may have it.
                                           UNKNOWN
no connection, 408, other 5xx              RETRY          Sent again later.
=========================================  =============  =========================================

A 404 without a known message is a wrong address: MISCONFIGURED. Adjust documents no 429.
"""

from __future__ import annotations

import json
import logging

from amplitude_moloco.engine.verdict import Verdict
from amplitude_moloco.partner.answers import FROM_GATEWAYS
from amplitude_moloco.transports.base import SendResult

logger = logging.getLogger(__name__)

_DUPLICATE = "earlier unique event tracked"
_MISCONFIGURED = (
    "invalid app token",
    "app token not found",
    "app is inactive",
    "tracking disabled",
)


class Classifier:
    """Reads the results of one destination's requests. Safe from any thread."""

    def __init__(self) -> None:
        self._has_warned = False

    def __call__(self, result: SendResult) -> Verdict:
        """Returns what a result means for its event."""
        if result.status == 202 and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "Adjust accepts events, but says that the S2S token is missing or wrong: give the "
                "app's token before its check is enforced"
            )
        return classify(result)


def classify(result: SendResult) -> Verdict:
    """Returns what a result means for its event. What is ambiguous is retried."""
    status, message = result.status, result.message.lower()
    if status is None or status < 200 or status >= 500 or status in FROM_GATEWAYS:
        return Verdict.RETRY
    if status < 300 or _DUPLICATE in message:
        return Verdict.DELIVERED
    if status == 429:
        return Verdict.THROTTLED
    if status < 400 or status == 401 or any(each in message for each in _MISCONFIGURED):
        return Verdict.MISCONFIGURED
    if status == 404 and "device not found" not in message:
        return Verdict.MISCONFIGURED
    return Verdict.REJECTED


def error_message(body: bytes) -> str:
    """Returns the ``error`` of an answer, or the whole text if there is none."""
    text = body.decode(errors="replace")
    try:
        message = json.loads(text)["error"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return text
    return str(message)
