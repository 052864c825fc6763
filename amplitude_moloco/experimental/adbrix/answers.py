"""What each answer of Adbrix's S2S Event API means, by the codes that are documented.

==============================================  =============  ====================================
answer                                          verdict        what follows
==============================================  =============  ====================================
2xx                                             DELIVERED      The event leaves the buffer.
400 with code 4001 (token) or 4005 (closed),    MISCONFIGURED  The event stays. Sending pauses, and
401, 403 (4003, 4004), 404, 3xx                                is probed.
400 otherwise (4002, 4007), other 4xx           REJECTED       A dead letter.
429 (4006)                                      THROTTLED      Sent again later, everything slower.
no answer after it was sent, 502, 504           RETRY, or      By ``on_ambiguous``: Adbrix may have
                                                UNKNOWN        it, and suppress a copy, or not.
no connection, 407, 408, 421, 425, 426,         RETRY          Sent again later, under the same
other 5xx                                                      ``event_id``.
==============================================  =============  ====================================

The form of an answer's body is not documented: the codes and texts are looked for in it.
"""

from __future__ import annotations

import re

from amplitude_moloco.engine.verdict import Verdict
from amplitude_moloco.partner.answers import FROM_GATEWAYS
from amplitude_moloco.transports.base import SendResult

_OF_ALL_EVENTS = re.compile(r"\b400[15]\b|invalid api token|api is closed", re.IGNORECASE)


def classify(result: SendResult) -> Verdict:
    """Returns what a result means for its event."""
    status = result.status
    if status is None or status < 200 or status >= 500 or status in FROM_GATEWAYS:
        return Verdict.RETRY
    if status < 300:
        return Verdict.DELIVERED
    if status == 429:
        return Verdict.THROTTLED
    if status < 400 or status in (401, 403, 404):
        return Verdict.MISCONFIGURED
    if status == 400 and _OF_ALL_EVENTS.search(result.message):
        return Verdict.MISCONFIGURED
    return Verdict.REJECTED


def error_message(body: bytes) -> str:
    """Returns the text of an answer."""
    return body.decode(errors="replace")
