"""The fields of a log record, for formatters that write JSON and for structlog.

None has a name that :class:`logging.LogRecord` uses. None holds a value of an event.
"""

from __future__ import annotations

from typing import Any

FIELDS = ("event_id", "sync", "reason", "status", "attempts")
"""Every record about events has these; those that don't apply are None."""


def fields(fact: object = None, **more: Any) -> dict[str, Any]:
    """Returns the fields for a fact, with ``event_name`` if it has one.

    ``more`` are added, or replace those of the same name.
    """
    reason = getattr(fact, "reason", None)
    found: dict[str, Any] = {
        "event_id": getattr(fact, "id", None),
        "sync": getattr(fact, "sync", None),
        "reason": None if reason is None else str(reason),
        "status": getattr(fact, "status", None),
        "attempts": getattr(fact, "attempts", None),
    }
    event_name = getattr(fact, "event_name", None)
    if event_name is not None:
        found["event_name"] = event_name
    return {**found, **more}
