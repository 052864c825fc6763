"""MCM's user event: where each field is sent, and what is refused."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from support.events import FIVE_MINUTES, NOW
from support.wire import COMMON, LONG_TEXTS, SHORT_TEXTS, at, payload, problem, problems

from amplitude_moloco.moloco.wire import vocabulary
from amplitude_moloco.moloco.wire.event import build, encode
from amplitude_moloco.moloco.wire.vocabulary import ChannelType, EventType, PersonalizationMode


def test_the_vocabulary_is_molocos() -> None:
    """MCM's words are those of its User Event API, without its UNKNOWN values."""
    assert [each.value for each in EventType] == (
        "HOME LAND PAGE_VIEW ITEM_PAGE_VIEW SEARCH ADD_TO_CART ADD_TO_WISHLIST PURCHASE".split()
    )
    assert [each.value for each in ChannelType] == "APP SITE DESKTOP_SITE MOBILE_SITE".split()
    assert [each.value for each in PersonalizationMode] == "STANDARD METRIC_ONLY ID_LESS".split()
    assert " ".join(sorted(vocabulary.CURRENCIES)) == (
        "AED AUD BRL CAD CHF CNY DKK EUR GBP HKD IDR INR JPY KRW MYR PHP PLN RUB SEK SGD THB TRY "
        "USD VES VND"
    )


@pytest.mark.parametrize(
    ("field", "value", "path", "sent"),
    [
        ("platform", "app", ("channel_type",), "APP"),
        ("event_id", 4711, ("id",), "4711"),
        ("timestamp", NOW - 1, ("timestamp",), "1699999999999"),
        ("user_id", 42, ("user_id",), "42"),
        ("device_persistent_id", "device-1", ("device", "persistent_id"), "device-1"),
        ("custom_id", 1_699_999_000_000, ("custom_id",), "1699999000000"),
        ("os_name", "iOS", ("device", "os"), "iOS"),
        ("os_version", 17, ("device", "os_version"), "17"),
        ("device_type", "iPhone15,2", ("device", "model"), "iPhone15,2"),
        ("language", "German", ("device", "language"), "de"),
        ("ip_address", "192.0.2.1", ("device", "ip"), "192.0.2.1"),
        ("library", "Mozilla/5.0", ("device", "ua"), "Mozilla/5.0"),
        ("advertising_id", "38400000-8cf0", ("device", "advertising_id"), "38400000-8cf0"),
        ("page_id", "/kitchen", ("page_id",), "/kitchen"),
        ("referrer_page_id", "/", ("referrer_page_id",), "/"),
        ("search_query", "微波炉", ("search_query",), "微波炉"),
        ("domain", "shop.example", ("domain",), "shop.example"),
        ("decision_track_id", 7, ("decision_track_id",), "7"),
        ("personalization_mode", "metric_only", ("personalization_mode",), "METRIC_ONLY"),
        ("items", [{"id": 1}], ("items",), [{"id": "1"}]),
        ("user_properties", {"a": (1, None)}, ("user_properties",), {"a": [1]}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_field_has_its_place(
    field: str, value: Any, path: tuple[str, ...], sent: object
) -> None:
    """Each field of the chart is sent where MCM expects it, and in MCM's form."""
    fields = {"os_name": "iOS"} if field == "platform" else {}
    assert at(payload(**fields, **{field: value}), path) == sent


@pytest.mark.parametrize("key", ["revenue", "shipping_charge"])
def test_amount_and_currency_become_money(key: str) -> None:
    """Amount and currency become one object; a default currency completes an amount."""
    amount, currency = f"{key}_amount", f"{key}_currency"
    expected = {"currency": "USD", "amount": 12.5}
    assert payload(**{amount: "12.5", currency: "usd"})[key] == expected
    assert payload(default_currency="USD", **{amount: 12.5})[key] == expected
    assert payload(default_currency="EUR", **{amount: 12.5, currency: "USD"})[key] == expected


@pytest.mark.parametrize("key", ["revenue", "shipping_charge"])
def test_half_of_money_is_a_problem(key: str) -> None:
    """An amount without a currency, or a currency without an amount, can't be sent."""
    amount, currency = f"{key}_amount", f"{key}_currency"
    assert problems(**{amount: 12.5}) == [(currency, "half_money")]
    assert problems(**{currency: "USD"}) == [(amount, "half_money")]
    assert problems(**{amount: 12.5, currency: "XXX"}) == [(currency, "unknown_value")]


@pytest.mark.parametrize("key", ["revenue", "shipping_charge"])
def test_a_default_currency_makes_no_money(key: str) -> None:
    """A default currency alone, without an amount, is not sent."""
    assert key not in payload(default_currency="USD")


@pytest.mark.parametrize("field", SHORT_TEXTS)
def test_ids_have_at_most_128_characters(field: str) -> None:
    """Every id is sent in full with 128 characters, and is a problem with 129."""
    longest = "微" * 128
    assert at(payload(**{field: longest}), SHORT_TEXTS[field]) == longest
    reported = problem(**{field: longest + "x"})
    assert (reported.field, reported.reason, reported.found) == (
        field,
        "too_long",
        "text of 129 characters",
    )
    assert reported.fix == "use at most 128 characters"


@pytest.mark.parametrize("field", LONG_TEXTS)
def test_other_texts_have_no_limit(field: str) -> None:
    """Texts without a limit of MCM's are sent in full, however long."""
    text = "x" * 5000
    assert at(payload(**{field: text}), LONG_TEXTS[field]) == text


@pytest.mark.parametrize("field", [*SHORT_TEXTS, *LONG_TEXTS])
@pytest.mark.parametrize("value", [True, 1.5, ["a"], {"a": 1}, b"a"], ids=str)
def test_other_types_than_text_are_a_problem(field: str, value: object) -> None:
    """A text field with a value of another type is a problem."""
    reported = problem(**{field: value})
    assert (reported.field, reported.reason) == (field, "wrong_type")


def test_an_unknown_mode_is_a_problem() -> None:
    """A mode that MCM does not have is a problem that lists the modes."""
    reported = problem(personalization_mode="UNKNOWN_PERSONALIZATION_MODE")
    assert (reported.field, reported.reason) == ("personalization_mode", "unknown_value")
    assert reported.fix == "use one of STANDARD, METRIC_ONLY, ID_LESS"


def test_an_unknown_channel_is_a_problem() -> None:
    """A platform that is not one of MCM's channels is a problem that lists the channels."""
    reported = problem(platform="Windows")
    assert (reported.field, reported.reason) == ("platform", "unknown_value")
    assert reported.fix == (
        "use one of APP, SITE, DESKTOP_SITE, MOBILE_SITE, or set channel_type on the sync or the "
        "destination"
    )


@pytest.mark.parametrize(
    ("ahead_millis", "sent"),
    [(-FIVE_MINUTES, NOW - FIVE_MINUTES), (0, NOW), (1, NOW), (FIVE_MINUTES, NOW)],
)
def test_a_time_slightly_ahead_becomes_now(ahead_millis: int, sent: int) -> None:
    """A time up to five minutes ahead is sent as now; a time in the past is sent unchanged."""
    assert payload(timestamp=NOW + ahead_millis)["timestamp"] == str(sent)


@pytest.mark.parametrize(
    ("timestamp", "reason"),
    [
        (NOW + FIVE_MINUTES + 1, "in_future"),
        (NOW // 1000, "not_milliseconds"),
        (NOW * 1000, "not_milliseconds"),
        (True, "not_a_number"),
        ("2023-11-14T22:13:20Z", "not_a_number"),
    ],
)
def test_another_time_is_a_problem(timestamp: object, reason: str) -> None:
    """A time that is further ahead, in another unit or in words is a problem."""
    assert problems(timestamp=timestamp) == [("timestamp", reason)]


@pytest.mark.parametrize("absent", [None, "", " \n"], ids=repr)
def test_absent_values_are_left_out(absent: str | None) -> None:
    """No null, no empty text and no empty device is sent."""
    nothing = dict.fromkeys([*LONG_TEXTS, *SHORT_TEXTS, "language", "personalization_mode"], absent)
    assert payload(**{**nothing, "event_id": "event-1", "user_id": "me"}) == {
        "event_type": "HOME",
        "id": "event-1",
        "channel_type": "SITE",
        "timestamp": str(NOW),
        "user_id": "me",
    }


def test_advertising_zeros_and_unknown_languages_are_left_out() -> None:
    """An advertising id of zeros and an unknown language are left out."""
    zeros = "00000000-0000-0000-0000-000000000000"
    assert "device" not in payload(advertising_id=zeros, language="Elvish")


def test_user_properties_that_json_cannot_hold_are_a_problem() -> None:
    """User properties that are not JSON are a problem, and empty ones are left out."""
    assert problems(user_properties={"when": {1, 2}}) == [("user_properties", "not_json")]
    assert problems(user_properties="gold") == [("user_properties", "wrong_type")]
    assert "user_properties" not in payload(user_properties={})


def test_all_problems_are_reported_together() -> None:
    """Every field that can't be sent is reported; no problem hides another."""
    reported = problems(
        EventType.PURCHASE,
        event_id="x" * 129,
        platform="APP",
        os_version=1.5,
        user_id=None,
        timestamp=NOW * 1000,
        items=[{"id": True}, {}],
        revenue_amount="a lot",
        revenue_currency=None,
        shipping_charge_amount=1,
        page_id=["/"],
        personalization_mode="none",
        user_properties={1: 1},
    )
    assert sorted(reported) == [
        ("event_id", "too_long"),
        ("items[0].id", "wrong_type"),
        ("items[1]", "missing"),
        ("os_name", "app_os"),
        ("os_version", "wrong_type"),
        ("page_id", "wrong_type"),
        ("personalization_mode", "unknown_value"),
        ("revenue_amount", "not_a_number"),
        ("shipping_charge_currency", "half_money"),
        ("timestamp", "not_milliseconds"),
        ("user_id", "no_identifier"),
        ("user_properties", "not_json"),
    ]


def test_building_changes_nothing() -> None:
    """Building an event leaves its fields unchanged."""
    fields = {
        **COMMON,
        "items": [{"id": 1, "price": {"amount": "1.50", "currency": "usd"}}],
        "user_properties": {"tags": ["a", None, ("b",)], "empty": {}},
    }
    before = copy.deepcopy(fields)
    build(EventType.ADD_TO_CART, fields, now_millis=NOW)
    assert fields == before


def test_encoding_is_compact_utf_8() -> None:
    """The bytes are JSON in UTF-8, without spaces and without escapes for other scripts."""
    assert encode({"a": "微 ü", "b": [1, 2.5, True], "c": {"d": 0}}) == (
        '{"a":"微 ü","b":[1,2.5,true],"c":{"d":0}}'.encode()
    )


def test_the_bytes_are_the_payload() -> None:
    """The bytes decode to the payload, and are the same every time."""
    result = payload(EventType.PURCHASE, user_properties={"tier": "gold"})
    assert json.loads(encode(result)) == result
    assert encode(result) == encode(payload(EventType.PURCHASE, user_properties={"tier": "gold"}))
