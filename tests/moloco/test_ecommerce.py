"""The predefined syncs: how they convert the standard e-commerce events."""

from __future__ import annotations

import re
from typing import Any

import pytest
from support.events import NOW, event

from amplitude_moloco import ConfigurationError, Conversion, EventType, Sync, ecommerce_syncs
from amplitude_moloco.moloco.converter import Converter

# The docstring's table: Amplitude's name, MCM's type.
TABLE = {
    "Home": "HOME",
    "Home Viewed": "HOME",
    "Home Page Viewed": "HOME",
    "Landed": "LAND",
    "Landing Page Viewed": "LAND",
    "Page Viewed": "PAGE_VIEW",
    "[Amplitude] Page Viewed": "PAGE_VIEW",
    "Product List Viewed": "PAGE_VIEW",
    "Product Viewed": "ITEM_PAGE_VIEW",
    "Product Added": "ADD_TO_CART",
    "Product Added to Cart": "ADD_TO_CART",
    "Product Added to Wishlist": "ADD_TO_WISHLIST",
    "Products Searched": "SEARCH",
    "Order Completed": "PURCHASE",
}
OF_ITEMS = ["Product Viewed", "Product Added", "Product Added to Cart", "Product Added to Wishlist"]
PROPERTIES: dict[str, Any] = {
    "referrer": "/from",
    "path": "/to",
    "category": "kitchen",
    "query": "kettle",
    "product_id": "SKU-1",
    "price": 12.5,
    "currency": "USD",
    "quantity": 2,
    "seller_id": "seller-1",
    "revenue": 25,
}


def convert(
    name: str,
    properties: dict[str, Any] | None,
    default_currency: str | None = None,
    **more: Any,
) -> Conversion:
    converter = Converter(ecommerce_syncs(), default_currency=default_currency)
    (conversion,) = converter.convert(event(properties, event_type=name, **more), NOW)
    return conversion


def sent(
    name: str, properties: dict[str, Any] | None, default_currency: str | None = None, **more: Any
) -> dict[str, Any]:
    """MCM's event without the fields that every event has."""
    conversion = convert(name, properties, default_currency, **more)
    assert conversion.problems == ()
    common = {"event_type", "id", "timestamp", "channel_type", "user_id"}
    return {key: value for key, value in conversion.payload.items() if key not in common}


def codes(conversion: Conversion) -> list[str]:
    return [reported.code for reported in conversion.problems]


def left_out(conversion: Conversion) -> list[str]:
    assert conversion.problems == ()
    return [reported.code for reported in conversion.omissions]


def test_there_is_a_sync_for_each_type() -> None:
    """The syncs cover all of MCM's event types, and no two have the same name."""
    syncs = ecommerce_syncs()
    assert {sync.event_type.value for sync in syncs} == set(TABLE.values())
    assert len({sync.name for sync in syncs}) == len(syncs)
    assert all(sync.enabled for sync in syncs)


@pytest.mark.parametrize("name", TABLE)
def test_each_event_becomes_one_of_mcms(name: str) -> None:
    """Each standard event is sent once, as the type in the table."""
    conversion = convert(name, PROPERTIES)
    assert conversion.problems == ()
    assert conversion.payload["event_type"] == TABLE[name]


@pytest.mark.parametrize("name", ["Order Refunded", "home", "Product", "Page Viewed again"])
def test_other_events_are_not_sent(name: str) -> None:
    """An event of another name is not sent."""
    assert Converter(ecommerce_syncs()).convert(event(PROPERTIES, event_type=name), NOW) == []


def test_the_docstring_has_the_table() -> None:
    """The table in the docstring lists exactly the events that are sent, with their types."""
    documented: dict[str, str] = {}
    for line in str(ecommerce_syncs.__doc__).splitlines():
        cells = re.split(" {2,}", line.strip())
        if len(cells) > 1 and cells[1] in TABLE.values():
            documented.update(dict.fromkeys(cells[0].split(", "), cells[1]))
    assert documented == TABLE


def test_each_call_returns_new_syncs() -> None:
    """Changes to the syncs of one call do not affect those of the next."""
    first = ecommerce_syncs()
    first[0].enabled = False
    first.append(Sync("HOME", "Start"))
    second = ecommerce_syncs()
    assert len(second) == len(first) - 1
    assert second[0].enabled
    assert second[1].mapping == first[1].mapping != {}


@pytest.mark.parametrize("without", [["PURCHASE"], "purchase", [EventType.PURCHASE]], ids=str)
def test_types_can_be_left_out(without: Any) -> None:
    """The types in ``without`` are left out, and all others stay."""
    expected = [repr(sync) for sync in ecommerce_syncs() if sync.event_type != "PURCHASE"]
    assert [repr(sync) for sync in ecommerce_syncs(without=without)] == expected


def test_types_can_be_replaced() -> None:
    """A sync in ``replace`` takes the place of all ready syncs of its type."""
    own = Sync("PAGE_VIEW", "Seen", name="own")
    for replace in ([own], own):
        syncs = ecommerce_syncs(replace=replace)
        assert [sync for sync in syncs if sync.event_type == "PAGE_VIEW"] == [own]
        assert {sync.event_type.value for sync in syncs} == set(TABLE.values())


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        ({"without": ["BUY"]}, "without: 'BUY' is not one of MCM's event types"),
        ({"without": 5}, "without: found int"),
        ({"without": Sync("HOME", "Home")}, "without: found Sync"),
        ({"replace": ["PURCHASE"]}, "replace: found something else than a Sync"),
        ({"replace": None}, "replace: found NoneType"),
    ],
    ids=str,
)
def test_what_cannot_be_left_out_or_replaced_is_refused(
    arguments: dict[str, Any], start: str
) -> None:
    """An unknown type, or a replacement that is no Sync, is refused."""
    with pytest.raises(ConfigurationError) as caught:
        ecommerce_syncs(**arguments)
    assert str(caught.value).startswith(start)


def test_a_home_page_needs_nothing() -> None:
    """HOME needs no property."""
    assert sent("Home Viewed", None) == {}


@pytest.mark.parametrize("key", ["referrer_page_id", "referrer", "referring_url"])
def test_a_landing_has_a_referrer(key: str) -> None:
    """LAND has the referrer, from any of its usual names."""
    assert sent("Landed", {key: "/from"}) == {"referrer_page_id": "/from"}
    assert left_out(convert("Landed", {})) == ["referrer_page_id missing"]


@pytest.mark.parametrize(
    "key", ["page_id", "path", "url", "name", "[Amplitude] Page Path", "[Amplitude] Page URL"]
)
def test_a_page_is_known_by_its_id_or_place(key: str) -> None:
    """PAGE_VIEW has the page, from any of its usual names, and the referrer if there is one."""
    for name in ("Page Viewed", "[Amplitude] Page Viewed"):
        assert sent(name, {key: "/to"}) == {"page_id": "/to"}
        assert sent(name, {key: "/to", "referrer": "/from"}) == {
            "page_id": "/to",
            "referrer_page_id": "/from",
        }
    assert codes(convert("Page Viewed", {"title": "To"})) == ["page_id missing"]


def test_the_first_of_several_names_is_used() -> None:
    """A property that is blank or missing leaves the field to the next name."""
    assert sent("Page Viewed", {"url": "u", "path": "p", "name": "n"}) == {"page_id": "p"}
    assert sent("Page Viewed", {"page_id": "", "path": None, "url": "u"}) == {"page_id": "u"}


@pytest.mark.parametrize("key", ["page_id", "list_id", "category"])
def test_a_list_is_a_page(key: str) -> None:
    """A list of products is a page, identified by its id or its category."""
    assert sent("Product List Viewed", {key: "kitchen"}) == {"page_id": "kitchen"}
    assert convert("Product List Viewed", {key: "kitchen"}).sync == "PAGE_VIEW of a list"


@pytest.mark.parametrize("key", ["query", "search_query", "search_term"])
def test_a_search_has_a_query(key: str) -> None:
    """SEARCH has the query, from any of its usual names, and the referrer if there is one."""
    assert sent("Products Searched", {key: "kettle"}) == {"search_query": "kettle"}
    assert sent("Products Searched", {key: "kettle", "referrer": "/from"}) == {
        "search_query": "kettle",
        "referrer_page_id": "/from",
    }
    assert codes(convert("Products Searched", {})) == ["search_query missing"]


@pytest.mark.parametrize("name", OF_ITEMS)
@pytest.mark.parametrize("key", ["product_id", "id", "sku"])
def test_properties_are_one_product(name: str, key: str) -> None:
    """Without a list of products, the properties describe one product."""
    properties = {
        key: 4711,
        "price": 12.5,
        "currency": "USD",
        "quantity": "2",
        "seller_id": 7,
        "referrer": "/from",
        "name": "Kettle",
    }
    assert sent(name, properties) == {
        "items": [
            {
                "id": "4711",
                "quantity": 2,
                "seller_id": "7",
                "price": {"currency": "USD", "amount": 12.5},
            }
        ],
        "referrer_page_id": "/from",
    }


@pytest.mark.parametrize("name", [*OF_ITEMS, "Order Completed"])
def test_several_products_are_a_list(name: str) -> None:
    """Each product of the list is an item; a product without a currency has the event's."""
    properties = {
        "products": [
            {"product_id": "a", "price": 0, "currency": "USD"},
            {"sku": "b", "price": "7.50", "quantity": 3},
            {"id": 3},
        ],
        "currency": "USD",
        "revenue": 22.5,
    }
    assert sent(name, properties)["items"] == [
        {"id": "a", "price": {"currency": "USD", "amount": 0}},
        {"id": "b", "quantity": 3, "price": {"currency": "USD", "amount": 7.5}},
        {"id": "3"},
    ]


@pytest.mark.parametrize("name", OF_ITEMS)
def test_a_product_is_required(name: str) -> None:
    """An event without a product that has an id can't be sent."""
    several: list[dict[str, Any]] = [
        {"name": "Kettle"},
        {"products": []},
        {"products": [], "product_id": "a"},
        {"products": [{"name": "Kettle"}]},
    ]
    for properties in several:
        assert codes(convert(name, properties)) == ["items missing"]


@pytest.mark.parametrize("products", ["SKU-1", 7, ["SKU-1"], [None], {"product_id": "SKU-1"}])
def test_products_of_another_kind_are_a_problem_of_the_items(products: object) -> None:
    """Products that are not a list of objects are a problem of items, not of the mapping."""
    made = event({"a": 1}, event_type="Product Viewed")
    made.event_properties = {"products": products}
    (conversion,) = Converter(ecommerce_syncs()).convert(made, NOW)
    assert {reported.field.partition("[")[0] for reported in conversion.problems} == {"items"}
    assert "mapping_failed" not in {reported.reason for reported in conversion.problems}


def test_the_nearest_currency_applies() -> None:
    """A price has its product's currency, else the properties', the event's or the default."""
    product = {"product_id": "a", "price": 5}

    def of_price(properties: dict[str, Any], currency: str | None = None) -> Any:
        (item,) = sent("Product Viewed", properties, "KRW", currency=currency)["items"]
        return item["price"]["currency"]

    own = {"products": [{**product, "currency": "GBP"}], "currency": "EUR"}
    assert of_price(own, "USD") == "GBP"
    assert of_price({**product, "currency": "EUR"}, "USD") == "EUR"
    assert of_price(product, "USD") == "USD"
    assert of_price(product) == "KRW"
    assert left_out(convert("Product Viewed", product)) == ["items.currency half_money"]


ORDER: dict[str, Any] = {"products": [{"product_id": "a"}], "currency": "USD"}


@pytest.mark.parametrize(
    ("properties", "amount"),
    [
        ({"revenue": 1, "subtotal": 2, "total": 3, "value": 4}, 1),
        ({"subtotal": 2, "total": 3, "value": 4}, 2),
        ({"total": 3, "value": 4}, 3),
        ({"value": "4.50"}, 4.5),
        ({"revenue": 0, "total": 3}, 0),
        ({"revenue": None, "total": 3}, 3),
        ({}, 9.5),
    ],
    ids=str,
)
def test_an_order_has_revenue(properties: dict[str, Any], amount: float) -> None:
    """PURCHASE has revenue from the properties, else the event's revenue."""
    payload = sent("Order Completed", {**ORDER, **properties}, revenue=9.5)
    assert payload["revenue"] == {"currency": "USD", "amount": amount}


@pytest.mark.parametrize("default_currency", [None, "USD"])
def test_an_order_in_the_currency_of_its_products(default_currency: str | None) -> None:
    """Revenue has the currency that only the products state, whatever the default."""
    products = [{"product_id": "a", "price": 5, "currency": "EUR", "quantity": 2}]
    for revenue, amount in (({"total": 10}, 10), ({}, 10)):
        payload = sent("Order Completed", {"products": products, **revenue}, default_currency)
        assert payload["revenue"] == {"currency": "EUR", "amount": amount}


def test_an_order_without_revenue_is_a_problem() -> None:
    """An order without revenue, and without a price of each product, can't be sent."""
    conversion = convert("Order Completed", ORDER)
    assert {reported.field for reported in conversion.problems} == {"revenue_amount"}


@pytest.mark.parametrize("shipping", [0, 4.99])
def test_an_order_has_shipping(shipping: float) -> None:
    """PURCHASE has the shipping charge in the order's currency, 0 included."""
    payload = sent("Order Completed", {**ORDER, "revenue": 5, "shipping": shipping})
    assert payload["shipping_charge"] == {"currency": "USD", "amount": shipping}
    assert "shipping_charge" not in sent("Order Completed", {**ORDER, "revenue": 5})


@pytest.mark.parametrize("name", sorted(TABLE))
def test_emptied_properties_are_named_as_the_cause(name: str) -> None:
    """Without properties, every event but HOME lacks something, which names the likely cause."""
    conversion = convert(name, None, currency="USD")
    if TABLE[name] == "HOME":
        assert conversion.problems == conversion.omissions == ()
    else:
        lacking = conversion.omissions if TABLE[name] == "LAND" else conversion.problems
        assert lacking
        assert all("silently empties" in reported.fix for reported in lacking)


@pytest.mark.parametrize("blank", [None, "", "  "])
def test_a_blank_property_gives_way_to_the_next(blank: str | None) -> None:
    """Blank text is absent: the next name is used, of an id, an amount and a currency."""
    product = {"product_id": blank, "sku": "S-1", "price": 5, "currency": blank, "quantity": 1}
    made = event(
        {"products": [product], "revenue": blank, "total": 7, "currency": blank, "shipping": blank},
        currency="EUR",
    )
    made.event_type = "Order Completed"
    (conversion,) = Converter(ecommerce_syncs()).convert(made, NOW)
    assert conversion.problems == conversion.omissions == ()
    money = {"currency": "EUR", "amount": 5}
    assert conversion.payload["items"] == [{"id": "S-1", "quantity": 1, "price": money}]
    assert conversion.payload["revenue"] == {"currency": "EUR", "amount": 7}
