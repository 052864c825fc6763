"""From an Amplitude event to MCM's bytes."""

from __future__ import annotations

import copy
import datetime as dt
import inspect
import json
import operator
import signal
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum
from types import FrameType
from typing import Any

import pytest
from amplitude import BaseEvent
from freezegun import freeze_time
from support.events import FIVE_MINUTES, NOW, event

from amplitude_moloco import (
    ChannelType,
    Conversion,
    EventType,
    MolocoDestination,
    Sync,
    hash_identifier,
)
from amplitude_moloco.moloco.converter import Converter

HOME = Sync("HOME", "Viewed")


class Name(str, Enum):
    """An app's event names as an enum."""

    VIEWED = "Viewed"


class Text(str):
    """Text of a subclass, as frameworks use it."""

    __slots__ = ()


class Hostile:
    """Raises whenever it is inspected."""

    __hash__ = None  # type: ignore[assignment]  # not even that

    @property
    def __class__(self) -> Any:
        raise RuntimeError("¤secret")

    @__class__.setter
    def __class__(self, value: Any) -> None: ...

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("¤secret")

    def __str__(self) -> str:
        raise RuntimeError("¤secret")


def convert(made: Any, *syncs: Sync, now_millis: int = NOW, **settings: Any) -> list[Conversion]:
    return Converter(syncs or [HOME], **settings).convert(made, now_millis)


def only(made: Any, *syncs: Sync, **settings: Any) -> Conversion:
    (conversion,) = convert(made, *syncs, **settings)
    return conversion


def sent(made: Any, *syncs: Sync, **settings: Any) -> Any:
    """The event in the body, which must have no problems."""
    conversion = only(made, *syncs, **settings)
    assert conversion.problems == ()
    payload = json.loads(conversion.body)
    assert payload == conversion.payload
    return payload


def codes(conversion: Conversion) -> list[tuple[str, str]]:
    assert conversion.body == b""
    return [(reported.field, reported.reason) for reported in conversion.problems]


def test_an_event_becomes_a_body() -> None:
    """A purchase that fills the whole chart becomes this body."""
    made = event(
        {
            "items": [
                {"id": 4711, "price": 20, "currency": "usd", "quantity": "2", "seller_id": 7},
                {"id": "SKU-1", "item_group_id": "G", "price": {"currency": "USD", "amount": 0}},
            ],
            "revenue_amount": "129.50",
            "shipping_charge_amount": 0,
            "shipping_charge_currency": "USD",
            "page_id": "/checkout",
            "referrer_page_id": "/cart",
            "search_query": "微波炉",
            "domain": "shop.example",
            "decision_track_id": "track-1",
            "personalization_mode": "standard",
        },
        platform="iOS",
        event_id=12,
        device_id="device-1",
        session_id=NOW - 1,
        os_name="iOS",
        os_version="17.1",
        device_model="iPhone15,2",
        language="English",
        ip="192.0.2.1",
        user_agent="Shop/1.0",
        library="amplitude-python/1.3.0",
        idfa="6D92078A-8246-4BA4-AE5B-76104861E7DC",
        currency="USD",
        user_properties={"tier": "gold", "tags": ["a", ""], "left": None},
    )
    payload = sent(made, Sync(EventType.PURCHASE, "Viewed"))
    assert payload == {
        "event_type": "PURCHASE",
        "id": "12",
        "channel_type": "APP",
        "timestamp": str(NOW),
        "user_id": "shopper-1",
        "custom_id": str(NOW - 1),
        "device": {
            "persistent_id": "device-1",
            "os": "iOS",
            "os_version": "17.1",
            "model": "iPhone15,2",
            "language": "en",
            "ip": "192.0.2.1",
            "ua": "Shop/1.0",
            "advertising_id": "6D92078A-8246-4BA4-AE5B-76104861E7DC",
        },
        "items": [
            {
                "id": "4711",
                "quantity": 2,
                "seller_id": "7",
                "price": {"currency": "USD", "amount": 20},
            },
            {"id": "SKU-1", "item_group_id": "G", "price": {"currency": "USD", "amount": 0}},
        ],
        "revenue": {"currency": "USD", "amount": 129.5},
        "shipping_charge": {"currency": "USD", "amount": 0},
        "page_id": "/checkout",
        "referrer_page_id": "/cart",
        "search_query": "微波炉",
        "domain": "shop.example",
        "decision_track_id": "track-1",
        "personalization_mode": "STANDARD",
        "user_properties": {"tier": "gold", "tags": ["a"]},
    }
    (conversion,) = convert(made, Sync(EventType.PURCHASE, "Viewed"))
    assert (conversion.sync, conversion.id) == ("PURCHASE", "12")
    assert "微波炉".encode() in conversion.body
    assert b": " not in conversion.body


def test_a_conversion_prints_what_is_sent() -> None:
    """The text of a conversion is the sync with the body, or with every problem."""
    conversion = only(event(), Sync("HOME", "Viewed", name="Start"))
    assert str(conversion) == f"Start is sent as {conversion.body.decode()}"
    conversion = only(event(user_id=None, time=None), Sync("HOME", "Viewed", name="Start"))
    assert str(conversion) == "Start can't be sent:" + "".join(
        f"\n- {reported}" for reported in conversion.problems
    )
    assert len(conversion.problems) == 2


def test_an_event_that_no_sync_selects_has_no_conversion() -> None:
    """An event that no sync selects has no conversion."""
    off = Sync("HOME", "Viewed", enabled=False)
    assert convert(event(event_type="Other")) == []
    assert convert(event(), off, Sync("HOME", "Viewed", where="platform == 'iOS'")) == []
    assert convert(event(), Sync("HOME", lambda made: made.user_id == "you")) == []


@pytest.mark.parametrize("name", ["$identify", "$groupidentify"])
def test_identify_events_are_never_converted(name: str) -> None:
    """Events that describe users and groups are never converted, whatever the syncs say."""
    assert convert(event(event_type=name), Sync("HOME", "*"), Sync("HOME", lambda made: True)) == []


@pytest.mark.parametrize("name", [None, 5, ["Viewed"], b"Viewed"], ids=repr)
def test_an_event_without_a_name_has_no_conversion(name: object) -> None:
    """An event whose name is not text is not selected, and is not an error."""
    assert convert(event(event_type=name), Sync("HOME", "*"), Sync("HOME", lambda made: True)) == []


@pytest.mark.parametrize("name", [Name.VIEWED, Text("Viewed")], ids=["enum", "subclass"])
def test_a_name_may_be_any_kind_of_text(name: str) -> None:
    """A name of a text enum or a subclass of str is read as text, as Amplitude does."""
    assert sent(event(event_type=name))["event_type"] == "HOME"


def test_a_sync_can_be_switched_while_running() -> None:
    """Switching a sync off and on takes effect at the next event."""
    sync = Sync("HOME", "Viewed")
    converter = Converter([sync])
    found = []
    for enabled in (True, False, True):
        sync.enabled = enabled
        found.append(len(converter.convert(event(), NOW)))
    assert found == [1, 0, 1]


def test_thousands_of_names_are_converted_correctly() -> None:
    """An app that generates names gets the right conversions, even after thousands of names."""
    converter = Converter([Sync("HOME", "Viewed *"), Sync("HOME", "* 999")])
    for _ in range(2):
        for number in (0, 999, 1_500):
            names = [f"Viewed {number + i}" for i in range(700)]
            made = [converter.convert(event(event_type=name), NOW) for name in names]
            assert [len(each) for each in made] == [
                2 if name == "Viewed 999" else 1 for name in names
            ]


def test_several_syncs_give_several_ids() -> None:
    """An event that several syncs select is sent once for each, with a stable suffix to its id."""
    syncs = [
        Sync("HOME", "Viewed"),
        Sync("HOME", "Other"),
        Sync("PAGE_VIEW", "*", mapping={"page_id": "'/'"}),
        Sync("HOME", lambda made: True, name="third", mapping={"event_id": "event_properties.id"}),
    ]
    made = event({"id": 7})
    first = convert(made, *syncs)
    assert [(each.sync, each.id) for each in first] == [
        ("HOME", "insert-1"),
        ("PAGE_VIEW", "insert-1-2"),
        ("third", "7-3"),
    ]
    assert [json.loads(each.body)["id"] for each in first] == ["insert-1", "insert-1-2", "7-3"]
    assert convert(made, *syncs) == first


def test_a_failed_conversion_keeps_its_suffix() -> None:
    """A sync that can't convert the event still counts, so other conversions keep their ids."""
    failing = Sync("SEARCH", "Viewed")
    raising = Sync("HOME", "Viewed", where=lambda made: 1 / 0)
    conversions = convert(event(), failing, raising, HOME)
    assert [each.id for each in conversions] == ["insert-1", None, "insert-1-3"]


@pytest.mark.parametrize("insert_id", [Text("insert-1"), Name.VIEWED], ids=["subclass", "enum"])
def test_any_kind_of_text_gets_the_suffix(insert_id: str) -> None:
    """An id of a text enum or a subclass of str gets the suffix that keeps ids different."""
    first, second = convert(event(insert_id=insert_id), HOME, HOME)
    assert first.problems == second.problems == ()
    assert second.id == f"{first.id}-2"


@pytest.mark.parametrize("blank", ["", " "], ids=repr)
def test_a_suffix_alone_is_not_an_id(blank: str) -> None:
    """An event whose id is blank has no id for any sync, not even the suffix alone."""
    mapped = Sync("HOME", "Viewed", mapping={"event_id": "event_properties.id"})
    for conversion in convert(event({"id": blank}, insert_id=blank), HOME, HOME, mapped):
        assert codes(conversion) == [("event_id", "missing")]


def test_a_suffix_counts_towards_the_length() -> None:
    """An id of more than 128 characters, suffix included, is a problem, and is not cut."""
    first, second = convert(event(insert_id="x" * 126), HOME, HOME)
    assert (first.id, second.id) == ("x" * 126, "x" * 126 + "-2")
    first, second = convert(event(insert_id="x" * 127), HOME, HOME)
    assert first.id == "x" * 127
    assert codes(second) == [("event_id", "too_long")]


@pytest.mark.parametrize(
    ("platform", "of_sync", "of_destination", "expected"),
    [
        ("Web", "MOBILE_SITE", "DESKTOP_SITE", "SITE"),
        ("Windows", "MOBILE_SITE", "DESKTOP_SITE", "MOBILE_SITE"),
        (None, "MOBILE_SITE", None, "MOBILE_SITE"),
        ("Windows", None, "DESKTOP_SITE", "DESKTOP_SITE"),
        (None, None, "DESKTOP_SITE", "DESKTOP_SITE"),
        ("Windows", None, None, None),
        (None, None, None, None),
    ],
    ids=str,
)
def test_the_channel_is_the_platforms_then_the_syncs_then_the_destinations(
    platform: str | None, of_sync: str | None, of_destination: str | None, expected: str | None
) -> None:
    """The channel is the platform's, else the sync's, else the destination's."""
    conversion = only(
        event(platform=platform),
        Sync("HOME", "Viewed", channel_type=of_sync),
        channel_type=Sync("HOME", "x", channel_type=of_destination).channel_type,
    )
    if expected:
        assert conversion.payload["channel_type"] == expected
        assert conversion.problems == ()
    else:
        assert codes(conversion) == [("platform", "unknown_value" if platform else "missing")]
        assert "channel_type" in conversion.problems[0].fix


def test_a_problem_names_the_mapping_and_the_key_that_was_meant() -> None:
    """A problem of a mapped field shows its expression, and the key that it missed."""
    sync = Sync("SEARCH", "Viewed", mapping={"search_query": "event_properties.Query"})
    (problem,) = only(event({"query": "x"}), sync).problems
    assert problem.fix == (
        "map search_query to what the shopper typed; mapping.search_query is "
        "'event_properties.Query': event_properties has no 'Query'; did you mean 'query'?"
    )


def test_a_value_that_was_found_misses_no_key() -> None:
    """A value that can't be sent was found, so its problem names no key that is absent."""
    either = "event_properties.[page, url][?@] | [0]"
    sync = Sync("HOME", "Viewed", mapping={"page_id": either})
    (omission,) = only(event({"url": "a" * 200}), sync).omissions
    assert omission.fix == f"use at most 128 characters; mapping.page_id is {either!r}"


def test_a_problem_of_identifiers_names_their_mappings() -> None:
    """An event without identifiers shows the expressions of those that are mapped."""
    sync = Sync("HOME", "Viewed", mapping={"user_id": "user_properties.id"})
    (problem,) = only(event(user_id=None, user_properties={"ID": 1}), sync).problems
    assert problem.fix.endswith("user_properties has no 'id'; did you mean 'ID'?")


def test_a_filter_that_raised_names_its_line() -> None:
    """The problem of a filter that raised names the file, the line and the function."""

    def where(made: Any) -> Any:
        return made.event_properties["plan"]

    (problem,) = only(event({"a": 1}), Sync("HOME", "Viewed", where=where)).problems
    line = where.__code__.co_firstlineno + 1
    assert problem.found == (
        f"a filter that raised KeyError (test_converter.py, line {line}, in where)"
    )


def test_a_default_currency_completes_amounts() -> None:
    """Amounts without a currency get the destination's, unless the event has one."""
    made = event({"items": [{"id": 1, "price": 2}], "revenue_amount": 4})
    payload = sent(made, Sync("PURCHASE", "Viewed"), default_currency="EUR")
    assert payload["revenue"] == {"currency": "EUR", "amount": 4}
    assert payload["items"][0]["price"] == {"currency": "EUR", "amount": 2}
    made.currency = "USD"
    payload = sent(made, Sync("PURCHASE", "Viewed"), default_currency="EUR")
    assert payload["revenue"] == {"currency": "USD", "amount": 4}


@pytest.mark.parametrize(
    ("include", "expected"),
    [(True, {"tier": "gold", "age": 5}), (False, None), (["age"], {"age": 5}), (["x"], None)],
    ids=str,
)
def test_user_properties_are_sent(include: Any, expected: dict[str, Any] | None) -> None:
    """All user properties are sent, or none, or those named in the settings."""
    made = event(user_properties={"tier": "gold", "age": 5})
    assert sent(made, include_user_properties=include).get("user_properties") == expected


def test_only_identifiers_are_hashed() -> None:
    """The three identifiers are sent as their hashes, the same every time."""
    made = event(device_id="device-1", session_id=7, user_properties={"id": "shopper-1"})
    payload = sent(made, hash_identifier=hash_identifier)
    assert payload["user_id"] == hash_identifier("shopper-1")
    assert payload["device"]["persistent_id"] == hash_identifier("device-1")
    assert payload["custom_id"] == hash_identifier("7")
    assert (payload["id"], payload["user_properties"]) == ("insert-1", {"id": "shopper-1"})
    assert sent(made, hash_identifier=hash_identifier) == payload


def test_null_like_identifiers_are_not_hashed() -> None:
    """A null-like identifier is left out, and not hashed."""
    made = event(user_id="null", device_id="device-1", session_id=-1)
    payload = sent(made, hash_identifier=hash_identifier)
    assert "user_id" not in payload
    assert "custom_id" not in payload


def test_id_less_events_send_no_identifier() -> None:
    """An event with the mode ID_LESS is sent without any identifier."""
    made = event({"personalization_mode": "ID_LESS"}, device_id="d", session_id=7, adid="a")
    assert sent(made) == {
        "event_type": "HOME",
        "id": "insert-1",
        "channel_type": "SITE",
        "timestamp": str(NOW),
        "personalization_mode": "ID_LESS",
    }


@pytest.mark.parametrize(
    ("setting", "needs", "made", "expected"),
    [
        ("mapping", "search_query", {"search_query": "event_properties.q"}, "missing"),
        ("default", "search_query", {}, "missing"),
        ("callable", "search_query", {"search_query": lambda made: None}, "missing"),
        ("identifier", "user_id", {"user_id": "event_properties.member"}, "no_identifier"),
        ("third identifier", "user_id", {"custom_id": "event_properties.cart"}, "no_identifier"),
        ("platform", "platform", {"platform": "event_properties.channel"}, "missing"),
        ("raises", "domain", {"domain": lambda made: made.event_properties["d"]}, "mapping_failed"),
        (
            "money",
            "revenue_amount",
            {"revenue_amount": "event_properties.sum", "revenue_currency": "'USD'"},
            "half_money",
        ),
        ("os", "os_name", {"platform": "'APP'", "os_name": "event_properties.os"}, "app_os"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_emptied_properties_are_named_as_the_likely_cause(
    setting: str, needs: str, made: dict[str, Any], expected: str
) -> None:
    """A problem caused by missing event properties explains how the SDK may have emptied them."""
    emptied = event({"when": dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc), "q": "kettle"})
    assert emptied.event_properties is None, "the SDK has changed"
    if "identifier" in setting:
        emptied.user_id = None
    conversion = only(emptied, Sync("SEARCH", "Viewed", mapping=made))
    lacking = conversion.problems + conversion.omissions
    (reported,) = [each for each in lacking if each.field == needs]
    assert reported.reason == expected
    assert "silently empties" in reported.fix
    assert "datetime" in reported.fix


@pytest.mark.parametrize(
    "value",
    [dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc), Decimal("1.5"), (1, 2), [[1]], {1: "a"}],
    ids=repr,
)
def test_the_sdk_empties_properties_for_the_named_causes(value: object) -> None:
    """The SDK drops all properties for each cause that the problem names."""
    emptied = BaseEvent("Viewed", event_properties={"q": "kettle", "other": value})
    assert emptied.event_properties is None


def test_other_problems_are_not_blamed_on_the_sdk() -> None:
    """Emptied properties are not named if there are properties, or if none are used."""
    searched = only(event({"other": 1}), Sync("SEARCH", "Viewed"))
    mapped = only(event(), Sync("SEARCH", "Viewed", mapping={"search_query": "user_agent"}))
    timeless = only(event(time=None))
    for conversion in (searched, mapped, timeless):
        (reported,) = conversion.problems
        assert reported.reason == "missing"
        assert "Amplitude's SDK" not in reported.fix


def test_a_field_whose_mapping_failed_is_reported_once() -> None:
    """A field whose mapping raises has one problem, and is not missing too."""
    sync = Sync(
        "SEARCH", "Viewed", mapping={"search_query": lambda made: made.event_properties["q"]}
    )
    conversion = only(event({"a": 1}, time=None), sync)
    assert codes(conversion) == [("search_query", "mapping_failed"), ("timestamp", "missing")]
    assert "KeyError" in conversion.problems[0].found


@pytest.mark.parametrize(
    "sync",
    [
        Sync("HOME", lambda made: 1 / 0),
        Sync("HOME", "Viewed", where=lambda made: 1 / 0),
        Sync("HOME", "Viewed", where="event_properties.a > `1`"),
        Sync("HOME", "Viewed", where="contains(event_properties.b, 'x')"),
    ],
    ids=["events", "callable", "comparison", "function"],
)
def test_a_filter_that_raises_is_a_problem(sync: Sync) -> None:
    """A filter that raises is a problem of its sync; other syncs convert the event."""
    first, second = convert(event({"a": "text"}), sync, HOME)
    assert codes(first) == [("where", "filter_failed")]
    assert (first.sync, first.id, first.payload) == ("HOME", None, {})
    assert second.problems == ()


def test_a_million_bytes_are_big_enough() -> None:
    """A body of a million bytes is sent, one byte more is a problem."""
    search = Sync("SEARCH", "Viewed")
    room = 1_000_000 - len(only(event({"search_query": "x"}), search).body) + 1
    conversion = only(event({"search_query": "x" * room}), search)
    assert (len(conversion.body), conversion.problems) == (1_000_000, ())
    conversion = only(event({"search_query": "x" * (room + 1)}), search)
    assert codes(conversion) == [("event", "too_big")]
    assert conversion.problems[0].found == "1000001 bytes"
    assert conversion.problems[0].fix == "use at most 1000000 bytes"


def cyclic() -> dict[str, Any]:
    loop: dict[str, Any] = {"id": "¤loop"}
    loop["items"] = [loop]
    loop["self"] = loop
    return loop


def deep() -> dict[str, Any]:
    pit: dict[str, Any] = {}
    for _ in range(50_000):
        pit = {"a": pit, "b": [pit]}
    return pit


STRANGE: dict[str, Callable[[], Any]] = {
    "hostile": Hostile,
    "cyclic": cyclic,
    "deep": deep,
    "cyclic many times": lambda: [cyclic()] * 100,
    "long list": lambda: ["¤"] * 30_000,
    "large object": lambda: dict.fromkeys(range(30_000), "¤"),
    "long text": lambda: "¤" * 1_000_000,
    "large number": lambda: 10**5_000,
    "nan": lambda: float("nan"),
    "surrogate": lambda: "\ud800",
    "bytes": lambda: b"\xff",
    "object": object,
    "class": lambda: Hostile,
    "callable": lambda: deep,
}


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("place", ["attribute", "event_properties", "user_properties", "property"])
def test_any_event_is_sent_or_has_problems(place: str, kind: str) -> None:
    """Strange values, anywhere in an event, give a body or problems, never an exception."""
    value = STRANGE[kind]()
    made = event(
        {"page_id": "/", "search_query": "q", "referrer_page_id": "/", "items": [{"id": 1}]},
        revenue=1.5,
        currency="USD",
    )
    if place == "property":
        made.event_properties = dict.fromkeys([*made.event_properties, "price", "$price"], value)
        made.user_properties = {"a": value}
    elif place == "attribute":
        vars(made).update(dict.fromkeys(set(vars(made)) - {"event_type"}, value))
    else:
        setattr(made, place, value)
    syncs = [
        *(Sync(event_type, "Viewed") for event_type in EventType),
        Sync("HOME", lambda each: each.user_id == "me"),
        Sync("HOME", "Viewed", where="event_properties.a.b == user_properties"),
        Sync("PURCHASE", "Viewed", mapping={"items": "event_properties.items[].{id: id}"}),
        Sync("SEARCH", "Viewed", mapping={"search_query": "user_properties.*.a | [0]"}),
    ]
    for include in (True, ["a"]):
        for conversion in convert(made, *syncs, include_user_properties=include):
            assert bool(conversion.body) is not bool(conversion.problems)
            told = (*conversion.problems, *conversion.omissions)
            assert "¤" not in "".join(map(str, told))


def test_a_value_that_raises_is_a_problem() -> None:
    """A value that raises when it is read costs its part, and names the exception's type."""
    made = event(user_properties={"a": Hostile(), "b": 1})
    made.event_properties = {"search_query": Hostile()}
    conversion = only(made, Sync("SEARCH", "Viewed"))
    assert codes(conversion) == [("search_query", "unreadable")]
    assert conversion.problems[0].found == "a value that raised RuntimeError when it was read"
    conversion = only(made)
    assert conversion.payload["user_properties"] == {"b": 1}
    assert [each.code for each in conversion.omissions] == [
        "search_query unreadable",
        "user_properties unreadable",
    ]


def test_an_attribute_may_be_missing() -> None:
    """An event may lack an attribute altogether."""
    made = event()
    del made.event_properties
    assert sent(made)["id"] == "insert-1"


def test_converting_changes_nothing() -> None:
    """Converting leaves the event unchanged."""
    made = event(
        {"items": [{"id": 1, "price": "2", "currency": "usd"}], "revenue_amount": "2"},
        session_id=-1,
        ip="$remote",
        user_properties={"a": {"b": [None, ""]}, "c": 1},
    )
    before = copy.deepcopy(vars(made))
    syncs = [Sync("PURCHASE", "Viewed"), Sync("HOME", "Viewed", where="user_id")]
    convert(made, *syncs, include_user_properties=["a"], hash_identifier=hash_identifier)
    assert vars(made) == before


def preview(time: int | None, setting: Mapping[str, Any] | None = None) -> Conversion:
    destination = MolocoDestination(
        "key", "SHOP", [HOME], base_url="http://localhost:9", **(setting or {})
    )
    (conversion,) = destination.preview(event(time=time))
    return conversion


@pytest.mark.parametrize(
    ("ahead_millis", "sent_millis"),
    [(-1, NOW - 1), (0, NOW), (1, NOW), (FIVE_MINUTES, NOW), (None, NOW)],
)
@freeze_time(dt.datetime.fromtimestamp(NOW / 1000, dt.timezone.utc))
def test_a_time_slightly_ahead_is_sent_as_now(ahead_millis: int | None, sent_millis: int) -> None:
    """A time up to five minutes ahead of this machine's clock is sent as now."""
    conversion = preview(None if ahead_millis is None else NOW + ahead_millis)
    assert conversion.problems == ()
    assert conversion.payload["timestamp"] == str(sent_millis)


@freeze_time(dt.datetime.fromtimestamp(NOW / 1000, dt.timezone.utc))
def test_a_time_far_ahead_is_a_problem() -> None:
    """A time a millisecond over five minutes ahead of this machine's clock is a problem."""
    conversion = preview(NOW + FIVE_MINUTES + 1)
    assert codes(conversion) == [("timestamp", "in_future")]


def test_mappings_can_use_the_whole_event() -> None:
    """Expressions and callables can use every attribute of an event."""
    made = event({"a": {"b": 1}}, groups={"household": ["h"]}, city="Ghent", user_id=None)
    mapping: dict[str, str | Callable[[Any], Any]] = {
        "user_id": "groups.household[0]",
        "domain": "city",
        "page_id": "event_properties.a.b",
        "search_query": "event_type",
        "decision_track_id": lambda each: f"{each.city}/{each.event_type}",
    }
    payload = sent(made, Sync("HOME", "Viewed", mapping=mapping))
    assert {name: payload[name] for name in mapping} == {
        "user_id": "h",
        "domain": "Ghent",
        "page_id": "1",
        "search_query": "Viewed",
        "decision_track_id": "Ghent/Viewed",
    }


def test_a_body_over_the_limit_loses_its_user_properties_first() -> None:
    """A body that is too big is sent without the user properties, if that is enough."""
    search = Sync("SEARCH", "Viewed")
    properties = {"a": "x" * 600_000}
    conversion = only(event({"search_query": "x" * 500_000}, user_properties=properties), search)
    assert [each.code for each in conversion.omissions] == ["user_properties too_big"]
    assert "user_properties" not in json.loads(conversion.body)
    conversion = only(event({"search_query": "x" * 1_000_000}, user_properties=properties), search)
    assert codes(conversion) == [("event", "too_big")]


def test_a_mapping_that_raises_costs_its_field_alone() -> None:
    """A mapping that raises is reported, and the event goes without its field if it can."""

    def failing(made: Any) -> Any:
        raise KeyError

    trimmed = only(event(), Sync("HOME", "Viewed", mapping={"domain": failing}))
    assert [each.code for each in trimmed.omissions] == ["domain mapping_failed"]
    assert trimmed.body
    made = event(user_id=None)
    refused = only(made, Sync("HOME", "Viewed", mapping={"custom_id": failing}))
    assert ("custom_id", "mapping_failed") in codes(refused)


@pytest.mark.parametrize(
    ("platform", "source"),
    [("iOS", "platform"), ("Web", "'android'"), ("Web", lambda made: "iPadOS")],
)
def test_an_apps_platform_implies_its_os(platform: str, source: Any) -> None:
    """An event of an iOS or Android platform needs no os_name of its own."""
    made = event(platform=platform)
    payload = sent(made, Sync("HOME", "Viewed", mapping={"platform": source, "domain": "'a'"}))
    assert payload["device"]["os"] in ("iOS", "Android")
    made = event(platform=None)
    (conversion,) = convert(made, Sync("HOME", "Viewed", channel_type="APP"))
    assert codes(conversion) == [("os_name", "app_os")]


def test_an_expression_that_raised_as_a_filter_is_named() -> None:
    """The problem of a filter that raised shows its expression, and what the event lacks."""
    sync = Sync("HOME", "Viewed", where="contains(event_properties.Tags, 'sale')")
    (problem,) = only(event({"tags": "sale"}), sync).problems
    assert problem.fix.endswith(
        "; where is \"contains(event_properties.Tags, 'sale')\": "
        "event_properties has no 'Tags'; did you mean 'tags'?"
    )
    sync = Sync("HOME", "Viewed", where="contains(event_properties.n, 'sale')")
    (problem,) = only(event({"n": 1}), sync).problems
    assert problem.fix.endswith("; where is \"contains(event_properties.n, 'sale')\"")


def test_a_filter_without_lines_of_its_own_is_named() -> None:
    """The problem of a filter from a library shows which function it is."""
    sync = Sync("HOME", operator.attrgetter("nothing.there"))
    (problem,) = only(event({}), sync).problems
    assert problem.fix.endswith("; events is attrgetter")
    sync = Sync("HOME", "Viewed", where=len)
    (problem,) = only(event({}), sync).problems
    assert problem.fix.endswith("; where is len")
    assert problem.trace == ()


def test_a_callable_that_raised_has_its_lines() -> None:
    """The lines of the app that led to an exception go with the problem, without any value."""

    def inner(made: Any) -> Any:
        return made.event_properties["plan"]

    sync = Sync("HOME", "Viewed", where=lambda made: not inner(made))
    (problem,) = only(event({"a": "secret"}), sync).problems
    assert [line.function for line in problem.trace] == ["<lambda>", "inner"]
    assert "secret" not in repr(problem.trace)
    assert "trace" not in repr(problem)
    sync = Sync("SEARCH", "Viewed", mapping={"search_query": inner})
    (problem,) = only(event({"a": "secret"}), sync).problems
    assert [line.function for line in problem.trace] == ["inner"]


def test_a_second_event_of_one_type_names_the_first() -> None:
    """A conversion says which other sync sends the same event as the same type."""
    other = Sync("HOME", "Viewed", name="other")
    first, land, second, third = convert(
        event({"referrer_page_id": "/"}), HOME, Sync("LAND", "Viewed"), other, other
    )
    assert (first.twin, land.twin, second.twin, third.twin) == ("", "", "HOME", "HOME")
    assert "counted twice: the sync HOME sends it as the same type" in str(second)


class Interrupting(list[Any]):
    """A list whose reading a signal handler interrupts."""

    def __iter__(self) -> Any:
        interrupt()


def interrupt(*_: object) -> Any:
    """Calls a signal handler as the interpreter does: with the frame that it interrupts."""
    handle(signal.SIGALRM, inspect.currentframe())


def handle(number: int, frame: FrameType | None) -> None:
    raise TimeoutError("of the app")


@pytest.mark.parametrize(
    "sync",
    [
        Sync("HOME", interrupt),
        Sync("HOME", "Viewed", where=interrupt),
        Sync("HOME", "Viewed", mapping={"domain": interrupt}),
        Sync("HOME", "Viewed", mapping={"items": lambda made: Interrupting([1])}),
    ],
    ids=["events", "where", "mapping", "value"],
)
def test_what_a_signal_handler_raises_reaches_the_app(sync: Sync) -> None:
    """The exception of a signal handler passes through, whatever it interrupts."""
    with pytest.raises(TimeoutError, match="of the app"):
        convert(event(), sync)


UNUSABLE_IDS = [
    *(float("nan"), 1.5, True, [1], {}, "x" * 129, "\ud800", Hostile),
    *("None", "null", "nan", " Undefined ", "<NA>", "unknown", -1),
]


@pytest.mark.parametrize("has_shortcuts", [True, False])
@pytest.mark.parametrize("event_id", UNUSABLE_IDS, ids=lambda each: str(type(each)))
def test_an_event_id_that_can_not_be_one_costs_no_event(
    event_id: object, *, has_shortcuts: bool
) -> None:
    """The insert_id is sent instead, and the omission says so; MCM would suppress all but one."""
    made = event(event_id=Hostile() if event_id is Hostile else event_id)
    conversion = only(made, has_shortcuts=has_shortcuts)
    assert (conversion.id, conversion.problems) == ("insert-1", ())
    assert [each.code for each in conversion.omissions] == ["event_id unknown_value"]


@pytest.mark.parametrize("event_id", [0, 7, "0", "order-7", "x" * 128, 2**63])
def test_an_event_id_that_can_be_one_is_sent(event_id: object) -> None:
    """The app's own id wins over the insert_id, and nothing is left out."""
    conversion = only(event(event_id=event_id))
    assert (conversion.id, conversion.omissions) == (str(event_id), ())


def test_an_event_id_without_an_insert_id_is_read_as_it_is() -> None:
    """There is no other: what can't be an id is refused, with its own problem."""
    (problem,) = only(event(event_id=1.5, insert_id=None)).problems
    assert problem.code == "event_id wrong_type"


def test_a_platform_that_claims_to_be_text_costs_no_event() -> None:
    """It says nothing, so the configured channel holds."""
    liar = type("Liar", (), {"__class__": str})()
    for each in (True, False):
        made = sent(event(platform=liar), channel_type=ChannelType.SITE, has_shortcuts=each)
        assert made["channel_type"] == "SITE"
