"""Tells systemd how the service is: sd_notify's protocol, one datagram a message."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from math import inf

from amplitude_moloco.host.fork import process_id

_MOST_STATUS = 200


class ServiceManager:
    """The program that has started this one, if it wants to be told. Safe from any thread.

    Args:
        environment: Where it says so: ``NOTIFY_SOCKET``, ``WATCHDOG_USEC``, ``WATCHDOG_PID``.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        name = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{name[1:]}" if name.startswith("@") else name
        self._socket: socket.socket | None = None
        self.watchdog_seconds = _watchdog_seconds(environment)
        """It wants to hear of the service at least this often; infinity for never."""
        if self._address.startswith(("/", "\0")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)  # what sends must not wait for what listens

    def tell(self, *assignments: str) -> None:
        """Send one message, such as ``READY=1``. Never raises, and never waits."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.sendto("\n".join(assignments).encode(), self._address)

    def close(self) -> None:
        """Tell nothing any more."""
        if self._socket is not None:
            self._socket.close()


def status(text: str) -> str:
    """Returns the assignment that shows a text in ``systemctl status``."""
    line = text.replace("\n", " ")
    return f"STATUS={line[:_MOST_STATUS]}"


def _watchdog_seconds(environment: Mapping[str, str]) -> float:
    if environment.get("WATCHDOG_PID", str(process_id())) != str(process_id()):
        return inf
    micros = environment.get("WATCHDOG_USEC", "")
    is_number = micros.isascii() and micros.isdigit()
    return int(micros) / 1e6 if is_number and int(micros) else inf
