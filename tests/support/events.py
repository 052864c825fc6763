"""Amplitude events."""

from __future__ import annotations

from typing import Any

from amplitude import BaseEvent

NOW = 1_700_000_000_000
"""The time of these events, in Unix milliseconds."""
FIVE_MINUTES = 5 * 60 * 1000


def event(properties: dict[str, Any] | None = None, **attributes: Any) -> BaseEvent:
    """An event with all that MCM requires of every type, unless an attribute says otherwise."""
    complete: dict[str, Any] = {
        "user_id": "shopper-1",
        "insert_id": "insert-1",
        "time": NOW,
        "platform": "Web",
    }
    return bare_event(properties, **{**complete, **attributes})


def bare_event(properties: dict[str, Any] | None = None, **attributes: Any) -> BaseEvent:
    """An event ``Viewed`` with these properties and attributes, and nothing else."""
    made = BaseEvent("Viewed", event_properties=properties)
    assert attributes.keys() <= vars(made).keys()
    vars(made).update(attributes)  # past the SDK's checks, as when a plugin sets attributes
    return made
