"""Hooks at the end of a process, and how early they run. Never raises."""

from __future__ import annotations

import atexit
import contextlib
import sys
import threading
from collections.abc import Callable

from amplitude_moloco.host.weak import weakly


def call_early_at_exit(method: Callable[[], object]) -> None:
    """Call a bound method when the interpreter ends, before the hooks registered until now.

    Such hooks run in reverse order. Registered after the SDK's own, this one runs before it, and
    so before the SDK waits for its uploads. Does nothing where the interpreter is ending already.
    Keeps no object alive.
    """
    register = getattr(threading, "_register_atexit", atexit.register)
    with contextlib.suppress(RuntimeError):  # too late; the SDK's own hook calls shutdown()
        register(weakly(method))


def call_at_end_of_celery_child(method: Callable[[], object]) -> None:
    """Call a bound method when a child of Celery's prefork pool ends, which runs no exit hooks.

    Does nothing where Celery's signals are not imported. Keeps no object alive.
    """
    call = weakly(method)
    with contextlib.suppress(Exception):  # no Celery, or one that has changed
        signals = sys.modules["celery.signals"]
        signals.worker_process_shutdown.connect(lambda **_: call(), weak=False)
