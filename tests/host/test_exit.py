"""What is called at the end of a process, and how early."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from amplitude_moloco.host.exit import call_at_end_of_celery_child


class Counting:
    """Counts how often it is called."""

    calls = 0

    def call(self) -> None:
        self.calls += 1


class Signal:
    """Like Celery's ``worker_process_shutdown``."""

    def connect(self, receiver: Callable[..., object], weak: bool) -> None:
        self.receiver = receiver
        assert not weak


def test_celerys_signal_calls_at_the_end_of_its_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """If Celery is imported, its signal calls; if it is not, or has changed, nothing does."""
    counting = Counting()
    signals = ModuleType("celery.signals")
    monkeypatch.setitem(sys.modules, "celery.signals", signals)
    call_at_end_of_celery_child(counting.call)  # there is no such signal
    signal = Signal()
    signals.worker_process_shutdown = signal  # type: ignore[attr-defined]
    call_at_end_of_celery_child(counting.call)
    another = Counting()
    call_at_end_of_celery_child(another.call)  # to the same signal
    signal.receiver(sender=None, pid=1, exitcode=0)
    assert (counting.calls, another.calls) == (1, 1)


def run(script: str) -> list[str]:
    """Run a script that can say what it does. Returns what it said."""
    prelude = """
import atexit, threading
from amplitude_moloco.host.exit import call_early_at_exit

class Speaker:
    def __init__(self, word):
        self.word = word

    def say(self):
        print(self.word)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", prelude + script],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_an_exit_hook_runs_before_those_registered_earlier() -> None:
    """At exit, our hook runs before the SDK's, which was registered before it."""
    script = """
sdk, last, ours = Speaker("sdk"), Speaker("last"), Speaker("ours")
atexit.register(last.say)
threading._register_atexit(sdk.say)
call_early_at_exit(ours.say)
"""
    assert run(script) == ["ours", "sdk", "last"]


def test_an_exit_hook_keeps_no_object_alive() -> None:
    """An object that is gone is not called at exit."""
    script = """
gone, kept = Speaker("gone"), Speaker("kept")
call_early_at_exit(gone.say)
call_early_at_exit(kept.say)
del gone
"""
    assert run(script) == ["kept"]


def test_an_exit_hook_can_come_too_late() -> None:
    """While the interpreter is already ending, registering a hook does nothing."""
    script = """
late = Speaker("late")

@atexit.register
def at_the_very_end():
    call_early_at_exit(late.say)
    print("end")
"""
    assert run(script) == ["end"]


def test_a_cancelled_hook_is_not_called() -> None:
    """What was registered can be taken back, with and without the interpreter's early hooks."""
    script = """
early, kept = Speaker("early"), Speaker("kept")
call_early_at_exit(early.say)()
del threading._register_atexit
cancelled = Speaker("cancelled")
call_early_at_exit(kept.say)
call_early_at_exit(cancelled.say)()
"""
    assert run(script) == ["kept"]


def test_without_early_hooks_the_usual_ones_are_used() -> None:
    """On a Python that has no early exit hooks, a hook runs before those registered earlier."""
    script = """
del threading._register_atexit
sdk, ours = Speaker("sdk"), Speaker("ours")
atexit.register(sdk.say)
call_early_at_exit(ours.say)
"""
    assert run(script) == ["ours", "sdk"]
