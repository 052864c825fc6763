"""What must not be sent any more: what is too old, or of a device that has opted out.

An event may have waited for long, so that it is looked at before every attempt.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from urllib.parse import parse_qsl

from amplitude_moloco.adjust.form import MAX_AGE_SECONDS
from amplitude_moloco.adjust.identifiers import IDENTIFIERS
from amplitude_moloco.engine.verdict import Refusal
from amplitude_moloco.reasons import DeadLetterReason
from amplitude_moloco.transports.base import SendResult

_OPTED_OUT = 451


class Barrier:
    """Lets bodies through, or says why not. Safe from any thread.

    It remembers, in this process and as one-way fingerprints, the devices that Adjust answers with
    a 451: nothing of them is sent again.

    Args:
        clock: Gives the Unix time in seconds.
        max_identifiers: How many fingerprints are remembered: the latest.
    """

    def __init__(
        self, clock: Callable[[], float] = time.time, max_identifiers: int = 100_000
    ) -> None:
        self._clock = clock
        self._max_identifiers = max_identifiers
        self._opted_out: dict[bytes, None] = {}  # the oldest first; no lock: a child may be forked

    def why_not(self, body: bytes) -> Refusal | None:
        """Returns why a body must not be sent any more; None if it may be."""
        form = dict(parse_qsl(body.decode()))
        if self._clock() - int(form.get("created_at_unix", "0")) > MAX_AGE_SECONDS:
            text = "Adjust refuses events that are older than 58 days"
            return Refusal(DeadLetterReason.EXPIRED, text)
        if self._opted_out and not self._opted_out.keys().isdisjoint(_fingerprints(form)):
            text = "Adjust has said that this device is opted out: nothing of it is sent again"
            return Refusal(DeadLetterReason.REJECTED, text)
        return None

    def refused(self, body: bytes, result: SendResult) -> None:
        """Remember a device that opted out."""
        if result.status == _OPTED_OUT:
            found = _fingerprints(dict(parse_qsl(body.decode())))
            self._opted_out |= dict.fromkeys(found)
            for oldest in list(self._opted_out)[: -self._max_identifiers]:
                self._opted_out.pop(oldest, None)


def _fingerprints(form: Mapping[str, str]) -> list[bytes]:
    """Returns a one-way fingerprint of each identifier of the device in this app."""
    app = form.get("app_token", "")
    names = [name for name in IDENTIFIERS if name in form]
    return [sha256(f"{app} {name} {form[name]}".encode()).digest() for name in names]
