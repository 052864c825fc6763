"""Postbacks: what is in them, and how they are sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.faulty_server import FaultyServer
from support.mmp import APP_TOKEN, GAID, NOW, form, make_mmp

from amplitude_moloco.sandbox.mmp.delivery import REPEAT_SECONDS
from amplitude_moloco.sandbox.mmp.mmp import Mmp
from amplitude_moloco.sandbox.mmp.postback import filled
from amplitude_moloco.sandbox.mmp.refusal import Refused
from amplitude_moloco.sandbox.mmp.settings import (
    DAY,
    DEFAULT_PARTNERS,
    HOUR,
    MmpSettings,
    Partner,
    Postbacks,
)
from amplitude_moloco.sandbox.mmp.touch import Touch

LINK = {
    "campaign": "summer",
    "adgroup": "{{publisher.bundle}}",
    "molo_click_id": "click-1",
    "gps_adid": GAID,
}
PRODUCTS = json.dumps([{"product_id": "a"}, {"product_id": "b"}])
PURCHASE = {
    "revenue": "25.00",
    "currency": "USD",
    "partner_params": json.dumps({"products": PRODUCTS}),
}


def mmp_with(**postbacks: Any) -> Mmp:
    """An MMP whose first partner gets these postbacks."""
    moloco, other = DEFAULT_PARTNERS
    return make_mmp(partners=(replace(moloco, postbacks=Postbacks(**postbacks)), other))


def touch(mmp: Mmp, driver: str) -> Touch | None:
    links = {"own": "moloco1", "other": "another1"}
    return mmp.click(links[driver], **LINK) if driver in links else None


def posted(mmp: Mmp, driver: str) -> list[dict[str, str]]:
    """Lets a device install and buy, after a touch of this driver. Returns the postbacks."""
    touch(mmp, driver)
    mmp.session(gps_adid=GAID, app_token=APP_TOKEN)
    mmp.record_event({**form(), **PURCHASE})
    return [dict(each.message.fields) for each in mmp.postbacks]


class TestKinds:
    """What a partner gets, by what drove the activity."""

    def test_its_own(self) -> None:
        """Of what it drove itself, it gets campaign, click id and times, with the products."""
        install, purchase = posted(mmp_with(events={"abc123": "purchase"}), "own")
        assert install == {
            "activity_kind": "install",
            "app_token": APP_TOKEN,
            "created_at": str(NOW),
            "installed_at": str(NOW),
            "is_organic": "0",
            "adid": install["adid"],
            "gps_adid": GAID,
            "tracker": "moloco1",
            "network_name": "Moloco",
            "campaign_name": "summer",
            "molo_click_id": "click-1",
            "match_type": "device",
            "reftag": "sandbox1",
            "impression_based": "0",
            "click_time": str(NOW),
        }
        assert (purchase["event"], purchase["event_name"]) == ("abc123", "purchase")
        assert (purchase["revenue"], purchase["currency"]) == ("25.00", "USD")
        assert json.loads(purchase["partner_parameters"]) == {"products": PRODUCTS}

    def test_of_a_view(self) -> None:
        """Of a view it gets the time of the impression."""
        mmp = mmp_with()
        mmp.view("moloco1", **LINK)
        (install, _) = posted(mmp, "nothing")
        assert (install["impression_based"], install["impression_time"]) == ("1", str(NOW))
        assert "click_time" not in install

    @pytest.mark.parametrize(
        ("driver", "is_organic", "network"), [("other", "0", None), ("nothing", "1", "Organic")]
    )
    def test_of_others(self, driver: str, is_organic: str, network: str | None) -> None:
        """Of others' and organic activity it gets the event and the device, but no campaign."""
        for fields in posted(mmp_with(), driver):
            assert fields["is_organic"] == is_organic
            assert fields.get("network_name") == network
            assert fields["gps_adid"] == GAID
            secret = {"campaign_name", "molo_click_id", "tracker", "click_time", "match_type"}
            assert not secret & set(fields)

    @pytest.mark.parametrize(("driver", "number"), [("own", 2), ("other", 0), ("nothing", 0)])
    def test_attributed_only(self, driver: str, number: int) -> None:
        """With "attributed only" it gets what it drove itself, and nothing else."""
        mmp = mmp_with(full=False)
        assert len(posted(mmp, driver)) == number
        silences = [each.silence for one in mmp.activities for each in mmp.messages(one)]
        assert [bool(silence) for silence in silences] == [not number, not number]

    def test_a_reattribution_is_posted_as_such(self) -> None:
        """A device that is won back is posted as a reattribution, and never as an install again."""
        mmp = mmp_with()
        mmp.session(gps_adid=GAID, app_token=APP_TOKEN)
        mmp.move_clock(8 * DAY)
        touch(mmp, "own")
        mmp.session(gps_adid=GAID, app_token=APP_TOKEN)
        kinds = [each.message.fields["activity_kind"] for each in mmp.postbacks]
        assert kinds == ["install", "reattribution"]

    def test_a_link_cannot_speak_for_the_mmp(self) -> None:
        """A parameter of a link does not replace what the MMP says itself."""
        mmp = mmp_with()
        mmp.click("moloco1", gps_adid=GAID, created_at="1", event="x", is_organic="1")
        install = posted(mmp, "nothing")[0]
        assert (install["created_at"], install["is_organic"]) == (str(NOW), "0")
        assert "event" not in install

    def test_several_partners(self) -> None:
        """Each partner with postbacks gets one; the one that drove it gets the most."""
        both = tuple(replace(each, postbacks=Postbacks()) for each in DEFAULT_PARTNERS)
        mmp = make_mmp(partners=both)
        touch(mmp, "other")
        mmp.session(gps_adid=GAID)
        kinds = {each.message.partner: each.message.kind for each in mmp.postbacks}
        assert kinds == {"Moloco": "other", "Another network": "own"}


class TestSwitches:
    """Which events and which parts of them a partner gets."""

    def test_an_event_that_is_not_linked(self) -> None:
        """An event is posted back only if it is linked."""
        mmp = mmp_with(events={"xyz789": "cart"})
        assert [each["activity_kind"] for each in posted(mmp, "own")] == ["install"]
        assert mmp.messages(mmp.events[0])[0].silence == "this event is not linked"

    def test_without_a_list_all_are_linked(self) -> None:
        """Without linked events, each is posted back under its own token."""
        assert posted(mmp_with(), "own")[1]["event_name"] == "abc123"

    def test_revenue_and_parameters(self) -> None:
        """Revenue and parameters have a switch each."""
        purchase = posted(mmp_with(revenue=False, parameters=False), "own")[1]
        assert not {"revenue", "currency", "partner_parameters"} & set(purchase)

    def test_an_event_that_is_repeated(self) -> None:
        """A copy is posted back as well, but for a token that is set to be unique."""
        for unique, count in [(frozenset[str](), 3), (frozenset({"abc123"}), 2)]:
            mmp = make_mmp(unique_events=unique)
            mmp.session(gps_adid=GAID, app_token=APP_TOKEN)
            mmp.record_event(form())
            with suppress(Refused):
                mmp.record_event(form())
            assert len(mmp.postbacks) == count

    def test_no_postback_of_a_device_that_opted_out(self) -> None:
        """After an opt-out no partner learns of the device's events."""
        mmp = mmp_with()
        posted(mmp, "own")
        count = len(mmp.postbacks)
        mmp.opt_out(gps_adid=GAID)
        with pytest.raises(Refused, match="opted out"):
            mmp.record_event(form(NOW + 1))
        assert len(mmp.postbacks) == count

    def test_no_postback_of_a_refused_event(self) -> None:
        """A refused event is not posted back; one that came twice is, twice."""
        mmp = mmp_with()
        posted(mmp, "own")
        for at in (NOW + 9, NOW + 8, NOW + 9):
            try:
                mmp.record_event(form(at))
            except Exception as refused:
                assert str(refused) == "Bad event state"  # noqa: PT017  # of one of three
        created = [each.message.fields["created_at"] for each in mmp.postbacks]
        assert created == [str(NOW), str(NOW), str(NOW + 9), str(NOW + 9)]


class TestAddresses:
    """The address of a postback."""

    FIELDS = {"event_name": "add to cart", "revenue": "1.5"}  # noqa: RUF012  # only read

    @pytest.mark.parametrize(
        ("template", "url"),
        [
            ("http://h/p?e={event_name}&r={revenue}", "http://h/p?e=add+to+cart&r=1.5"),
            ("http://h/{event_name}?x=1", "http://h/add%20to%20cart?x=1"),
            ("http://h/p?c={campaign_name}&x=&y=a{label}", "http://h/p?x=&y=a"),
            ("http://h/p?k=v", "http://h/p?k=v"),
        ],
    )
    def test_placeholders(self, template: str, url: str) -> None:
        """Placeholders are filled in and encoded; a parameter without data is left out."""
        assert filled(template, self.FIELDS) == url

    @pytest.mark.parametrize("query", ["", "?k=v"])
    def test_without_placeholders(self, query: str) -> None:
        """The address of a partner gets all there is as parameters if it has no placeholder."""
        mmp = mmp_with(url=f"https://partner.test/p{query}")
        posted(mmp, "own")
        found = parse_qs(urlsplit(mmp.postbacks[-1].message.url).query)
        assert found["event"] == ["abc123"]
        assert found.get("k") == (["v"] if query else None)

    @pytest.mark.parametrize(
        "url",
        ["file:///etc/passwd", "http://partner.test/", "https://", "http://[", "http://10.0.0.1"],
    )
    def test_another_scheme(self, url: str) -> None:
        """A postback goes by https, or by http to this machine."""
        with pytest.raises(ValueError, match="must begin with https://, or be http:// to this"):
            Postbacks(url=url)
        for here in (
            "http://127.0.0.1:9/",
            "http://localhost/x",
            "http://[::1]/",
            "https://a.test",
        ):
            assert Postbacks(url=here).url == here


@pytest.fixture
def sending(server: FaultyServer) -> Iterator[Mmp]:
    """An MMP that sends full postbacks to a server."""
    partner = Partner("Moloco", {}, postbacks=Postbacks(f"{server.url}/postback?network=moloco"))
    mmp = make_mmp(partners=(partner,))
    mmp.courier.start()
    yield mmp
    mmp.courier.stop()


class TestDelivery:
    """Postbacks over HTTP."""

    def test_arrives(self, sending: Mmp, server: FaultyServer) -> None:
        """A postback arrives as a GET with everything in its address."""
        sending.session(gps_adid=GAID, app_token=APP_TOKEN)
        sending.wait()
        (request,) = server.requests
        assert request.method == "GET"
        query = parse_qs(urlsplit(request.target).query)
        assert (query["network"], query["gps_adid"]) == (["moloco"], [GAID])
        (postback,) = sending.postbacks
        assert (postback.state, postback.statuses) == ("delivered", (200,))

    def test_is_repeated(self, sending: Mmp, server: FaultyServer) -> None:
        """After a 5xx or no answer it is repeated six times within 24 hours, and given up."""
        server.will(server.reply(503))
        server.will(lambda exchange: exchange.reset())
        server.decide = lambda request: server.reply(500)
        sending.session(gps_adid=GAID, app_token=APP_TOKEN)
        for seconds in REPEAT_SECONDS:
            sending.wait()
            assert sending.postbacks[0].state == "pending"
            sending.move_clock(seconds)
        sending.wait()
        (postback,) = sending.postbacks
        assert (postback.state, postback.statuses[:3]) == ("failed", (503, None, 500))
        assert len(postback.statuses) == 7
        assert sum(REPEAT_SECONDS) < 24 * HOUR

    def test_arrives_later(self, sending: Mmp, server: FaultyServer) -> None:
        """A repeat that is accepted ends it."""
        server.will(server.reply(503))
        sending.session(gps_adid=GAID)
        sending.wait()
        changes = sending.courier.changes
        sending.move_clock(60)
        sending.wait()
        assert sending.postbacks[0].state == "delivered"
        assert sending.courier.changes == changes + 1

    @pytest.mark.parametrize("status", [302, 404])
    def test_is_not_repeated(self, sending: Mmp, server: FaultyServer, status: int) -> None:
        """A redirect is not followed, and a refusal is final."""
        server.decide = lambda request: server.reply(status, Location="/elsewhere")
        sending.session(gps_adid=GAID)
        sending.wait()
        assert (sending.postbacks[0].state, len(server.requests)) == ("failed", 1)

    @pytest.mark.parametrize("host", ["a" * 70 + ".test", "a..test"])
    def test_an_address_that_can_not_be_called(self, server: FaultyServer, host: str) -> None:
        """A host that can't be holds up no other postback."""
        partners = (
            Partner("Odd", {}, postbacks=Postbacks(f"https://{host}/")),
            Partner("Moloco", {}, postbacks=Postbacks(f"{server.url}/postback")),
        )
        mmp = make_mmp(partners=partners)
        mmp.courier.start()
        mmp.session(gps_adid=GAID)
        mmp.wait()
        mmp.courier.stop()
        odd, sound = mmp.postbacks
        assert (odd.statuses, sound.state) == ((None,), "delivered")

    def test_forgotten_meanwhile(self, sending: Mmp, server: FaultyServer) -> None:
        """A postback that is forgotten while it is on its way stays forgotten."""
        server.will(lambda exchange: sending.clear(), server.reply(200))
        sending.session(gps_adid=GAID)
        sending.wait()
        assert len(server.requests) == 1
        assert sending.postbacks == []

    def test_the_oldest_are_discarded(self) -> None:
        """Up to a number of postbacks is kept; a pending one that is discarded is not sent."""
        partner = Partner("x", {}, postbacks=Postbacks("http://127.0.0.1:9/"))
        mmp = Mmp(MmpSettings(partners=(partner,)), max_kept=2)
        for number in range(3):
            mmp.session(gps_adid=f"device-{number}")
        kept = [each.message.fields["gps_adid"] for each in mmp.postbacks]
        assert kept == ["device-1", "device-2"]

    def test_waits_for_a_start(self) -> None:
        """Before the start nothing is sent, and waiting for it ends with its timeout."""
        mmp = make_mmp(partners=(Partner("x", {}, postbacks=Postbacks("http://127.0.0.1:9/")),))
        mmp.session(gps_adid=GAID)
        with pytest.raises(TimeoutError, match="still on their way"):
            mmp.wait(0)
