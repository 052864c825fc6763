"""A transport that is opened when it is needed."""

from __future__ import annotations

import threading
from collections.abc import Callable

from amplitude_moloco.transports.base import SendResult, Transport


class LateTransport:
    """Opens another transport with the first request, and tries again with each until it can.

    Until then each request ends as a fault of the network, so that no event is lost by it.
    """

    def __init__(self, open_transport: Callable[[], Transport]) -> None:
        self._open_transport = open_transport
        self._lock = threading.Lock()
        self._transport: Transport | None = None
        self._is_closed = False

    def send(self, body: bytes) -> SendResult:
        try:
            transport = self._opened()
        except Exception as error:
            cause = f"the transport can't be opened: {error}"
            return SendResult(message=type(error).__name__, cause=cause)
        return transport.send(body)

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            if self._transport is not None:
                self._transport.close()

    def close_idle(self) -> None:
        """Close the idle connections, if there are any."""
        close = getattr(self._transport, "close_idle", None)
        if close is not None:
            close()

    def _opened(self) -> Transport:
        with self._lock:
            if self._is_closed:
                raise RuntimeError("it is closed")
            if self._transport is None:
                self._transport = self._open_transport()
            return self._transport
