"""The pulse of the delivery loop: when it has done its work last."""

from __future__ import annotations

import time
from collections.abc import Callable

from amplitude_moloco.relay.service_manager import ServiceManager, status

_BEAT_SECONDS = 5.0
_STATUS_SECONDS = 5.0


class Pulse:
    """Beaten by the senders, as part of their loop; a loop that hangs has no pulse.

    Args:
        manager: Gets a sign of life at half of the time that it asks for, and what is done.
        describe: Returns what is done in words. Must be quick.
        monotonic: The clock, in seconds.
    """

    def __init__(
        self,
        manager: ServiceManager,
        describe: Callable[[], str],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._manager = manager
        self._describe = describe
        self._monotonic = monotonic
        self._half_seconds = manager.watchdog_seconds / 2
        self._beaten_at = self._watchdog_at = self._described_at = monotonic()
        self._described = ""
        self.seconds = min(_BEAT_SECONDS, self._half_seconds / 2)
        """How often it should beat."""

    def beat(self) -> None:
        """The loop turns."""
        self._beaten_at = now = self._monotonic()
        # A beat early, rather than one late.
        if now - self._watchdog_at + self.seconds > self._half_seconds:
            self._watchdog_at = now
            self._manager.tell("WATCHDOG=1")
        if now - self._described_at >= _STATUS_SECONDS:
            self._described_at = now
            self.describe()

    def describe(self) -> None:
        """Tell the manager what is done, if that has changed."""
        said = self._describe()
        if said != self._described:
            self._described = said
            self._manager.tell(status(said))

    def silence_seconds(self) -> float:
        """Returns how long ago it has beaten last."""
        return self._monotonic() - self._beaten_at
