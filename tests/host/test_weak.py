"""Calls that keep no object alive."""

from __future__ import annotations

import gc
import weakref

from amplitude_moloco.host.weak import weakly


class Counting:
    """Counts how often it is called."""

    calls = 0

    def call(self) -> None:
        self.calls += 1


def test_the_hooks_of_a_process_keep_nothing_alive() -> None:
    """A method that is to be called at exit or in a child is called while its object lives."""
    counting = Counting()
    hook = weakly(counting.call)
    hook()
    assert counting.calls == 1
    reference = weakref.ref(counting)
    del counting
    gc.collect()
    hook()
    assert reference() is None
