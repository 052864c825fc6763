from __future__ import annotations

import asyncio
from typing import Any

from starlette.applications import Starlette
from support.feed import feed_of, rows_of, state_of

from amplitude_moloco.inspector.live import LivePage, Rows
from amplitude_moloco.inspector.server import ThreadServer, listen


class Numbers:
    """A feed with a row for each number up to the last."""

    def __init__(self, last: int) -> None:
        self._last = last

    def rows(self, epoch: str, after: int, most: int) -> Rows:
        numbers = range(after + 1, min(after + most, self._last) + 1)
        rows = [{"n": number, "i": 0} for number in numbers]
        return Rows("epoch", rows, max(numbers, default=after))

    def state(self) -> dict[str, Any]:
        return {"last": self._last}

    def detail(self, number: int, part: int) -> None:
        return None


def test_a_long_feed() -> None:
    """A page gets all of a long feed, in order, and then the state."""
    listener = listen("127.0.0.1", 0, "the test")
    app = Starlette(routes=LivePage(Numbers(1_700)).routes())
    server = ThreadServer(app, listener, asyncio.Event(), "test-live")
    server.start()
    try:
        with feed_of(f"http://127.0.0.1:{listener.getsockname()[1]}") as events:
            rows, last_id = rows_of(events, 1_700)
        with feed_of(f"http://127.0.0.1:{listener.getsockname()[1]}", last_id) as events:
            state = state_of(events)
    finally:
        server.stop()
    assert [row["n"] for row in rows] == list(range(1, 1_701))
    assert last_id == "epoch:1700"
    assert state == {"last": 1_700, "epoch": "epoch"}
