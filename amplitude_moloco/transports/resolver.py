"""Looks names up within a deadline, which the system's own resolver does not know."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from typing import Any

from amplitude_moloco.transports.clock import RealClock

Address = tuple[int, int, int, str, Any]
"""As :func:`socket.getaddrinfo` returns them."""

_KEPT_SECONDS = 60.0
"""How long a late answer serves later requests."""


class Resolver:
    """Looks up the addresses of names. Safe from any thread; a forked child needs its own.

    A lookup can't be interrupted, so it runs in a thread of its own. All that wait for the same
    name share it. If its answer comes too late for all of them, it serves the next request.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lookups: dict[tuple[str, int], _Lookup] = {}
        self._preferred: dict[tuple[str, int], Any] = {}

    def resolve(self, host: str, port: int, deadline: float) -> Sequence[Address]:
        """Returns the addresses, best first. Raises TimeoutError, and what the lookup raised."""
        if _is_address(host):
            return _look_up(host, port)
        place = (host, port)
        with self._lock:
            lookup = self._lookups.get(place)
            if lookup is None or lookup.is_stale:
                lookup = self._lookups[place] = _Lookup(host, port)
                is_new = True
            else:
                is_new = False
        if is_new:
            lookup.start()
        if not lookup.is_done.wait(max(0.0, deadline - RealClock.monotonic())):
            raise TimeoutError
        with self._lock:
            if self._lookups.get(place) is lookup:
                del self._lookups[place]
        if lookup.error:
            raise socket.gaierror(*lookup.error.args)
        preferred = self._preferred.get(place)
        return sorted(lookup.addresses, key=lambda address: address[4] != preferred)

    def prefer(self, host: str, port: int, address: Any) -> None:
        """Try this address first from now on: it has accepted a connection."""
        self._preferred[(host, port)] = address


class _Lookup:
    """One lookup, and its answer."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._done_at = 0.0
        self.addresses: Sequence[Address] = ()
        self.error: OSError | None = None
        self.is_done = threading.Event()

    @property
    def is_stale(self) -> bool:
        """Whether the answer came too late for all that waited, and is of no use now."""
        if not self.is_done.is_set():
            return False
        return bool(self.error) or RealClock.monotonic() - self._done_at > _KEPT_SECONDS

    def start(self) -> None:
        try:
            threading.Thread(target=self._run, name="resolver", daemon=True).start()
        except RuntimeError:  # no thread can be started while the interpreter ends
            self._run()

    def _run(self) -> None:
        try:
            self.addresses = _look_up(self._host, self._port)
        except (OSError, UnicodeError) as error:
            self.error = error if isinstance(error, OSError) else socket.gaierror(str(error))
        finally:
            self._done_at = RealClock.monotonic()
            self.is_done.set()


def _look_up(host: str, port: int) -> Sequence[Address]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, UnicodeError):
            continue
        return True
    return False
