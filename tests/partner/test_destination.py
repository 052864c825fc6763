"""What the destinations of all partners have in common."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import closing

import pytest
from amplitude import Amplitude, BaseEvent
from prometheus_client import CollectorRegistry
from support.faulty_server import FaultyServer

from amplitude_moloco import ConfigurationError, MolocoDestination, Sync
from amplitude_moloco.adjust import AdjustDestination, AdjustEvent
from amplitude_moloco.experimental.adbrix import AdbrixDestination, AdbrixEvent
from amplitude_moloco.metrics import prometheus
from amplitude_moloco.partner.destination import ConfiguredDestination

LONG = 30.0
IDFV = "8c6cbcb539b34d3ca9f51d2f0c1f7d3e"
Make = Callable[[str], ConfiguredDestination]


def adjust(url: str) -> AdjustDestination:
    event = AdjustEvent("Order Completed", "buyt0k")
    return AdjustDestination("abc123def456", event, environment="sandbox", base_url=url)


def adbrix(url: str) -> AdbrixDestination:
    return AdbrixDestination("token", AdbrixEvent("Order Completed", "own"), base_url=url)


def moloco(url: str) -> MolocoDestination:
    sync = Sync("HOME", "Order Completed")
    return MolocoDestination("key", "SHOP", sync, base_url=url, channel_type="SITE")


@pytest.fixture(params=[adjust, adbrix, moloco])
def make(request: pytest.FixtureRequest, bare_environment: pytest.MonkeyPatch) -> Make:
    made: Make = request.param
    return made


def order() -> BaseEvent:
    tracked = BaseEvent("Order Completed", user_id="shopper", idfv=IDFV, insert_id="one")
    tracked.time = int(time.time() * 1000)
    return tracked


def test_the_environment_switches_sending_off(
    make: Make, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With MOLOCO_TRANSPORT=none no destination sends anything, and ``explain`` says so."""
    monkeypatch.setenv("MOLOCO_TRANSPORT", "none")
    with closing(make(server.url)) as destination:
        destination.execute(order())
        assert destination.flush(LONG).result(LONG).delivered == 1
        assert destination.kinds == ("memory", "none")
        assert "MOLOCO_TRANSPORT" in str(destination.explain(order()))
    assert server.connections == 0
    monkeypatch.setenv("MOLOCO_TRANSPORT", "curl")
    with pytest.raises(ConfigurationError, match=r"^MOLOCO_TRANSPORT: found 'curl'; use 'none'"):
        make(server.url)


def test_each_has_metrics(make: Make, server: FaultyServer) -> None:
    """What a destination has delivered can be shown to Prometheus, under its parts' names."""
    registry = CollectorRegistry()
    with closing(make(server.url)) as destination:
        prometheus.register(destination, name="apps", registry=registry)
        destination.execute(order())
        assert destination.flush(LONG).result(LONG).delivered == 1
        (sync,) = destination.syncs
        labels = {"destination": "apps", "sync": sync.name}
        assert registry.get_sample_value("amplitude_moloco_events_delivered_total", labels) == 1.0


def test_another_partners_destination_sends_nothing_twice(
    make: Make, server: FaultyServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Destinations of several partners go side by side in one client."""
    client = Amplitude("key")
    client.configuration.opt_out = True
    with caplog.at_level(logging.WARNING):
        for each in (adjust, adbrix, moloco):
            client.add(each(server.url))
    client.shutdown()
    assert "use one of them" not in caplog.text


def test_a_mistake_in_data_names_its_place(make: Make, server: FaultyServer) -> None:
    """Plain data is checked for each partner, with the place of what is wrong."""
    with closing(make(server.url)) as destination:
        kind = type(destination)
    with pytest.raises(ConfigurationError, match="timeout: no such setting; did you mean"):
        kind.from_dict({"timeout": 5})
