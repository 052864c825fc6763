"""The demo's shop: tracks every kind of event once, and looks up where each arrived."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import wait
from dataclasses import dataclass
from typing import Any

from amplitude import Amplitude, BaseEvent, Config

from amplitude_moloco import (
    EventType,
    Fact,
    Invalid,
    MolocoDestination,
    Problem,
    Stats,
    ecommerce_syncs,
)
from amplitude_moloco.sandbox import Sandbox

_TIMEOUT_SECONDS = 10.0

_SHOES = {"product_id": "shoes-1", "price": 59.9, "currency": "USD", "quantity": 1}
_SOCKS = {"product_id": "socks-7", "price": 4.5, "currency": "USD", "quantity": 2}
TRACKED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("Landed", {"referrer_page_id": "newsletter"}),
    ("Home Viewed", {}),
    ("Page Viewed", {"page_id": "summer-sale"}),
    ("Products Searched", {"query": "shoes"}),
    ("Product Viewed", _SHOES),
    ("Product Added to Wishlist", _SOCKS),
    ("Product Added", _SHOES),
    ("Order Completed", {"products": [_SHOES, _SOCKS], "revenue": 68.9, "currency": "USD"}),
    ("Products Searched", {"keyword": "socks"}),  # invalid: no sync maps "keyword"
    ("Newsletter Read", {}),  # no sync selects it
)


@dataclass(frozen=True)
class Arrival:
    """Where one tracked event arrived."""

    event_name: str
    user_event: dict[str, Any] | None
    """The user event that MCM received, if any."""
    problems: tuple[Problem, ...]
    """Why the event is invalid, if it is."""
    in_amplitude: bool


@dataclass(frozen=True)
class Outcome:
    """The result of a run, with the events in the order in which they were tracked."""

    arrivals: tuple[Arrival, ...]
    stats: Stats

    @property
    def is_as_expected(self) -> bool:
        """True if each type arrived at MCM once, one event was invalid, and Amplitude has all."""
        types = Counter(a.user_event["event_type"] for a in self.arrivals if a.user_event)
        return (
            types == Counter(event_type.value for event_type in EventType)
            and [bool(arrival.problems) for arrival in self.arrivals].count(True) == 1
            and all(arrival.in_amplitude for arrival in self.arrivals)
        )


def run() -> Outcome:
    """Tracks and delivers the events, against a new sandbox. Takes about a second."""
    invalid: list[Invalid] = []

    def keep_invalid(fact: Fact) -> None:
        if isinstance(fact, Invalid):
            invalid.append(fact)

    with Sandbox() as sandbox:
        client = Amplitude(
            "demo-key", Config(server_url=sandbox.amplitude_url, flush_interval_millis=100)
        )
        destination = MolocoDestination(
            api_key="demo-key",
            platform_id="DEMO_SHOP",
            base_url=sandbox.url,
            syncs=ecommerce_syncs(),
            channel_type="SITE",
            hooks=[keep_invalid],
        )
        client.add(destination)
        events = [
            BaseEvent(name, user_id="shopper-1", device_id="browser-1", event_properties=properties)
            for name, properties in TRACKED
        ]
        for event in events:
            client.track(event)
        wait([destination.flush()], _TIMEOUT_SECONDS)
        client.shutdown()  # sends what waits for Amplitude, too

    # Both sides use the insert_id that the SDK gave the event.
    in_moloco = {event["id"]: event for event in sandbox.moloco_events}
    in_amplitude = {event["insert_id"] for event in sandbox.amplitude_events}
    problems = {fact.id: fact.problems for fact in invalid}
    arrivals = tuple(
        Arrival(
            event_name=event.event_type,
            user_event=in_moloco.get(event.insert_id),
            problems=problems.get(event.insert_id, ()),
            in_amplitude=event.insert_id in in_amplitude,
        )
        for event in events
    )
    return Outcome(arrivals, destination.stats())
