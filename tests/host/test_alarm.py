"""Waking a thread without a lock."""

from __future__ import annotations

import threading

from amplitude_moloco.host.alarm import Alarm

LONG = 60.0
"""Seconds after which a wait in a test has failed."""


def test_a_ring_ends_a_wait() -> None:
    """A thread that waits goes on when another one rings."""
    alarm, heard = Alarm(), []
    thread = threading.Thread(target=lambda: heard.append(alarm.wait()))
    thread.start()
    alarm.ring()
    thread.join(LONG)
    assert heard == [True]


def test_rings_that_no_one_waits_for_end_the_next_wait() -> None:
    """A ring is not lost between two waits, and several are as one."""
    alarm = Alarm()
    for _ in range(3):
        alarm.ring()
    assert alarm.wait(LONG)
    assert not alarm.wait(0.0)


def test_a_wait_without_a_ring_ends() -> None:
    """A wait ends after its time, which may be over already."""
    alarm = Alarm()
    assert not alarm.wait(0.001)
    assert not alarm.wait(-1.5)
