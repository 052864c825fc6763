"""Gives what is stored to other processes, where this one delivers nothing."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from amplitude_moloco.buffers.base import Entry, Storage

_AGAIN_SECONDS = 1.0


class Handover:
    """Stands in place of a claimer. It claims nothing. ``claim`` is for one thread at a time."""

    def __init__(self, buffer: Storage) -> None:
        self._share: Callable[[], bool] = getattr(buffer, "share", lambda: True)
        self._begun = self._done = 0
        getattr(buffer, "begin_sharing", lambda: None)()

    def claim(self, *, is_closing: bool, is_flushing: bool) -> tuple[list[Entry], float]:
        """Hand over all. Returns no entry, and the seconds until it is to be tried again."""
        self._begun += 1
        number = self._begun
        if self._share():
            self._done = number
            return [], inf
        return [], inf if is_closing else _AGAIN_SECONDS  # close() goes on without it

    def checkpoint(self) -> Callable[[], bool]:
        """Returns a function that says whether all that was stored before is handed over."""
        wanted = self._begun + 1  # the present one may have begun before the last event came
        return lambda: self._done >= wanted
