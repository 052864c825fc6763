"""The whole road: Moloco's links, the install, a purchase, and the postbacks to Moloco."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from support.faulty_server import FaultyServer
from support.mmp import APP_TOKEN, GAID, form

from amplitude_moloco.sandbox import MmpSettings, Partner, Postbacks, Sandbox, Windows
from amplitude_moloco.sandbox.mmp.settings import DAY

PRODUCTS = [{"product_id": "sku-1", "price": 12.5}, {"product_id": "sku-2", "price": 7}]
MACROS = {"campaign": "summer", "adgroup": "com.game", "creative": "42", "molo_click_id": "mt-1"}
DEVICE = {"gps_adid": GAID.upper()}
TEMPLATE = (
    "/postback?network=moloco&event_type={event_name}&id={gps_adid}&campaign={campaign_name}"
    "&click={molo_click_id}&organic={is_organic}&product={partner_parameters}"
)


def sandbox_of(server: FaultyServer, *, full: bool) -> Sandbox:
    """A sandbox that posts back to a server, as Moloco's."""
    postbacks = Postbacks(server.url + TEMPLATE, full=full, events={"abc123": "purchase"})
    moloco = Partner("Moloco", {"moloco1": Windows()}, postbacks=postbacks)
    return Sandbox(mmp=MmpSettings(partners=(moloco, Partner("Other", {"another1": Windows()}))))


@pytest.fixture(params=[True, False], ids=["full", "attributed only"])
def road(request: pytest.FixtureRequest, server: FaultyServer) -> Iterator[tuple[Sandbox, bool]]:
    """A sandbox, and whether Moloco gets full postbacks. Its clock is nine days back."""
    with sandbox_of(server, full=request.param) as sandbox:
        sandbox.mmp.move_clock(-9 * DAY)
        yield sandbox, request.param


def touch(sandbox: Sandbox, path: str) -> None:
    requests.get(sandbox.mmp_url + path, {**MACROS, **DEVICE}, timeout=10).raise_for_status()


def install_and_buy(sandbox: Sandbox, server: FaultyServer) -> list[dict[str, Any]]:
    """Installs and buys at the present. Returns the queries of the postbacks."""
    sandbox.mmp.reset_clock()
    sandbox.mmp.session(gps_adid=GAID, app_token=APP_TOKEN)
    bought = {
        "revenue": "19.50",
        "currency": "USD",
        "partner_params": json.dumps({"products": json.dumps(PRODUCTS)}),
    }
    answer = requests.post(
        f"{sandbox.mmp_url}/event", {**form(created_at_unix=None), **bought}, timeout=10
    )
    assert answer.status_code == 200
    sandbox.mmp.wait()
    return [parse_qs(urlsplit(request.target).query) for request in server.requests]


def test_moloco_drove_it(road: tuple[Sandbox, bool], server: FaultyServer) -> None:
    """A view and a click of Moloco within the window: Moloco gets everything, with the products."""
    sandbox, _ = road
    touch(sandbox, "/impression/moloco1")
    sandbox.mmp.move_clock(3 * DAY)
    touch(sandbox, "/moloco1")
    install, purchase = install_and_buy(sandbox, server)
    assert install["campaign"] == purchase["campaign"] == ["summer"]
    assert purchase["event_type"] == ["purchase"]
    assert (purchase["click"], purchase["organic"], purchase["id"]) == (["mt-1"], ["0"], [GAID])
    assert json.loads(json.loads(purchase["product"][0])["products"]) == PRODUCTS


@pytest.mark.parametrize(
    ("paths", "days", "organic"),
    [
        pytest.param(["/moloco1"], 1, "1", id="the window has passed"),
        pytest.param(["/impression/moloco1"], 7.5, "1", id="the view is too old"),
        pytest.param(["/moloco1", "/another1"], 8, "0", id="another click is later"),
        pytest.param(["/another1", "/impression/moloco1"], 8.5, "0", id="a click beats a view"),
        pytest.param([], 0, "1", id="organic"),
    ],
)
def test_moloco_did_not_drive_it(
    road: tuple[Sandbox, bool],
    server: FaultyServer,
    paths: list[str],
    days: float,
    organic: str,
) -> None:
    """Else Moloco gets full postbacks only, with the products and without a campaign."""
    sandbox, is_full = road
    sandbox.mmp.move_clock(days * DAY)
    for path in paths:
        touch(sandbox, path)
    posted = install_and_buy(sandbox, server)
    if not is_full:
        assert posted == []
        return
    install, purchase = posted
    assert "campaign" not in purchase
    assert "click" not in purchase
    assert (install["organic"], purchase["organic"]) == ([organic], [organic])
    assert json.loads(json.loads(purchase["product"][0])["products"]) == PRODUCTS


def test_an_answer_that_is_lost(road: tuple[Sandbox, bool], server: FaultyServer) -> None:
    """An event that is sent again because its answer was lost is posted back twice."""
    sandbox, is_full = road
    sandbox.fail_next(500, target="mmp", after_storing=True)
    sandbox.mmp.reset_clock()
    sandbox.mmp.session(gps_adid=GAID, app_token=APP_TOKEN)
    event = form(created_at_unix=None)
    statuses = [
        requests.post(f"{sandbox.mmp_url}/event", event, timeout=10).status_code for _ in range(2)
    ]
    sandbox.mmp.wait()
    assert statuses == [500, 200]
    assert len(sandbox.mmp.events) == 2
    assert len(server.requests) == (3 if is_full else 0)
