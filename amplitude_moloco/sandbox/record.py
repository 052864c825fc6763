"""The requests that the sandbox received, up to a limit."""

from __future__ import annotations

import json
import sys
from collections import deque
from dataclasses import dataclass
from itertools import islice
from threading import Lock
from typing import Any, Literal

from amplitude_moloco.sandbox.document import parse

Target = Literal["moloco", "amplitude", "export", "mmp", "adbrix"]
"""The API that a request is sent to."""
_OBJECT_BYTES = 250  # of a request and the parts that all of them have


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """One request and its answer. Never holds an API key."""

    target: Target
    platform_id: str | None
    """From the URL of a request to MCM. None for a request to Amplitude, and for an export."""
    status: int
    """The HTTP status of the answer."""
    message: str | None
    """Why it was refused. None if it was accepted."""
    raw: bytes
    """The body as received; empty if it was too large. Amplitude's bodies carry the API key: they
    are encoded again without it, and are empty if they are not a JSON object. For an export, the
    query of the URL. For the MMP, a JSON object with the path and the parameters."""
    arrived_at_seconds: float
    """When the body was complete, in Unix time."""

    @property
    def accepted(self) -> bool:
        """True if the answer was a 2xx."""
        return 200 <= self.status < 300

    @property
    def body(self) -> Any:
        """The body's JSON, parsed on each access. None if it is not JSON."""
        # Bytes take a tenth of the memory of parsed objects and cost the garbage collector nothing,
        # so that a hundred thousand requests can be kept.
        try:
            return parse(self.raw)
        except ValueError:
            return None


class Record:
    """Keeps the last requests, up to a number and a size in bytes. Safe to use from any thread."""

    def __init__(self, limit: int, max_bytes: int) -> None:
        self._requests: deque[ReceivedRequest] = deque()
        self._limit = limit
        self._max_bytes = max_bytes
        self._bytes = 0
        self._forgotten = 0
        self._first = 1  # the number of the oldest request
        self._clearings = 0
        self._lock = Lock()

    def add(self, request: ReceivedRequest) -> None:
        """Appends a request, and discards the oldest ones if the record is full."""
        with self._lock:
            self._requests.append(request)
            self._bytes += _size(request)
            while len(self._requests) > self._limit or self._bytes > self._max_bytes:
                self._bytes -= _size(self._requests.popleft())
                self._forgotten += 1
                self._first += 1

    def clear(self) -> None:
        """Discards all requests, and resets the count of forgotten ones."""
        with self._lock:
            self._first += len(self._requests)
            self._clearings += 1
            self._requests.clear()
            self._bytes = self._forgotten = 0

    @property
    def forgotten(self) -> int:
        """The number of requests discarded to make room since the last ``clear()``."""
        return self._forgotten

    def requests(self) -> list[ReceivedRequest]:
        """Returns all requests, oldest first."""
        with self._lock:
            return list(self._requests)

    @property
    def clearings(self) -> int:
        """The number of calls of ``clear()``."""
        return self._clearings

    def since(self, after: int, most: int) -> list[tuple[int, ReceivedRequest]]:
        """Returns up to ``most`` requests that came after number ``after``, each with its number.

        Numbers go up by one from 1, and stay the same until the request is discarded.
        """
        with self._lock:
            skipped = max(0, after + 1 - self._first)
            some = islice(self._requests, skipped, skipped + most)
            return list(enumerate(some, self._first + skipped))

    def moloco_events(self) -> list[dict[str, Any]]:
        """Returns the user events that MCM accepted, oldest first."""
        return [request.body for request in self._accepted("moloco")]

    def amplitude_events(self) -> list[dict[str, Any]]:
        """Returns the events that Amplitude accepted, oldest first."""
        return [
            event for request in self._accepted("amplitude") for event in request.body["events"]
        ]

    def adbrix_events(self) -> list[dict[str, Any]]:
        """Returns the events that Adbrix accepted, oldest first."""
        return [request.body for request in self._accepted("adbrix")]

    def as_json(self) -> str:
        """Returns the record as a JSON object, with the exact text of MCM's bodies."""
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


def _size(request: ReceivedRequest) -> int:
    """Returns roughly how much memory a request takes, in bytes."""
    texts = (request.platform_id or "", request.message or "")
    return _OBJECT_BYTES + len(request.raw) + sum(map(sys.getsizeof, texts))


def _body_text(request: ReceivedRequest) -> str:
    """Returns the body's JSON. A body that is not JSON becomes a JSON string."""
    text = request.raw.decode(errors="replace")
    return text if request.accepted or request.body is not None else json.dumps(text)
