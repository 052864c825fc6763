"""Who must be told before and after each fork of the process."""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import suppress
from functools import partial
from typing import Protocol


class Forked(Protocol):
    """What takes part in every fork, for as long as it lives."""

    def before_fork(self) -> None: ...

    def after_fork(self, *, is_child: bool) -> None: ...


_registry: weakref.WeakSet[Forked] = weakref.WeakSet()
_registry_lock = threading.RLock()  # held from before each fork until after it


def register(each: Forked) -> None:
    """Tell it of every fork from now on. Waits for one that is under way."""
    with _registry_lock:
        _registry.add(each)


def _before_fork() -> None:
    _registry_lock.acquire()
    for each in _registry:
        each.before_fork()


def _after_fork(*, is_child: bool) -> None:
    for each in _registry:
        each.after_fork(is_child=is_child)
    with suppress(RuntimeError):  # uwsgi calls this, and not the other one
        _registry_lock.release()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=partial(_after_fork, is_child=False),
    after_in_child=partial(_after_fork, is_child=True),
)
