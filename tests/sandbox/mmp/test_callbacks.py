"""Callbacks that a tracking link itself asks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.faulty_server import FaultyServer
from support.mmp import APP_TOKEN, GAID, NOW, form, make_mmp

from amplitude_moloco.sandbox.mmp.delivery import Postback
from amplitude_moloco.sandbox.mmp.mmp import Mmp
from amplitude_moloco.sandbox.mmp.settings import DAY
from amplitude_moloco.sandbox.mmp.timeline import road_of

ADDRESS = "https://network.test/{activity_kind}?id={gps_adid}&campaign={campaign_name}&x={label}"
DEVICE: dict[str, Any] = {"gps_adid": GAID, "app_token": APP_TOKEN}


def called(mmp: Mmp) -> list[tuple[str, str]]:
    """Returns the parameter and the activity of each callback, oldest first."""
    callbacks = [each.message for each in mmp.postbacks if each.message.callback]
    return [(each.callback, each.fields["activity_kind"]) for each in callbacks]


def last(mmp: Mmp) -> Postback:
    return mmp.postbacks[-1]


@pytest.mark.parametrize(
    ("parameter", "kinds"),
    [
        ("click_callback", ["click"]),
        ("install_callback", ["install"]),
        ("session_callback", ["session"]),
        ("conversion_callback", ["install"]),
        ("reattribution_callback", []),
        ("impression_callback", []),
        ("event_callback_abc123", ["event"]),
        ("event_callback_other1_abc123", ["event"]),
        ("event_callback_other1", []),
        ("event_callback_abc", []),
    ],
)
def test_each_is_called_for_its_kind(parameter: str, kinds: list[str]) -> None:
    """A link's callback is called for its kind of activity, an event's for its tokens alone."""
    mmp = make_mmp()
    mmp.click("moloco1", gps_adid=GAID, **{parameter: ADDRESS})
    mmp.session(**DEVICE)
    mmp.record_event(form())
    mmp.move_clock(3600)
    mmp.session(**DEVICE)
    assert called(mmp) == [(parameter, kind) for kind in kinds]


def test_a_view_has_its_own() -> None:
    """A view is called back by impression_callback, and what it drives like a click's."""
    mmp = make_mmp()
    mmp.view("moloco1", gps_adid=GAID, impression_callback=ADDRESS, install_callback=ADDRESS)
    mmp.session(**DEVICE)
    assert called(mmp) == [("impression_callback", "impression"), ("install_callback", "install")]


def test_a_reattribution() -> None:
    """A reattribution is called back as such and as a conversion, by the new link alone."""
    mmp = make_mmp()
    mmp.click("moloco1", gps_adid=GAID, session_callback=ADDRESS)
    mmp.session(**DEVICE)
    mmp.move_clock(8 * DAY)
    both = {"reattribution_callback": ADDRESS, "conversion_callback": ADDRESS}
    mmp.click("another1", gps_adid=GAID, **both)
    mmp.session(**DEVICE)
    assert called(mmp) == [(name, "reattribution") for name in both]


def test_a_link_learns_of_its_own_alone() -> None:
    """What another link or nothing has driven is not called back."""
    mmp = make_mmp()
    mmp.click("moloco1", gps_adid=GAID, install_callback=ADDRESS)
    mmp.click("another1", gps_adid=GAID)
    mmp.session(**DEVICE)
    mmp.session(gps_adid="another", app_token=APP_TOKEN)
    assert called(mmp) == []


def test_the_address_is_filled_in() -> None:
    """Placeholders are filled in, without data they are left out; a callback is no macro."""
    mmp = make_mmp()
    click = mmp.click("moloco1", gps_adid=GAID, campaign="a b", install_callback=ADDRESS)
    assert (click.unfilled, "install_callback" in click.parameters) == ((), False)
    mmp.session(**DEVICE)
    assert last(mmp).message.url == f"https://network.test/install?id={GAID}&campaign=a+b"
    plain = "https://network.test/plain?a=1"
    mmp.click("moloco1", gps_adid="other", install_callback=plain)
    mmp.session(gps_adid="other", app_token=APP_TOKEN)
    assert last(mmp).message.url == plain


def test_they_are_only_shown_by_default() -> None:
    """What a link asks for is kept and not sent, unless the settings say so."""
    mmp = make_mmp()
    mmp.click("moloco1", gps_adid=GAID, click_callback="https://network.test/")
    assert last(mmp).state == "kept"
    mmp = make_mmp(sends_callbacks=True)
    mmp.click("moloco1", gps_adid=GAID, click_callback="https://network.test/")
    assert last(mmp).state == "pending"


@pytest.mark.parametrize(
    "address",
    [
        "http://network.test/",
        "http://192.0.2.1/",
        "ftp://127.0.0.1/",
        "https://",
        "https://[",
        "https://x.test:port/",
        "javascript:alert(1)",
        "",
    ],
)
def test_an_address_without_tls_is_not_called(address: str) -> None:
    """A callback goes by https, or by http to this machine, and the page says why it does not."""
    mmp = make_mmp(sends_callbacks=True)
    mmp.click("moloco1", gps_adid=GAID, install_callback=address)
    mmp.session(**DEVICE)
    assert called(mmp) == []
    road = road_of(mmp, mmp.devices[0].key)
    assert road is not None
    told = {each["callback"]: each["silence"] for each in road["steps"][1]["postbacks"]}
    assert told == {"": "", "install_callback": "its address is not https"}


@given(st.text(), st.text())
def test_any_address_is_taken(rest: str, value: str) -> None:
    """Whatever a link asks for and says, a click is recorded, and its callback kept or refused."""
    mmp = make_mmp()
    asked = {"click_callback": f"https://network.test/{rest}", "impression_callback": rest}
    mmp.click("moloco1", **{"gps_adid": GAID, "label": value, **asked})
    assert called(mmp) == [("click_callback", "click")]


@pytest.fixture
def sending() -> Iterator[Mmp]:
    mmp = make_mmp(sends_callbacks=True)
    mmp.courier.start()
    yield mmp
    mmp.courier.stop()


def test_they_arrive(sending: Mmp, server: FaultyServer) -> None:
    """A callback is a GET to the link's address, and the road of the device shows it."""
    address = f"{server.url}/called?kind={{activity_kind}}&at={{created_at}}"
    sending.click("moloco1", gps_adid=GAID, click_callback=address, label="a")
    sending.wait()
    (request,) = server.requests
    assert (request.method, urlsplit(request.target).path) == ("GET", "/called")
    assert parse_qs(urlsplit(request.target).query) == {"kind": ["click"], "at": [str(NOW)]}
    strangers = road_of(sending, "")
    assert strangers is not None
    sending.session(**DEVICE)
    road = road_of(sending, sending.devices[0].key)
    assert road is not None
    for each in (strangers, road):
        (callback,) = each["steps"][0]["postbacks"]
        assert (callback["callback"], callback["state"]) == ("click_callback", "delivered")
    assert road["steps"][0]["parameters"]["click_callback"] == address


def test_no_partner_is_told_of_a_device_that_opted_out_of_sharing() -> None:
    """After an opt-out of third-party sharing a device is measured, and no partner is told."""
    mmp = make_mmp()
    mmp.click("moloco1", gps_adid=GAID, event_callback_abc123=ADDRESS)
    mmp.session(**DEVICE)
    count = len(mmp.postbacks)
    mmp.stop_sharing(gps_adid=GAID)
    event = mmp.record_event(form())
    assert event.partner == "Moloco"
    assert len(mmp.postbacks) == count
    silences = {each.silence for each in mmp.messages(event)}
    assert silences == {"the device opted out of sharing its data"}
    with pytest.raises(ValueError, match="no device has one of these identifiers"):
        mmp.stop_sharing(gps_adid="unknown")
