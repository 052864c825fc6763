"""The routes of the live page: its files, its feed of events, and the details of one event."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

_PAGE = Path(__file__).parent / "page"
MEDIA_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
SAFETY_HEADERS = {
    # Everything comes from files of this server. No script or style is inline, so that no text of
    # an event could become one.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}
_PAUSE_SECONDS = 0.1
"""How long events are gathered before they are sent to the page."""
_RECONNECT_MILLIS = 1000
_MOST_READ = 500
_MOST_ROWS = 1000


@dataclass(frozen=True)
class Rows:
    """What a feed has after some number."""

    epoch: str
    """Another one than before: everything that was shown is gone."""
    rows: list[dict[str, Any]]
    """JSON objects with ``n`` and ``i``, which grow, and what the page shows of an event."""
    last: int
    """The number up to which the rows go."""


class Feed(Protocol):
    """What the page shows. Called in the server's event loop: it must be quick."""

    def rows(self, epoch: str, after: int, most: int) -> Rows:
        """Returns rows with a higher number than ``after``; all, if the epoch is another one.

        They come from at most ``most`` numbers.
        """
        ...

    def state(self) -> dict[str, Any]:
        """Returns what concerns no single event, as JSON. The page gets it when it changes."""
        ...

    def detail(self, number: int, part: int) -> dict[str, Any] | None:
        """Returns what a row lacks, as JSON. None if the event is no longer kept."""
        ...


class LivePage:
    """Serves the page. Everything is at relative addresses, so that any path may precede them.

    Args:
        feed: What it shows.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._files = {file.name: file.read_bytes() for file in sorted(_PAGE.iterdir())}

    def routes(self) -> list[Route]:
        """Returns the routes below the page's address."""
        return [
            Route("/", self.get_page),
            Route("/live/feed", self.get_feed),
            Route("/live/events/{number:int}/{part:int}", self.get_detail),
            Route("/live/{name}", self.get_file),
        ]

    async def get_page(self, request: Request) -> Response:
        return self._file("index.html")

    async def get_file(self, request: Request) -> Response:
        return self._file(request.path_params["name"])

    async def get_detail(self, request: Request) -> Response:
        found = self._feed.detail(request.path_params["number"], request.path_params["part"])
        if found is None:
            return Response("{}", 404, SAFETY_HEADERS, "application/json")
        return Response(json.dumps(found), 200, SAFETY_HEADERS, "application/json")

    async def get_feed(self, request: Request) -> Response:
        """Streams server-sent events, from where the browser was when its connection broke."""
        epoch, _, after = request.headers.get("last-event-id", "").rpartition(":")
        start = int(after) if after.isascii() and after.isdigit() else 0
        events = self._events(epoch, start)
        return StreamingResponse(events, 200, SAFETY_HEADERS, "text/event-stream")

    async def _events(self, epoch: str, after: int) -> AsyncIterator[str]:
        """Yields rows and states. The page's pace decides: nothing is queued for a slow one.

        Ends only by being cancelled, when the browser disconnects or the server stops.
        """
        yield f"retry: {_RECONNECT_MILLIS}\n"
        yield _event("hello", json.dumps({"now": time.time() * 1000}))
        shown = ""
        while True:
            found = self._feed.rows(epoch, after, _MOST_READ)
            for start in range(0, len(found.rows), _MOST_ROWS):
                some = found.rows[start : start + _MOST_ROWS]
                is_last = start + _MOST_ROWS >= len(found.rows)
                text = json.dumps({"epoch": found.epoch, "rows": some})
                yield _event("rows", text, f"{found.epoch}:{found.last}" if is_last else "")
            epoch, after = found.epoch, found.last
            state = json.dumps({**self._feed.state(), "epoch": epoch})
            if state != shown:
                shown = state
                yield _event("state", state)
            if not found.rows or found.last - found.rows[0]["n"] + 1 < _MOST_READ:
                await asyncio.sleep(_PAUSE_SECONDS)

    def _file(self, name: str) -> Response:
        content = self._files.get(name)
        if content is None:
            return Response("not found", 404, SAFETY_HEADERS, "text/plain")
        return Response(content, 200, SAFETY_HEADERS, MEDIA_TYPES[Path(name).suffix])


def _event(kind: str, data: str, id: str = "") -> str:
    """Returns a server-sent event. ``data`` is JSON as ``json.dumps`` writes it: one line."""
    return f"event: {kind}\n" + (f"id: {id}\n" if id else "") + f"data: {data}\n\n"
