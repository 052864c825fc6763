"""What the sandbox received, bounded."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal

from amplitude_moloco.sandbox.document import parse

Target = Literal["moloco", "amplitude"]
"""Whose API a request is meant for."""


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """One request and what it was answered. Never holds an API key."""

    target: Target
    platform_id: str | None
    """From the URL of a request to MCM; None for one to Amplitude."""
    status: int
    """The HTTP status that it was answered."""
    message: str | None
    """Why it was refused; None if it was accepted."""
    raw: bytes
    """The body as it came; empty if it was too large. Amplitude's bodies carry the API key: they
    are encoded anew without it, and empty if they are no JSON object."""
    arrived_at_seconds: float
    """When its body was complete, in Unix time."""

    @property
    def accepted(self) -> bool:
        """Whether the answer was a 2xx."""
        return 200 <= self.status < 300

    @property
    def body(self) -> Any:
        """The body's JSON, parsed anew on each call; None if it is not JSON."""
        # Kept as bytes, which take a tenth of the memory of parsed objects and don't slow down the
        # garbage collector: a hundred thousand requests stay cheap to keep.
        try:
            return parse(self.raw)
        except ValueError:
            return None


class Record:
    """The last ``limit`` requests, oldest first. Safe to use from any thread."""

    def __init__(self, limit: int) -> None:
        self._requests: deque[ReceivedRequest] = deque(maxlen=limit)
        self._forgotten = 0
        self._lock = Lock()

    def add(self, request: ReceivedRequest) -> None:
        """Keep a request; the oldest one makes room for it."""
        with self._lock:
            self._forgotten += len(self._requests) == self._requests.maxlen
            self._requests.append(request)

    def clear(self) -> None:
        """Forget everything, and that anything was let go."""
        with self._lock:
            self._requests.clear()
            self._forgotten = 0

    @property
    def forgotten(self) -> int:
        """How many requests were let go to make room, since the start or the last clear."""
        return self._forgotten

    def requests(self) -> list[ReceivedRequest]:
        """All that is kept."""
        with self._lock:
            return list(self._requests)

    def moloco_events(self) -> list[dict[str, Any]]:
        """The user events that MCM accepted."""
        return [request.body for request in self._accepted("moloco")]

    def amplitude_events(self) -> list[dict[str, Any]]:
        """The events that Amplitude accepted, out of their batches."""
        return [
            event for request in self._accepted("amplitude") for event in request.body["events"]
        ]

    def as_json(self) -> str:
        """All of it as the text of a JSON object, MCM's bodies to the letter."""
        moloco = ",".join(
            f'{{"status":{request.status},"message":{json.dumps(request.message)},'
            f'"platform_id":{json.dumps(request.platform_id)},"body":{_body_text(request)}}}'
            for request in self.requests()
            if request.target == "moloco"
        )
        amplitude = json.dumps(self.amplitude_events())
        return f'{{"moloco":[{moloco}],"amplitude":{amplitude},"forgotten":{self.forgotten}}}'

    def _accepted(self, target: Target) -> list[ReceivedRequest]:
        return [
            request for request in self.requests() if request.target == target and request.accepted
        ]


def _body_text(request: ReceivedRequest) -> str:
    """The body's JSON; what is not JSON becomes a text, so that a reader sees it all the same."""
    text = request.raw.decode(errors="replace")
    return text if request.accepted or request.body is not None else json.dumps(text)
