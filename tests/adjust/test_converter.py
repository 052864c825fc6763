"""Amplitude events as Adjust's form: every rule of the wire."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import pytest
from amplitude import BaseEvent, IdentifyEvent
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco.adjust.barrier import Barrier
from amplitude_moloco.adjust.converter import Converter
from amplitude_moloco.adjust.event import AdjustEvent
from amplitude_moloco.adjust.form import MAX_AGE_SECONDS, plain
from amplitude_moloco.adjust.identifiers import IDENTIFIERS
from amplitude_moloco.adjust.settings import AdjustSettings
from amplitude_moloco.convert.conversion import Conversion
from amplitude_moloco.convert.explanation import Outcome, SelectionReason
from amplitude_moloco.convert.problem import ProblemReason
from amplitude_moloco.errors import ConfigurationError

NOW = 1_700_000_000_000
APP = "abc123def456"
IDFA = "8c6cbcb5-39b3-4d3c-a9f5-1d2f0c1f7d3e"
ZEROS = "00000000-0000-0000-0000-000000000000"


def event(**more: Any) -> BaseEvent:
    fields = {"time": NOW, "insert_id": "i1", "device_id": "d1", "adid": IDFA, **more}
    return BaseEvent("Order Completed", **fields)


def convert(tracked: BaseEvent, *, where: Any = None, **more: Any) -> Conversion:
    settings = {
        name: more.pop(name)
        for name in ("app_token", "environment", "default_currency", "identifiers", "consent")
        if name in more
    }
    (conversion,) = converter(
        [AdjustEvent("Order Completed", "tok1", where=where, **more)], **settings
    ).convert(tracked, NOW)
    return conversion


def converter(events: list[AdjustEvent], **settings: Any) -> Converter:
    settings = {"app_token": APP, "environment": "sandbox", **settings}
    return AdjustSettings(settings.pop("app_token"), events, **settings).converter()


def form(tracked: BaseEvent, **more: Any) -> dict[str, str]:
    conversion = convert(tracked, **more)
    assert conversion.problems == ()
    found = dict(parse_qsl(conversion.body.decode(), strict_parsing=True))
    assert found == conversion.payload
    return found


def problem(tracked: BaseEvent, **more: Any) -> tuple[str, str]:
    (found,) = convert(tracked, **more).problems
    return found.field, str(found.reason)


def test_the_body_is_a_form_of_one_event() -> None:
    """A body is a form with s2s=1, both tokens, the environment, the time and the identifiers."""
    conversion = convert(event())
    assert conversion.body == (
        b"s2s=1&app_token=abc123def456&event_token=tok1&environment=sandbox"
        b"&created_at_unix=1700000000&gps_adid=" + IDFA.encode()
    )
    assert (conversion.id, conversion.sync) == ("i1", "Order Completed (tok1)")


def test_values_are_percent_encoded_utf_8() -> None:
    """Every value is percent-encoded in UTF-8, blanks too."""
    body = convert(event(user_agent="가 a&b=c+d")).body
    assert b"&user_agent=%EA%B0%80%20a%26b%3Dc%2Bd" in body


def test_the_time_is_in_whole_seconds() -> None:
    """created_at_unix is the event's time in seconds, rounded down."""
    assert form(event(time=NOW - 1))["created_at_unix"] == "1699999999"


@pytest.mark.parametrize("time", [0, -5, True, "yesterday", 10**14])
def test_a_time_that_is_none_is_a_problem(time: object) -> None:
    """A time that can't be Unix time in milliseconds makes the event invalid."""
    tracked = event()
    tracked.__dict__["time"] = time
    assert problem(tracked) == ("created_at_unix", "not_milliseconds")


def test_an_event_is_sent_until_it_is_58_days_old() -> None:
    """An event is invalid once it is older than 58 days, and never a second before."""
    limit = NOW - MAX_AGE_SECONDS * 1000
    body = convert(event(time=limit)).body
    assert problem(event(time=limit - 1)) == ("created_at_unix", "too_old")
    assert Barrier(lambda: NOW / 1000).why_not(body) is None
    refusal = Barrier(lambda: NOW / 1000 + 1).why_not(body)
    assert refusal is not None
    assert (refusal.reason, "58 days" in refusal.text) == ("expired", True)
    assert Barrier().why_not(b"created_at_unix=1") is not None


# -- identifiers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "sent"),
    [
        ({"adid": IDFA.upper()}, {"gps_adid": IDFA}),
        ({"adid": IDFA.replace("-", "")}, {"gps_adid": IDFA}),
        ({"adid": "amzn1", "device_brand": "Amazon"}, {"fire_adid": "amzn1"}),
        ({"adid": "amzn1", "os_name": "Fire OS"}, {"fire_adid": "amzn1"}),
        ({"adid": None, "idfa": IDFA}, {"idfa": IDFA.upper()}),
        ({"adid": None, "idfv": IDFA}, {"idfv": IDFA.upper()}),
        ({"adid": None, "android_id": "DC-90 F1".replace(" ", "")}, {"android_id": "dc90f1"}),
        ({"adid": IDFA, "idfa": ZEROS}, {"gps_adid": IDFA}),
    ],
)
def test_identifiers_have_adjusts_names_and_formats(given_: Any, sent: Any) -> None:
    """Each identifier has Adjust's name, case and hyphens; Amplitude's adid is never Adjust's."""
    found = form(event(**given_))
    names = ("idfa", "gps_adid", "fire_adid", "idfv", "android_id", "adid")
    assert {name: found[name] for name in names if name in found} == sent


def test_all_zeros_mean_that_the_device_opted_out() -> None:
    """An identifier of zeros is treated as absent."""
    assert problem(event(adid=ZEROS)) == ("device", "no_identifier")


def test_an_event_needs_a_device() -> None:
    """An event without any identifier of a device is invalid: Adjust knows no users."""
    assert problem(event(adid=None, user_id="u1")) == ("device", "no_identifier")


def test_configured_identifiers_are_sent() -> None:
    """Adjust's own id, which the app reads from its SDK, comes from a configured expression."""
    own = "F0" * 16
    identifiers = {"adid": "user_properties.adjust_id", "oaid": lambda event: "o 1", "idfv": "idfv"}
    found = form(event(user_properties={"adjust_id": own}), identifiers=identifiers)
    assert (found["adid"], found["oaid"], "idfv" in found) == (own.lower(), "o 1", False)


@pytest.mark.parametrize(
    "wrong", [{"idfa": "no id"}, {"idfv": 7}, {"android_id": "x"}], ids=["idfa", "type", "android"]
)
def test_an_identifier_in_a_wrong_format_is_left_out(wrong: dict[str, Any]) -> None:
    """An identifier that can't be one is left out and told, where another one is sound."""
    tracked = event()
    tracked.__dict__.update(wrong)
    conversion = convert(tracked)
    assert [each.field for each in conversion.omissions] == list(wrong)
    assert not set(wrong) & conversion.payload.keys()
    own = convert(event(), identifiers={"adid": lambda event: "short"})
    assert [each.field for each in own.omissions] == ["adid"]


def test_every_identifier_that_is_known_is_sent() -> None:
    """The advertising id goes with all backup identifiers, and Adjust's own id may go alone."""
    own = "f0" * 16
    read = {"adid": "user_properties.adjust_id"}
    tracked = event(idfa=IDFA, idfv=IDFA, android_id="dc90f1", user_properties={"adjust_id": own})
    found = form(tracked, identifiers=read)
    assert {"gps_adid", "idfa", "idfv", "android_id", "adid"} <= found.keys()
    alone = form(event(adid=None, user_properties={"adjust_id": own}), identifiers=read)
    assert alone["adid"] == own


@pytest.mark.parametrize("name", IDENTIFIERS)
def test_each_documented_identifier_may_be_the_only_one(name: str) -> None:
    """Each of Adjust's identifiers can be configured, and is enough to name a device."""
    value = {"android_id": "dc90f1"}.get(name, IDFA.replace("-", ""))
    found = form(event(adid=None), identifiers={name: lambda event: value})
    assert name in found


@pytest.mark.parametrize(
    ("properties", "sent"),
    [
        ({"att": 3}, {"att_status": "3"}),
        ({"att": "0"}, {"att_status": "0"}),
        ({"tracking": True}, {"tracking_enabled": "1"}),
        ({"tracking": 0}, {"tracking_enabled": "0"}),
        ({"att": 2, "tracking": 1}, {"att_status": "2"}),
        ({}, {}),
    ],
)
def test_consent_is_sent_as_the_app_gives_it(
    properties: dict[str, Any], sent: dict[str, str]
) -> None:
    """att_status or tracking_enabled is sent if the app knows it, and never both."""
    consent = {"att_status": "user_properties.att", "tracking_enabled": "user_properties.tracking"}
    found = form(event(user_properties=properties), consent=consent)
    names = ("att_status", "tracking_enabled")
    assert {name: found[name] for name in names if name in found} == sent


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("att_status", each) for each in (4, -1, True, 1.0, "yes", "03", [1])],
        *[("tracking_enabled", each) for each in (2, "true", 1.0, b"")],
    ],
)
def test_consent_that_can_not_be_is_left_out(name: str, value: object) -> None:
    """What is no answer to the question of consent is left out and told, not guessed."""
    conversion = convert(event(), consent={name: lambda event: value})
    assert name not in conversion.payload
    (found,) = conversion.omissions
    assert (found.field, str(found.reason)) == (name, "unknown_value")


@pytest.mark.parametrize(
    ("fields", "os_name"),
    [
        ({"os_name": "iOS"}, "ios"),
        ({"platform": "iPadOS"}, "ios"),
        ({"os_name": "Android"}, "android"),
        ({"os_name": "Fire TV"}, "fire-tv"),
        ({"os_name": "tvOS"}, "apple-tv"),
        ({"os_name": "Windows"}, "windows"),
        ({"os_name": "Mac OS X"}, "macos"),
        ({"os_name": "BeOS", "platform": "Android"}, "android"),
        ({"platform": "Web"}, None),
        ({}, None),
    ],
)
def test_the_operating_system_has_adjusts_name(fields: dict[str, str], os_name: str | None) -> None:
    """os_name is sent where it is known, under Adjust's name."""
    assert form(event(**fields)).get("os_name") == os_name


def test_nothing_is_sent_that_is_not_documented() -> None:
    """A full event has Adjust's names alone: no deduplication_id, no consent that is guessed."""
    tracked = event(
        idfa=IDFA,
        idfv=IDFA,
        android_id="dc90f1",
        ip="203.0.113.7",
        os_name="Android",
        os_version="14",
        device_model="Phone",
        city="Seoul",
        user_agent="Phone/1",
        user_id="u1",
        language="ko",
        revenue=2.5,
        currency="usd",
        event_properties={"a": 1},
        user_properties={"b": 2},
    )
    assert form(tracked, partner_params={"a": "event_properties.a"}).keys() == {
        *("s2s", "app_token", "event_token", "environment", "created_at_unix"),
        *("gps_adid", "idfa", "idfv", "android_id", "os_name", "ip_address", "user_agent"),
        *("revenue", "currency", "partner_params"),
    }


def test_the_insert_id_can_be_traced() -> None:
    """Amplitude's insert_id is sent as a callback parameter, if that is configured."""
    found = form(event(), callback_params={"insert_id": "insert_id"})
    assert json.loads(found["callback_params"]) == {"insert_id": "i1"}
    assert "callback_params" not in form(event())


@pytest.mark.parametrize("revenue", [20, "20.5"])
def test_amplitudes_sdk_drops_a_revenue_that_is_no_float(revenue: Any) -> None:
    """The SDK itself drops an int or text as revenue: a property with an expression keeps it."""
    tracked = event(revenue=revenue, currency="USD", event_properties={"total": revenue})
    assert tracked.revenue is None
    assert "revenue" not in form(tracked)
    assert form(tracked, revenue="event_properties.total")["revenue"] == str(revenue)


# -- the app and the device ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "token"), [({"os_name": "iPadOS"}, "i" * 12), ({"platform": "Android"}, "a" * 12)]
)
def test_each_platform_may_have_its_app(fields: dict[str, str], token: str) -> None:
    """The app token may depend on the platform; iPadOS is iOS."""
    tokens = {"ios": "i" * 12, "android": "a" * 12}
    found = form(event(**fields), app_token=tokens)
    assert (found["app_token"], found["os_name"]) == (token, {"i": "ios", "a": "android"}[token[0]])
    assert problem(event(platform="Web"), app_token=tokens) == ("app_token", "no_app")


@pytest.mark.parametrize("ip", ["2001:db8::1", "$remote", "1.2.3", ""])
def test_only_ipv4_is_sent(ip: str) -> None:
    """An address is sent if it is IPv4, and left out otherwise."""
    assert form(event(ip="203.0.113.7"))["ip_address"] == "203.0.113.7"
    assert "ip_address" not in form(event(ip=ip))
    assert "ip_address" not in form(event())


# -- revenue ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "more", "revenue"),
    [
        ({"revenue": 20.5}, {}, "20.5"),
        ({"revenue": 1e-3}, {}, "0.001"),
        ({"revenue": 1e11}, {}, "100000000000"),
        ({"price": 0.1, "quantity": 3}, {}, "0.3"),
        ({"price": 0.5}, {}, "0.5"),
        ({"event_properties": {"$revenue": "12.50"}}, {}, "12.5"),
        ({"event_properties": {"revenue": 7}}, {}, "7"),
        ({"event_properties": {"total": 9}}, {"revenue": "event_properties.total"}, "9"),
        ({"revenue": 1.0}, {"revenue": lambda event: Decimal("1e3")}, "1000"),
    ],
)
def test_revenue_is_a_plain_decimal(fields: Any, more: Any, revenue: str) -> None:
    """Revenue is in full units, with a dot, without exponent, and nothing is rounded."""
    found = form(event(currency="usd", **fields), **more)
    assert (found["revenue"], found["currency"]) == (revenue, "USD")


@given(st.decimals(min_value=Decimal("0.001"), max_value=10**11, allow_nan=False))
def test_no_amount_changes(value: Decimal) -> None:
    """Any amount in range is written without an exponent, and read back unchanged."""
    text = plain(value)
    assert Decimal(text) == value
    assert set(text) <= set("0123456789.")


def test_revenue_and_currency_go_together() -> None:
    """Revenue without a currency is invalid; a currency alone is left out."""
    assert problem(event(revenue=1.0)) == ("currency", "half_money")
    assert "currency" not in form(event(currency="USD"))
    assert form(event(revenue=1.0), default_currency="krw")["currency"] == "KRW"
    properties = {"currency": "EUR", "other": "JPY"}
    tracked = event(revenue=1.0, event_properties=properties)
    assert form(tracked)["currency"] == "EUR"
    assert form(tracked, currency="event_properties.other")["currency"] == "JPY"


def test_a_currency_is_a_code() -> None:
    """What is no ISO 4217 code makes the event invalid."""
    assert problem(event(revenue=1.0, currency="dollars")) == ("currency", "unknown_value")
    assert problem(event(revenue=1.0), currency=lambda event: 3) == ("currency", "unknown_value")


@pytest.mark.parametrize("revenue", [0.0, -5.0, 0.0009, 1.1e11])
def test_revenue_out_of_range_is_visible(revenue: float) -> None:
    """Revenue out of Adjust's range makes an event invalid, unless it may be left out."""
    tracked = event(revenue=revenue, currency="USD")
    assert problem(tracked) == ("revenue", "out_of_range")
    conversion = convert(tracked, leaves_out_revenue=True)
    assert not {"revenue", "currency"} & conversion.payload.keys()
    assert [each.field for each in conversion.omissions] == ["revenue"]


@pytest.mark.parametrize("revenue", ["a lot", "nan", True, ["1"]])
def test_revenue_is_a_number(revenue: object) -> None:
    """Revenue that is no finite number makes the event invalid."""
    assert problem(event(), revenue=lambda event: revenue) == ("revenue", "not_a_number")


def test_revenue_can_be_switched_off() -> None:
    """An AdjustEvent with revenue=False sends no revenue."""
    assert "revenue" not in form(event(revenue=5.0, currency="USD"), revenue=False)


# -- parameters ------------------------------------------------------------------------------------


def test_parameters_are_flat_text() -> None:
    """Both objects hold text by name; a list is JSON text in it; what is missing is not sent."""
    properties = {"ids": ["76524", "62599"], "n": 3, "price": 1e-05, "is_gift": True}
    params = {
        "item_id": "event_properties.ids",
        "count": "event_properties.n",
        "price": "event_properties.price",
        "gift": "event_properties.is_gift",
        "coupon": "event_properties.coupon",
    }
    found = form(
        event(event_properties=properties),
        partner_params=params,
        callback_params={"insert_id": "insert_id"},
    )
    assert json.loads(found["partner_params"]) == {
        "item_id": '["76524","62599"]',
        "count": "3",
        "price": "0.00001",
        "gift": "true",
    }
    assert json.loads(found["callback_params"]) == {"insert_id": "i1"}


@pytest.mark.parametrize(
    ("value", "reason"),
    [({1, 2}, "not_json"), ("\ud800", "not_json"), (None, "mapping_failed")],
    ids=["a set", "no Unicode", "raises"],
)
def test_a_parameter_that_can_not_be_sent_is_left_out(value: object, reason: str) -> None:
    """A parameter that is no text or JSON, or whose callable raises, is left out and told."""

    def read(event: Any) -> Any:
        if value is None:
            raise ValueError
        return value

    conversion = convert(event(), partner_params={"bad": read, "good": lambda event: "x"})
    assert json.loads(conversion.payload["partner_params"]) == {"good": "x"}
    (found,) = conversion.omissions
    assert (found.field, str(found.reason)) == ("partner_params.bad", reason)


def test_no_parameter_is_sent_unless_it_is_listed() -> None:
    """Without a list of names, nothing of the properties is sent."""
    found = form(event(event_properties={"email": "a@b.c"}), partner_params={"x": "user_id"})
    assert not {"partner_params", "callback_params"} & found.keys()


# -- selection -------------------------------------------------------------------------------------


def test_each_event_and_token_of_a_device_has_its_lane() -> None:
    """Events of one device and event token share a lane: Amplitude's device, else the best id."""
    assert convert(event()).lane == "tok1 d1"
    assert convert(event(device_id=None)).lane == f"tok1 {IDFA}"


def test_an_event_may_have_several_tokens() -> None:
    """An event that several AdjustEvents select is sent once for each, with ids of their own."""
    events = [AdjustEvent("Order *", "a"), AdjustEvent("*", "b"), AdjustEvent("Other", "c")]
    found = converter(events).convert(event(), NOW)
    assert [each.id for each in found] == ["i1", "i1-2"]
    assert [each.lane for each in found] == ["a d1", "b d1"]


def test_users_and_groups_are_never_sent() -> None:
    """Identify and group identify events are never sent, whatever the names say."""
    with pytest.raises(ConfigurationError, match="never sent"):
        AdjustEvent("$identify", "a")
    every = converter([AdjustEvent("*", "a")])
    identify = IdentifyEvent(device_id="d1", time=NOW)
    assert every.convert(identify, NOW) == []
    (outcome,) = every.explain(identify, NOW).syncs
    assert outcome.reason is SelectionReason.NEVER_SENT
    assert every.near_name("$identify") == ""


class Watch:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def refused(self, sync: Any) -> None:
        self.seen.append(sync.name)

    def unselected(self, event_name: object) -> None:
        self.seen.append(event_name)


def test_filters_select_and_are_explained() -> None:
    """An event that a filter refuses is not sent; explain says which filter, and what it read."""
    cheap = event(event_properties={"total": 1})
    for where in ("event_properties.total > `5`", lambda event: False):
        found, watch = converter([AdjustEvent("Order Completed", "a", where=where)]), Watch()
        assert found.convert(cheap, NOW, watch) == []
        assert watch.seen == ["Order Completed (a)", "Order Completed"]
        assert found.convert(cheap, NOW) == []
        (outcome,) = found.explain(cheap, NOW).syncs
        assert (outcome.outcome, outcome.reason) == (Outcome.NOT_SELECTED, SelectionReason.WHERE)


def test_everything_is_explained() -> None:
    """Explain has one outcome for each AdjustEvent, with the reason."""
    found = converter([AdjustEvent("Order Completed", "a"), AdjustEvent("order completed", "b")])
    sent, other = found.explain(event(), NOW).syncs
    assert (sent.outcome, other.reason) == (Outcome.SENT, SelectionReason.NAME)
    assert other.closest_name == "order completed"
    (invalid, _) = found.explain(event(adid=None), NOW).syncs
    assert invalid.outcome is Outcome.INVALID
    dropped = found.explain(event(), NOW, is_dropped_by_plugin=True)
    assert {each.reason for each in dropped.syncs} == {SelectionReason.PLUGIN}
    nameless = event()
    nameless.event_type = 5
    assert found.explain(nameless, NOW).syncs[0].reason is SelectionReason.NAME
    assert (found.near_name("ORDER COMPLETED"), found.near_name("Order Completed")) == (
        "Order Completed",
        "",
    )


def test_what_raises_is_a_problem() -> None:
    """A callable that raises makes the event invalid, with the place; nothing reaches the app."""

    def fails(event: Any) -> Any:
        raise RuntimeError

    (found,) = convert(event(), where=fails).problems
    assert found.reason is ProblemReason.UNREADABLE
    assert "test_converter.py" in found.found


def test_interruptions_pass() -> None:
    """What a signal handler raises is the app's."""

    def interrupts(event: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(event(), where=interrupts)
