"""The pages of a relay, over real connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import requests
from support.clock import Clock
from support.engines import Bench, Gate, closing

from amplitude_moloco.relay.address import address_of
from amplitude_moloco.relay.health import Health
from amplitude_moloco.relay.pages import Pages
from amplitude_moloco.relay.pulse import Pulse
from amplitude_moloco.relay.service_manager import ServiceManager

LONG = 30.0
Metrics = Callable[[], tuple[bytes, str]]
Serve = Callable[..., Pages]


@pytest.fixture
def health(clock: Clock) -> Health:
    with closing(Bench(Gate())) as bench:
        status = bench.engine.status()
    return Health(lambda: status, Pulse(ServiceManager({}), lambda: "", clock.monotonic))


@pytest.fixture
def serve(health: Health) -> Iterator[Serve]:
    with ExitStack() as stack:

        def serve(where: str = "127.0.0.1:0", metrics: Metrics | None = None) -> Pages:
            address = address_of(where)
            assert address is not None
            pages = Pages(address, health, metrics)
            stack.callback(pages.close)
            return pages

        yield serve


def get(pages: Pages, path: str, **headers: str) -> requests.Response:
    return requests.get(f"{pages.url}{path}", headers=headers, timeout=LONG)


def test_each_state_has_its_status(serve: Serve, health: Health, clock: Clock) -> None:
    """A machine reads the status, a person the text."""
    pages = serve()
    for path in ("/livez", "/healthz"):
        answer = get(pages, path)
        assert (answer.status_code, answer.text) == (200, "the delivery loop turns\n")
    assert (get(pages, "/readyz").status_code, get(pages, "/readyz").text) == (200, "delivering\n")
    health.is_draining = True
    assert get(pages, "/readyz").status_code == 503
    assert get(pages, "/livez").status_code == 200
    clock.advance(100)
    assert get(pages, "/livez").status_code == 503
    assert get(pages, "/livez").headers["cache-control"] == "no-store"


def test_metrics_are_what_they_are_made_of(serve: Serve) -> None:
    """The page of metrics has the media type of its maker."""
    pages = serve(metrics=lambda: (b"up 1\n", "text/plain; version=0.0.4"))
    answer = get(pages, "/metrics")
    assert (answer.status_code, answer.text) == (200, "up 1\n")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4"


def test_without_the_client_library_there_are_no_metrics(serve: Serve) -> None:
    """A page that says what to install."""
    answer = get(serve(), "/metrics")
    assert answer.status_code == 404
    assert "pip install 'amplitude-moloco[prometheus]'" in answer.text


def test_other_sites_are_kept_away_on_loopback(serve: Serve) -> None:
    """A name that another site may have pointed here gets nothing on a loopback address."""
    assert get(serve(), "/readyz", Host="evil.example").status_code == 403


def test_an_explicit_address_serves_any_name(serve: Serve) -> None:
    """Where it was told to listen for others, they may use any name."""
    pages = serve("0.0.0.0:0")
    url = pages.url.replace("0.0.0.0", "127.0.0.1")
    answer = requests.get(f"{url}/readyz", headers={"Host": "relay.shop.svc"}, timeout=LONG)
    assert answer.status_code == 200


def test_an_address_in_use_is_an_error(serve: Serve) -> None:
    """The error says which address, and why."""
    port = serve().url.rpartition(":")[2]
    with pytest.raises(OSError, match=f"the relay can't listen on 127.0.0.1, port {port}: "):
        serve(f"127.0.0.1:{port}")


def test_an_ipv6_address_is_served(serve: Serve) -> None:
    """Its URL has brackets."""
    try:
        pages = serve("[::1]:0")
    except OSError:
        pytest.skip("this machine has no IPv6")
    assert get(pages, "/livez").status_code == 200
