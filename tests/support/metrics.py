"""Destinations whose metrics tests read, and the text that Prometheus gets of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from amplitude import BaseEvent
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as parse
from support.events import NOW

from amplitude_moloco import MolocoDestination, Stats, Sync

PREFIX = "amplitude_moloco_"
Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]


openmetrics: Callable[[CollectorRegistry], bytes] = generate_openmetrics
"""The client library does not type its functions for this format."""
parse_openmetrics: Callable[[str], Iterable[Metric]] = text_string_to_metric_families


def make(url: str, **settings: Any) -> MolocoDestination:
    """A destination that sends home pages, and searches with a query."""
    syncs = [
        Sync("HOME", events=["Home"]),
        Sync("SEARCH", events=["Search"], where="event_properties.is_real != `false`"),
    ]
    defaults = {"channel_type": "SITE", "shutdown_timeout_seconds": 60.0, "syncs": syncs}
    return MolocoDestination("key", "SHOP", base_url=url, **{**defaults, **settings})


def home(id: str) -> BaseEvent:
    """An event that is delivered."""
    return BaseEvent("Home", user_id="user-1", insert_id=id, time=NOW)


def search(**properties: Any) -> BaseEvent:
    """An event that is invalid, since nothing says what was searched."""
    event = BaseEvent("Search", user_id="user-1", insert_id="search", time=NOW)
    event.event_properties = properties
    return event


def values_in(text: str) -> Values:
    """The values in a page of metrics, by name and labels. A duplicate fails the test."""
    found: Values = {}
    for family in parse(text):
        for sample in family.samples:
            key = sample.name.removeprefix(PREFIX), tuple(sorted(sample.labels.items()))
            assert key not in found, key
            found[key] = sample.value
    return found


def scrape(registry: CollectorRegistry) -> Values:
    """The values that a registry shows. Its text must be right in both of its formats."""
    list(parse_openmetrics(openmetrics(registry).decode()))
    return values_in(generate_latest(registry).decode())


def value(values: Values, metric: str, **labels: str) -> float:
    """The value of the one series with these labels, of the destination "moloco"."""
    labels = {"destination": "moloco", **labels}
    return values[metric, tuple(sorted(labels.items()))]


def series_of(values: Values, metric: str) -> list[float]:
    """The values of all series of a metric."""
    return [number for (name, _), number in values.items() if name == metric]


def is_lawful(values: Values) -> bool:
    """Whether the counters on a page of metrics obey the law."""

    def total(*names: str) -> float:
        return sum(sum(series_of(values, name)) for name in names)

    into = total("events_accepted_total", "events_taken_over_total")
    ends = ("delivered", "invalid", "dead_lettered", "dropped", "handed_on")
    return into == total("buffered_events", *(f"events_{end}_total" for end in ends))


def agree(values: Values, stats: Stats) -> bool:
    """Whether a page of metrics shows these counters."""
    return (
        value(values, "events_accepted_total") == stats.accepted
        and sum(series_of(values, "events_delivered_total")) == stats.delivered
        and sum(series_of(values, "events_invalid_total")) == sum(stats.invalid.values())
        and sum(series_of(values, "events_dropped_total")) == sum(stats.dropped.values())
        and value(values, "retries_total") == stats.retried
        and value(values, "events_taken_over_total") == stats.taken_over
        and value(values, "events_handed_on_total") == stats.handed_on
    )
