"""The counters, and the law that they obey."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from amplitude_moloco.engine.facts import Buried, Delivered, Dropped, Fact, Rejected, Retrying


@dataclass(frozen=True)
class Stats:
    """The counters at one moment.

    At every moment: accepted = delivered + rejected + buried + dropped + buffered, where the three
    in the middle are the sums over their reasons.
    """

    accepted: int
    """Events that a sync selected; an event of two syncs counts twice."""
    delivered: int
    rejected: Mapping[str, int]
    """Never sent, by the code of the first problem: ``search_query missing``."""
    buried: Mapping[str, int]
    """Dead letters, by reason: ``rejected``, ``exhausted``, ``expired``."""
    dropped: Mapping[str, int]
    """Lost, by reason: ``full``, ``closed``, ``shutdown``."""
    buffered: int
    """Waiting, for their first attempt or for another one, or on their way."""
    retried: int
    """Attempts that failed and are followed by another one."""


class Ledger:
    """Counts. Each call is atomic for other threads; a signal's handler may see one half done."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._accepted = self._delivered = self._buffered = self._retried = 0
        self._rejected: Counter[str] = Counter()
        self._buried: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()

    def stored(self) -> None:
        """An event was accepted, and is in the buffer."""
        with self._lock:
            self._accepted += 1
            self._buffered += 1

    def refused(self, fact: Rejected | Dropped) -> None:
        """An event was accepted, and did not get into the buffer."""
        with self._lock:
            self._accepted += 1
            self._count(fact)

    def settled(self, fact: Fact) -> None:
        """An event in the buffer has come to its end, or to another attempt."""
        with self._lock:
            if self._count(fact):
                self._buffered -= 1

    def snapshot(self) -> Stats:
        with self._lock:
            return Stats(
                accepted=self._accepted,
                delivered=self._delivered,
                rejected=dict(self._rejected),
                buried=dict(self._buried),
                dropped=dict(self._dropped),
                buffered=self._buffered,
                retried=self._retried,
            )

    def _count(self, fact: Fact) -> bool:
        """Count a fact, and tell whether it is an event's end."""
        if isinstance(fact, Delivered):
            self._delivered += 1
        elif isinstance(fact, Rejected):
            self._rejected[fact.reason] += 1
        elif isinstance(fact, Buried):
            self._buried[fact.reason] += 1
        elif isinstance(fact, Dropped):
            self._dropped[fact.reason] += 1
        else:
            self._retried += isinstance(fact, Retrying)
            return False
        return True
