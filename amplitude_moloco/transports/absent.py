"""What stands in place of a transport where nothing is sent."""

from __future__ import annotations

from amplitude_moloco.transports.base import SendResult


class AbsentTransport:
    """Opens nothing, and refuses to send."""

    def send(self, body: bytes) -> SendResult:
        raise RuntimeError("this process stores events, and sends none")

    def close(self) -> None:
        """There is nothing to close."""
