"""Any event and any sync give a body that keeps every rule of MCM's contract, or problems.

The rules are written here again, from Moloco's contract and independently of the library.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterator
from enum import Enum
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from support.events import FIVE_MINUTES, NOW, bare_event

from amplitude_moloco import Conversion, Sync, hash_identifier
from amplitude_moloco.moloco.chart import MOLOCO_FIELDS
from amplitude_moloco.moloco.converter import Converter
from amplitude_moloco.moloco.wire.vocabulary import ChannelType

"""A slow machine must not fail a test."""
MARK = "¤"
"""Part of every text of an event that is not a word of MCM's or Amplitude's."""

REQUIRED = {
    "HOME": set(),
    "LAND": set(),
    "PAGE_VIEW": {"page_id"},
    "ITEM_PAGE_VIEW": {"items"},
    "SEARCH": {"search_query"},
    "ADD_TO_CART": {"items"},
    "ADD_TO_WISHLIST": {"items"},
    "PURCHASE": {"items", "revenue"},
}
CURRENCIES = (
    "USD KRW JPY EUR GBP SEK INR THB IDR CNY CAD RUB BRL SGD HKD AUD PLN DKK VND MYR PHP TRY VES "
    "AED CHF"
).split()
CHANNELS = ["APP", "SITE", "DESKTOP_SITE", "MOBILE_SITE"]
MODES = ["STANDARD", "METRIC_ONLY", "ID_LESS"]
TEXTS = {"search_query", "domain", "decision_track_id"}
SHORT_TEXTS = {"id", "user_id", "custom_id", "page_id", "referrer_page_id"}
SENT_WHOLE = {"PAGE_VIEW": {"page_id"}, "LAND": {"referrer_page_id"}}
DEVICE_TEXTS = {"os", "os_version", "model", "ua", "ip", "language", "advertising_id"}


def violations(body: bytes) -> Iterator[str]:
    """Each breach of the contract in a request's body."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    event = json.loads(body.decode("utf-8"), parse_constant=refuse)
    device = event.get("device", {"os": ""})
    yield from _absent(event, "event")
    known = {"event_type", "timestamp", "channel_type", "device", "items", "revenue"}
    known |= {"shipping_charge", "personalization_mode", "user_properties"} | TEXTS | SHORT_TEXTS
    yield from (f"unknown {key}" for key in event.keys() - known)
    yield from (f"unknown {key}" for key in device.keys() - DEVICE_TEXTS - {"persistent_id"})
    missing = {"event_type", "timestamp", "channel_type", "id"} | REQUIRED[event["event_type"]]
    yield from (f"missing {key}" for key in missing - event.keys())
    if event["channel_type"] not in CHANNELS:
        yield "channel_type"
    if event.get("personalization_mode", "STANDARD") not in MODES:
        yield "personalization_mode"
    yield from _times(event["timestamp"])
    whole = SENT_WHOLE.get(event["event_type"], set())
    yield from _texts(event, TEXTS | whole, SHORT_TEXTS - whole)
    yield from _texts(device, DEVICE_TEXTS, {"persistent_id"})
    yield from _identifiers(event, device)
    yield from _device(event["channel_type"], device)
    if "items" in event and not (isinstance(event["items"], list) and event["items"]):
        yield "items"
    else:
        for item in event.get("items", ()):
            yield from _item(item)
    for key in ("revenue", "shipping_charge"):
        yield from _money(event, key)
    yield from _currencies(event)
    if not isinstance(event.get("user_properties", {}), dict):
        yield "user_properties"


def _absent(value: object, place: str) -> Iterator[str]:
    if value is None or value in ("", [], {}) or (isinstance(value, str) and not value.strip()):
        yield f"{place} is {value!r}"
    parts = value if isinstance(value, dict) else {}
    if isinstance(value, list):
        parts = dict(enumerate(value))
    for key, part in parts.items():
        yield from _absent(part, f"{place}.{key}")


def _times(timestamp: object) -> Iterator[str]:
    if not (isinstance(timestamp, str) and timestamp.isdecimal() and timestamp.isascii()):
        yield "timestamp is not text of digits"
    elif not 10**10 <= int(timestamp) <= NOW:
        yield "timestamp is in the future, or not in milliseconds"


def _texts(holder: dict[str, Any], texts: set[str], short_texts: set[str]) -> Iterator[str]:
    for key in (texts | short_texts) & holder.keys():
        if not isinstance(holder[key], str):
            yield f"{key} is not text"
        elif key in short_texts and len(holder[key]) > 128:
            yield f"{key} is too long"


def _identifiers(event: dict[str, Any], device: dict[str, Any]) -> Iterator[str]:
    sent = [event.get("user_id"), device.get("persistent_id"), event.get("custom_id")]
    identifiers = [each for each in sent if each is not None]
    if any(each.strip().lower() in ("null", "undefined", "invalid", "nil") for each in identifiers):
        yield "null-like identifier"
    if "-1" in identifiers[-1:] and event.get("custom_id") == "-1":
        yield "no session"
    if event.get("personalization_mode") == "ID_LESS":
        if identifiers or {"advertising_id", "ip"} & device.keys() or "user_properties" in event:
            yield "identifiers in ID_LESS"
    elif not identifiers:
        yield "no identifier"


def _device(channel: str, device: dict[str, Any]) -> Iterator[str]:
    if channel == "APP" and not any(os in device["os"].lower() for os in ("ios", "android")):
        yield "os of APP"
    language = device.get("language", "en")
    if not (
        len(language) == 2 and language.isascii() and language.isalpha() and language.islower()
    ):
        yield "language"
    if device.get("advertising_id") == "00000000-0000-0000-0000-000000000000":
        yield "advertising_id of zeros"
    if device.get("ip") == "$remote":
        yield "ip of Amplitude's"


def _item(item: dict[str, Any]) -> Iterator[str]:
    ids = {"id", "item_group_id"}
    yield from (
        f"unknown {key} of an item"
        for key in item.keys() - ids - {"price", "quantity", "seller_id", "price_seller"}
    )
    if not ids & item.keys():
        yield "item without id"
    yield from _texts(item, {*ids, "seller_id"}, set())
    quantity = item.get("quantity", 0)
    if type(quantity) is not int or not -(2**31) <= quantity < 2**31:
        yield "quantity"
    for key in ("price", "price_seller"):
        yield from _money(item, key)


def _money(holder: dict[str, Any], key: str) -> Iterator[str]:
    if key in holder:
        money = holder[key]
        if money.keys() != {"currency", "amount"} or money["currency"] not in CURRENCIES:
            yield f"{key} is not money"
        elif type(money["amount"]) not in (int, float) or not math.isfinite(money["amount"]):
            yield f"amount of {key}"


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _currencies(event: dict[str, Any]) -> Iterator[str]:
    amounts = [event.get("revenue"), event.get("shipping_charge")]
    for item in filter(_is_object, event.get("items", ())):
        amounts += [item.get("price"), item.get("price_seller")]
    if len({str(money.get("currency")) for money in amounts if isinstance(money, dict)}) > 1:
        yield "several currencies"


class Word(Enum):
    """An enum of an app, with values of several kinds."""

    MARKED = f"{MARK}enum"
    NUMBER = 3
    NOTHING = None


class Hostile:
    """Raises whenever it is inspected."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise RuntimeError(f"{MARK}{name}")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError(MARK)

    def __hash__(self) -> int:
        raise RuntimeError(MARK)

    def __str__(self) -> str:
        raise RuntimeError(MARK)

    def __repr__(self) -> str:
        return "Hostile()"


def _cyclic() -> Any:
    loop: dict[str, Any] = {"id": MARK}
    loop["items"] = [loop]
    return loop


words = st.text(max_size=8).map(MARK.__add__)
short = words | st.just(MARK * 128)
marked = short | st.just(MARK * 129)
numbers = (
    st.integers()
    | st.floats()
    | st.decimals()
    | st.sampled_from([0, -1, 2**31 - 1, 2**31, 2**63, 10**400, NOW, NOW // 1000, True])
    | st.sampled_from(["0", "12.50", "1e999", " 7 ", "-.5"])
)
odd = (
    st.sampled_from([None, "", " ", "null", " NIL", "$remote", "\ud800"])
    | st.sampled_from([*Word, b"\xa4", 1j, dt.date(2024, 1, 1), object()])
    | st.builds(Hostile)
    | st.builds(_cyclic)
)
anything = st.recursive(
    marked | numbers | odd,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(marked | st.sampled_from(["id", "price", "currency"]), inner, max_size=3)
        | st.dictionaries(st.integers() | st.none(), inner, max_size=2)
    ),
    max_leaves=5,
)
amounts = (
    st.integers(-(10**9), 10**9)
    | st.floats(-1e9, 1e9)
    | st.decimals(-(10**9), 10**9, places=2)
    | st.decimals(-(10**9), 10**9, places=2).map(str)
)
currencies = st.sampled_from([*CURRENCIES, "usd", " Eur "])
ids = short | st.integers(0, 2**63 - 1)
json_values = st.recursive(
    marked | st.booleans() | st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(-1e9, 1e9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(marked, inner, max_size=3),
    max_leaves=5,
)
# What items, properties and attributes of a valid event always have, and what they may have.
VALID_ITEM: dict[str, Any] = {"id": f"{MARK}sku", "price": 12.5, "currency": "USD"}
OF_ITEM: dict[str, st.SearchStrategy[Any]] = {
    "id": ids,
    "item_group_id": ids,
    "price": amounts | st.fixed_dictionaries({"amount": amounts, "currency": currencies}),
    "price_seller": amounts,
    "currency": currencies,
    "quantity": st.integers(-(2**31), 2**31 - 1),
    "seller_id": ids,
    f"{MARK}color": marked,
}
VALID_PROPERTIES: dict[str, Any] = {
    "revenue_amount": 12.5,
    "revenue_currency": "USD",
    "page_id": f"/{MARK}",
    "referrer_page_id": f"/{MARK}",
    "search_query": f"{MARK}query",
}
OF_PROPERTIES: dict[str, st.SearchStrategy[Any]] = {
    "revenue_amount": amounts,
    "revenue_currency": currencies,
    "page_id": ids,
    "referrer_page_id": ids,
    "search_query": marked,
    "domain": marked,
    "decision_track_id": ids,
    "personalization_mode": st.sampled_from([*MODES, "id_less", " standard "]),
    "advertising_id": marked,
    "$price": amounts,
    "$quantity": st.integers(0, 9),
    "tags": st.lists(marked, max_size=2),
}
VALID_ATTRIBUTES: dict[str, Any] = {
    "user_id": f"{MARK}shopper",
    "insert_id": f"{MARK}insert",
    "time": NOW,
    "platform": "Web",
    "os_name": "iOS",
}
OF_ATTRIBUTES: dict[str, st.SearchStrategy[Any]] = {
    "user_id": short,
    "insert_id": words,
    "time": st.integers(10**10, NOW + FIVE_MINUTES),
    "platform": st.sampled_from(["iOS", "Android", "Web", "iPadOS", *CHANNELS]),
    "os_name": st.sampled_from(["iOS", "ANDROID 14", "ios"]),
    "device_id": short,
    "session_id": st.integers(-1, NOW),
    "event_id": st.integers(0, 2**63 - 1),
    "os_version": marked,
    "device_model": marked,
    "language": st.sampled_from(["English", "en-US", "eng", "Klingon"]) | marked,
    "ip": st.sampled_from(["$remote", "192.0.2.1"]) | marked,
    "user_agent": marked,
    "library": marked,
    "idfa": marked | st.just("00000000-0000-0000-0000-000000000000"),
    "adid": marked,
    "currency": currencies,
    "revenue": st.floats(-1e9, 1e9),
    "price": st.floats(-1e9, 1e9),
    "quantity": st.integers(-10, 10),
    "user_properties": st.dictionaries(marked | st.just("tier"), json_values, max_size=3),
    "groups": st.dictionaries(marked, json_values, max_size=2),
}


class Case(NamedTuple):
    """An event, the syncs and the settings that convert it."""

    event: Any
    syncs: list[Sync]
    settings: dict[str, Any]

    def convert(self) -> list[Conversion]:
        return Converter(self.syncs, **self.settings).convert(self.event, NOW)


settings_of_destination = st.fixed_dictionaries(
    {
        "channel_type": st.sampled_from([None, *ChannelType]),
        "default_currency": st.sampled_from([None, "USD"]),
        "include_user_properties": st.sampled_from([True, False, ["tier"], frozenset({MARK})]),
        "hash_identifier": st.sampled_from([None, hash_identifier]),
    }
)
sources = st.sampled_from(
    [
        "user_id",
        "event_properties.page_id",
        "event_properties.items",
        "event_properties.items[].{id: id, price: price, currency: currency}",
        "event_properties.items[0].price",
        "user_properties.tier || groups",
        "[user_id, insert_id]",
        "abs(event_properties.search_query)",
        "'APP'",
        "`5`",
        "event_properties.nothing",
        lambda event: event.event_properties["page_id"],
        lambda event: event,
        lambda event: event.groups,
    ]
)
filters = st.none() | st.sampled_from(
    [
        "event_properties.revenue_amount > `0`",
        "contains(event_properties.tags, 'a')",
        "user_properties.tier != 'gold'",
        "user_id && event_properties",
        lambda event: event.event_properties["items"],
        lambda event: event.platform,
    ]
)
syncs = st.builds(
    lambda event_type, events, where, mapping, channel_type: Sync(
        event_type, events, where=where, mapping=mapping, channel_type=channel_type
    ),
    st.sampled_from(sorted(REQUIRED)),
    st.sampled_from(["Viewed", "*", lambda event: event.user_id]),
    filters,
    st.dictionaries(st.sampled_from(MOLOCO_FIELDS), sources, max_size=2),
    st.sampled_from([None, *CHANNELS]),
)
plain_syncs = st.sampled_from(sorted(REQUIRED)).map(lambda event_type: Sync(event_type, "Viewed"))


PARTS = {
    "item": (VALID_ITEM, OF_ITEM),
    "properties": (VALID_PROPERTIES, OF_PROPERTIES),
    "attributes": (VALID_ATTRIBUTES, OF_ATTRIBUTES),
}


@st.composite
def parts(draw: st.DrawFn, of: str, spoiled: str) -> dict[str, Any]:
    """Valid parts with a few replaced by other valid ones; if spoiled, one or two by anything."""
    valid, others = PARTS[of]
    result = dict(valid)
    for name in draw(st.sets(st.sampled_from(sorted(others)), max_size=4)):
        result[name] = draw(others[name])
    if spoiled == of:
        for name in draw(st.sets(st.sampled_from(sorted(others)), min_size=1, max_size=2)):
            result[name] = draw(anything)
    return result


@st.composite
def events(draw: st.DrawFn, spoiled: bool = False) -> Any:
    """An event that is valid for every event type; if spoiled, some of its values are anything."""
    kind = draw(st.sampled_from([*PARTS, "whole"])) if spoiled else "nothing"
    properties = draw(parts("properties", kind))
    properties["items"] = draw(st.lists(parts("item", kind), min_size=1, max_size=2))
    if not spoiled:
        _set_currency(draw(currencies), properties)
    attributes = {**draw(parts("attributes", kind)), "event_properties": properties}
    if kind == "whole":
        attributes[draw(st.sampled_from(["event_properties", "user_properties"]))] = draw(anything)
    return bare_event(**attributes)


def _set_currency(currency: str, properties: dict[str, Any]) -> None:
    """Put all amounts of the properties into one currency."""
    properties["currency"] = properties["revenue_currency"] = currency
    for item in properties["items"]:
        item["currency"] = currency
        if isinstance(item["price"], dict):
            item["price"]["currency"] = currency


cases = st.builds(
    Case, events(spoiled=True), st.lists(syncs, min_size=1, max_size=3), settings_of_destination
)


@given(
    st.builds(
        Case, events(), st.lists(plain_syncs, min_size=1, max_size=3), settings_of_destination
    )
)
def test_a_valid_event_is_sent(case: Case) -> None:
    """A valid event becomes a body that keeps every rule."""
    conversions = case.convert()
    assert len(conversions) == len(case.syncs)
    for conversion in conversions:
        assert conversion.problems == ()
        assert conversion.omissions == ()
        assert list(violations(conversion.body)) == []
    assert len({conversion.id for conversion in conversions}) == len(conversions)


@given(cases)
def test_any_event_is_sent_by_the_rules_or_not_at_all(case: Case) -> None:
    """Any event gives, for each sync, a body that keeps every rule, or problems."""
    for conversion in case.convert():
        if conversion.problems:
            assert conversion.body == b""
        else:
            assert list(violations(conversion.body)) == []
            assert json.loads(conversion.body) == conversion.payload
            assert conversion.payload["id"] == conversion.id


@given(cases)
def test_the_same_event_gives_the_same_bytes(case: Case) -> None:
    """Converting an event again gives the same ids, the same bytes and the same problems."""
    first, second = case.convert(), case.convert()
    assert [each.body for each in first] == [each.body for each in second]
    assert [each.id for each in first] == [each.id for each in second]
    assert [each.problems for each in first] == [each.problems for each in second]
    assert [each.omissions for each in first] == [each.omissions for each in second]


@given(cases)
def test_converting_changes_nothing(case: Case) -> None:
    """Converting leaves the event and everything in it unchanged."""
    before = repr(vars(case.event))
    case.convert()
    assert repr(vars(case.event)) == before


@given(cases)
def test_no_problem_holds_a_value_of_the_event(case: Case) -> None:
    """Problems contain no text of the event, so they may be logged."""
    for conversion in case.convert():
        for problem in (*conversion.problems, *conversion.omissions):
            assert MARK not in f"{problem}{problem.code}{problem!r}"


@given(events(), st.lists(syncs, min_size=2, max_size=4))
def test_no_two_conversions_share_an_id(event: Any, several: list[Sync]) -> None:
    """The conversions of one event have different ids, so MCM keeps each of them."""
    conversions = Converter(several).convert(event, NOW)
    ids_sent = [conversion.id for conversion in conversions if conversion.body]
    assert len(set(ids_sent)) == len(ids_sent)


all_settings = st.fixed_dictionaries(
    {
        "id_less_fields": st.sampled_from([(), ["ip_address", "user_properties"]]),
        "absent_identifiers": st.sampled_from([(), [f"{MARK}shopper"]]),
        "library_as_user_agent": st.booleans(),
    }
)


@given(
    events() | events(spoiled=True),
    st.lists(syncs | plain_syncs, min_size=1, max_size=3),
    st.builds(lambda some, more: {**some, **more}, settings_of_destination, all_settings),
)
def test_a_shortcut_changes_nothing_but_the_time(
    event: Any, several: list[Sync], chosen: dict[str, Any]
) -> None:
    """With and without shortcuts, any event gives the same bytes, problems and omissions."""
    short_way = Case(event, several, chosen).convert()
    long_way = Case(event, several, {**chosen, "has_shortcuts": False}).convert()
    assert [(*each[:2], *each[3:]) for each in short_way] == [
        (*each[:2], *each[3:]) for each in long_way
    ]
    assert [repr(each.payload) for each in short_way] == [repr(each.payload) for each in long_way]


def test_the_checker_finds_each_breach() -> None:
    """The checker of these tests finds a breach of each rule."""
    valid = {
        "event_type": "PURCHASE",
        "id": "1",
        "timestamp": str(NOW),
        "channel_type": "APP",
        "user_id": "me",
        "device": {"os": "iOS"},
        "items": [{"id": "1", "quantity": 1, "price": {"currency": "USD", "amount": 0}}],
        "revenue": {"currency": "USD", "amount": 1.5},
    }
    assert list(violations(json.dumps(valid).encode())) == []
    zeros = "00000000-0000-0000-0000-000000000000"
    item = valid["items"][0]  # type: ignore[index]  # its values are of many types
    several_broken: tuple[dict[str, Any], ...] = (
        {"timestamp": NOW},
        {"timestamp": str(NOW + 1)},
        {"timestamp": str(NOW // 1000)},
        {"id": "x" * 129},
        {"id": 1},
        {"user_id": " Null"},
        {"user_id": "me", "custom_id": "-1"},
        {"channel_type": "WEB"},
        {"personalization_mode": "ID_LESS"},
        {"personalization_mode": "NONE"},
        {"device": {"os": "Windows"}},
        {"device": {"os": "iOS", "language": "English"}},
        {"device": {"os": "iOS", "advertising_id": zeros}},
        {"device": {"os": "iOS", "ip": "$remote"}},
        {"device": {"os": "iOS", "persistent_id": "x" * 129}},
        {"device": {"os": "iOS", "color": "red"}},
        {"domain": ""},
        {"page_id": None},
        {"surprise": 1},
        {"user_properties": [1]},
        {"user_properties": {"a": [{}]}},
        {"items": []},
        {"items": {"id": "1"}},
        {"items": [{"seller_id": "1"}]},
        {"items": [{**item, "quantity": 2**31}]},
        {"items": [{**item, "quantity": True}]},
        {"items": [{**item, "color": "red"}]},
        {"items": [{**item, "price_seller": {"currency": "USD"}}]},
        {"revenue": {"currency": "XXX", "amount": 1}},
        {"revenue": {"currency": "EUR", "amount": 1}},
        {"revenue": {"currency": "USD", "amount": "1"}},
    )
    for broken in several_broken:
        assert list(violations(json.dumps({**valid, **broken}).encode())), broken
    for key in ("id", "user_id", "items", "revenue"):
        less = {name: value for name, value in valid.items() if name != key}
        assert list(violations(json.dumps(less).encode())), key
