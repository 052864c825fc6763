"""The transport that sends nothing, for tests of an app."""

from __future__ import annotations

import logging
from typing import Final

from amplitude_moloco.transports.base import Endpoint, SendResult

logger = logging.getLogger(__name__)

_ACCEPTED: Final = SendResult(200)


class NowhereTransport:
    """Answers each request with 200, and opens no connection. Logs a warning once, when opened."""

    def __init__(self, endpoint: Endpoint) -> None:
        logger.warning(
            "Sending is switched off: nothing is sent to %s, and each event counts as delivered",
            endpoint.url,
        )

    def send(self, body: bytes) -> SendResult:
        return _ACCEPTED

    def close(self) -> None:
        """There is nothing to close."""
