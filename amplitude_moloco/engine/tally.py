"""A counter without a lock."""

from __future__ import annotations

from itertools import count


class Tally:
    """Counts up from 0. Safe from any thread, and from a signal handler amid another count.

    An exception that strikes from outside costs one count at most.
    """

    # A count() is a counter that one bytecode increments, so that no other thread comes between. It
    # takes a third of the time of a lock. Python without the GIL may miss a few.

    def __init__(self) -> None:
        self._count = count()
        self.add = self._count.__next__
        """Count one more. Returns how many there were before."""

    @property
    def value(self) -> int:
        """How many there are now."""
        return int(repr(self._count)[6:-1])  # only its text shows how far it is: "count(7)"
