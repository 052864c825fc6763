"""Hooks at the end of a process, and how early they run. Never raises."""

from __future__ import annotations

import atexit
import contextlib
import sys
import threading
from collections.abc import Callable
from typing import Any

from amplitude_moloco.host.weak import WeakCalls, weakly

Cancel = Callable[[], None]


def call_early_at_exit(method: Callable[[], object]) -> Cancel:
    """Call a bound method when the interpreter ends, before the hooks registered until now.

    Such hooks run in reverse order. Registered after the SDK's own, this one runs before it, and
    so before the SDK waits for its uploads. Does nothing where the interpreter is ending already.
    Keeps no object alive. Returns what takes the hook away again.
    """
    call = weakly(method)
    register = getattr(threading, "_register_atexit", None)
    if register is None:
        atexit.register(call)
        return lambda: atexit.unregister(call)
    with contextlib.suppress(RuntimeError):  # too late; the SDK's own hook calls shutdown()
        register(call)
    return lambda: _unregister(call)


def call_at_end_of_celery_child(method: Callable[[], object]) -> Cancel:
    """Call a bound method when a child of Celery's prefork pool ends, which runs no exit hooks.

    Does nothing where Celery's signals are not imported. Keeps no object alive. Returns what takes
    the hook away again.
    """
    _at_end_of_celery_child.add(method)
    with contextlib.suppress(Exception):  # no Celery, or one that has changed
        signal = sys.modules["celery.signals"].worker_process_shutdown
        if signal not in _connected:
            signal.connect(_end_celery_child, weak=False)
            _connected.append(signal)
    return lambda: _at_end_of_celery_child.discard(method)


_at_end_of_celery_child = WeakCalls()
_connected: list[Any] = []


def _end_celery_child(**_: object) -> None:
    _at_end_of_celery_child()


def _unregister(call: Callable[[], None]) -> None:
    """Take a hook out of the interpreter's list, which offers no way to do so."""
    hooks = getattr(threading, "_threading_atexits", None)
    if isinstance(hooks, list):  # pragma: no branch  # as in all Pythons until now
        for hook in list(hooks):
            if _is_hook_of(hook, call):
                with contextlib.suppress(ValueError):
                    hooks.remove(hook)


def _is_hook_of(hook: Any, call: Callable[[], None]) -> bool:
    """Whether a hook in that list calls this: a functools.partial, from Python 3.13 on a lambda."""
    cells = getattr(hook, "__closure__", None) or ()
    return getattr(hook, "func", None) is call or call in [cell.cell_contents for cell in cells]
