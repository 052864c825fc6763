"""Of a process's open buffers on one file, one watches it for all: the others may rest."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from pathlib import Path

from amplitude_moloco.host.fork import process_id

_lock = threading.RLock()
_of_each_file: dict[tuple[int, Path], list[weakref.ref[Watch]]] = {}  # the first is on duty


class Watch:
    """One buffer's place among those on its file. Safe from any thread.

    A dead process's events have to be taken over within a second, but not by each buffer of a
    process. Otherwise an app that opens a destination for each request, and closes none, would pay
    for all of them for ever. After a fork, a child's buffers have watches of their own.
    """

    def __init__(self, path: Path) -> None:
        self._key = process_id(), path
        self.begin: Callable[[], object] = lambda: None
        """Called once the buffer has to watch, because another one was closed."""
        with _lock:
            _of_each_file.setdefault(self._key, []).append(weakref.ref(self))

    @property
    def is_on_duty(self) -> bool:
        """Whether this one watches."""
        return self._first() is self

    def end(self) -> None:
        """The buffer is closed: let another one watch."""
        was_on_duty = self.is_on_duty
        with _lock:
            watches = _of_each_file.get(self._key, [])
            watches[:] = [each for each in watches if each() not in (None, self)]
            if not watches:
                _of_each_file.pop(self._key, None)
        following = self._first()
        if was_on_duty and following is not None:
            following.begin()

    def _first(self) -> Watch | None:
        with _lock:
            watches = (each() for each in _of_each_file.get(self._key, []))
            return next((each for each in watches if each is not None), None)
