"""What a fork does to this library, and how each part gets through it.

A child has none of its parent's threads, and must neither send the parent's events nor use, or
close, the parent's files and connections.
"""

from __future__ import annotations

import ctypes

# A thread's first look-up of a host imports this. A fork meanwhile leaves the lock of the import
# taken in the child, where every look-up, the SDK's too, would then wait for ever.
import encodings.idna  # noqa: F401
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Protocol

from amplitude_moloco.host.weak import WeakCalls


class Forked(Protocol):
    """Takes part in every fork for as long as it lives. Both methods may be called twice."""

    def before_fork(self) -> None: ...

    def after_fork(self, *, is_child: bool) -> None: ...


class Origin:
    """The process that something was made in."""

    def __init__(self) -> None:
        self._getpid = os.getpid  # kept, since a finalizer may ask after the modules are gone
        self._pid = os.getpid()

    @property
    def is_elsewhere(self) -> bool:
        """Whether this is another process: a child that inherited it."""
        # Asked each time, since uwsgi forks without calling Python's hooks.
        return self._pid != self._getpid()


def process_id() -> int:
    """Returns the id of this process, which a child does not share."""
    return os.getpid()


def call_in_forked_child(method: Callable[[], object]) -> None:
    """Call a bound method in every child that is forked from now on. Keeps no object alive."""
    _in_forked_child.add(method)


def can_follow_forks() -> bool:
    """Whether Python calls what takes part in a fork. Windows has neither forks nor such calls."""
    return hasattr(os, "register_at_fork")


def take_part(each: Forked) -> None:
    """Call its methods around every fork from now on. Waits for one that is under way."""
    with _lock:
        _participants.add(each)


def never_free(inherited: object) -> None:
    """Keep an object of the parent's until the process ends, without finalizing it even then.

    For objects whose finalizer would close a connection, or release a lock, that the parent still
    uses.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))


_in_forked_child = WeakCalls()
_participants: weakref.WeakSet[Forked] = weakref.WeakSet()
_lock = threading.RLock()  # held from before each fork until after it


def _before_fork() -> None:
    _lock.acquire()
    for each in _participants:
        each.before_fork()


def _after_fork(*, is_child: bool) -> None:
    for each in _participants:
        each.after_fork(is_child=is_child)
    with suppress(RuntimeError):  # uwsgi calls this one, and not the one before the fork
        _lock.release()


if can_follow_forks():  # pragma: no branch  # Windows has no fork
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=partial(_after_fork, is_child=False),
        after_in_child=partial(_after_fork, is_child=True),
    )
    os.register_at_fork(after_in_child=_in_forked_child)
