"""What the end of a process and a fork do to a destination: exit hooks and fresh locks.

Holds no destination alive, and never raises.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

_POOL = partial(ThreadPoolExecutor, max_workers=16)  # as the SDK's own


def call_early_at_exit(method: Callable[[], Any]) -> None:
    """Call a bound method when the interpreter ends, before those that are registered now.

    Such hooks run the other way round than they were registered: this one, registered after the
    SDK's, runs before it, and so before the SDK waits for its own uploads. Where the interpreter
    ends already, nothing is registered.
    """
    register = getattr(threading, "_register_atexit", atexit.register)
    with contextlib.suppress(RuntimeError):  # too late; the SDK's own hook will do
        register(weakly(method))


def call_in_forked_child(method: Callable[[], Any]) -> None:
    """Call a bound method in every child that is forked from now on."""
    if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows has no fork
        os.register_at_fork(after_in_child=weakly(method))


def call_at_end_of_celery_child(method: Callable[[], Any]) -> None:
    """Call a bound method when a child of Celery's prefork pool ends: it runs no exit hooks.

    Where Celery's signals are not imported, this is no child of Celery's.
    """
    call = weakly(method)
    with contextlib.suppress(Exception):  # no Celery, or one that has changed
        signals = sys.modules["celery.signals"]
        signals.worker_process_shutdown.connect(lambda **_: call(), weak=False)


def weakly(method: Callable[[], Any]) -> Callable[[], None]:
    """Calls a bound method as long as its object lives, and does not keep that alive."""
    reference = weakref.WeakMethod(method)

    def call() -> None:
        target = reference()
        if target is not None:
            target()

    return call


def renew_locks(timeline: Any) -> None:
    """Give a timeline of the SDK, and its destinations, new locks; where they are as expected.

    A child inherits the locks as they were at the fork. One that a thread of the parent's held is
    never released in the child, and each ``track()`` would wait for it.
    """
    locks = getattr(timeline, "locks", None)
    if isinstance(locks, dict):
        for kind in locks:
            locks[kind] = threading.Lock()
    plugins = getattr(timeline, "plugins", None)
    if isinstance(plugins, dict):
        for plugin in itertools.chain(*plugins.values()):
            _renew(getattr(plugin, "storage", None), "buffer_lock_cv", threading.Condition)
            workers = getattr(plugin, "workers", None)
            _renew(workers, "consumer_lock", threading.RLock)
            _renew(workers, "threads_pool", _POOL)


def _renew(owner: Any, name: str, new: Callable[[], Any]) -> None:
    if isinstance(getattr(owner, name, None), type(new())):
        setattr(owner, name, new())
