"""Of a process's open buffers on one file, one watches it for all: the others may rest."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from amplitude_moloco.host.fork import process_id

# The first of each list that claims watches, or the first of all if none does. Without a lock,
# which a fork could leave taken: each step is one operation of a list.
_of_each_file: dict[tuple[int, Path], list[weakref.ref[Watch]]] = {}


class Watch:
    """One buffer's place among those on its file. Safe from any thread.

    A dead process's events have to be taken over within a second, but not by each buffer of a
    process. Otherwise an app that opens a destination for each request, and closes none, would pay
    for all of them for ever. After a fork, a child's buffers have watches of their own.
    """

    def __init__(self, path: Path) -> None:
        self.begin: Callable[[], object] = lambda: None
        """Called once the buffer has to watch, because another one was closed."""
        self.is_claiming = True
        """Whether the buffer's process claims from it, and so sends what it finds."""
        self._reference = weakref.ref(self)
        self._watches = _of_each_file.setdefault((process_id(), path), [])

    def join(self) -> None:
        """The buffer is being tended: it can watch from now on."""
        if self._reference not in self._watches:
            self._watches.append(self._reference)

    @property
    def is_relieved(self) -> bool:
        """Whether this one has joined, and another one watches."""
        return self._reference in self._watches and self._first() is not self

    def end(self) -> None:
        """The buffer is closed: let another one watch."""
        was_on_duty = self._first() is self
        self._leave(self._reference)
        following = self._first()
        if was_on_duty and following is not None:
            following.begin()

    def _first(self) -> Watch | None:
        first = None
        for reference in [*self._watches]:
            watch = reference()
            if watch is None:
                self._leave(reference)  # it was dropped without being closed
            elif watch.is_claiming:
                return watch
            else:
                first = first or watch
        return first

    def _leave(self, reference: weakref.ref[Watch]) -> None:
        with suppress(ValueError):  # another thread was faster
            self._watches.remove(reference)
