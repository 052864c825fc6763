"""MCM's user event: every rule of its contract, and every refusal."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import Any

import pytest

from amplitude_moloco.convert.problem import Problem
from amplitude_moloco.moloco.wire import values, vocabulary
from amplitude_moloco.moloco.wire.event import (
    ChannelType,
    EventType,
    PersonalizationMode,
    build,
    encode,
)

NOW = 1_700_000_000_000
FIVE_MINUTES = 5 * 60 * 1000
ALL_TYPES = pytest.mark.parametrize("event_type", EventType, ids=lambda each: each.value)
COMMON: dict[str, Any] = {
    "event_id": "event-1",
    "timestamp": NOW,
    "platform": "SITE",
    "user_id": "shopper-1",
}
# What MCM requires of each type, besides.
NEEDED: dict[EventType, dict[str, Any]] = {
    EventType.HOME: {},
    EventType.LAND: {"referrer_page_id": "https://search.example/"},
    EventType.PAGE_VIEW: {"page_id": "/kitchen"},
    EventType.ITEM_PAGE_VIEW: {"items": [{"id": "SKU-1"}]},
    EventType.SEARCH: {"search_query": "kettle"},
    EventType.ADD_TO_CART: {"items": [{"id": "SKU-1"}]},
    EventType.ADD_TO_WISHLIST: {"items": [{"id": "SKU-1"}]},
    EventType.PURCHASE: {
        "items": [{"id": "SKU-1"}],
        "revenue_amount": 12.34,
        "revenue_currency": "USD",
    },
}
IDENTIFIERS = {
    "user_id": ("user_id",),
    "device_persistent_id": ("device", "persistent_id"),
    "custom_id": ("custom_id",),
}
SHORT = {
    "event_id": ("id",),
    "page_id": ("page_id",),
    "referrer_page_id": ("referrer_page_id",),
    **IDENTIFIERS,
}
LONG = {
    "search_query": ("search_query",),
    "domain": ("domain",),
    "decision_track_id": ("decision_track_id",),
    "os_name": ("device", "os"),
    "os_version": ("device", "os_version"),
    "device_type": ("device", "model"),
    "ip_address": ("device", "ip"),
    "library": ("device", "ua"),
    "advertising_id": ("device", "advertising_id"),
}


def event(
    event_type: EventType = EventType.HOME,
    /,
    *,
    default_currency: str | None = None,
    hash_identifier: Callable[[str], str] | None = None,
    **fields: Any,
) -> tuple[dict[str, Any], list[Problem]]:
    """What becomes of a sound event with these fields instead of its own; None takes one away."""
    settings: dict[str, Any] = {}
    if hash_identifier:
        settings["identifier"] = partial(values.hashed_identifier, hash_identifier)
    return build(
        event_type,
        {**COMMON, **NEEDED[event_type], **fields},
        now_millis=NOW,
        default_currency=default_currency,
        **settings,
    )


def payload(event_type: EventType = EventType.HOME, /, **fields: Any) -> dict[str, Any]:
    result, problems = event(event_type, **fields)
    assert problems == []
    return result


def problems(event_type: EventType = EventType.HOME, /, **fields: Any) -> list[tuple[str, str]]:
    return [(told.field, told.reason) for told in event(event_type, **fields)[1]]


def problem(event_type: EventType = EventType.HOME, /, **fields: Any) -> Problem:
    """The only problem."""
    (told,) = event(event_type, **fields)[1]
    return told


def at(result: dict[str, Any], path: tuple[str, ...]) -> Any:
    found: Any = result
    for key in path:
        found = found.get(key, {})
    return found


def test_the_vocabulary_is_molocos() -> None:
    """MCM's words are those of its User Event API, and its UNKNOWN values are not among them."""
    assert [each.value for each in EventType] == (
        "HOME LAND PAGE_VIEW ITEM_PAGE_VIEW SEARCH ADD_TO_CART ADD_TO_WISHLIST PURCHASE".split()
    )
    assert [each.value for each in ChannelType] == "APP SITE DESKTOP_SITE MOBILE_SITE".split()
    assert [each.value for each in PersonalizationMode] == "STANDARD METRIC_ONLY ID_LESS".split()
    assert " ".join(sorted(vocabulary.CURRENCIES)) == (
        "AED AUD BRL CAD CHF CNY DKK EUR GBP HKD IDR INR JPY KRW MYR PHP PLN RUB SEK SGD THB TRY "
        "USD VES VND"
    )


@ALL_TYPES
def test_what_a_type_requires_is_enough(event_type: EventType) -> None:
    """An event with what MCM requires of its type is sound, and its type is sent."""
    assert payload(event_type)["event_type"] == event_type.value


@pytest.mark.parametrize(
    ("event_type", "field"),
    [(each, field) for each, needed in NEEDED.items() for field in needed if "curr" not in field],
    ids=lambda value: str(getattr(value, "value", value)),
)
def test_what_a_type_requires_must_be_there(event_type: EventType, field: str) -> None:
    """Each field that the type requires is a problem of its own when it is missing or blank."""
    fields: dict[str, Any] = {"revenue_currency": None} if field == "revenue_amount" else {}
    for absent in (None, [] if field == "items" else " "):
        told = problem(event_type, **fields, **{field: absent})
        assert (told.field, told.reason, told.found) == (field, "missing", "nothing")
        assert field in told.fix or "map it" in told.fix


@ALL_TYPES
@pytest.mark.parametrize("field", ["event_id", "timestamp", "platform"])
def test_what_every_type_requires_must_be_there(event_type: EventType, field: str) -> None:
    """Without its id, its time or its channel, no event of any type can be sent."""
    for absent in (None, ""):
        told = problem(event_type, **{field: absent})
        assert (told.field, told.reason, told.found) == (field, "missing", "nothing")


@pytest.mark.parametrize(
    ("field", "fix"),
    [
        ("event_id", "set the event's insert_id or event_id, or map event_id"),
        ("timestamp", "set the event's time, or map timestamp"),
        (
            "platform",
            (
                "set the event's platform (iOS, Android, Web), or a channel_type (APP, SITE, "
                "DESKTOP_SITE, MOBILE_SITE) on the sync or the destination"
            ),
        ),
    ],
)
def test_a_missing_field_is_told_with_what_would_do(field: str, fix: str) -> None:
    """What every event needs is told with the ways to give it."""
    assert problem(**{field: None}).fix == fix


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
    """Each field of the chart is sent where MCM looks for it, and in MCM's form."""
    fields = {"os_name": "iOS"} if field == "platform" else {}
    assert at(payload(**fields, **{field: value}), path) == sent


@pytest.mark.parametrize("key", ["revenue", "shipping_charge"])
def test_money_goes_together(key: str) -> None:
    """Amount and currency become one object, the currency by default the destination's."""
    amount, currency = f"{key}_amount", f"{key}_currency"
    expected = {"currency": "USD", "amount": 12.5}
    assert payload(**{amount: "12.5", currency: "usd"})[key] == expected
    assert payload(default_currency="USD", **{amount: 12.5})[key] == expected
    assert payload(default_currency="EUR", **{amount: 12.5, currency: "USD"})[key] == expected


@pytest.mark.parametrize("key", ["revenue", "shipping_charge"])
def test_money_in_one_half_is_a_problem(key: str) -> None:
    """An amount without a currency, or a currency without an amount, can't be sent."""
    amount, currency = f"{key}_amount", f"{key}_currency"
    assert problems(**{amount: 12.5}) == [(currency, "half_money")]
    assert problems(**{currency: "USD"}) == [(amount, "half_money")]
    assert problems(**{amount: 12.5, currency: "XXX"}) == [(currency, "unknown_value")]


@pytest.mark.parametrize("key", ["revenue", "shipping_charge"])
def test_a_default_currency_makes_no_money(key: str) -> None:
    """Where there is no amount, the default currency is none of the event's."""
    assert key not in payload(default_currency="USD")


def test_nothing_is_money_too() -> None:
    """A revenue of 0 fulfils what PURCHASE requires."""
    assert payload(EventType.PURCHASE, revenue_amount=0)["revenue"] == {
        "currency": "USD",
        "amount": 0,
    }


def test_unsound_revenue_is_not_missing_too() -> None:
    """What is there but can't be used is told once, and not as missing as well."""
    assert problems(EventType.PURCHASE, revenue_currency=None) == [
        ("revenue_currency", "half_money")
    ]
    assert problems(EventType.PURCHASE, items=[7]) == [("items[0]", "wrong_type")]
    assert problems(EventType.PURCHASE, items="SKU-1") == [("items", "wrong_type")]
    assert problems(timestamp="now") == [("timestamp", "not_a_number")]
    assert problems(platform="Windows") == [("platform", "unknown_value")]


@pytest.mark.parametrize("field", SHORT)
def test_ids_have_at_most_128_characters(field: str) -> None:
    """Every id is sent in full with 128 characters, and is a problem with 129."""
    longest = "微" * 128
    assert at(payload(**{field: longest}), SHORT[field]) == longest
    told = problem(**{field: longest + "x"})
    assert (told.field, told.reason, told.found) == (field, "too_long", "text of 129 characters")
    assert told.fix == "use at most 128 characters"


@pytest.mark.parametrize("field", LONG)
def test_other_texts_have_no_limit(field: str) -> None:
    """Texts that MCM gives no limit are sent in full, however long."""
    text = "x" * 5000
    assert at(payload(**{field: text}), LONG[field]) == text


@pytest.mark.parametrize("field", [*SHORT, *LONG])
@pytest.mark.parametrize("value", [True, 1.5, ["a"], {"a": 1}, b"a"], ids=str)
def test_what_is_no_text_is_a_problem(field: str, value: object) -> None:
    """A field that MCM wants as text can't be sent as anything else."""
    told = problem(**{field: value})
    assert (told.field, told.reason) == (field, "wrong_type")


@pytest.mark.parametrize("field", IDENTIFIERS)
def test_one_identifier_is_enough(field: str) -> None:
    """Each of the three identifiers is enough by itself."""
    result = payload(**{"user_id": None, field: "me"})
    assert [at(result, path) for path in IDENTIFIERS.values()].count("me") == 1


@pytest.mark.parametrize("field", IDENTIFIERS)
@pytest.mark.parametrize("word", ["null", "Undefined", "INVALID", " nil "])
def test_null_like_words_do_not_identify(field: str, word: str) -> None:
    """A null-like identifier is left out beside another one, and is a problem by itself."""
    result = payload(**{"user_id": "me", "device_persistent_id": "mine", field: word})
    assert at(result, IDENTIFIERS[field]) == {}
    told = problem(**{"user_id": None, field: word})
    assert (told.field, told.reason) == ("user_id", "no_identifier")
    assert told.found == "only what stands for nothing (blank, null, undefined, invalid, nil)"


@pytest.mark.parametrize("mode", [None, "STANDARD", "METRIC_ONLY"])
def test_an_event_without_identifier_is_a_problem(mode: str | None) -> None:
    """Without any of the three identifiers, an event can't be sent."""
    told = problem(user_id=None, personalization_mode=mode)
    assert (told.field, told.reason, told.found) == ("user_id", "no_identifier", "no identifier")
    for name in (*IDENTIFIERS, "ID_LESS"):
        assert name in told.fix


def test_an_identifier_that_cannot_be_used_is_told_once() -> None:
    """A bad identifier is told as such, and not as missing too."""
    assert problems(user_id="x" * 129) == [("user_id", "too_long")]
    assert problems(user_id=1.5, device_persistent_id="mine") == [("user_id", "wrong_type")]


def test_id_less_sends_none_of_the_identifiers() -> None:
    """With ID_LESS nothing that identifies is sent, and nothing is missed."""
    result = payload(
        personalization_mode="id_less",
        user_id="me",
        device_persistent_id="mine",
        custom_id="ours",
        advertising_id="38400000-8cf0-11bd-b23e-10b96e40000d",
    )
    assert result == {
        "event_type": "HOME",
        "id": "event-1",
        "channel_type": "SITE",
        "personalization_mode": "ID_LESS",
        "timestamp": str(NOW),
    }
    assert payload(personalization_mode="ID_LESS", user_id=None, os_name="iOS")["device"] == {
        "os": "iOS"
    }


def test_an_unknown_mode_is_a_problem() -> None:
    """A mode that MCM does not have is a problem, and is never sent."""
    told = problem(personalization_mode="UNKNOWN_PERSONALIZATION_MODE")
    assert (told.field, told.reason) == ("personalization_mode", "unknown_value")
    assert told.fix == "use one of STANDARD, METRIC_ONLY, ID_LESS"


def test_hashing_is_for_the_three_identifiers() -> None:
    """A hash is applied to the three identifiers, and to nothing else."""

    def hashed(plain: str) -> str:
        return sha256(plain.encode()).hexdigest()

    ids = dict.fromkeys([*SHORT, *LONG, "language"], "en")
    result = payload(hash_identifier=hashed, **ids)
    assert at(result, ("device", "language")) == "en"
    for field, path in {**SHORT, **LONG}.items():
        assert at(result, path) == (hashed("en") if field in IDENTIFIERS else "en")


def test_hashed_identifiers_may_be_of_any_length() -> None:
    """An identifier of over 128 characters can be sent as a hash."""
    result = payload(user_id="x" * 129, hash_identifier=lambda plain: "hash")
    assert result["user_id"] == "hash"


@pytest.mark.parametrize("os", ["iOS", "ios 17", "Android", "ANDROID 14", "Apple iOS", "android"])
def test_the_app_channel_needs_its_os(os: str) -> None:
    """Channel APP goes with any os that contains ios or android, in any case."""
    assert payload(platform="APP", os_name=os)["device"]["os"] == os


@pytest.mark.parametrize("os", [None, "", "Windows", "i OS", "Chrome"])
def test_the_app_channel_refuses_another_os(os: str | None) -> None:
    """Channel APP without such an os is a problem that says how to give one."""
    told = problem(platform="APP", os_name=os)
    assert (told.field, told.reason) == ("os_name", "app_os")
    assert told.found == (f"text of {len(os)} characters" if os else "nothing")
    assert told.fix == (
        "for channel APP the os_name must contain ios or android: set the event's os_name, or map "
        "it, as in \"'ios'\""
    )


@pytest.mark.parametrize("channel", ["SITE", "DESKTOP_SITE", "MOBILE_SITE"])
def test_a_site_needs_no_os(channel: str) -> None:
    """The other channels go with any os, and without one."""
    assert payload(platform=channel)["channel_type"] == channel
    assert payload(platform=channel, os_name="Windows")["device"] == {"os": "Windows"}


def test_an_unknown_channel_is_a_problem() -> None:
    """A platform that is no channel of MCM's is a problem that lists those that are."""
    told = problem(platform="Windows")
    assert (told.field, told.reason) == ("platform", "unknown_value")
    assert told.fix == (
        "use one of APP, SITE, DESKTOP_SITE, MOBILE_SITE, or give the sync or the destination a "
        "channel_type"
    )


@pytest.mark.parametrize(
    ("ahead_millis", "sent"),
    [(-FIVE_MINUTES, NOW - FIVE_MINUTES), (0, NOW), (1, NOW), (FIVE_MINUTES, NOW)],
)
def test_a_clock_that_is_a_little_ahead_is_set_back(ahead_millis: int, sent: int) -> None:
    """A time up to five minutes ahead is sent as now, and the past as it is."""
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
    """A time further ahead, in another unit or in words can't be sent."""
    assert problems(timestamp=timestamp) == [("timestamp", reason)]


@pytest.mark.parametrize("absent", [None, "", " \n"], ids=repr)
def test_what_is_absent_stays_absent(absent: str | None) -> None:
    """No null and no empty text is sent, and no device without anything in it."""
    nothing = dict.fromkeys([*LONG, *SHORT, "language", "personalization_mode"], absent)
    assert payload(**{**nothing, "event_id": "event-1", "user_id": "me"}) == {
        "event_type": "HOME",
        "id": "event-1",
        "channel_type": "SITE",
        "timestamp": str(NOW),
        "user_id": "me",
    }


def test_advertising_zeros_and_unknown_languages_stay_absent() -> None:
    """Zeros in place of an advertising id, and a language that can't be told, are left out."""
    zeros = "00000000-0000-0000-0000-000000000000"
    assert "device" not in payload(advertising_id=zeros, language="Elvish")


def test_user_properties_that_json_cannot_hold_are_a_problem() -> None:
    """User properties go along as JSON, or are a problem."""
    assert problems(user_properties={"when": {1, 2}}) == [("user_properties", "not_json")]
    assert problems(user_properties="gold") == [("user_properties", "wrong_type")]
    assert "user_properties" not in payload(user_properties={})


def test_all_problems_are_told_at_once() -> None:
    """Every field that can't be sent is told, and none hides another."""
    told = problems(
        EventType.PURCHASE,
        event_id="x" * 129,
        platform="APP",
        os_version=1.5,
        user_id=None,
        timestamp=NOW * 1000,
        items=[{"id": True}, {}],
        revenue_amount="a lot",
        shipping_charge_amount=1,
        page_id=["/"],
        personalization_mode="none",
        user_properties={1: 1},
    )
    assert sorted(told) == [
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
    """The fields stay as they are."""
    fields = {
        **COMMON,
        "items": [{"id": 1, "price": {"amount": "1.50", "currency": "usd"}}],
        "user_properties": {"tags": ["a", None, ("b",)], "empty": {}},
    }
    before = copy.deepcopy(fields)
    build(EventType.ADD_TO_CART, fields, now_millis=NOW)
    assert fields == before


def test_a_problem_reads_as_one_line() -> None:
    """A problem names the field, what was found and what would do, and counts without places."""
    told = Problem("items[1].price", "wrong_type", "a list of 2", "use a number")
    assert str(told) == "items[1].price: found a list of 2; use a number"
    assert told.code == "items.price wrong_type"


def test_encoding_is_compact_utf_8() -> None:
    """The bytes are JSON in UTF-8, without blanks and with every character as itself."""
    assert encode({"a": "微 ü", "b": [1, 2.5, True], "c": {"d": 0}}) == (
        '{"a":"微 ü","b":[1,2.5,true],"c":{"d":0}}'.encode()
    )


def test_a_payload_is_its_bytes() -> None:
    """What is encoded reads back as the payload, and is the same bytes every time."""
    result = payload(EventType.PURCHASE, user_properties={"tier": "gold"})
    assert json.loads(encode(result)) == result
    assert encode(result) == encode(payload(EventType.PURCHASE, user_properties={"tier": "gold"}))
