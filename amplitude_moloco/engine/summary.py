"""Sums up what repeats, so that the log has one line for many events of a kind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

SLACK_SECONDS = 0.01
"""What is due so soon is done now. A rest below a clock's resolution would never pass on it."""
_MOST_KINDS = 1_000
_OTHER = "other reasons"


class Repeated(NamedTuple):
    """A kind of event: what happened, in which sync and why."""

    what: str
    sync: str
    reason: str


@dataclass
class Sum:
    """How often a kind has occurred since the last summary."""

    kind: Repeated
    count: int = 0
    detail: str = ""
    """What was said about the latest one; empty if the reason says it all."""
    status: int | None = None


class Summary:
    """Counts what repeats, and says when a summary is due. Safe from any thread, and logs nothing.

    Args:
        monotonic: The clock, in seconds.
        schedule: Called when a period begins, with the seconds until its summary is due.
        period_seconds: From the first repetition to the summary.
    """

    def __init__(
        self,
        monotonic: Callable[[], float],
        schedule: Callable[[float], object] = lambda seconds: None,
        period_seconds: float = 300.0,
    ) -> None:
        self._monotonic = monotonic
        self._schedule = schedule
        self._period_seconds = period_seconds
        self._lock = threading.Lock()
        self._known: set[Repeated] = set()
        self._sums: dict[Repeated, Sum] = {}
        self._began_at = inf

    def is_first(self, kind: Repeated) -> bool:
        """Whether this kind has not occurred before. From the thousandth kind on, never."""
        with self._lock:
            if kind in self._known or len(self._known) >= _MOST_KINDS:
                return False
            self._known.add(kind)
            return True

    def add(self, kind: Repeated, detail: str = "", status: int | None = None) -> None:
        """Count one of a kind."""
        with self._lock:
            if kind not in self._sums and len(self._sums) >= _MOST_KINDS:
                kind, detail = kind._replace(reason=_OTHER), ""
            each = self._sums.setdefault(kind, Sum(kind))
            each.count, each.detail, each.status = each.count + 1, detail, status
            begins = self._began_at == inf
            if begins:
                self._began_at = self._monotonic()
        if begins:
            self._schedule(self._period_seconds)

    def due_seconds(self) -> float:
        """Returns the seconds until a summary is due, 0 for now; infinity if nothing repeats."""
        with self._lock:
            return max(0.0, self._began_at + self._period_seconds - self._monotonic())

    def take(self) -> tuple[float, list[Sum]]:
        """Returns how many seconds are summed up, and the sums, the largest first. Begins anew."""
        with self._lock:
            sums, self._sums = self._sums, {}
            began_at, self._began_at = self._began_at, inf
        seconds = 0.0 if began_at == inf else self._monotonic() - began_at
        return seconds, sorted(sums.values(), key=lambda each: -each.count)
