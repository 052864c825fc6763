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


ENDED_BY_UWSGI = """
import ctypes, os, sys
sys.modules["uwsgi"] = threading  # anything
c = ctypes.CDLL(None)
has_begun, is_done = threading.Event(), threading.Event()

class Closing(Speaker):
    def say(self):
        if has_begun.is_set():
            is_done.wait(30)  # as a second close()
            return
        has_begun.set()
        threading.Event().wait(0.3)
        os.write(1, self.word.encode())
        is_done.set()

@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def end_python(_):
    threading._shutdown()

slow = Closing("slow")
call_early_at_exit(slow.say)
c.__cxa_atexit(end_python, None, None)  # as uwsgi does, once it has loaded the app
threading.Thread(target=c.exit, args=[0], daemon=True).start()
assert has_begun.wait(30)
c.exit(0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs the C library's own functions")
def test_a_thread_that_ends_the_process_is_waited_for() -> None:
    """Where uwsgi ends the process in two threads, it ends after the hooks of the first one."""
    assert run(ENDED_BY_UWSGI) == ["slow"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs the C library's own functions")
def test_under_uwsgi_python_may_end_first() -> None:
    """Where Python ends as usual under uwsgi, what C calls at its end is taken away before."""
    script = """
import sys
sys.modules["uwsgi"] = threading  # anything
speakers = [Speaker("a"), Speaker("b")]
cancels = [call_early_at_exit(speaker.say) for speaker in speakers]
cancels[0]()
"""
    assert run(script) == ["b", "b"]


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
