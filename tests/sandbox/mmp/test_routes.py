"""The MMP over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from support.mmp import APP_TOKEN, GAID, form

from amplitude_moloco.sandbox import Sandbox
from amplitude_moloco.sandbox.mmp.settings import DAY

SESSION = {"s2s": "1", "app_token": APP_TOKEN, "environment": "sandbox", "gps_adid": GAID}


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    """One sandbox for all tests."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    """A sandbox whose MMP knows nothing, with the present time."""
    running.clear()
    assert requests.delete(f"{running.mmp_url}/state", timeout=10).json() == {}
    move(running, None)
    return running


def move(sandbox: Sandbox, seconds: float | None) -> None:
    body = {} if seconds is None else {"move_seconds": seconds}
    answer = requests.post(f"{sandbox.mmp_url}/clock", json=body, timeout=10)
    assert answer.json()["now"] == pytest.approx(sandbox.mmp.clock.now(), abs=100)


def get(sandbox: Sandbox, path: str, **parameters: str) -> requests.Response:
    return requests.get(f"{sandbox.mmp_url}{path}", parameters, timeout=10)


def post(sandbox: Sandbox, path: str, parameters: Any) -> requests.Response:
    return requests.post(sandbox.url + path, parameters, timeout=10)


def event() -> dict[str, str]:
    return form(created_at_unix=None)


def test_the_road_of_a_device(sandbox: Sandbox) -> None:
    """A view, a click, a session and an event go to their addresses and are attributed."""
    view = get(sandbox, "/impression/moloco1", gps_adid=GAID, campaign="{{campaign.title}}")
    assert view.json() == {
        "message": "view recorded",
        "number": sandbox.mmp.touches[0].number,
        "partner": "Moloco",
        "unfilled": ["campaign"],
    }
    click = get(sandbox, "/moloco1", gps_adid=GAID).json()
    assert click["reftag"] == sandbox.mmp.touches[1].reftag
    session = post(sandbox, "/mmp/session", SESSION)
    assert (session.status_code, session.json()["message"]) == (200, "Install tracked")
    answer = post(sandbox, "/mmp/event", event())
    assert (answer.status_code, answer.json()) == (200, {"status": "OK"})
    (activity,) = sandbox.mmp.events
    assert activity.source.tier == "device-matched click"
    assert [each.target for each in sandbox.requests] == ["mmp"] * 4
    assert sandbox.requests[-1].body == {"path": "/mmp/event", "parameters": event()}


def test_every_form_of_an_event(sandbox: Sandbox) -> None:
    """GET with a query, POST with a query and POST with a form are alike; JSON says nothing."""
    post(sandbox, "/session", SESSION)
    url = f"{sandbox.url}/event"
    for answer in (
        requests.get(url, event(), timeout=10),
        requests.post(url, params=event(), timeout=10),
        requests.post(url, event(), timeout=10),
    ):
        assert answer.status_code == 200
    refused = requests.post(url, json=event(), timeout=10)
    assert refused.status_code == 400
    assert refused.json() == {"error": "Event request failed (Invalid app token)"}
    assert len(sandbox.mmp.events) == 3


def test_texts_are_utf_8(sandbox: Sandbox) -> None:
    """Values are decoded from percent-encoded UTF-8."""
    post(sandbox, "/session", SESSION)
    params = '{"name": "Größe 신발"}'
    assert post(sandbox, "/event", {**event(), "partner_params": params}).status_code == 200
    assert sandbox.mmp.events[0].partner_params == {"name": "Größe 신발"}


def test_without_an_identifier(sandbox: Sandbox) -> None:
    """A click without an identifier matches by the address and the user agent of its request."""
    get(sandbox, "/api/v1/click/another1", m_adgroup="x")
    get(sandbox, "/api/v1/impression/moloco1", m_adid="another")
    post(sandbox, "/session", SESSION)
    source = sandbox.mmp.devices[0].sources[0]
    assert (source.partner, source.tier) == ("Another network", "probabilistic click")


def test_refusals(sandbox: Sandbox) -> None:
    """A refusal names what was refused, and is in the record."""
    answer = get(sandbox, "/unknown")
    assert answer.status_code == 404
    assert answer.json() == {"error": "Click request failed (no partner has this link)"}
    assert sandbox.requests[-1].message == "no partner has this link"
    assert post(sandbox, "/event", b"x" * 1024 * 1024).status_code == 400
    answer = post(sandbox, "/event", b"x" * (1024 * 1024 + 1))
    assert answer.status_code == 413


def test_faults(sandbox: Sandbox) -> None:
    """A fault answers for the MMP; what came before it is stored only if that is asked for."""
    post(sandbox, "/session", SESSION)
    sandbox.fail_next(500, target="mmp")
    answer = post(sandbox, "/event", event())
    assert answer.status_code == 500
    assert answer.json() == {"error": "Event request failed (a fault was requested)"}
    assert sandbox.mmp.events == []
    fault = {"status": 503, "target": "mmp", "after_storing": True, "retry_after": 7}
    assert requests.post(f"{sandbox.url}/faults", json=fault, timeout=10).status_code == 200
    answer = post(sandbox, "/event", event())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
    assert len(sandbox.mmp.events) == 1
    with pytest.raises(ValueError, match="after_storing is for the target mmp only"):
        sandbox.fail_next(503, after_storing=True)


def test_the_clock(sandbox: Sandbox) -> None:
    """The clock is moved over HTTP, on, back and to the present."""
    move(sandbox, 8 * DAY)
    assert sandbox.mmp.clock.ahead_seconds == 8 * DAY
    move(sandbox, -9 * DAY)
    assert sandbox.mmp.clock.ahead_seconds == -DAY
    move(sandbox, None)
    assert sandbox.mmp.clock.ahead_seconds == 0
    for seconds in ('"soon"', "[1]", '"nan"', "1e300", "-1e10"):
        body = f'{{"move_seconds": {seconds}}}'
        answer = requests.post(f"{sandbox.mmp_url}/clock", body, timeout=10)
        assert answer.status_code == 400
    for body in ("[]", "x", ""):
        answer = requests.post(f"{sandbox.mmp_url}/clock", body, timeout=10)
        assert answer.status_code == 400
    assert sandbox.mmp.clock.ahead_seconds == 0


def test_what_the_page_gets(sandbox: Sandbox) -> None:
    """The state names the devices, and a road has each step with its reasons and postbacks."""
    get(sandbox, "/impression/moloco1", gps_adid=GAID, adgroup="{{publisher.bundle}}")
    get(sandbox, "/another1", gps_adid="stranger")
    post(sandbox, "/session", SESSION)
    post(sandbox, "/event", event())
    post(sandbox, "/event", {**event(), "created_at_unix": "1"})
    post(sandbox, "/event", {**event(), "gps_adid": "stranger"})
    state = get(sandbox, "/state").json()
    (device,) = state["devices"]
    assert (device["events"], device["refused"], state["strangers"]) == (1, 1, 2)
    number = sandbox.mmp.touches[0].number
    assert device["source"] == {
        "partner": "Moloco",
        "tier": "device-matched view",
        "touch": number,
    }
    assert state["links"] == {"moloco1": "Moloco", "another1": "Another network"}
    assert "devices" not in get(sandbox, "/state", version=state["version"]).json()

    road = get(sandbox, "/road", device=device["key"]).json()
    by_kind = {step["kind"]: step for step in road["steps"]}
    assert set(by_kind) == {"view", "install", "event", "refused"}
    assert by_kind["view"]["notes"] == ["link moloco1", "not filled in: adgroup"]
    assert by_kind["install"]["candidates"] == [
        {
            "name": f"view {number}: Moloco",
            "has_won": True,
            "reason": "the latest device-matched view",
        }
    ]
    assert by_kind["refused"]["notes"] == ["it is older than 58 days"]
    (postback,) = by_kind["event"]["postbacks"]
    assert (postback["partner"], postback["state"], postback["kind"]) == ("Moloco", "kept", "own")
    assert postback["fields"]["event_name"] == "abc123"
    strangers = get(sandbox, "/road").json()["steps"]
    assert [step["kind"] for step in strangers] == ["click", "refused"]
    assert get(sandbox, "/road", device="unknown").status_code == 404


def test_a_touch_that_the_referrer_named(sandbox: Sandbox) -> None:
    """A click that matched by the store's referrer alone is on the road of the device."""
    click = get(sandbox, "/moloco1", idfv="before", user_agent="Browser/1").json()
    post(sandbox, "/session", {**SESSION, "reftag": click["reftag"]})
    state = get(sandbox, "/state").json()
    road = get(sandbox, "/road", device=state["devices"][0]["key"]).json()
    assert [step["kind"] for step in road["steps"]] == ["click", "install"]
    assert state["strangers"] == 0


def test_it_is_not_in_the_list_of_events(sandbox: Sandbox) -> None:
    """Requests to the MMP are in the record, but not on the page of MCM's events."""
    post(sandbox, "/session", SESSION)
    with requests.get(f"{sandbox.url}/live/feed", stream=True, timeout=30) as feed:
        lines = (line for line in feed.iter_lines() if line.startswith(b"event: "))
        assert [next(lines) for _ in range(2)] == [b"event: hello", b"event: state"]


def test_another_site_may_not_use_it(sandbox: Sandbox) -> None:
    """A request that a browser sends for another site is refused."""
    headers = {"origin": "https://shop.example"}
    for path in ("/mmp/clock", "/mmp/event", "/event"):
        answer = requests.post(sandbox.url + path, headers=headers, timeout=10)
        assert answer.status_code == 403


def test_files_of_the_page(sandbox: Sandbox) -> None:
    """The page is served with a strict policy; another name gets a 404."""
    page = get(sandbox, "/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "unsafe" not in page.headers["content-security-policy"]
    assert get(sandbox, "/page/unknown.js").status_code == 404
