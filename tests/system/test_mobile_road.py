"""The whole mobile road: Moloco's links, the install, a tracked purchase, the postback to Moloco.

Each event is tracked once with Amplitude's SDK, and goes over HTTP to Amplitude and to the MMP.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
import requests
from amplitude import Amplitude, BaseEvent, Config
from support.faulty_server import FaultyServer
from support.mmp import APP_TOKEN, GAID
from support.waiting import await_that

from amplitude_moloco import BreakerPolicy, RetrySchedule
from amplitude_moloco.adjust import AdjustDestination, AdjustEvent
from amplitude_moloco.links import (
    MOLOCO_PARAMETERS,
    Postback,
    check_link,
    parse_postback,
    postback_template,
    tracking_link,
)
from amplitude_moloco.sandbox import MmpSettings, Partner, Postbacks, Sandbox, Windows
from amplitude_moloco.sandbox.mmp.settings import DAY, HOUR

LONG = 60.0
PRODUCTS = [{"product_id": "sku-1", "price": 12.5}, {"product_id": "sku-2", "price": 7}]
MINUTE = 60
# What Moloco fills in where it shows an ad.
FILLED_IN = {
    "{{campaign.title}}": "summer sale",
    "{{publisher.bundle}}": "com.game",
    "{{creative.cr_id}}": "42",
    "{{device.gaid}}": GAID.upper(),
    "{{request.id}}": "request-7",
    "{{mtid}}": "mt-1",
    "{{price.cost_type}}": "CPM",
    "{{price.cost_amount}}": "0.12",
    "{{price.cost_currency}}": "USD",
}


class Road:
    """One device on its way to a purchase, with everything around it."""

    def __init__(
        self,
        sandbox: Sandbox,
        server: FaultyServer,
        client: Amplitude,
        destination: AdjustDestination,
    ) -> None:
        self.sandbox, self._server = sandbox, server
        self._client, self._destination = client, destination

    def see(self, link: str = "moloco1") -> None:
        """Show an ad on the device: its view link is called."""
        self._follow("view", link)

    def click(self, link: str = "moloco1") -> None:
        self._follow("click", link)

    def _follow(self, kind: str, link: str) -> None:
        url = tracking_link("adjust", kind, link)
        assert check_link(url) == []
        for macro, value in FILLED_IN.items():
            url = url.replace(macro, value)
        parts = urlsplit(url)
        path = urlunsplit(("", "", parts.path, parts.query, ""))
        requests.get(self.sandbox.mmp_url + path, timeout=LONG).raise_for_status()

    def pass_time(self, seconds: float) -> None:
        self.sandbox.mmp.move_clock(seconds)

    def install_and_buy(self) -> None:
        """Open the app for the first time a minute ago, and buy now."""
        mmp = self.sandbox.mmp
        mmp.reset_clock()
        mmp.move_clock(-MINUTE)
        session = {"app_token": APP_TOKEN, "s2s": "1", "gps_adid": GAID, "environment": "sandbox"}
        answer = requests.post(f"{self.sandbox.mmp_url}/session", session, timeout=LONG)
        assert answer.json()["message"] == "Install tracked"
        mmp.reset_clock()
        bought = BaseEvent("Order Completed", user_id="shopper", device_id="phone", adid=GAID)
        bought.platform, bought.revenue, bought.currency = "Android", 19.5, "USD"
        bought.event_properties = {"products": PRODUCTS, "card": "not to be sent"}
        self._client.track(bought)
        assert self._destination.flush(LONG).result(LONG).buffered == 0
        self._client.shutdown()
        mmp.wait(LONG)

    @property
    def postbacks(self) -> dict[str, Postback]:
        """What Moloco was told, by the kind of activity, or by the name of the event."""
        found = [parse_postback(request.target) for request in self._server.requests]
        named = {each.values.get("event_name", each.activity_kind): each for each in found}
        assert len(named) == len(found)  # nothing was told twice
        return named


Walk = Callable[..., Road]


@pytest.fixture
def walk(
    bare_environment: pytest.MonkeyPatch, server: FaultyServer, tmp_path: Path
) -> Iterator[Walk]:
    """Begins a road nine days ago; ``full`` says whether Moloco gets full postbacks."""
    opened: list[Sandbox] = []

    def begin(*, full: bool = True, buffer: str = "memory://", transport: str = "requests") -> Road:
        template = postback_template("https://moloco.example/postback")
        url = template.replace("https://moloco.example", server.url)
        postbacks = Postbacks(url, full=full, events={"buyt0k": "purchase"})
        partners = (
            Partner("Moloco", {"moloco1": Windows()}, postbacks=postbacks),
            Partner("Another network", {"another1": Windows()}),
        )
        sandbox = Sandbox(mmp=MmpSettings(app_token=APP_TOKEN, partners=partners))
        sandbox.__enter__()
        opened.append(sandbox)
        destination = AdjustDestination(
            APP_TOKEN,
            AdjustEvent(
                "Order Completed",
                "buyt0k",
                partner_params={"products": "event_properties.products"},
            ),
            environment="sandbox",
            base_url=sandbox.url,
            transport=transport,
            buffer=buffer.format(tmp_path),
            shutdown_timeout_seconds=LONG,
        )
        client = Amplitude("key", Config(server_url=sandbox.amplitude_url))
        client.add(destination)
        sandbox.mmp.move_clock(-9 * DAY)
        return Road(sandbox, server, client, destination)

    yield begin
    for each in opened:
        each.__exit__(None, None, None)


@pytest.mark.parametrize("full", [True, False], ids=["full postback", "attributed only"])
@pytest.mark.parametrize("buffer", ["memory://", "sqlite:///{}/adjust.db"], ids=["memory", "file"])
@pytest.mark.parametrize("transport", ["requests", "curl"])
def test_a_purchase_that_moloco_drove(walk: Walk, full: bool, buffer: str, transport: str) -> None:
    """A view, a click, an install and one tracked purchase: Moloco learns of it with products."""
    road = walk(full=full, buffer=buffer, transport=transport)
    road.pass_time(3 * DAY)
    road.see()
    road.pass_time(MINUTE)
    road.click()
    road.install_and_buy()
    (sent,) = road.sandbox.mmp.events
    assert (sent.partner, sent.source.tier) == ("Moloco", "device-matched click")
    assert (sent.parameters["revenue"], sent.parameters["currency"]) == ("19.5", "USD")
    install, purchase = road.postbacks["install"], road.postbacks["purchase"]
    for each in (install, purchase):
        assert not each.is_organic
        assert each.values["campaign_name"] == "summer sale"
        assert each.identifiers["gps_adid"] == GAID
    assert json.loads(purchase.partner_parameters["products"]) == PRODUCTS
    assert "not to be sent" not in str(road.sandbox.mmp.postbacks)
    tracked = [event["event_type"] for event in road.sandbox.amplitude_events]
    assert tracked == ["Order Completed"]


def test_a_view_alone(walk: Walk) -> None:
    """Without a click, a view of less than a day ago drives the purchase."""
    road = walk()
    road.pass_time(8 * DAY + 2 * HOUR)
    road.see()
    road.install_and_buy()
    purchase = road.postbacks["purchase"]
    assert purchase.values["impression_based"] == "1"
    assert purchase.values["campaign_name"] == "summer sale"


def saw_and_clicked_too_early(road: Road) -> None:
    """Eight days before the install, outside the window of seven."""
    road.pass_time(DAY)
    road.see()
    road.click()


def clicked_another_later(road: Road) -> None:
    road.pass_time(5 * DAY)
    road.see()
    road.click()
    road.pass_time(DAY)
    road.click("another1")


def saw_only_after_another_click(road: Road) -> None:
    """Any eligible click beats any view."""
    road.pass_time(8.5 * DAY)
    road.click("another1")
    road.see()


def did_nothing(road: Road) -> None:
    """Nothing precedes the install."""


@pytest.mark.parametrize("full", [True, False], ids=["full postback", "attributed only"])
@pytest.mark.parametrize(
    ("before", "partner"),
    [
        pytest.param(saw_and_clicked_too_early, None, id="the window has passed"),
        pytest.param(clicked_another_later, "Another network", id="another click is later"),
        pytest.param(saw_only_after_another_click, "Another network", id="a click beats a view"),
        pytest.param(did_nothing, None, id="organic"),
    ],
)
def test_a_purchase_that_moloco_did_not_drive(
    walk: Walk, before: Callable[[Road], None], partner: str | None, full: bool
) -> None:
    """Moloco learns of it by a full postback only, with the products and without a campaign."""
    road = walk(full=full)
    before(road)
    road.install_and_buy()
    (sent,) = road.sandbox.mmp.events
    assert sent.partner == partner
    if not full:
        assert road.postbacks == {}
        return
    for each in (road.postbacks["install"], road.postbacks["purchase"]):
        assert each.is_organic == (partner is None)
        assert {"campaign_name", "tracker", "click_time"}.isdisjoint(each.values)
    purchase = road.postbacks["purchase"]
    assert json.loads(purchase.partner_parameters["products"]) == PRODUCTS


def test_an_answer_that_never_comes(bare_environment: pytest.MonkeyPatch) -> None:
    """An event that the MMP has, and does not answer, is given up where it must not count twice."""
    with Sandbox(delay_seconds=3000) as sandbox:
        sandbox.mmp.session(gps_adid=GAID, app_token=APP_TOKEN)
        destination = AdjustDestination(
            APP_TOKEN,
            AdjustEvent("Order Completed", "buyt0k"),
            environment="sandbox",
            base_url=sandbox.url,
            on_ambiguous="drop",
            timeout_seconds=2,
            retry=RetrySchedule(delays_seconds=(0.01,), then_seconds=0.01),
            breaker=BreakerPolicy(failures=10**6),
        )
        tracked = BaseEvent("Order Completed", adid=GAID, insert_id="one")
        tracked.time = int(time.time() * 1000)
        destination.execute(tracked)
        await_that(lambda: bool(destination.stats().dead_lettered), LONG)
        await_that(lambda: len(sandbox.mmp.events) == 1, LONG)
        assert destination.stats().dead_lettered == {"exhausted": 1}
        destination.close(0)


def test_every_macro_is_filled_in() -> None:
    """Moloco fills in all macros of a link, but the identifier of the other kind of devices."""
    assert {*MOLOCO_PARAMETERS.values()} - {*FILLED_IN} == {"{{device.idfa}}"}
