"""One line for each request that a sandbox receives."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from amplitude_moloco.sandbox import ReceivedRequest, Sandbox
from amplitude_moloco.text import one_line

_NAMES = {
    "moloco": "MCM",
    "amplitude": "Amplitude",
    "export": "export",
    "mmp": "MMP",
    "adbrix": "Adbrix",
}
_MOST_CHARACTERS = 200


@dataclass(frozen=True)
class RequestLine:
    """A request, in words."""

    request: ReceivedRequest

    @property
    def text(self) -> str:
        """The time, the API, the status, what was sent and why it was refused; on one line."""
        request = self.request
        at = time.strftime("%H:%M:%S", time.localtime(request.arrived_at_seconds))
        parts = [at, f"{_NAMES[request.target]:9}", str(request.status), self._what()]
        if request.message:
            parts.append(request.message)
        return one_line("  ".join(filter(None, parts)))[:_MOST_CHARACTERS]

    @property
    def style(self) -> str:
        """The colour on a terminal."""
        return "green" if self.request.accepted else "red"

    def as_json(self) -> dict[str, Any]:
        """Returns the request as plain data, with its body."""
        request = self.request
        return {
            "target": request.target,
            "at": request.arrived_at_seconds,
            "platform_id": request.platform_id,
            "status": request.status,
            "message": request.message,
            "body": request.body,
        }

    def _what(self) -> str:
        request, body = self.request, self.request.body
        if request.target == "export":
            return request.raw.decode(errors="replace")
        if not isinstance(body, dict):
            return ""
        if request.target == "mmp":
            token = body["parameters"].get("event_token", "")
            return "  ".join(filter(None, (body["path"], token)))
        if request.target == "moloco":
            return "  ".join(str(body[key]) for key in ("event_type", "id") if key in body)
        if request.target == "adbrix":
            event = body.get("event_attributes")
            return str(event.get("event_name", "")) if isinstance(event, dict) else ""
        events = body.get("events")
        count = len(events) if isinstance(events, list) else 0
        return f"{count} event{'' if count == 1 else 's'}"


class RequestLines:
    """What has come since it was asked last. For one thread."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._seen = 0

    def new(self) -> Iterator[RequestLine]:
        """Yields the new requests, but for those that the sandbox has forgotten."""
        requests, forgotten = self._sandbox.requests, self._sandbox.forgotten
        total = forgotten + len(requests)
        new = total - self._seen if total >= self._seen else len(requests)  # it was cleared
        self._seen = total
        for request in requests[max(0, len(requests) - new) :]:
            yield RequestLine(request)
