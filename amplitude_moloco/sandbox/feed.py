"""What the live page shows of the sandbox: requests, faults and Moloco's acceptance matrix."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from amplitude_moloco.inspector.lines import lines_of, text_line, words_in
from amplitude_moloco.inspector.live import Rows
from amplitude_moloco.sandbox.acceptance import Acceptance
from amplitude_moloco.sandbox.faults import Faults
from amplitude_moloco.sandbox.record import ReceivedRequest, Record
from amplitude_moloco.sandbox.rules import objections

_WORDS_CHARACTERS = 300
_TEXT_CHARACTERS = 200
_KEPT_STATUSES = (401, 403, 404, 408, 429)
"""After these, as after a 5xx, a sender keeps the event and sends it again."""


class SandboxFeed:
    """Reads the record whenever a page asks, and keeps nothing of its own but the acceptance."""

    def __init__(self, record: Record, faults: Faults) -> None:
        self._record = record
        self._faults = faults
        self._boot = uuid.uuid4().hex[:8]  # a page outlives its sandbox, and may meet another
        self._acceptance = Acceptance()
        self._accepted_epoch = self._epoch()
        self._accepted_until = 0

    def rows(self, epoch: str, after: int, most: int) -> Rows:
        """Returns one row for each user event, each event of Amplitude and each export."""
        current = self._epoch()
        found = self._record.since(after if epoch == current else 0, most)
        rows = [row for number, request in found for row in _rows(number, request)]
        last = found[-1][0] if found else (after if epoch == current else 0)
        return Rows(current, rows, last)

    def state(self) -> dict[str, Any]:
        """Returns conditions, pending faults, what was discarded, and the acceptance matrix."""
        return {
            "mode": "sandbox",
            "forgotten": self._record.forgotten,
            "conditions": asdict(self._faults.conditions),
            "faults": [asdict(fault) for fault in self._faults.pending()[:20]],
            "acceptance": self._up_to_date(500).as_json(),
        }

    def detail(self, number: int, part: int) -> dict[str, Any] | None:
        """Returns the lines of a payload, and every objection to it with its place."""
        for oldest, request in self._record.since(number - 1, 1):
            if oldest == number:
                return _detail(request, part)
        return None  # it was discarded, or never was

    def _epoch(self) -> str:
        return f"{self._boot}.{self._record.clearings}"

    def _up_to_date(self, most: int) -> Acceptance:
        """Returns the acceptance after it has seen some more requests: all, within a few calls."""
        if self._accepted_epoch != (epoch := self._epoch()):
            self._accepted_epoch, self._accepted_until = epoch, 0
            self._acceptance = Acceptance()
        for number, request in self._record.since(self._accepted_until, most):
            self._acceptance.add(request)
            self._accepted_until = number
        return self._acceptance


def _rows(number: int, request: ReceivedRequest) -> Iterator[dict[str, Any]]:
    if request.target in ("mmp", "adbrix"):  # the page compares Amplitude and MCM
        return
    body = request.body
    events = _events_of(body) if request.target == "amplitude" else [body]
    at_millis = int(request.arrived_at_seconds * 1000)
    for i, each in enumerate(events):
        event = each if isinstance(each, dict) else {}
        is_moloco = request.target == "moloco"
        sent_at = event.get("timestamp" if is_moloco else "time")
        row = {
            "n": number,
            "i": i,
            "at": at_millis,
            "side": "partner" if is_moloco else request.target,
            "status": request.status,
            "outcome": _outcome(request),
            "type": _text(event.get("event_type")),
            "id": _text(event.get("id" if is_moloco else "insert_id")),
            "message": request.message or "",
            "delay": _delay_millis(sent_at, at_millis),
            "words": words_in(event, _WORDS_CHARACTERS),
        }
        if not is_moloco and (alias := _text(event.get("event_id"))):
            row["alias"] = alias
        yield row


def _events_of(batch: object) -> list[Any]:
    """Returns the events of a batch. A batch without any is shown as one event without fields."""
    events = batch.get("events") if isinstance(batch, dict) else None
    return events if isinstance(events, list) and events else [None]


def _outcome(request: ReceivedRequest) -> str:
    if request.accepted:
        return "delivered"
    is_kept = request.status >= 500 or request.status in _KEPT_STATUSES
    return "failing" if is_kept else "refused"


def _text(value: object) -> str:
    """Returns a text or a number as a short text; anything else as an empty one."""
    is_shown = isinstance(value, (str, int)) and not isinstance(value, bool)
    return str(value)[:_TEXT_CHARACTERS] if is_shown else ""


def _delay_millis(sent_at: object, at_millis: int) -> int | None:
    """Returns how long after the event its request arrived. None if the event has no time."""
    digits = str(sent_at) if isinstance(sent_at, (str, int)) else ""
    if not (digits.isascii() and digits.isdigit() and len(digits) == len(str(at_millis))):
        return None
    return max(0, at_millis - int(digits))


def _detail(request: ReceivedRequest, part: int) -> dict[str, Any] | None:
    body = document = request.body
    if request.target == "amplitude":
        events = _events_of(body)
        if part >= len(events):
            return None
        document = events[part]
    if document is None:
        lines = text_line(request.raw.decode(errors="replace"))
    else:
        lines = lines_of(document)
    found = []
    if request.target == "moloco" and body is not None:
        now_millis = int(request.arrived_at_seconds * 1000)
        found = objections(body, now_millis=now_millis)
    # A fault on demand, or a wrong key, is not about the event.
    is_about_event = request.status == 400 and request.message in [each.message for each in found]
    return {
        "lines": [line._asdict() for line in lines],
        "problems": [each._asdict() for each in found] if is_about_event else [],
        "platform": request.platform_id or "",
    }
