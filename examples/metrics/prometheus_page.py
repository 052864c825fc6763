"""A page of metrics for Prometheus: the destination's, and one of the app's own, from a hook.

Needs no account: a local sandbox answers for Amplitude and Moloco. Needs
`pip install 'amplitude-moloco[prometheus,sandbox]'`.
"""

import urllib.request

from amplitude import Amplitude, BaseEvent, Config
from prometheus_client import Counter, start_http_server

from amplitude_moloco import Fact, Invalid, MolocoDestination, ecommerce_syncs
from amplitude_moloco.metrics import prometheus
from amplitude_moloco.sandbox import Sandbox

PROBLEMS = Counter("shop_event_problems", "Problems of events, by field and kind.", ["code"])


def count_problems(fact: Fact) -> None:
    """Count what the library's own metrics don't: each problem, with its field."""
    if isinstance(fact, Invalid):
        for problem in fact.problems:
            PROBLEMS.labels(problem.code).inc()


with Sandbox() as sandbox:
    client = Amplitude("amplitude-key", Config(server_url=sandbox.amplitude_url))
    destination = MolocoDestination(
        api_key="moloco-key",
        platform_id="MY_SHOP",
        base_url=sandbox.url,  # in production: platform_name="my-shop"
        channel_type="SITE",
        syncs=ecommerce_syncs(),
        hooks=[count_problems],
    )
    client.add(destination)
    prometheus.register(destination)
    server, _ = start_http_server(0, "127.0.0.1")  # in production: your own port and address

    client.track(BaseEvent("Home Viewed", user_id="shopper-1"))
    client.track(BaseEvent("Products Searched", user_id="shopper-1"))  # says not what
    destination.flush().result(timeout=5)

    page = f"http://127.0.0.1:{server.server_port}/metrics"
    with urllib.request.urlopen(page, timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    for line in lines:
        if line.startswith(("amplitude_moloco_events", "shop_")) and not line.endswith(" 0.0"):
            print(line)
    server.shutdown()
    client.shutdown()
