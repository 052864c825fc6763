"""Observable instruments in the app's own provider."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Gauge, InMemoryMetricReader, NumberDataPoint, Sum
from support.metrics import home, make, search

from amplitude_moloco import ConfigurationError, MolocoDestination
from amplitude_moloco.convert.problem import ProblemReason
from amplitude_moloco.metrics.catalogue import METRICS
from amplitude_moloco.metrics.otel import register, unregister
from amplitude_moloco.reasons import DeadLetterReason, DropReason, PauseReason
from amplitude_moloco.sandbox import Sandbox

LONG = 60.0
EXPORTED = "amplitude_moloco.exporter.event.exported"
Points = dict[str, dict[frozenset[tuple[str, object]], float]]


class App:
    """An app with a provider of its own."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader])
        self.units: dict[str, str | None] = {}
        self.kinds: dict[str, str] = {}

    def collect(self) -> Points:
        """What the provider collects, by instrument and attributes."""
        data = self.reader.get_metrics_data()
        found: Points = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    assert isinstance(metric.data, (Gauge, Sum))
                    self.units[metric.name] = metric.unit
                    is_sum = isinstance(metric.data, Sum)
                    is_monotonic = isinstance(metric.data, Sum) and metric.data.is_monotonic
                    self.kinds[metric.name] = (
                        "counter" if is_monotonic else "up_down_counter" if is_sum else "gauge"
                    )
                    series = found.setdefault(metric.name, {})
                    for point in metric.data.data_points:
                        assert isinstance(point, NumberDataPoint)
                        key = frozenset((point.attributes or {}).items())
                        assert key not in series
                        series[key] = point.value
        return found


@pytest.fixture
def app() -> Iterator[App]:
    app = App()
    yield app
    app.provider.shutdown()


@pytest.fixture
def destinations(sandbox: Sandbox) -> Iterator[list[MolocoDestination]]:
    """Two destinations. Both are closed after the test."""
    with ExitStack() as stack:
        made = [make(sandbox.url), make(sandbox.url)]
        for each in made:
            stack.callback(each.close, 0)
        yield made


def key(name: str = "moloco", **attributes: str) -> frozenset[tuple[str, object]]:
    dotted = {each.replace("_", ".", 1): text for each, text in attributes.items()}
    return frozenset({"otel.component.name": name, **dotted}.items())


def sync(name: str) -> frozenset[tuple[str, object]]:
    return frozenset({"otel.component.name": "moloco", "amplitude_moloco.sync": name}.items())


def test_every_series_is_there_from_the_start(
    app: App, destinations: list[MolocoDestination]
) -> None:
    """A destination that was never added to a client has each instrument, with each attribute."""
    register(destinations[0], meter_provider=app.provider)
    points = app.collect()
    expected = {metric.otel for metric in METRICS} - {""}
    assert points.keys() == expected - {"amplitude_moloco.exporter.rate_limit"}  # there is none
    ends = [*ProblemReason, *DeadLetterReason, *DropReason]
    assert points[EXPORTED] == {
        **{key(error_type=str(reason)): 0 for reason in ends},
        **{sync(name): 0 for name in ("HOME", "SEARCH")},
    }
    paused = {key(error_type=str(reason)): 0 for reason in PauseReason}
    assert points["amplitude_moloco.exporter.paused"] == paused
    assert app.units[EXPORTED] == "{event}"
    assert app.kinds[EXPORTED] == "counter"
    assert app.kinds["amplitude_moloco.exporter.event.inflight"] == "up_down_counter"
    assert app.kinds["amplitude_moloco.exporter.queue.size"] == "gauge"


def test_each_event_is_exported_once_at_its_end(
    app: App, destinations: list[MolocoDestination], sandbox: Sandbox
) -> None:
    """A delivered event counts by its sync, another one by its ``error.type``, a retry does not."""
    destination = destinations[0]
    register(destination, meter_provider=app.provider)
    for id in ("1", "2"):
        destination.execute(home(id))
        destination.flush(LONG).result()
    destination.execute(search())
    sandbox.fail_next(400)
    destination.execute(home("3"))
    destination.flush(LONG).result()
    sandbox.fail_next(503)
    destination.execute(home("4"))
    destination.flush(LONG).result()
    points = app.collect()
    assert {each: n for each, n in points[EXPORTED].items() if n} == {
        sync("HOME"): 2,
        key(error_type="missing"): 1,
        key(error_type="rejected"): 1,
    }
    assert points["amplitude_moloco.event.accepted"] == {key(): 5}
    assert points["amplitude_moloco.exporter.retry"] == {key(): 1}
    assert points["amplitude_moloco.exporter.queue.size"] == {key(): 1}


def test_two_destinations_share_the_instruments(
    app: App, destinations: list[MolocoDestination], caplog: pytest.LogCaptureFixture
) -> None:
    """Two destinations of a provider differ by ``otel.component.name``, and nothing warns."""
    for name, destination in zip(("eu", "us"), destinations, strict=True):
        register(destination, name=name, meter_provider=app.provider)
        destination.execute(home(name))
        destination.flush(LONG).result()
    assert app.collect()["amplitude_moloco.event.accepted"] == {key("eu"): 1, key("us"): 1}
    with pytest.raises(ConfigurationError, match="use name='…'"):
        register(destinations[0], name="us", meter_provider=app.provider)
    assert caplog.text == ""


def test_after_close_no_gauge_is_stale(app: App, destinations: list[MolocoDestination]) -> None:
    """close() ends the gauges, and the counters stay for as long as the destination lives."""
    destination = destinations[0]
    register(destination, meter_provider=app.provider)
    destination.execute(home("1"))
    destination.close()
    points = app.collect()
    assert points["amplitude_moloco.event.accepted"] == {key(): 1}
    assert "amplitude_moloco.exporter.queue.size" not in points


def test_metrics_keep_no_destination_alive(app: App, sandbox: Sandbox) -> None:
    """A destination that the app has let go of is no longer observed."""
    destination = make(sandbox.url)
    register(destination, meter_provider=app.provider)
    destination.close()
    del destination
    gc.collect()
    assert app.collect() == {}


def test_a_destination_can_be_unregistered(app: App, destinations: list[MolocoDestination]) -> None:
    """A destination that is unregistered is not observed; one that never was changes nothing."""
    first, second = destinations
    unregister(first, meter_provider=app.provider)
    register(first, meter_provider=app.provider)
    register(second, name="other", meter_provider=app.provider)
    unregister(first, meter_provider=app.provider)
    assert app.collect()["amplitude_moloco.event.accepted"] == {key("other"): 0}


DEFAULT_PROVIDER = """
import sys
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from amplitude_moloco import MolocoDestination, Sync
from amplitude_moloco.metrics.otel import register, unregister

def make():
    return MolocoDestination("key", "SHOP", Sync("HOME", "Home"), platform_name="shop")

first, second, third = make(), make(), make()
register(first, name="first")  # before the app has set its provider
reader = InMemoryMetricReader()
provider = MeterProvider([reader])
metrics.set_meter_provider(provider)
register(second, name="second")
register(third, name="third", meter_provider=provider)
unregister(second)
names = set()
for scope in reader.get_metrics_data().resource_metrics[0].scope_metrics:
    for metric in scope.metrics:
        for point in metric.data.data_points:
            names.add(point.attributes["otel.component.name"])
print(*sorted(names))
for each in (first, second, third):
    each.close(0)
provider.shutdown()
"""
MISSING = """
import sys; sys.modules["opentelemetry"] = None
from amplitude_moloco import ConfigurationError
try: import amplitude_moloco.metrics.otel
except ConfigurationError as error: print(error)
"""


def run(program: str) -> tuple[str, str]:
    """Runs a program to its success. Returns what it prints and what it logs."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=LONG,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return done.stdout, done.stderr


def test_the_default_provider_may_be_set_later() -> None:
    """Destinations use the app's default provider, whether it is set before or after."""
    assert run(DEFAULT_PROVIDER) == ("first third\n", "")


def test_without_its_extra_the_error_names_it() -> None:
    """Where the API is missing, the import says what to install."""
    assert "pip install 'amplitude-moloco[otel]'" in run(MISSING)[0]
