"""Signals as numbers that one thread reads."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from amplitude_moloco.relay.signals import WOKEN, Signals


def test_signals_are_read_in_their_order() -> None:
    """Each signal is read once, in the order in which they came."""
    sent = [signal.SIGHUP, signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGTERM]
    with Signals() as signals:
        for number in sent:
            os.kill(os.getpid(), number)
        assert [signals.wait() for _ in sent] == sent


def test_a_thread_can_wake_who_waits() -> None:
    """A thread that is done lets the one that waits go on, and a later one harms nothing."""
    with Signals() as signals:
        threading.Thread(target=signals.wake).start()
        assert signals.wait() == WOKEN
    signals.wake()


def test_a_pipe_that_is_full_still_wakes() -> None:
    """However often it is woken, no call waits."""
    with Signals() as signals:
        for _ in range(100_000):
            signals.wake()
        assert signals.wait() == WOKEN


def test_signals_of_others_are_passed_over() -> None:
    """A signal that the app handles itself is not read here, and its handler runs."""
    handled: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: handled.append(number))
    try:
        with Signals() as signals:
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.wait() == signal.SIGTERM
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert handled == [signal.SIGUSR1]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_the_handlers_are_put_back(number: int) -> None:
    """At the end each signal does what it did before."""
    before = signal.getsignal(number)
    with Signals():
        assert signal.getsignal(number) is not before
    assert signal.getsignal(number) is before
