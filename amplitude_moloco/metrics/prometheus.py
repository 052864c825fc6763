"""Metrics for Prometheus. Needs the extra ``prometheus``.

    from amplitude_moloco.metrics import prometheus

    prometheus.register(destination)

The values are read when Prometheus scrapes. Under ``PROMETHEUS_MULTIPROC_DIR``, where several
processes share one page of metrics, each writes its own values to a file every few seconds.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import cast

from amplitude_moloco.engine.checks import number
from amplitude_moloco.engine.measures import Distribution
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.metrics.catalogue import DESTINATION, METRICS, Kind, Metric, Value
from amplitude_moloco.metrics.reading import Source
from amplitude_moloco.metrics.roster import Roster
from amplitude_moloco.partner.destination import ConfiguredDestination

try:
    from prometheus_client import (
        CONTENT_TYPE_LATEST,
        REGISTRY,
        CollectorRegistry,
        ProcessCollector,
        generate_latest,
    )
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )
    from prometheus_client.registry import Collector
    from prometheus_client.utils import floatToGoString

    from amplitude_moloco.metrics.multiprocess import Publisher, is_multiprocess
except ModuleNotFoundError as missing:
    raise ConfigurationError(
        f"metrics for Prometheus need the package {missing.name}; "
        f"use pip install 'amplitude-moloco[prometheus]'"
    ) from missing

__all__ = ["register", "unregister"]

_Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
_KINDS: dict[Kind, Callable[..., _Family]] = {
    Kind.COUNTER: CounterMetricFamily,
    Kind.GAUGE: GaugeMetricFamily,
    Kind.HISTOGRAM: HistogramMetricFamily,
}


def register(
    destination: ConfiguredDestination,
    *,
    name: str = "moloco",
    registry: CollectorRegistry = REGISTRY,
    refresh_seconds: float = 5.0,
) -> None:
    """Show the metrics of a destination. Keeps it from nothing: once it is gone, they are too.

    ``close()`` ends the gauges. The counters stay for as long as the app keeps the destination.

    Args:
        destination: Whether it was added to a client or not.
        name: The label ``destination`` of all its metrics. Two destinations need two names.
        registry: Where to show them. Has no effect under ``PROMETHEUS_MULTIPROC_DIR``.
        refresh_seconds: How often each process writes its values under
            ``PROMETHEUS_MULTIPROC_DIR``.

    Raises:
        ConfigurationError: The name is another destination's, or an argument can't work.
    """
    number("refresh_seconds", refresh_seconds)
    if is_multiprocess():
        watched = _published.add(destination, name)
        if watched is not None:
            destination.accompany(Publisher(watched, refresh_seconds))
        return
    collector = _collectors.get(registry)
    is_new = collector is None
    if collector is None:
        collector = MolocoCollector()
    collector.roster.add(destination, name)
    if is_new:
        registry.register(collector)
        _collectors[registry] = collector


def unregister(
    destination: ConfiguredDestination, *, registry: CollectorRegistry = REGISTRY
) -> None:
    """Show the metrics of a destination no longer; nothing if they are not shown.

    Under ``PROMETHEUS_MULTIPROC_DIR``, the files keep the counters, and the gauges become 0.
    """
    _published.remove(destination)
    collector = _collectors.get(registry)
    if collector is not None:
        collector.roster.remove(destination)


def page_of(source: Source, name: str = "moloco") -> Callable[[], tuple[bytes, str]]:
    """Returns what makes a page with the metrics of one source, and of this process.

    With its media type. The page has nothing of the app's own, and does not depend on
    ``PROMETHEUS_MULTIPROC_DIR``.
    """
    registry, collector = CollectorRegistry(), MolocoCollector()
    collector.roster.add(source, name)
    registry.register(collector)
    ProcessCollector(registry=registry)
    return lambda: (generate_latest(registry), CONTENT_TYPE_LATEST)


class MolocoCollector(Collector):
    """Reads all destinations of one registry when it is scraped."""

    def __init__(self) -> None:
        self.roster = Roster()

    def describe(self) -> Iterator[_Family]:
        """Yields the families without values, so that nothing is read when it is registered."""
        return map(_family, METRICS)

    def collect(self) -> Iterator[_Family]:
        """Yields one family for each metric, with the values of all destinations."""
        families = {metric.name: _family(metric) for metric in METRICS}
        for watched in self.roster:
            for metric, labels, value in watched.samples():
                _add(families[metric.name], labels, value)
        return iter(families.values())


def _family(metric: Metric) -> _Family:
    return _KINDS[metric.kind](metric.family, metric.help, labels=[DESTINATION, *metric.labels])


def _add(family: _Family, labels: tuple[str, ...], value: Value) -> None:
    if isinstance(value, Distribution):
        bounds = [*map(floatToGoString, value.bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(value.counts), strict=True))
        cast(HistogramMetricFamily, family).add_metric(labels, buckets, value.total)
    else:
        cast(GaugeMetricFamily, family).add_metric(labels, value)


_collectors: weakref.WeakKeyDictionary[CollectorRegistry, MolocoCollector] = (
    weakref.WeakKeyDictionary()
)
_published = Roster()
