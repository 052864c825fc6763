"""Objects that raise when they are looked at, and parts that are too big, in every place."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from support.events import NOW, event

from amplitude_moloco import Conversion, EventType, Sync
from amplitude_moloco.moloco.converter import Converter
from amplitude_moloco.moloco.wire.vocabulary import MAX_SIZE


def fail(*_: object) -> Any:
    raise RuntimeError("secret")


class Classless:
    """Raises when it is asked for its class, as a broken proxy does."""

    __class__ = property(fail)


class Proxy:
    """Raises whatever is done with it."""

    __getattr__ = __len__ = __iter__ = __str__ = __repr__ = __bool__ = fail


class RaisingText(str):
    """Text that can't be read."""

    __slots__ = ()
    strip = isspace = isascii = lower = __str__ = __len__ = __bool__ = fail


class RaisingNumber(int):
    """A number that can't be read."""

    __int__ = __abs__ = __lt__ = __le__ = __repr__ = __bool__ = fail


class RaisingList(list[Any]):
    """A list that can't be read."""

    __len__ = __iter__ = __bool__ = fail


class RaisingDict(dict[str, Any]):
    """An object that can't be read."""

    __len__ = __iter__ = __getitem__ = __contains__ = __bool__ = get = items = keys = fail


class Scalar:
    """A number of numpy's kind that Python has no type for: its item is itself."""

    shape = ()

    def item(self) -> Scalar:
        return self

    def __getitem__(self, key: object) -> Scalar:
        return self


class ScalarBytes(bytes):
    """Bytes of numpy's kind, which look like a scalar."""

    shape = ()

    def item(self) -> bytes:
        return bytes(self)


class Single(Fraction):
    """A number of 32 bits, as numpy has: its item, of 64 bits, shows more digits."""

    shape = ()

    def __getitem__(self, key: object) -> Single:
        return self

    def item(self) -> float:
        return 19.989999771118164

    def __str__(self) -> str:
        return "19.99"


def circular() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


HOSTILE: dict[str, Callable[[], Any]] = {
    "classless": Classless,
    "proxy": Proxy,
    "text": lambda: RaisingText("EUR"),
    "number": lambda: RaisingNumber(5),
    "list": lambda: RaisingList([{"id": "a"}]),
    "dict": lambda: RaisingDict(id="a"),
    "scalar": Scalar,
    "circular": circular,
    "in a list": lambda: [Proxy(), RaisingDict()],
    "in an object": lambda: {"amount": Proxy(), "currency": Classless()},
    "bytes": lambda: b"EUR",
    "bytes of numpy": ScalarBytes,
    "surrogate": lambda: "\ud800",
}
PROPERTIES: dict[str, Any] = {
    "items": [{"id": "a", "price": 5, "currency": "EUR", "quantity": 1}],
    "revenue_amount": 5,
    "revenue_currency": "EUR",
    "page_id": "/a",
    "search_query": "a",
    "referrer_page_id": "/b",
}
OPTIONAL = (
    "items revenue_amount revenue_currency currency $currency $price $revenue "
    "shipping_charge_amount shipping_charge_currency page_id referrer_page_id search_query "
    "domain decision_track_id advertising_id"
).split()
ATTRIBUTES = (
    "user_properties device_id session_id os_name os_version device_model language ip library "
    "user_agent revenue currency adid idfa price quantity"
).split()
IN_AN_ITEM = "id item_group_id price price_seller currency quantity seller_id".split()


def converted(kind: str, made: Any) -> Conversion:
    (conversion,) = Converter([Sync(kind, "Viewed")]).convert(made, NOW)
    assert "secret" not in str(conversion)
    return conversion


def with_properties(properties: dict[str, Any], **attributes: Any) -> Any:
    made = event({}, **attributes)
    vars(made)["event_properties"] = properties  # past the SDK's checks, as a plugin sets them
    return made


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("place", OPTIONAL)
def test_no_property_costs_a_home(place: str, hostile: str) -> None:
    """A HOME needs no property: whatever one is, the event is sent."""
    made = with_properties({**PROPERTIES, place: HOSTILE[hostile]()})
    conversion = converted("HOME", made)
    assert conversion.problems == ()
    assert json.loads(conversion.body)["user_id"] == "shopper-1"


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("place", ATTRIBUTES)
def test_no_optional_attribute_costs_a_purchase(place: str, hostile: str) -> None:
    """Whatever an attribute is that the type doesn't require, the event is sent."""
    made = with_properties(dict(PROPERTIES), **{place: HOSTILE[hostile]()})
    conversion = converted("PURCHASE", made)
    assert conversion.problems == ()
    assert json.loads(conversion.body)["revenue"] == {"currency": "EUR", "amount": 5}


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("place", IN_AN_ITEM)
def test_no_field_of_an_item_costs_a_purchase(place: str, hostile: str) -> None:
    """Whatever is in an item, the other items and the revenue are sent."""
    good = PROPERTIES["items"][0]
    items = [{**good, place: HOSTILE[hostile]()}, good]
    conversion = converted("PURCHASE", with_properties({**PROPERTIES, "items": items}))
    assert conversion.problems == ()
    assert json.loads(conversion.body)["items"][-1]["price"] == {"currency": "EUR", "amount": 5}
    is_sent = hostile == "text" or place in {"item_group_id", "seller_id", "currency", "price"}
    assert conversion.omissions or is_sent


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("place", [each for each in IN_AN_ITEM if each != "id"])
def test_no_optional_field_costs_an_item(place: str, hostile: str) -> None:
    """An item is sent without the field that can't be read."""
    item = {**PROPERTIES["items"][0], place: HOSTILE[hostile]()}
    conversion = converted("PURCHASE", with_properties({**PROPERTIES, "items": [item]}))
    assert conversion.problems == ()
    assert conversion.payload["items"][0]["id"] == "a"


def test_numbers_of_other_libraries_keep_their_digits() -> None:
    """A number of 32 bits has the digits that it shows, in user properties as in a price."""
    several = {"a": Fraction(1999, 100), "b": Decimal("19.99"), "c": Single("19.99")}
    conversion = converted("HOME", event(user_properties=several))
    assert conversion.payload["user_properties"] == {"a": 19.99, "b": 19.99, "c": 19.99}


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("place", ["items", "revenue_amount", "revenue_currency", "currency"])
def test_what_a_purchase_requires_is_named(place: str, hostile: str) -> None:
    """A part that is required and can't be read refuses the event, and is named."""
    made = with_properties({**PROPERTIES, place: HOSTILE[hostile]()})
    conversion = converted("PURCHASE", made)
    named = {problem.field.partition("[")[0] for problem in conversion.problems}
    assert named <= {place, "revenue_amount", "revenue_currency"}
    assert conversion.problems or place == "currency" or hostile in {"text", "list"}


def test_a_price_beside_an_unreadable_item_has_the_currency_of_the_others() -> None:
    """The currency of an event is found in its items, past one that can't be read."""
    items = [RaisingDict(id="b"), PROPERTIES["items"][0]]
    conversion = converted("PURCHASE", with_properties({"items": items, "revenue_amount": 5}))
    assert conversion.payload["revenue"] == {"currency": "EUR", "amount": 5}
    assert [each.code for each in conversion.omissions] == ["items unreadable"]


BIG = "x" * (MAX_SIZE + 1)


@pytest.mark.parametrize("kind", EventType)
@pytest.mark.parametrize(
    ("place", "field"),
    [
        *((each, each) for each in ("domain", "decision_track_id", "search_query")),
        ("referrer_page_id", "referrer_page_id"),
        ("os_version", "os_version"),
        ("device_model", "device_type"),
        ("ip", "ip_address"),
        ("library", "library"),
        ("adid", "advertising_id"),
        ("os_name", "os_name"),
    ],
)
def test_no_optional_part_makes_an_event_too_big(kind: EventType, place: str, field: str) -> None:
    """The biggest optional part is left out of an event that is too big, and the rest is sent."""
    own = {"search_query": "SEARCH"}.get(place)
    made = with_properties(dict(PROPERTIES), user_properties={"tier": "gold"})
    (made.event_properties if place in OPTIONAL else vars(made))[place] = BIG
    conversion = converted(kind.value, made)
    if kind.value == own:
        assert [each.code for each in conversion.problems] == ["event too_big"]
        return
    assert conversion.problems == ()
    too_long = {"referrer_page_id too_long", f"{field} too_big"}
    assert {each.code for each in conversion.omissions} <= too_long
    assert len(conversion.omissions) == 1
    assert conversion.payload["user_properties"] == {"tier": "gold"}
    assert json.loads(conversion.body) == conversion.payload
    assert "device" not in conversion.payload


@pytest.mark.parametrize("field", ["seller_id", "item_group_id"])
def test_a_big_field_of_an_item_is_left_out(field: str) -> None:
    """An item's own field that makes the event too big is left out, and the item is sent."""
    items = [{"id": "a", "quantity": 1}, {"id": "b", field: BIG}]
    conversion = converted("ADD_TO_CART", with_properties({"items": items}))
    assert conversion.payload["items"] == [{"id": "a", "quantity": 1}, {"id": "b"}]
    assert [each.field for each in conversion.omissions] == [f"items[1].{field}"]


def test_required_parts_that_are_too_big_refuse_the_event() -> None:
    """Nothing required is left out: the event is refused for its size."""
    made = with_properties({"items": [{"id": BIG}, {"item_group_id": BIG}]}, os_name="x" * 900)
    conversion = converted("ADD_TO_CART", made)
    assert [each.code for each in conversion.problems] == ["event too_big"]
    assert "omissions" not in str(conversion)


def test_only_as_much_as_needed_is_left_out() -> None:
    """Of several big parts, the biggest go until the rest fits."""
    made = with_properties(
        {"domain": "x" * 600_000, "decision_track_id": "x" * 300_000},
        user_properties={"a": "x" * 500_000},
    )
    conversion = converted("HOME", made)
    assert [each.code for each in conversion.omissions] == ["domain too_big"]
    assert len(conversion.body) <= MAX_SIZE


def test_an_app_keeps_its_os() -> None:
    """The os of an app is required, and a big one refuses the event."""
    made = with_properties({}, platform="iOS", os_name="ios" + BIG)
    assert [each.code for each in converted("HOME", made).problems] == ["event too_big"]


def test_a_language_of_any_length_costs_no_memory() -> None:
    """Text that is too long for the name of a language is not looked up, and so not kept."""
    assert "language" not in converted("HOME", event(language="en" + BIG)).payload.get("device", {})
