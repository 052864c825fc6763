"""Sessions and events: what is accepted, what is refused with which words, and its source."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.mmp import APP_TOKEN, GAID, NOW, form, make_mmp

from amplitude_moloco.sandbox.mmp.answers import accepted
from amplitude_moloco.sandbox.mmp.clock import VirtualClock
from amplitude_moloco.sandbox.mmp.mmp import Mmp
from amplitude_moloco.sandbox.mmp.refusal import Refused
from amplitude_moloco.sandbox.mmp.settings import DAY, HOUR


@pytest.fixture
def mmp() -> Mmp:
    """An MMP with one device, which came from Moloco."""
    mmp = make_mmp()
    mmp.click("moloco1", gps_adid=GAID)
    mmp.session(gps_adid=GAID, app_token=APP_TOKEN)
    return mmp


def refusal_of(mmp: Mmp, parameters: dict[str, str], token: str | None = None) -> tuple[int, str]:
    """Sends an event that is refused. Returns the status and the message."""
    with pytest.raises(Refused) as caught:
        mmp.record_event(parameters, token)
    assert (mmp.refusals[-1].status, mmp.refusals[-1].message) == (
        caught.value.status,
        caught.value.message,
    )
    return caught.value.status, caught.value.message


class TestEvents:
    """Events, as a server sends them."""

    def test_an_accepted_event(self, mmp: Mmp) -> None:
        """An event gets a 200, and the source of its device."""
        activity = mmp.record_event(form(revenue="12.50", currency="USD"))
        answer = accepted(activity)
        assert (answer.status, answer.body) == (200, {"status": "OK"})
        assert (activity.partner, activity.warnings) == ("Moloco", ())
        assert [each.event_token for each in mmp.events] == ["abc123"]
        assert mmp.answers == {"accepted sessions": 1, "accepted events": 1}

    @pytest.mark.parametrize(
        ("more", "status", "message"),
        [
            ({"app_token": "short"}, 400, "Invalid app token"),
            ({"app_token": None}, 400, "Invalid app token"),
            ({"event_token": None}, 400, "Invalid event token"),
            ({"gps_adid": "unknown"}, 404, "Device not found"),
            ({"app_token": "otherother12"}, 404, "Device not found"),
            ({"created_at": NOW - 1}, 400, "Bad event state"),
            ({"callback_params": "[1]"}, 400, "Invalid callback parameters"),
            ({"callback_params": '{"a": 1}'}, 400, "Invalid callback parameters"),
            ({"partner_params": "{"}, 400, "Invalid partner parameters"),
            ({"partner_params": "[" * 100_000}, 400, "Invalid partner parameters"),
            *(
                ({"revenue": amount}, 400, "Invalid revenue")
                for amount in ("1e5", "1,000", "-1", "0", "0.0009", "100000000001", "", "NaN")
            ),
            ({"s2s": None}, 400, "s2s must be 1"),
            ({"environment": "test"}, 400, "environment must be sandbox or production"),
            ({"ip_address": "::1"}, 400, "ip_address must be an IPv4 address"),
            ({"created_at_unix": "1.5"}, 400, "created_at_unix must be whole seconds"),
            (
                {"att_status": "3", "tracking_enabled": "1"},
                400,
                "att_status and tracking_enabled must not be sent together",
            ),
            ({"gps_adid": None}, 400, "no device identifier"),
            ({"gps_adid": "00000000-0000-0000-0000-000000000000"}, 400, "no device identifier"),
        ],
    )
    def test_refusals(self, mmp: Mmp, more: dict[str, Any], status: int, message: str) -> None:
        """Each fault of a request has its status and its words, and the event leaves no trace."""
        assert refusal_of(mmp, form(**more)) == (status, message)
        assert mmp.events == []
        assert mmp.answers[f"{status} {message}"] == 1

    @pytest.mark.parametrize("amount", ["0.001", "100000000000", "12.5", "7"])
    def test_the_edges_of_revenue(self, mmp: Mmp, amount: str) -> None:
        """The least and the most revenue are accepted."""
        assert mmp.record_event(form(revenue=amount, currency="USD")).parameters["revenue"]

    @pytest.mark.parametrize(
        ("settings", "status", "message"),
        [
            ({"app_token": "otherother12"}, 404, "App token not found"),
            ({"is_active": False}, 403, "App is inactive"),
            ({"is_tracking": False}, 403, "Tracking disabled"),
            ({"event_tokens": frozenset({"xyz789"})}, 400, "Invalid event token"),
            ({"blocked_events": frozenset({"abc123"})}, 403, "Event token blocklisted"),
        ],
    )
    def test_settings_of_the_dashboard(
        self, settings: dict[str, Any], status: int, message: str
    ) -> None:
        """What the dashboard says of an app or an event is answered as documented."""
        assert refusal_of(make_mmp(**settings), form()) == (status, message)

    @pytest.mark.parametrize("name", ["s2s", "app_token", "event_token", "gps_adid"])
    def test_names_are_case_sensitive(self, mmp: Mmp, name: str) -> None:
        """A parameter in another case is another parameter."""
        parameters = form()
        parameters[name.upper()] = parameters.pop(name)
        assert refusal_of(mmp, parameters)[0] == 400

    def test_an_event_without_a_time(self, mmp: Mmp) -> None:
        """Without created_at_unix, an event has the time at which it is received."""
        mmp.move_clock(DAY)
        assert mmp.record_event(form(created_at_unix=None)).at == NOW + DAY

    def test_tokens_are_not_enforced_by_default(self) -> None:
        """Without a token in the dashboard nothing is asked for, and with one there is a 202."""
        for settings, status in [({}, 200), ({"s2s_token": "secret"}, 202)]:
            mmp = make_mmp(**settings)
            mmp.session(gps_adid=GAID, app_token=APP_TOKEN)
            assert accepted(mmp.record_event(form())).status == status

    def test_warnings(self, mmp: Mmp) -> None:
        """What is accepted although it is not as documented is noted."""
        activity = mmp.record_event(form(environment=None, revenue="1"))
        assert activity.warnings == (
            "without environment, it counts as production",
            "revenue without a currency",
        )

    def test_older_than_58_days(self, mmp: Mmp) -> None:
        """An event is accepted for 58 days, and refused a second later."""
        mmp.move_clock(58 * DAY)
        assert mmp.record_event(form()).kind == "event"
        mmp.move_clock(1)
        assert refusal_of(mmp, form()) == (400, "Bad event state")
        assert (mmp.refusals[-1].why, mmp.out_of_order) == ("it is older than 58 days", [])

    def test_before_the_install(self, mmp: Mmp) -> None:
        """An event before the install of its device is refused, and the sandbox says why."""
        assert refusal_of(mmp, form(NOW - 1)) == (400, "Bad event state")
        assert mmp.refusals[-1].why == "it is earlier than the install"

    def test_a_unique_event(self) -> None:
        """An event that is set to be unique counts once for a device."""
        mmp = make_mmp(unique_events=frozenset({"abc123"}))
        mmp.session(gps_adid=GAID, app_token=APP_TOKEN)
        mmp.record_event(form())
        message = "Ignoring event, earlier unique event tracked"
        assert refusal_of(mmp, form()) == (400, message)
        assert mmp.record_event(form(event_token="xyz789")).kind == "event"

    def test_an_opted_out_device(self, mmp: Mmp) -> None:
        """A device that opted out gets a 451 for events and for sessions."""
        mmp.opt_out(gps_adid=GAID.upper())
        assert refusal_of(mmp, form()) == (451, "Device is opted out")
        with pytest.raises(ValueError, match="Device is opted out"):
            mmp.session(gps_adid=GAID, app_token=APP_TOKEN)
        with pytest.raises(ValueError, match="no device has one of these identifiers"):
            mmp.opt_out(gps_adid="unknown")

    @pytest.mark.parametrize(
        ("token", "scopes", "enforced", "warning"),
        [
            (None, {"events"}, "missing authentication token", "missing authentication token"),
            ("Bearer x", {"events"}, "Failed to authorize request", "wrong authentication token"),
            ("Bearer secret", {"sessions"}, "Session failed", "wrong authentication token"),
        ],
    )
    def test_a_token_that_is_not_right(
        self, token: str | None, scopes: set[str], enforced: str, warning: str
    ) -> None:
        """It is a 401 where tokens are enforced, else the event is stored with a 202."""
        for enforce in (True, False):
            mmp = make_mmp(
                s2s_token="secret", token_scopes=frozenset(scopes), enforce_s2s_token=enforce
            )
            if enforce:
                assert refusal_of(mmp, form(), token) == (401, enforced)
            else:
                mmp.session(gps_adid=GAID, app_token=APP_TOKEN)
                activity = mmp.record_event(form(), token)
                assert (accepted(activity).status, activity.warnings) == (202, (warning,))

    def test_a_right_token(self) -> None:
        """With the right token, sessions and events are accepted."""
        mmp = make_mmp(s2s_token="secret", enforce_s2s_token=True)
        mmp.session(gps_adid=GAID, app_token=APP_TOKEN)
        assert accepted(mmp.record_event(form(), "Bearer secret")).status == 200


class TestOrder:
    """The order of events."""

    def test_an_earlier_second(self, mmp: Mmp) -> None:
        """An event before one of the same device and token is refused; of the same second, not."""
        mmp.record_event(form(NOW + 5))
        assert mmp.record_event(form(NOW + 5)).kind == "event"
        assert refusal_of(mmp, form(NOW + 4)) == (400, "Bad event state")
        assert [each.parameters["created_at_unix"] for each in mmp.out_of_order] == [str(NOW + 4)]
        assert mmp.record_event(form(NOW + 4, event_token="xyz789")).kind == "event"

    @given(
        sent=st.lists(
            st.tuples(
                st.sampled_from(["device-a", "device-b"]),
                st.sampled_from(["abc123", "xyz789"]),
                st.integers(NOW, NOW + 5),
            )
        )
    )
    def test_each_device_and_token_has_its_own(self, sent: list[tuple[str, str, int]]) -> None:
        """An event is accepted exactly if no earlier accepted one of its lane is later."""
        mmp = make_mmp()
        for device in ("device-a", "device-b"):
            mmp.session(gps_adid=device, app_token=APP_TOKEN)
        last: dict[tuple[str, str], int] = {}
        refused = 0
        for device, token, at in sent:
            parameters = form(at, gps_adid=device, event_token=token)
            if at >= last.get((device, token), 0):
                mmp.record_event(parameters)
                last[device, token] = at
            else:
                assert refusal_of(mmp, parameters) == (400, "Bad event state")
                refused += 1
        assert len(mmp.out_of_order) == refused
        assert len(mmp.events) == len(sent) - refused


class TestSessions:
    """Sessions, as the app's SDK sends them."""

    def test_the_first_is_the_install(self, mmp: Mmp) -> None:
        """The first session is answered as an install, with the MMP's identifier."""
        (install,) = mmp.activities
        body = accepted(install).body
        assert (install.kind, body["message"]) == ("install", "Install tracked")
        assert body["adid"] == mmp.devices[0].adid
        assert len(body["adid"]) == 32
        mmp.move_clock(HOUR)
        later = mmp.session(gps_adid=GAID, app_token=APP_TOKEN)
        assert (later.kind, accepted(later).body["message"]) == ("session", "Session tracked")

    def test_twenty_minutes(self, mmp: Mmp) -> None:
        """Sessions are at least 20 minutes apart."""
        mmp.move_clock(20 * 60 - 1)
        with pytest.raises(ValueError, match="at least 20 minutes apart"):
            mmp.session(gps_adid=GAID, app_token=APP_TOKEN)
        mmp.move_clock(1)
        assert mmp.session(gps_adid=GAID, app_token=APP_TOKEN).kind == "session"

    def test_any_identifier_names_the_device(self, mmp: Mmp) -> None:
        """A device is found by each identifier that it ever sent, and by the MMP's own."""
        mmp.record_event(form(idfv="vendor"))
        assert mmp.record_event(form(gps_adid=None, idfv="VENDOR")).device == mmp.devices[0].key
        adid = mmp.devices[0].adid
        assert mmp.record_event(form(gps_adid=None, adid=adid)).adid == adid

    def test_an_identifier_stays_with_its_device(self, mmp: Mmp) -> None:
        """An identifier of one device does not move to another that sends it, too."""
        other = mmp.session(idfv="other", app_token=APP_TOKEN)
        assert mmp.record_event(form(idfv="other")).device == mmp.devices[0].key
        assert mmp.record_event(form(gps_adid=None, idfv="other")).device == other.device

    def test_the_app_may_name_the_device(self) -> None:
        """The identifier that the app got from its SDK is kept."""
        assert make_mmp().session(adid="f" * 32).adid == "f" * 32

    def test_an_unknown_link(self, mmp: Mmp) -> None:
        """A link needs a partner, and a report from a server needs an advertising id."""
        with pytest.raises(ValueError, match="no partner has this link"):
            mmp.click("unknown")
        with pytest.raises(ValueError, match="s2s=1 needs an advertising id"):
            mmp.view("moloco1", s2s="1", idfv="vendor")
        assert mmp.view("moloco1", s2s="1", idfa="x").partner == "Moloco"

    def test_clear(self, mmp: Mmp) -> None:
        """After clear() nothing is known."""
        mmp.record_event(form())
        mmp.clear()
        known = (mmp.touches, mmp.activities, mmp.refusals, mmp.devices, mmp.postbacks)
        assert known == ([], [], [], [], [])
        assert refusal_of(mmp, form()) == (404, "Device not found")


class TestSources:
    """Where events come from."""

    def test_a_reattribution_changes_later_events_only(self, mmp: Mmp) -> None:
        """After 8 idle days another link gets the events from then on; those before stay."""
        before = mmp.record_event(form())
        mmp.move_clock(8 * DAY - 60)
        mmp.click("another1", gps_adid=GAID)
        mmp.move_clock(60)
        session = mmp.session(gps_adid=GAID, app_token=APP_TOKEN)
        assert (session.kind, session.partner) == ("reattribution", "Another network")
        assert accepted(session).body["message"] == "Session tracked"
        late = mmp.record_event(form(NOW + 8 * DAY - 1, event_token="xyz789"))
        after = mmp.record_event(form(NOW + 8 * DAY))
        assert (late.partner, after.partner) == ("Moloco", "Another network")
        assert mmp.events[0] == before
        assert before.partner == "Moloco"

    def test_the_same_link_does_not_reattribute(self, mmp: Mmp) -> None:
        """A click on the link of the present source changes nothing."""
        mmp.move_clock(8 * DAY)
        mmp.click("moloco1", gps_adid=GAID)
        assert mmp.session(gps_adid=GAID, app_token=APP_TOKEN).kind == "session"

    def test_an_event_keeps_a_device_active(self, mmp: Mmp) -> None:
        """Inactivity counts from the last session or event."""
        mmp.move_clock(4 * DAY)
        mmp.record_event(form(NOW + 4 * DAY))
        mmp.move_clock(4 * DAY)
        mmp.click("another1", gps_adid=GAID)
        session = mmp.session(gps_adid=GAID, app_token=APP_TOKEN)
        assert session.kind == "session"
        assert session.considered is not None
        assert session.considered.candidates[1].reason.startswith("the device was inactive for 4 d")

    def test_no_device_becomes_organic_again(self, mmp: Mmp) -> None:
        """A device that nothing reattributes keeps its source, however long it was idle."""
        mmp.move_clock(300 * DAY)
        session = mmp.session(gps_adid=GAID, app_token=APP_TOKEN)
        assert (session.kind, session.partner) == ("session", "Moloco")
        assert mmp.record_event(form(NOW + 300 * DAY)).partner == "Moloco"

    def test_an_organic_device_can_be_won(self) -> None:
        """An organic device goes to the first link that reattributes it."""
        mmp = make_mmp()
        assert mmp.session(gps_adid=GAID).partner is None
        mmp.move_clock(8 * DAY)
        mmp.click("moloco1", gps_adid=GAID)
        assert mmp.session(gps_adid=GAID).partner == "Moloco"

    def test_an_event_in_the_second_of_the_install(self) -> None:
        """Requests name whole seconds, so an event of the install's own second is accepted."""
        clock = VirtualClock(lambda: NOW + 0.9)
        mmp = Mmp(clock=clock)
        mmp.session(gps_adid=GAID, app_token=APP_TOKEN)
        assert mmp.record_event(form()).partner is None


def test_the_clock() -> None:
    """The clock runs with the real one, ahead or behind as it was moved, and can be reset."""
    mmp = make_mmp()
    mmp.move_clock(DAY)
    mmp.move_clock(-2 * DAY)
    assert (mmp.clock.now(), mmp.clock.ahead_seconds) == (NOW - DAY, -DAY)
    mmp.reset_clock()
    assert mmp.clock.now() == NOW
    assert abs(VirtualClock().now() - VirtualClock().now()) < DAY
