"""Calls that keep no object alive."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from types import MethodType
from typing import Any, cast


def weakly(method: Callable[[], object]) -> Callable[[], None]:
    """Returns a function that calls a bound method for as long as its object lives."""
    reference = weakref.WeakMethod(method)

    def call() -> None:
        target = reference()
        if target is not None:
            target()

    return call


class WeakCalls:
    """Calls bound methods, one of each object, for as long as it lives. Safe from any thread."""

    def __init__(self) -> None:
        self._functions: weakref.WeakKeyDictionary[object, Callable[[Any], object]] = (
            weakref.WeakKeyDictionary()
        )

    def add(self, method: Callable[[], object]) -> None:
        """Call a bound method from now on. A second call for the same one changes nothing."""
        bound = cast(MethodType, method)
        self._functions[bound.__self__] = bound.__func__

    def discard(self, method: Callable[[], object]) -> None:
        """Call a bound method no longer."""
        self._functions.pop(cast(MethodType, method).__self__, None)

    def __call__(self) -> None:
        for owner, function in list(self._functions.items()):
            function(owner)
