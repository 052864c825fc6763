"""Metrics for OpenTelemetry. Needs the extra ``otel``.

    from amplitude_moloco.metrics import otel

    otel.register(destination)

The instruments are observable: their values are read when the app's own provider collects.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from math import isfinite

from amplitude_moloco.engine.measures import Distribution
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.metrics.catalogue import (
    ATTRIBUTES,
    DESTINATION,
    METRICS,
    PREFIX,
    Across,
    Kind,
    Metric,
)
from amplitude_moloco.metrics.roster import Roster
from amplitude_moloco.partner.destination import ConfiguredDestination

try:
    from opentelemetry.metrics import (
        CallbackOptions,
        Meter,
        MeterProvider,
        Observation,
        get_meter_provider,
    )
except ModuleNotFoundError as missing:
    raise ConfigurationError(
        f"metrics for OpenTelemetry need the package {missing.name}; "
        f"use pip install 'amplitude-moloco[otel]'"
    ) from missing

__all__ = ["register", "unregister"]


def register(
    destination: ConfiguredDestination,
    *,
    name: str = "moloco",
    meter_provider: MeterProvider | None = None,
) -> None:
    """Show the metrics of a destination. Keeps it from nothing: once it is gone, they are too.

    ``close()`` ends the gauges. The counters stay for as long as the app keeps the destination.

    Args:
        destination: Whether it was added to a client or not.
        name: The attribute ``otel.component.name``. Two destinations need two names.
        meter_provider: The app's provider; None: the one that it has set, or will set.

    Raises:
        ConfigurationError: The name is another destination's, or an argument can't work.
    """
    roster = _roster_of(meter_provider) or Roster()
    roster.add(destination, name)
    if _roster_of(meter_provider) is None:
        provider = meter_provider or get_meter_provider()
        if provider is get_meter_provider():
            _of_default.append(roster)
        else:
            _rosters[provider] = roster
        _create_instruments(provider.get_meter(PREFIX), roster)


def unregister(
    destination: ConfiguredDestination, *, meter_provider: MeterProvider | None = None
) -> None:
    """Show the metrics of a destination no longer; nothing if they are not shown."""
    roster = _roster_of(meter_provider)
    if roster is not None:
        roster.remove(destination)


def _roster_of(meter_provider: MeterProvider | None) -> Roster | None:
    """Returns the roster of a provider; None if it has none yet.

    Until the app sets its default provider, the API has another one stand in for it.
    """
    if meter_provider is None or meter_provider is get_meter_provider():
        return _of_default[0] if _of_default else None
    return _rosters.get(meter_provider)


def _create_instruments(meter: Meter, roster: Roster) -> None:
    instruments: dict[str, list[Metric]] = {}
    for metric in METRICS:
        if metric.otel:
            instruments.setdefault(metric.otel, []).append(metric)
    for name, metrics in instruments.items():
        first = metrics[0]
        create = _creator(meter, first)
        description = " ".join(metric.help for metric in metrics)
        create(name, [_callback(roster, metrics)], first.unit, description)


def _creator(meter: Meter, metric: Metric) -> Callable[..., object]:
    if metric.kind is Kind.COUNTER:
        return meter.create_observable_counter
    if metric.across is Across.SUM:
        return meter.create_observable_up_down_counter
    return meter.create_observable_gauge


def _callback(
    roster: Roster, metrics: list[Metric]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(options: CallbackOptions) -> Iterator[Observation]:
        for watched in roster:
            for metric, labels, value in watched.samples(metrics):
                if not isinstance(value, Distribution) and isfinite(value):
                    names = [ATTRIBUTES[label] for label in (DESTINATION, *metric.labels)]
                    yield Observation(value, dict(zip(names, labels, strict=True)))

    return observe


_of_default: list[Roster] = []
_rosters: weakref.WeakKeyDictionary[MeterProvider, Roster] = weakref.WeakKeyDictionary()
