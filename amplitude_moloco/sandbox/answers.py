"""The answers of both APIs to a request. Pure: no HTTP, no clock, no record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from amplitude_moloco.sandbox.document import parse
from amplitude_moloco.sandbox.faults import Fault
from amplitude_moloco.sandbox.rules import objection

_ON_DEMAND = "a fault was requested"


@dataclass(frozen=True)
class Answer:
    """An HTTP status and a JSON object."""

    status: int
    body: dict[str, Any]
    message: str | None = None
    """Why the request is refused. None if it is accepted."""
    retry_after: int | None = None
    """Seconds for the header ``Retry-After``. None leaves it out."""


def moloco(
    raw: bytes,
    *,
    platform_id: str,
    headers: Mapping[str, str],
    known_api_key: str | None,
    known_platform_id: str | None,
    now_millis: int,
) -> Answer:
    """Returns MCM's answer to a user event. A known value of None accepts any."""
    api_key = headers.get("x-api-key")
    if not api_key or known_api_key not in (None, api_key):
        return moloco_refusal(401, "missing or invalid x-api-key")
    if known_platform_id not in (None, platform_id):
        return moloco_refusal(404, "unknown platform")
    content_type = headers.get("content-type", "").partition(";")[0]
    if content_type.strip().lower() != "application/json":
        return moloco_refusal(400, "the content type must be application/json")
    try:
        event = parse(raw)
    except ValueError:
        return moloco_refusal(400, "the body must be a JSON object")
    message = objection(event, now_millis=now_millis)
    return Answer(200, {}) if message is None else moloco_refusal(400, message)


def moloco_refusal(status: int, message: str, *, retry_after: int | None = None) -> Answer:
    """Returns an error in MCM's form."""
    body = {"code": status, "message": message, "details": []}
    return Answer(status, body, message, retry_after)


def moloco_fault(fault: Fault) -> Answer:
    """Returns MCM's answer to a request that gets a fault."""
    throttled = fault.status == 429
    message = "request denied by throttler, try again later" if throttled else _ON_DEMAND
    return moloco_refusal(fault.status, message, retry_after=fault.retry_after)


def amplitude(raw: bytes, *, known_api_key: str | None, now_millis: int) -> tuple[Answer, bytes]:
    """Returns Amplitude's answer to a batch of events, and the batch without its API key."""
    try:
        batch = parse(raw)
    except ValueError:
        batch = None
    if not isinstance(batch, dict):
        return amplitude_refusal(400, "Invalid JSON request body"), b""
    api_key = batch.pop("api_key", None)
    kept = json.dumps(batch).encode()
    events = batch.get("events")
    for field, value in (("api_key", api_key), ("events", events)):
        if not value:
            refusal = amplitude_refusal(400, "Request missing required field", missing_field=field)
            return refusal, kept
    if known_api_key not in (None, api_key):
        # Amplitude echoes the key after the colon. The sandbox never shows one.
        return amplitude_refusal(400, "Invalid API key: (not shown)"), kept
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        return amplitude_refusal(400, "events must be a list of objects"), kept
    body = {
        "code": 200,
        "events_ingested": len(events),
        "payload_size_bytes": len(raw),
        "server_upload_time": now_millis,
    }
    return Answer(200, body), kept


def amplitude_refusal(
    status: int, error: str, *, retry_after: int | None = None, **more: str
) -> Answer:
    """Returns an error in Amplitude's form."""
    return Answer(status, {"code": status, "error": error, **more}, error, retry_after)


def amplitude_fault(fault: Fault) -> Answer:
    """Returns Amplitude's answer to a request that gets a fault."""
    return amplitude_refusal(fault.status, _ON_DEMAND, retry_after=fault.retry_after)
