"""The shortcut of a sync: which events take it, and which it declines."""

from __future__ import annotations

import inspect
import traceback
from functools import partial
from typing import Any

import pytest
from support.events import NOW, event

from amplitude_moloco import Conversion, Sync
from amplitude_moloco.moloco.chart import MOLOCO_FIELDS, Chart
from amplitude_moloco.moloco.converter import Converter
from amplitude_moloco.moloco.shortcut import Shortcut, WireSettings, shortcut_code
from amplitude_moloco.moloco.wire.identifiers import identifier
from amplitude_moloco.moloco.wire.vocabulary import ChannelType

ITEMS = [
    {"id": "a", "price": 10.25, "currency": "USD", "quantity": 2, "seller_id": "s"},
    {"item_group_id": "b", "price": 10, "price_seller": 9, "quantity": 1},
]
PROPERTIES: dict[str, dict[str, Any]] = {
    "HOME": {"domain": "shop.example", "unknown": [1]},
    "LAND": {"referrer_page_id": "/mail"},
    "PAGE_VIEW": {"page_id": "/kitchen", "personalization_mode": "standard"},
    "ITEM_PAGE_VIEW": {"items": [{"id": 7}]},
    "SEARCH": {"search_query": "냄비", "decision_track_id": "d"},
    "ADD_TO_CART": {"items": ITEMS, "advertising_id": "ad"},
    "ADD_TO_WISHLIST": {"items": ITEMS, "currency": "USD", "personalization_mode": "ID_LESS"},
    "PURCHASE": {"items": ITEMS, "revenue_amount": 30.5, "shipping_charge_amount": 5},
}


def shortcut_of(sync: Sync, **settings: Any) -> Shortcut:
    """The sync's shortcut, with the default settings."""
    chart = Chart(sync.event_type, sync.mapping, **settings)
    return shortcut_code(sync, chart, WireSettings(None, identifier, ())).compile("test")


def take(made: Any, sync: Sync, **settings: Any) -> Conversion | None:
    """What the shortcut gives; None if it declines."""
    mapped, _ = Chart(sync.event_type, sync.mapping).map(made)
    try:
        return shortcut_of(sync, **settings)(vars(made), mapped, NOW, "")
    except Exception:
        return None


def explain(made: Any, sync: Sync) -> Conversion:
    """The conversion without a shortcut."""
    (conversion,) = Converter([sync], has_shortcuts=False).convert(made, NOW)
    return conversion


@pytest.mark.parametrize("event_type", sorted(PROPERTIES))
def test_a_usual_event_takes_the_shortcut(event_type: str) -> None:
    """A usual event of each type takes the shortcut, and becomes the same bytes."""
    made = event(
        PROPERTIES[event_type],
        device_id="device-1",
        session_id=-1,
        ip="$remote",
        os_name="iOS",
        platform="iOS",
        language="en",
        user_properties={"plan": "gold", "age": 3, "score": 0.5, "is_member": True},
    )
    sync = Sync(event_type, "Viewed")
    assert take(made, sync) == explain(made, sync)


def test_a_usual_mapping_takes_the_shortcut() -> None:
    """Mapped fields, and an amount that is derived, take the shortcut too."""
    sync = Sync(
        "PURCHASE",
        "Viewed",
        mapping={
            "items": "event_properties.products[].{id: sku, price: price, quantity: quantity}",
            "user_id": "user_properties.member",
            "event_id": lambda made: made.event_properties["order"],
            "platform": "'SITE'",
            "currency": "'EUR'",
            "domain": "event_properties.nothing",
        },
    )
    products = [{"sku": "a", "price": 2, "quantity": 3}, {"sku": "b", "price": 1.5, "quantity": 1}]
    made = event({"products": products, "order": 12}, user_properties={"member": "m"})
    conversion = take(made, sync)
    assert conversion == explain(made, sync)
    assert conversion.payload["revenue"] == {"currency": "EUR", "amount": 7.5}


@pytest.mark.parametrize(
    "settings",
    [
        {"channel_type": ChannelType.APP, "include_user_properties": ["plan"]},
        {"include_user_properties": False, "library_as_user_agent": False},
    ],
)
def test_settings_take_the_shortcut(settings: dict[str, Any]) -> None:
    """Whatever the settings are, a usual event takes the shortcut."""
    made = event(
        {}, os_name="Android", library="amplitude-python/1", user_properties={"plan": 1, "x": 2}
    )
    (conversion,) = Converter([Sync("HOME", "Viewed")], has_shortcuts=False, **settings).convert(
        made, NOW
    )
    assert take(made, Sync("HOME", "Viewed"), **settings) == conversion


@pytest.mark.parametrize(
    ("properties", "attributes"),
    [
        ({}, {}),
        ([], {}),
        ({"items": 7}, {}),
        ({"items": []}, {}),
        ({"items": [{"price": 5}]}, {}),
        ({"items": [7]}, {}),
        ({"items": [{"id": "a", "price": "5"}]}, {}),
        ({"items": [{"id": "a", "price": 5, "currency": "EUR"}]}, {}),
        ({"revenue_amount": float("nan")}, {}),
        ({"revenue_currency": "XYZ"}, {}),
        ({"shipping_charge_currency": "USD"}, {}),
        ({"page_id": 1.5}, {}),
        ({"domain": "x" * 1_000_001}, {}),
        ({}, {"user_id": None}),
        ({}, {"user_id": "anonymous", "device_id": "0"}),
        ({}, {"platform": "Windows"}),
        ({}, {"platform": "iOS"}),
        ({}, {"time": None}),
        ({}, {"insert_id": None}),
        ({}, {"user_properties": {"tags": object()}}),
    ],
)
def test_what_has_to_be_explained_is_declined(properties: Any, attributes: dict[str, Any]) -> None:
    """An event with a part that is wrong, missing or left out does not take the shortcut."""
    usual = {"items": ITEMS, "revenue_amount": 30.5, "revenue_currency": "USD"}
    made = event(usual, **attributes)
    made.event_properties = {**usual, **properties} if properties != [] else [1]
    if not properties and not attributes:
        made.event_properties = None
    assert take(made, Sync("PURCHASE", "Viewed")) is None


def test_every_field_may_be_mapped() -> None:
    """A sync that maps every field has a shortcut, which finds nothing else."""
    sync = Sync("HOME", "Viewed", mapping={field: f"groups.{field}" for field in MOLOCO_FIELDS})
    groups = {
        "platform": "Web",
        "event_id": "1",
        "user_id": "u",
        "timestamp": NOW,
        "revenue_amount": 1.5,
        "currency": "USD",
    }
    made = event(groups=groups, device_id="device-1")
    conversion = take(made, sync)
    assert conversion == explain(made, sync)
    assert "device" not in conversion.payload


def test_a_mapping_is_called_once() -> None:
    """A callable of the app is called once for an event, whether or not that is declined."""
    calls: list[Any] = []
    sync = Sync("HOME", "Viewed", mapping={"domain": calls.append})
    converter = Converter([sync])
    converter.convert(event(), NOW)
    converter.convert(event(user_id=None), NOW)
    assert len(calls) == 2


def test_a_sync_of_any_name_has_a_shortcut() -> None:
    """The name of a sync may hold any characters."""
    sync = Sync("HOME", "Viewed", name="a'\"\0\n\u2028")
    assert [each.sync for each in Converter([sync]).convert(event(), NOW)] == [sync.name]


def test_the_shortcut_can_be_read() -> None:
    """A shortcut's source, and a traceback, show a line for each attribute that it looks at."""
    shortcut = shortcut_of(Sync("HOME", "Viewed"))
    assert "os_name = attributes['os_name']\n" in inspect.getsource(shortcut)
    attributes = vars(event())
    del attributes["os_name"]
    with pytest.raises(KeyError) as caught:
        partial(shortcut, attributes, {}, NOW)("")
    assert "os_name = attributes['os_name']" in "".join(traceback.format_exception(caught.value))
