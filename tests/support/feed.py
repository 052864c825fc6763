"""Reads server-sent events, as a browser does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import requests


class ServerEvent(NamedTuple):
    """One event of a stream."""

    kind: str
    id: str
    data: Any


@contextmanager
def feed_of(url: str, last_id: str = "") -> Iterator[Iterator[ServerEvent]]:
    """Opens a feed below the address of a live page, from the event with this id on."""
    headers = {"last-event-id": last_id} if last_id else {}
    with requests.get(f"{url}/live/feed", headers=headers, stream=True, timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _events(_lines(answer))


def rows_of(events: Iterator[ServerEvent], number: int) -> tuple[list[dict[str, Any]], str]:
    """Returns so many rows of a feed as soon as they are there, and the id of the last event."""
    rows: list[dict[str, Any]] = []
    for event in events:
        if event.kind == "rows":
            rows += event.data["rows"]
        if len(rows) >= number:
            return rows, event.id
    raise AssertionError(f"the feed ended after {len(rows)} rows")


def state_of(events: Iterator[ServerEvent]) -> dict[str, Any]:
    """Returns the next state of a feed."""
    state: dict[str, Any] = next(event.data for event in events if event.kind == "state")
    return state


def _lines(answer: requests.Response) -> Iterator[str]:
    """Returns lines as soon as they are there."""
    rest = b""
    while some := answer.raw.read1():
        *lines, rest = (rest + some).split(b"\n")
        yield from (line.decode() for line in lines)


def _events(lines: Iterator[str]) -> Iterator[ServerEvent]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields:
            yield ServerEvent(fields["event"], fields.get("id", ""), json.loads(fields["data"]))
            fields = {}
