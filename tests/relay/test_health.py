"""What a probe learns in each state."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from support.clock import Clock
from support.engines import Bench, Gate, closing

from amplitude_moloco.engine.status import CircuitState, Status
from amplitude_moloco.reasons import PauseReason
from amplitude_moloco.relay.health import Health
from amplitude_moloco.relay.pulse import Pulse
from amplitude_moloco.relay.service_manager import ServiceManager


class Patient:
    """A service in a state that the test sets."""

    def __init__(self) -> None:
        self.clock = Clock()
        with closing(Bench(Gate())) as bench:
            self.status: Status = bench.engine.status()
        self.pulse = Pulse(ServiceManager({}), lambda: "", self.clock.monotonic)
        self.health = Health(lambda: self.status, self.pulse)

    def has(self, **fields: Any) -> None:
        self.status = dataclasses.replace(self.status, **fields)


@pytest.fixture
def patient() -> Patient:
    return Patient()


def test_a_loop_that_turns_lives_and_is_ready(patient: Patient) -> None:
    """From its start on a service lives, and is ready."""
    assert patient.health.live() == (True, "the delivery loop turns")
    assert patient.health.ready() == (True, "delivering")


def test_a_loop_that_hangs_does_neither(patient: Patient) -> None:
    """After half a minute without a beat it is to be restarted; the next beat heals it."""
    patient.clock.advance(30)
    assert patient.health.live().is_well
    patient.clock.advance(1)
    finding = (False, "the delivery loop has not turned for 31 seconds")
    assert patient.health.live() == finding
    assert patient.health.ready() == finding
    patient.pulse.beat()
    assert patient.health.ready().is_well


def test_an_outage_is_waited_for(patient: Patient) -> None:
    """While the server fails there is nothing to restart: it lives and is ready, and says so."""
    patient.has(circuit=CircuitState.OPEN, pause_reason=PauseReason.OUTAGE, last_failure_status=503)
    assert patient.health.live().is_well
    text = "paused: the server fails (503); events are kept"
    assert patient.health.ready() == (True, text)
    patient.has(circuit=CircuitState.PROBING, last_failure_status=None)
    assert patient.health.ready() == (True, "paused: the server fails; events are kept")


def test_a_wrong_key_is_told(patient: Patient) -> None:
    """A service whose requests are all refused lives, and is not ready. It quotes no answer."""
    patient.has(
        circuit=CircuitState.OPEN,
        pause_reason=PauseReason.MISCONFIGURED,
        last_failure="user-1 is unknown",
        last_failure_status=401,
    )
    assert patient.health.live().is_well
    text = "misconfigured: all events are refused (401), and kept"
    assert patient.health.ready() == (False, text)


def test_a_buffer_that_cannot_be_read_is_told(patient: Patient) -> None:
    """A service that can't read its buffer is not ready."""
    patient.has(buffer_fault="disk I/O error")
    assert patient.health.ready() == (False, "the buffer can't be read: disk I/O error")


def test_a_service_that_ends_is_not_ready(patient: Patient) -> None:
    """While it finishes what is on its way it lives, and is not ready."""
    patient.health.is_draining = True
    assert patient.health.live().is_well
    assert patient.health.ready() == (False, "draining: it is about to end")
