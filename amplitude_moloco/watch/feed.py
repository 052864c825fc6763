"""The facts of a process that the live page shows: the last ones, in memory."""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable
from itertools import islice
from threading import Lock
from typing import Any

from amplitude_moloco.engine.facts import Fact
from amplitude_moloco.engine.ledger import Stats
from amplitude_moloco.engine.status import CircuitState, Status
from amplitude_moloco.inspector.live import Rows
from amplitude_moloco.watch.rows import FactRows

_MOST = 5_000


class FactFeed:
    """Keeps the last 5,000 facts. The senders' threads add them, and the page's server reads them.

    ``server`` is the name of the server that events are sent to.
    """

    def __init__(
        self,
        server: str,
        stats: Callable[[], Stats],
        status: Callable[[], Status],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._server = server
        self._stats = stats
        self._status = status
        self._wall = wall
        self._facts = FactRows()
        self._epoch = uuid.uuid4().hex[:8]
        self._rows: deque[dict[str, Any]] = deque(maxlen=_MOST)
        self._last = 0
        self._lock = Lock()

    def add(self, fact: Fact) -> None:
        """Adds a fact."""
        row = {**self._facts.row_of(fact), "at": int(self._wall() * 1000)}
        with self._lock:
            self._last += 1
            self._rows.append({**row, "n": self._last})

    def rows(self, epoch: str, after: int, most: int) -> Rows:
        """Returns one row for each fact."""
        start = after if epoch == self._epoch else 0
        with self._lock:
            first = self._last - len(self._rows) + 1
            skipped = max(0, start + 1 - first)
            found = list(islice(self._rows, skipped, skipped + most))
        return Rows(self._epoch, found, found[-1]["n"] if found else start)

    def state(self) -> dict[str, Any]:
        """Returns the counters, and why sending pauses if it does."""
        stats, status = self._stats(), self._status()
        waiting = status.waiting or 0
        counters = [
            ("delivered", stats.delivered, "delivered"),
            ("invalid", sum(stats.invalid.values()), "invalid"),
            ("dead letters", sum(stats.dead_lettered.values()), "refused"),
            ("dropped", sum(stats.dropped.values()), "refused"),
            ("retried", stats.retried, "failing"),
            ("waiting", waiting + status.on_their_way, "only"),
        ]
        is_paused = status.circuit is not CircuitState.CLOSED
        note = f"Sending pauses; events are kept. {status.last_failure}" if is_paused else ""
        return {"mode": "app", "server": self._server, "counters": counters, "note": note}

    def detail(self, number: int, part: int) -> None:
        """Returns None: facts hold no payload."""
