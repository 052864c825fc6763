"""The mapping chart: every row, from the attributes of an Amplitude event to a Moloco field."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from decimal import Context, Decimal, localcontext
from typing import Any

import pytest
from amplitude import BaseEvent, Revenue
from support.events import bare_event as event

from amplitude_moloco import ChannelType, ConfigurationError, EventType, Problem
from amplitude_moloco.moloco.chart import MOLOCO_FIELDS, Chart

CHART = (
    "platform event_id user_id device_persistent_id custom_id os_name os_version device_type "
    "language ip_address library shipping_charge_amount shipping_charge_currency revenue_amount "
    "revenue_currency page_id referrer_page_id search_query items timestamp domain "
    "decision_track_id personalization_mode advertising_id currency"
).split()
# An expression that finds nothing.
NOTHING = "event_properties.nothing"
# A mapping of the event's currency.
CODE = {"currency": "event_properties.code"}
# Fields, each with the attribute of an event that fills it, and a value.
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
    "currency": ("currency", "EUR"),
}
SAME_NAMED = (
    "shipping_charge_amount shipping_charge_currency revenue_amount revenue_currency page_id "
    "referrer_page_id search_query items domain decision_track_id personalization_mode "
    "advertising_id currency"
).split()


def apply(
    made: BaseEvent,
    mapping: Mapping[str, str | Callable[[Any], Any]] | None = None,
    event_type: EventType = EventType.HOME,
    **settings: Any,
) -> tuple[dict[str, Any], list[Problem]]:
    fields, problems = Chart(event_type, mapping, **settings).apply(made)
    # A field without a value may be absent or None.
    return {name: value for name, value in fields.items() if value is not None}, problems


def fields(
    made: BaseEvent,
    mapping: Mapping[str, str | Callable[[Any], Any]] | None = None,
    event_type: EventType = EventType.HOME,
    **settings: Any,
) -> dict[str, Any]:
    """The fields, except the currency of the whole event."""
    found = all_fields(made, mapping, event_type, **settings)
    found.pop("currency", None)
    return found


def all_fields(
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


def test_the_chart_has_the_fields_of_amplitude_and_mcm() -> None:
    """A mapping may name each field of the chart, and no other."""
    assert sorted(MOLOCO_FIELDS) == sorted(CHART)


def test_an_empty_event_fills_no_field() -> None:
    """An event without attributes fills no field."""
    assert fields(event()) == {}
    assert purchase(event()) == {}


@pytest.mark.parametrize("field", ATTRIBUTES)
def test_a_field_comes_from_its_attribute(field: str) -> None:
    """By default each of these fields is an attribute of the event, unchanged."""
    attribute, value = ATTRIBUTES[field]
    assert all_fields(event(**{attribute: value})) == {field: value}


@pytest.mark.parametrize("field", SAME_NAMED)
def test_a_field_comes_from_the_property_of_its_name(field: str) -> None:
    """By default each of these fields is the event property of the same name."""
    assert all_fields(event({field: "value", "other": 1})) == {field: "value"}
    assert all_fields(event({field: None})) == {}
    assert all_fields(event({field: 0})) == {field: 0}


@pytest.mark.parametrize("field", CHART)
def test_a_mapping_replaces_the_default(field: str) -> None:
    """A mapped field is what the mapping finds, or absent if it finds nothing."""
    attributes = {
        "insert_id": "insert-1",
        "event_id": 7,
        "platform": "Web",
        "library": "amplitude-python/1.3.0",
        "idfa": "idfa-1",
        **dict(ATTRIBUTES.values()),
    }
    properties: dict[str, Any] = {
        **dict.fromkeys(SAME_NAMED, "default"),
        "mine": "mapped",
    }
    made = event(properties, **attributes)
    for event_type in (EventType.HOME, EventType.PURCHASE):
        assert set(all_fields(made, None, event_type)) == set(CHART)
        mapped = all_fields(made, {field: "event_properties.mine"}, event_type)
        assert mapped[field] == "mapped"
        unmapped = all_fields(made, {field: NOTHING}, event_type)
        assert field not in unmapped
        for others in (mapped, unmapped):
            assert {**others, field: 0} == {**all_fields(made, None, event_type), field: 0}


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
        *(
            (name, "APP")
            for name in ("iOS 17.4", "Android 14", "iOS/17", "android-13", "iPadOS 17")
        ),
        *(
            (name, "APP")
            for name in ("iPhoneOS", "iPad OS", "Apple iOS", "Android OS", "Google TV")
        ),
        *((name, "APP") for name in ("Fire TV", "WearOS", "iPod touch", "iOS v17", "Fire OS 8")),
    ],
)
def test_a_platform_determines_the_channel(platform: str, channel: str) -> None:
    """The platforms that Amplitude's SDKs set, and MCM's channel names, determine the channel."""
    made = event(platform=platform)
    assert fields(made) == {"platform": channel}
    assert fields(made, channel_type=ChannelType.MOBILE_SITE) == {"platform": channel}


@pytest.mark.parametrize("platform", [None, "", "Windows", "Python", "tvOS", "WebOS", "Windows 11"])
def test_another_platform_uses_the_channel_type(platform: str | None) -> None:
    """The configured channel applies if the platform does not determine one."""
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
def test_a_mapped_platform_determines_the_channel(
    source: str | Callable[[Any], Any], channel: str
) -> None:
    """A mapped platform is read like the event's, and precedes the configured channel."""
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
    """The id is the event_id if there is one, 0 included, else the insert_id."""
    assert fields(event(**attributes)) == {"event_id": expected}


@pytest.mark.parametrize("blank", ["", " "], ids=repr)
def test_a_blank_property_is_absent(blank: str) -> None:
    """A blank property counts as absent, so the attribute fills the field."""
    properties = dict.fromkeys(["revenue_amount", "revenue_currency", "advertising_id"], blank)
    made = event(properties, revenue=5.0, currency="EUR", idfa="i")
    expected = {"revenue_amount": 5.0, "revenue_currency": "EUR", "advertising_id": "i"}
    assert purchase(made) == expected


def test_any_expression_can_identify() -> None:
    """A mapping can take an identifier from anywhere in the event."""
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
def test_no_session_is_not_an_identifier(source: str | Callable[[Any], Any] | None) -> None:
    """Amplitude's -1 for no session is never a custom_id, neither as a number nor as text."""
    made = event({"session": "-1"}, session_id=-1)
    assert fields(made, {"custom_id": source} if source else None) == {}


def test_another_session_identifies() -> None:
    """Any other session is a custom_id, 0 included."""
    assert fields(event(session_id=0)) == {"custom_id": 0}
    assert fields(event(session_id=-2)) == {"custom_id": -2}


@pytest.mark.parametrize("mapping", [None, {"ip_address": "ip"}], ids=["default", "mapped"])
def test_remote_is_not_an_address(mapping: dict[str, str] | None) -> None:
    """Amplitude's $remote, a placeholder for the caller's address, is not sent."""
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
def test_the_library_is_the_user_agent_or_the_sdk(
    attributes: dict[str, Any], expected: str
) -> None:
    """The library is the user agent if there is one, else Amplitude's library."""
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
def test_the_advertising_id_is_the_property_or_the_devices(
    properties: dict[str, Any], attributes: dict[str, Any], expected: str
) -> None:
    """The advertising id is the event property, else the idfa, else the adid."""
    assert fields(event(properties, **attributes)) == {"advertising_id": expected}


@pytest.mark.parametrize("event_type", EventType, ids=lambda each: each.value)
def test_revenue_is_the_property_then_the_events(event_type: EventType) -> None:
    """For every type, revenue is the property revenue_amount, or else the event's revenue."""
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
def test_prices_that_are_not_numbers_give_no_revenue(properties: dict[str, Any]) -> None:
    """A price or a quantity that is not a number gives no revenue."""
    assert purchase(event(properties, currency="USD")) == {}


def test_only_a_purchase_derives_revenue_from_a_price() -> None:
    """For other types than PURCHASE, price x quantity is not revenue."""
    made = event({"$price": 1.0, "$quantity": 2}, price=10.1, quantity=3, currency="USD")
    for event_type in EventType:
        if event_type is not EventType.PURCHASE:
            assert fields(made, None, event_type) == {}


def test_revenue_of_the_sdk_fills_a_purchase() -> None:
    """An event of client.revenue() has the revenue of a PURCHASE."""
    revenue = Revenue(price=3.99, quantity=3, product_id="SKU-1")
    properties = {**revenue.get_event_properties(), "$currency": "EUR"}
    assert purchase(event(properties)) == {"revenue_amount": 11.97, "revenue_currency": "EUR"}


def test_a_currency_needs_an_amount() -> None:
    """The event's currency is left out if there is no amount."""
    assert purchase(event({"$currency": "USD"}, currency="USD")) == {}
    assert purchase(event(currency="USD", revenue=5.0), {"revenue_amount": NOTHING}) == {}


def test_a_mapped_amount_has_the_events_currency() -> None:
    """A mapped amount has the event's currency, unless the currency is mapped too."""
    made = event({"total": 5, "code": "GBP", "$currency": "EUR"}, currency="USD")
    total = {"revenue_amount": "event_properties.total"}
    assert fields(made, total) == {"revenue_amount": 5, "revenue_currency": "USD"}
    both = {**total, "revenue_currency": "event_properties.code"}
    assert fields(made, both) == {"revenue_amount": 5, "revenue_currency": "GBP"}


@pytest.mark.parametrize(
    ("properties", "attributes", "currency"),
    [
        ({"currency": "EUR", "$currency": "GBP"}, {"currency": "USD"}, "EUR"),
        ({"currency": " ", "$currency": "GBP"}, {"currency": "USD"}, "USD"),
        ({"$currency": "GBP"}, {"currency": ""}, "GBP"),
        ({}, {}, None),
    ],
    ids=str,
)
def test_the_event_has_a_currency(
    properties: dict[str, Any], attributes: dict[str, Any], currency: str | None
) -> None:
    """The event's currency is the property, else the attribute, else the SDK's $currency."""
    made = event(properties, **attributes)
    assert all_fields(made).get("currency") == currency
    assert all_fields(made, {"currency": NOTHING}) == {}


@pytest.mark.parametrize(
    ("properties", "attributes", "mapping", "currency"),
    [
        ({"currency": "EUR"}, {"currency": "USD", "revenue": 5.0}, {}, "USD"),
        ({"currency": "EUR"}, {"revenue": 5.0}, {}, "EUR"),
        ({"currency": "EUR", "$currency": "GBP", "$revenue": 5.0}, {}, {}, "GBP"),
        ({"currency": "EUR", "revenue_amount": 5}, {"currency": "USD", "revenue": 9.0}, {}, "EUR"),
        ({"currency": "EUR", "revenue_amount": ""}, {"currency": "USD", "revenue": 9.0}, {}, "USD"),
        ({"currency": "EUR"}, {"currency": "USD"}, {"revenue_amount": "`5`"}, "EUR"),
        ({"code": "EUR"}, {"currency": "USD", "revenue": 5.0}, CODE, "EUR"),
        ({}, {"currency": "USD", "revenue": 5.0}, CODE, None),
    ],
    ids=str,
)
def test_revenue_has_the_currency_that_belongs_to_its_amount(
    properties: dict[str, Any],
    attributes: dict[str, Any],
    mapping: dict[str, str],
    currency: str | None,
) -> None:
    """Revenue of the event's attributes has their currency; any other has the event's."""
    assert purchase(event(properties, **attributes), mapping).get("revenue_currency") == currency


def test_revenue_is_multiplied_in_decimals_of_its_own() -> None:
    """The app's decimal context does not round revenue."""
    with localcontext(Context(prec=2)):
        assert purchase(event(price=1234.56, quantity=3)) == {"revenue_amount": 3703.68}


def test_shipping_has_only_its_own_currency() -> None:
    """The chart gives shipping no currency but its own property."""
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
def test_user_properties_are_included_as_configured(
    include: Any, expected: dict[str, Any] | None
) -> None:
    """All user properties are included, or those that are named, or none."""
    made = event(user_properties={"tier": "gold", "email": "a@b.example"})
    found = fields(made, include_user_properties=include)
    assert found == ({} if expected is None else {"user_properties": expected})


def test_an_event_may_lack_user_properties() -> None:
    """An event without user properties has no such field."""
    assert fields(event()) == {}
    assert fields(event(), include_user_properties=["tier"]) == {}


def test_a_callable_gets_the_event() -> None:
    """A callable gets the event itself, and returns the field's value."""
    made = event({"total": 5})
    found = fields(made, {"page_id": lambda each: (each, Decimal(5))})
    assert found == {"page_id": (made, Decimal(5))}


def test_a_mapping_that_raises_is_a_problem_of_its_field() -> None:
    """A mapping that raises is a problem that names the exception; other fields are filled."""
    found, problems = apply(
        event({"page_id": "/", "total": "secret"}),
        {
            "search_query": lambda each: each.event_properties["q"],
            "domain": "abs(event_properties.total)",
        },
    )
    assert found == {"page_id": "/"}
    line = test_a_mapping_that_raises_is_a_problem_of_its_field.__code__.co_firstlineno + 5
    place = f"(test_chart.py, line {line}, in <lambda>)"
    assert [(reported.field, reported.reason, reported.found) for reported in problems] == [
        ("search_query", "mapping_failed", f"a mapping that raised KeyError {place}"),
        ("domain", "mapping_failed", "a mapping that raised JMESPathTypeError"),
    ]
    assert "even when a property is missing" in problems[0].fix


@pytest.mark.parametrize("field", ["item", "search_querry", "userId", "id", "user_properties", ""])
def test_an_unknown_field_is_refused_with_the_known_ones(field: str) -> None:
    """A field that Moloco does not have is refused with a list of the chart's fields."""
    with pytest.raises(ConfigurationError) as caught:
        Chart(EventType.HOME, {field: "'x'"})
    message = str(caught.value)
    assert message.startswith(f"mapping.{field}: {field!r} is not a Moloco field")
    assert all(name in message for name in CHART)


@pytest.mark.parametrize(
    ("field", "meant"),
    [("item", "items"), ("search_querry", "search_query"), ("userId", "user_id")],
)
def test_a_misspelled_field_is_refused_with_the_right_one(field: str, meant: str) -> None:
    """A field that is nearly right is refused with the field that was meant."""
    with pytest.raises(ConfigurationError, match=f"did you mean '{meant}'\\?"):
        Chart(EventType.HOME, {field: "'x'"})


@pytest.mark.parametrize("source", [None, 5, True, ["event_properties.items"], {"id": "x"}])
def test_a_source_is_an_expression_or_a_callable(source: Any) -> None:
    """Any other source is refused with both kinds, and with the way to write a constant."""
    with pytest.raises(ConfigurationError) as caught:
        Chart(EventType.HOME, {"items": source})
    message = str(caught.value)
    assert message.startswith(f"mapping.items: found {type(source).__name__}; ")
    assert "event_properties.items" in message
    assert "callable" in message
    assert "\"'text'\"" in message


def test_an_expression_that_does_not_compile_is_refused_with_its_field() -> None:
    """An expression that does not compile is refused with the field that it is for."""
    with pytest.raises(ConfigurationError, match=r"^mapping\.items: 'a\[' is not a JMESPath"):
        Chart(EventType.HOME, {"items": "a["})


def test_the_fields_from_event_properties_are_known() -> None:
    """Event properties fill a field by default, by an expression, or perhaps by a callable."""
    chart = Chart(
        EventType.HOME,
        {
            "user_id": "event_properties.member",
            "custom_id": lambda event: None,
            "page_id": "platform",
        },
    )
    expected = {*SAME_NAMED, "user_id", "custom_id"} - {"page_id"}
    assert chart.fields_from_properties == expected


def test_mapping_changes_nothing() -> None:
    """Applying a chart leaves the event and the mapping unchanged."""
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
