"""Waiting in a thread that signal handlers may interrupt."""

from __future__ import annotations

from support.interruption import PACKAGE, interrupt

from amplitude_moloco.host.pause import pause


def test_an_interruption_is_nothing_else() -> None:
    """What a signal handler raises anywhere in a wait comes out of it, and no error of a lock."""
    at = 0
    while interrupt(lambda: pause(0.001), at, PACKAGE, "threading.py"):
        at += 1
    assert at > 0
