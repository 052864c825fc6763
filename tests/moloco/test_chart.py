"""The mapping chart: every row, from the attributes of Amplitude's event to Moloco's fields."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest
from amplitude import BaseEvent, Revenue

from amplitude_moloco import ChannelType, ConfigurationError, EventType, Problem
from amplitude_moloco.moloco.chart import MOLOCO_FIELDS, EventMapping

CHART = (
    "platform event_id user_id device_persistent_id custom_id os_name os_version device_type "
    "language ip_address library shipping_charge_amount shipping_charge_currency revenue_amount "
    "revenue_currency page_id referrer_page_id search_query items timestamp domain "
    "decision_track_id personalization_mode advertising_id"
).split()
# What a mapping finds nothing in.
NOTHING = "event_properties.nothing"
# Field: the attributes of an event that fill it, and their value there.
ATTRIBUTES: dict[str, tuple[str, Any]] = {
    "user_id": ("user_id", "shopper-1"),
    "device_persistent_id": ("device_id", "device-1"),
    "custom_id": ("session_id", 1_699_999_000_000),
    "os_name": ("os_name", "Windows"),
    "os_version": ("os_version", "11"),
    "device_type": ("device_model", "XPS 13"),
    "language": ("language", "en-US"),
    "ip_address": ("ip", "192.0.2.1"),
    "timestamp": ("time", 1_700_000_000_000),
    "event_id": ("insert_id", "insert-1"),
    "library": ("user_agent", "Mozilla/5.0"),
    "advertising_id": ("adid", "38400000-8cf0-11bd-b23e-10b96e40000d"),
    "revenue_amount": ("revenue", 12.5),
}
SAME_NAMED = (
    "shipping_charge_amount shipping_charge_currency revenue_amount revenue_currency page_id "
    "referrer_page_id search_query items domain decision_track_id personalization_mode "
    "advertising_id"
).split()


def event(properties: dict[str, Any] | None = None, **attributes: Any) -> BaseEvent:
    made = BaseEvent("Viewed", event_properties=properties)
    for name, value in attributes.items():  # some can't be given to the constructor
        assert name in vars(made)
        made[name] = value
        assert made[name] == value
    return made


def apply(
    made: BaseEvent,
    mapping: Mapping[str, str | Callable[[Any], Any]] | None = None,
    event_type: EventType = EventType.HOME,
    **settings: Any,
) -> tuple[dict[str, Any], list[Problem]]:
    fields, problems = EventMapping(event_type, mapping, **settings).apply(made)
    # Where there is nothing, a field may be absent or None.
    return {name: value for name, value in fields.items() if value is not None}, problems


def fields(
    made: BaseEvent,
    mapping: Mapping[str, str | Callable[[Any], Any]] | None = None,
    event_type: EventType = EventType.HOME,
    **settings: Any,
) -> dict[str, Any]:
    found, problems = apply(made, mapping, event_type, **settings)
    assert problems == []
    return found


def purchase(made: BaseEvent, mapping: Mapping[str, str] | None = None) -> dict[str, Any]:
    return fields(made, mapping, EventType.PURCHASE)


def test_the_chart_has_amplitudes_fields_and_mcms() -> None:
    """A mapping may name each field of the chart, and no other."""
    assert sorted(MOLOCO_FIELDS) == sorted(CHART)


def test_an_empty_event_gives_nothing() -> None:
    """Where the event has nothing, no field has anything."""
    assert fields(event()) == {}
    assert purchase(event()) == {}


@pytest.mark.parametrize("field", ATTRIBUTES)
def test_a_field_comes_from_its_attribute(field: str) -> None:
    """By default each of these fields is an attribute of the event, as it is there."""
    attribute, value = ATTRIBUTES[field]
    assert fields(event(**{attribute: value})) == {field: value}


@pytest.mark.parametrize("field", SAME_NAMED)
def test_a_field_comes_from_the_property_of_its_name(field: str) -> None:
    """By default each of these fields is the event property of the same name."""
    assert fields(event({field: "value", "other": 1})) == {field: "value"}
    assert fields(event({field: None})) == {}
    assert fields(event({field: 0})) == {field: 0}


@pytest.mark.parametrize("field", CHART)
def test_a_mapping_takes_the_place_of_the_default(field: str) -> None:
    """A mapped field is what the mapping finds, and absent where it finds nothing."""
    attributes = {
        "insert_id": "insert-1",
        "event_id": 7,
        "platform": "Web",
        "library": "amplitude-python/1.3.0",
        "idfa": "idfa-1",
        "currency": "EUR",
        **dict(ATTRIBUTES.values()),
    }
    properties: dict[str, Any] = {
        **dict.fromkeys(SAME_NAMED, "default"),
        "mine": "mapped",
    }
    made = event(properties, **attributes)
    for event_type in (EventType.HOME, EventType.PURCHASE):
        assert set(fields(made, None, event_type)) == set(CHART)
        mapped = fields(made, {field: "event_properties.mine"}, event_type)
        assert mapped[field] == "mapped"
        unmapped = fields(made, {field: NOTHING}, event_type)
        assert field not in unmapped
        for others in (mapped, unmapped):
            assert {**others, field: 0} == {**fields(made, None, event_type), field: 0}


@pytest.mark.parametrize(
    ("platform", "channel"),
    [
        ("iOS", "APP"),
        ("ios", "APP"),
        ("iPadOS", "APP"),
        ("Android", "APP"),
        ("ANDROID", "APP"),
        ("Web", "SITE"),
        ("web", "SITE"),
        ("APP", "APP"),
        ("SITE", "SITE"),
        ("desktop_site", "DESKTOP_SITE"),
        ("Mobile_Site", "MOBILE_SITE"),
        (" iOS\n", "APP"),
    ],
)
def test_a_platform_is_a_channel(platform: str, channel: str) -> None:
    """The platforms that Amplitude's SDKs set, and MCM's own names, tell the channel."""
    made = event(platform=platform)
    assert fields(made) == {"platform": channel}
    assert fields(made, channel_type=ChannelType.MOBILE_SITE) == {"platform": channel}


@pytest.mark.parametrize("platform", [None, "", "Windows", "Python", "tvOS", "WebOS"])
def test_another_platform_leaves_it_to_the_channel_type(platform: str | None) -> None:
    """Where the platform tells no channel, the configured one is taken."""
    made = event(platform=platform)
    assert fields(made, channel_type=ChannelType.APP) == {"platform": "APP"}
    assert fields(made) == ({"platform": platform} if platform else {})


@pytest.mark.parametrize(
    ("source", "channel"),
    [
        ("'android'", "APP"),
        ("event_properties.channel", "MOBILE_SITE"),
        (NOTHING, "DESKTOP_SITE"),
        (lambda event: ChannelType.APP, "APP"),
        (lambda event: "site", "SITE"),
        (lambda event: 7, "DESKTOP_SITE"),
    ],
    ids=["constant", "property", "nothing", "enum", "text", "number"],
)
def test_a_mapped_platform_tells_the_channel(
    source: str | Callable[[Any], Any], channel: str
) -> None:
    """What a mapping finds is read like a platform, before the configured channel is taken."""
    made = event({"channel": "mobile_site"}, platform="iOS")
    found = fields(made, {"platform": source}, channel_type=ChannelType.DESKTOP_SITE)
    assert getattr(found["platform"], "value", found["platform"]) == channel


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"insert_id": "insert-1", "event_id": 7}, 7),
        ({"insert_id": "insert-1", "event_id": 0}, 0),
        ({"insert_id": "insert-1"}, "insert-1"),
    ],
    ids=str,
)
def test_the_event_id_is_the_apps_else_the_sdks(
    attributes: dict[str, Any], expected: object
) -> None:
    """The id is the event_id if the app set one, 0 too, else the insert_id."""
    assert fields(event(**attributes)) == {"event_id": expected}


@pytest.mark.parametrize("blank", ["", " "], ids=repr)
def test_a_blank_property_leaves_it_to_the_attribute(blank: str) -> None:
    """Blank text is absent, so that what is next in the chart is taken."""
    properties = dict.fromkeys(["revenue_amount", "revenue_currency", "advertising_id"], blank)
    made = event(properties, revenue=5.0, currency="EUR", idfa="i")
    expected = {"revenue_amount": 5.0, "revenue_currency": "EUR", "advertising_id": "i"}
    assert purchase(made) == expected


def test_any_expression_can_identify() -> None:
    """The identifier is what a mapping chooses, from wherever the event has it."""
    made = event(
        {"member": "m"}, user_id="u", device_id="d", user_properties={"loyalty": {"card": 42}}
    )
    made["groups"] = {"household": "h"}
    for source, found in {
        "event_properties.member": "m",
        "device_id": "d",
        "user_properties.loyalty.card": 42,
        "groups.household": "h",
        "event_type": "Viewed",
        "'all the same'": "all the same",
    }.items():
        mapped = fields(made, {"user_id": source}, include_user_properties=False)
        assert mapped["user_id"] == found


@pytest.mark.parametrize("source", [None, "event_properties.session", lambda event: -1])
def test_no_session_does_not_identify(source: str | Callable[[Any], Any] | None) -> None:
    """Amplitude's -1 for outside of any session is never a custom_id, as a number or as text."""
    made = event({"session": "-1"}, session_id=-1)
    assert fields(made, {"custom_id": source} if source else None) == {}


def test_another_session_identifies() -> None:
    """Any other session is a custom_id, 0 too."""
    assert fields(event(session_id=0)) == {"custom_id": 0}
    assert fields(event(session_id=-2)) == {"custom_id": -2}


@pytest.mark.parametrize("mapping", [None, {"ip_address": "ip"}], ids=["default", "mapped"])
def test_remote_is_no_address(mapping: dict[str, str] | None) -> None:
    """Amplitude's $remote, which stands for the caller's address, is not sent as one."""
    assert fields(event(ip="$remote"), mapping) == {}


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"user_agent": "Mozilla/5.0", "library": "amplitude-python/1.3.0"}, "Mozilla/5.0"),
        ({"user_agent": "", "library": "amplitude-python/1.3.0"}, "amplitude-python/1.3.0"),
        ({"library": "amplitude-python/1.3.0"}, "amplitude-python/1.3.0"),
    ],
    ids=str,
)
def test_the_library_is_the_user_agent_if_there_is_one(
    attributes: dict[str, Any], expected: str
) -> None:
    """The library is the user agent, else Amplitude's library."""
    assert fields(event(**attributes)) == {"library": expected}


@pytest.mark.parametrize(
    ("properties", "attributes", "expected"),
    [
        ({"advertising_id": "of the event"}, {"idfa": "i", "adid": "a"}, "of the event"),
        ({}, {"idfa": "i", "adid": "a"}, "i"),
        ({}, {"adid": "a"}, "a"),
        ({}, {"idfa": "", "adid": "a"}, "a"),
    ],
    ids=["property", "idfa", "adid", "blank idfa"],
)
def test_the_advertising_id_is_ioss_or_androids(
    properties: dict[str, Any], attributes: dict[str, Any], expected: str
) -> None:
    """The advertising id is the event property, else the idfa, else the adid."""
    assert fields(event(properties, **attributes)) == {"advertising_id": expected}


@pytest.mark.parametrize("event_type", EventType, ids=lambda each: each.value)
def test_revenue_is_the_property_then_the_events(event_type: EventType) -> None:
    """For every type, revenue is the property revenue_amount, else the event's revenue."""
    made = event({"revenue_amount": 1, "revenue_currency": "USD"}, revenue=2.0, currency="EUR")
    assert fields(made, None, event_type) == {"revenue_amount": 1, "revenue_currency": "USD"}
    made = event({"revenue_amount": 0}, revenue=2.0, currency="EUR")
    assert fields(made, None, event_type) == {"revenue_amount": 0, "revenue_currency": "EUR"}
    made = event({"$currency": "GBP", "$revenue": 3}, revenue=0.0)
    assert fields(made, None, event_type) == {"revenue_amount": 0.0, "revenue_currency": "GBP"}


@pytest.mark.parametrize(
    ("properties", "attributes", "amount"),
    [
        ({"$revenue": 9.0}, {"price": 10.1, "quantity": 3, "revenue": 7.0}, 7.0),
        ({"$revenue": 9.0}, {"price": 10.1, "quantity": 3}, 30.3),
        ({}, {"price": 10.1}, 10.1),
        ({}, {"price": 10.1, "quantity": 0}, 0.0),
        ({"$revenue": 9.0, "$price": 1.0}, {}, 9.0),
        ({"$price": 0.1, "$quantity": 3}, {}, 0.3),
        ({"$price": "0.1", "$quantity": "3"}, {}, 0.3),
        ({"$price": 0.0}, {}, 0.0),
        ({"$revenue": 9.0}, {"quantity": 3}, 9.0),
    ],
    ids=str,
)
def test_the_revenue_of_a_purchase_is_derived_like_amplitudes(
    properties: dict[str, Any], attributes: dict[str, Any], amount: float
) -> None:
    """For PURCHASE: the event's revenue, price x quantity, $revenue, or $price x $quantity."""
    made = event(properties, currency="USD", **attributes)
    assert purchase(made) == {"revenue_amount": amount, "revenue_currency": "USD"}


@pytest.mark.parametrize(
    "properties",
    [{"$price": "much"}, {"$price": [1]}, {"$price": 1.0, "$quantity": "many"}, {"$quantity": 2}],
    ids=str,
)
def test_what_cannot_be_multiplied_is_no_revenue(properties: dict[str, Any]) -> None:
    """A price or a quantity that is no number gives no revenue."""
    assert purchase(event(properties, currency="USD")) == {}


def test_a_price_elsewhere_than_in_a_purchase_is_no_revenue() -> None:
    """For other types than PURCHASE, price x quantity is what an item costs, and no revenue."""
    made = event({"$price": 1.0, "$quantity": 2}, price=10.1, quantity=3, currency="USD")
    for event_type in EventType:
        if event_type is not EventType.PURCHASE:
            assert fields(made, None, event_type) == {}


def test_revenue_of_the_sdk_is_a_purchase() -> None:
    """What client.revenue() tracks has the revenue of a PURCHASE."""
    revenue = Revenue(price=3.99, quantity=3, product_id="SKU-1")
    properties = {**revenue.get_event_properties(), "$currency": "EUR"}
    assert purchase(event(properties)) == {"revenue_amount": 11.97, "revenue_currency": "EUR"}


def test_a_currency_is_nothing_without_an_amount() -> None:
    """The event's currency alone is no half of a revenue."""
    assert purchase(event({"$currency": "USD"}, currency="USD")) == {}
    assert purchase(event(currency="USD", revenue=5.0), {"revenue_amount": NOTHING}) == {}


def test_a_mapped_amount_has_the_events_currency() -> None:
    """A mapped amount takes its currency from the event, unless that is mapped too."""
    made = event({"total": 5, "code": "GBP", "$currency": "EUR"}, currency="USD")
    total = {"revenue_amount": "event_properties.total"}
    assert fields(made, total) == {"revenue_amount": 5, "revenue_currency": "USD"}
    both = {**total, "revenue_currency": "event_properties.code"}
    assert fields(made, both) == {"revenue_amount": 5, "revenue_currency": "GBP"}


def test_shipping_has_only_its_own_currency() -> None:
    """The event's currency is the revenue's; shipping has a property of its own."""
    made = event({"shipping_charge_amount": 5}, currency="USD")
    assert fields(made) == {"shipping_charge_amount": 5}


@pytest.mark.parametrize(
    ("include", "expected"),
    [
        (True, {"tier": "gold", "email": "a@b.example"}),
        pytest.param(frozenset({"tier", "age"}), {"tier": "gold"}, id="a set"),
        (["email"], {"email": "a@b.example"}),
        (frozenset({"age"}), {}),
        (frozenset(), None),
        (False, None),
    ],
    ids=repr,
)
def test_user_properties_go_along_as_configured(
    include: Any, expected: dict[str, Any] | None
) -> None:
    """All user properties go along, or those that are named, or none."""
    made = event(user_properties={"tier": "gold", "email": "a@b.example"})
    found = fields(made, include_user_properties=include)
    assert found == ({} if expected is None else {"user_properties": expected})


def test_no_user_properties_are_none() -> None:
    """An event without user properties has none to send."""
    assert fields(event()) == {}
    assert fields(event(), include_user_properties=["tier"]) == {}


def test_a_callable_gets_the_event() -> None:
    """A callable gets the event itself, and what it returns is the field's value."""
    made = event({"total": 5})
    found = fields(made, {"page_id": lambda each: (each, Decimal(5))})
    assert found == {"page_id": (made, Decimal(5))}


def test_what_raises_is_a_problem_of_its_field() -> None:
    """A mapping that raises is told by the kind of its error, and the other fields are found."""
    found, problems = apply(
        event({"page_id": "/", "total": "secret"}),
        {
            "search_query": lambda each: each.event_properties["q"],
            "domain": "abs(event_properties.total)",
        },
    )
    assert found == {"page_id": "/"}
    assert [(told.field, told.reason, told.found) for told in problems] == [
        ("search_query", "mapping_failed", "a mapping that raised KeyError"),
        ("domain", "mapping_failed", "a mapping that raised JMESPathTypeError"),
    ]
    assert "also where a property is missing" in problems[0].fix


@pytest.mark.parametrize("field", ["item", "search_querry", "userId", "id", "user_properties", ""])
def test_an_unknown_field_is_refused_with_those_that_there_are(field: str) -> None:
    """A mapping to a field that Moloco does not have is refused with the whole chart."""
    with pytest.raises(ConfigurationError) as caught:
        EventMapping(EventType.HOME, {field: "'x'"})
    message = str(caught.value)
    assert message.startswith(f"mapping.{field}: {field!r} is not a Moloco field")
    assert all(name in message for name in CHART)


@pytest.mark.parametrize(
    ("field", "meant"),
    [("item", "items"), ("search_querry", "search_query"), ("userId", "user_id")],
)
def test_a_misspelled_field_is_told_with_what_was_meant(field: str, meant: str) -> None:
    """A field that is nearly right is refused with the right one."""
    with pytest.raises(ConfigurationError, match=f"did you mean '{meant}'\\?"):
        EventMapping(EventType.HOME, {field: "'x'"})


@pytest.mark.parametrize("source", [None, 5, True, ["event_properties.items"], {"id": "x"}])
def test_a_source_is_an_expression_or_a_callable(source: Any) -> None:
    """A mapping from anything else is refused with both, and with how to write a constant."""
    with pytest.raises(ConfigurationError) as caught:
        EventMapping(EventType.HOME, {"items": source})
    message = str(caught.value)
    assert message.startswith(f"mapping.items: found {type(source).__name__}; ")
    assert "event_properties.items" in message
    assert "callable" in message
    assert "\"'text'\"" in message


def test_an_expression_that_does_not_compile_is_refused_by_its_field() -> None:
    """An expression that is none is refused with the field that it was for."""
    with pytest.raises(ConfigurationError, match=r"^mapping\.items: 'a\[' is not a JMESPath"):
        EventMapping(EventType.HOME, {"items": "a["})


def test_the_fields_that_need_event_properties_are_known() -> None:
    """A field needs the event properties by default, by its expression, or maybe by a callable."""
    mapping = EventMapping(
        EventType.HOME,
        {
            "user_id": "event_properties.member",
            "custom_id": lambda event: None,
            "page_id": "platform",
        },
    )
    needing = {*SAME_NAMED, "user_id", "custom_id"} - {"page_id"}
    assert mapping.from_properties == needing


def test_mapping_changes_nothing() -> None:
    """The event, its properties and the mapping stay as they are."""
    made = event(
        {"items": [{"id": 1}], "page_id": "/"},
        platform="iOS",
        session_id=-1,
        user_properties={"a": {"b": None}},
    )
    before = copy.deepcopy(vars(made))
    mapping = {"page_id": "event_properties.items[].id"}
    fields(made, mapping, include_user_properties=["a"])
    assert vars(made) == before
    assert mapping == {"page_id": "event_properties.items[].id"}
