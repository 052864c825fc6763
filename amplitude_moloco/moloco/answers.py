"""What each of MCM's answers means, by Moloco's failure protocol.

=========================  =============  =========================================================
answer                     verdict        what follows
=========================  =============  =========================================================
2xx                        DELIVERED      The event leaves the buffer.
no answer, 1xx, 407, 408,  RETRY          Sent again after 5, 10, 20, 40 and 80 seconds, then every
421, 425, 426, 5xx                        15 minutes. More than five failures in a row open the
                                          circuit.
429                        THROTTLED      Sent again later. The rate of all requests is halved.
401, 403, 404, 3xx         MISCONFIGURED  The event stays in the buffer. The circuit opens at once.
400, 413, other 4xx        REJECTED       The event becomes a dead letter.
=========================  =============  =========================================================

A 2xx whose body is not JSON counts as no answer: a login page on the way, for example. MCM's own
is an empty object. 407, 421, 425 and 426 come from gateways on the way, and say nothing about the
event.

A retry comes later if ``Retry-After`` asks for it. What follows is done by ``engine/delivery.py``;
the numbers are the defaults of ``engine/retry.py``, ``engine/breaker.py`` and ``engine/rate.py``.
"""

from __future__ import annotations

import json

from amplitude_moloco.engine.verdict import Verdict
from amplitude_moloco.partner.answers import FROM_GATEWAYS
from amplitude_moloco.transports.base import SendResult


def classify(result: SendResult) -> Verdict:
    """Return what a result means for its event."""
    status = result.status or 0
    if 200 <= status < 300:
        return Verdict.DELIVERED
    if status < 200 or status >= 500 or status in FROM_GATEWAYS:
        return Verdict.RETRY
    if status == 429:
        return Verdict.THROTTLED
    # Redirects are not followed: that would send the key to another host.
    if status < 400 or status in (401, 403, 404):
        return Verdict.MISCONFIGURED
    return Verdict.REJECTED


def accepts(body: bytes, is_complete: bool) -> bool:
    """Return whether the body of a 2xx is JSON or empty; if incomplete, whether it may be MCM's."""
    text = body.strip(b" \t\r\n")
    if not is_complete:
        return not text or text.startswith(b"{")
    if not text:
        return True
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def error_message(body: bytes) -> str:
    """Return the ``message`` of an MCM error, or the whole text if there is none."""
    text = body.decode(errors="replace")
    try:
        message = json.loads(text)["message"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return text
    return text if message is None else str(message)
