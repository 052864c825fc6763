"""Metrics in the app's own OpenTelemetry provider, and a histogram of its own, from a hook.

Needs no account: a local sandbox answers for Amplitude and Moloco. Needs
`pip install 'amplitude-moloco[otel,sandbox]' opentelemetry-sdk`.
"""

from amplitude import Amplitude, BaseEvent, Config
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter,
    MetricsData,
    PeriodicExportingMetricReader,
)

from amplitude_moloco import Delivered, Fact, MolocoDestination, ecommerce_syncs
from amplitude_moloco.metrics import otel
from amplitude_moloco.sandbox import Sandbox


def shown(data: MetricsData) -> str:
    """Show what was collected, a line for each series."""
    lines = []
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    number = getattr(point, "value", None) or getattr(point, "count", 0)
                    if number:
                        lines.append(f"{metric.name} {dict(point.attributes or {})} {number}\n")
    return "".join(lines)


# In production: an OTLP exporter. In gunicorn, make the provider in post_fork.
reader = PeriodicExportingMetricReader(ConsoleMetricExporter(formatter=shown))
provider = MeterProvider([reader])
metrics.set_meter_provider(provider)
delay = metrics.get_meter("shop").create_histogram(
    "shop.delivery.delay", "s", "How old events were when MCM accepted them."
)


def record_delay(fact: Fact) -> None:
    """Record what no observable instrument can: a histogram."""
    if isinstance(fact, Delivered) and fact.delay_seconds is not None:
        delay.record(fact.delay_seconds, {"sync": fact.sync})


with Sandbox() as sandbox:
    client = Amplitude("amplitude-key", Config(server_url=sandbox.amplitude_url))
    destination = MolocoDestination(
        api_key="moloco-key",
        platform_id="MY_SHOP",
        base_url=sandbox.url,  # in production: platform_name="my-shop"
        channel_type="SITE",
        syncs=ecommerce_syncs(),
        hooks=[record_delay],
    )
    client.add(destination)
    otel.register(destination)

    client.track(BaseEvent("Home Viewed", user_id="shopper-1"))
    client.track(BaseEvent("Products Searched", user_id="shopper-1"))  # says not what
    destination.flush().result(timeout=5)

    provider.shutdown()  # prints what was collected; otherwise every minute
    client.shutdown()
