"""The table of all metrics."""

from __future__ import annotations

import re

import pytest

from amplitude_moloco.metrics.catalogue import (
    ATTRIBUTES,
    DESTINATION,
    METRICS,
    PREFIX,
    Kind,
    Metric,
)

BY_NAME = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)


def test_no_name_is_used_twice() -> None:
    """Each metric has a name of its own."""
    assert len({metric.name for metric in METRICS}) == len(METRICS)


@BY_NAME
def test_names_follow_the_rules_of_prometheus(metric: Metric) -> None:
    """Counters end in ``_total``, no other metric does, and all begin with the prefix."""
    assert re.fullmatch(rf"{PREFIX}(_[a-z]+)+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert metric.kind is not Kind.HISTOGRAM or metric.name.endswith("_seconds")
    assert metric.help.endswith(".")


@BY_NAME
def test_names_follow_the_rules_of_opentelemetry(metric: Metric) -> None:
    """OpenTelemetry's names have dots, and no ``_total``."""
    if metric.otel:
        assert re.fullmatch(rf"{PREFIX}(\.[a-z]+(_[a-z]+)?)+", metric.otel)
        assert "total" not in metric.otel
    assert {DESTINATION, *metric.labels} <= ATTRIBUTES.keys() or not metric.otel


def test_metrics_of_one_instrument_agree() -> None:
    """Metrics that OpenTelemetry has as one instrument are of one kind and unit."""
    kinds: dict[str, set[object]] = {}
    for metric in METRICS:
        kinds.setdefault(metric.otel, set()).add((metric.kind, metric.unit, metric.across))
    kinds.pop("")
    assert all(len(each) == 1 for each in kinds.values())


def test_no_instrument_is_another_ones_namespace() -> None:
    """No name of an instrument is the beginning of another one, up to a dot."""
    names = {metric.otel for metric in METRICS if metric.otel}
    assert not any(other.startswith(f"{name}.") for name in names for other in names)
