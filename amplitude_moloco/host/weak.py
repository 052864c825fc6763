"""Calls that keep no object alive."""

from __future__ import annotations

import weakref
from collections.abc import Callable


def weakly(method: Callable[[], object]) -> Callable[[], None]:
    """Returns a function that calls a bound method for as long as its object lives."""
    reference = weakref.WeakMethod(method)

    def call() -> None:
        target = reference()
        if target is not None:
            target()

    return call
