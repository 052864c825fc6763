"""Whether the service lives, and whether it can do its work."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from amplitude_moloco.engine.status import CircuitState, Status
from amplitude_moloco.reasons import PauseReason
from amplitude_moloco.relay.pulse import Pulse

STALL_SECONDS = 30.0
"""A loop that has not turned for this long hangs: no step of it takes as long."""


class Finding(NamedTuple):
    """What a probe learns."""

    is_well: bool
    text: str


class Health:
    """Judges what the delivery loop has noted. Waits for nothing. Safe from any thread."""

    def __init__(self, status: Callable[[], Status], pulse: Pulse) -> None:
        self._status = status
        self._pulse = pulse
        self.is_draining = False
        """Whether it is about to end."""

    def live(self) -> Finding:
        """Whether the loop turns. An outage of the server is no reason to restart this service."""
        seconds = self._pulse.silence_seconds()
        if seconds > STALL_SECONDS:
            return Finding(False, f"the delivery loop has not turned for {seconds:.0f} seconds")
        return Finding(True, "the delivery loop turns")

    def ready(self) -> Finding:
        """Whether events are taken from the buffer. An outage is waited for, and is no fault."""
        if self.is_draining:
            return Finding(False, "draining: it is about to end")
        live = self.live()
        if not live.is_well:
            return live
        status = self._status()
        if status.buffer_fault:
            return Finding(False, f"the buffer can't be read: {status.buffer_fault}")
        if status.circuit is CircuitState.CLOSED:
            return Finding(True, "delivering")
        answered = "" if status.last_failure_status is None else f" ({status.last_failure_status})"
        if status.pause_reason is PauseReason.MISCONFIGURED:
            return Finding(False, f"misconfigured: all events are refused{answered}, and kept")
        return Finding(True, f"paused: the server fails{answered}; events are kept")
