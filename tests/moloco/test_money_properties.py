"""Any order is sent with all amounts in its one currency, or is refused.

The rules are written here a second time, naively and independently of the library.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.events import NOW, event

from amplitude_moloco import Conversion, Sync, ecommerce_syncs
from amplitude_moloco.moloco.converter import Converter

"""A slow machine must not fail a test."""

OWN = Sync(
    "PURCHASE",
    "Order Completed",
    mapping={
        "items": "event_properties.products[].{id: product_id, price: price, currency: currency, "
        "price_seller: price_seller, quantity: quantity}",
        "revenue_amount": "event_properties.total",
        "revenue_currency": "event_properties.total_currency",
        "shipping_charge_amount": "event_properties.shipping",
        "shipping_charge_currency": "event_properties.shipping_currency",
    },
)
(READY,) = (sync for sync in ecommerce_syncs() if sync.event_type.value == "PURCHASE")


class Order(NamedTuple):
    """What an app tracks, and the destination's default currency."""

    products: list[dict[str, Any]]
    properties: dict[str, Any]
    attribute: str | None = None
    default: str | None = None

    def convert(self, sync: Sync) -> Conversion:
        made = event({"any": 1}, event_type="Order Completed", currency=self.attribute)
        made.event_properties = {**self.properties, "products": self.products}
        (conversion,) = Converter([sync], default_currency=self.default).convert(made, NOW)
        return conversion


# Few currencies, so that they often agree; odd spellings and absent ones; one that MCM lacks.
stated = st.sampled_from(["USD", "EUR", "USD", " usd", "Eur", "", None, "BTC"])
mostly_none = st.none() | st.none() | stated
amounts = st.sampled_from([0, 1, 2.5, "3.10", 19.99, 0.1])
product = st.builds(
    lambda price, own, in_price, quantity, seller: {
        "product_id": "a",
        "price": {"amount": price, "currency": own} if in_price and price is not None else price,
        "currency": None if in_price else own,
        "quantity": quantity,
        "price_seller": seller,
    },
    st.none() | amounts | amounts,
    mostly_none,
    st.booleans(),
    st.none() | st.integers(1, 3),
    st.none() | st.none() | st.none() | amounts,
)
orders = st.builds(
    Order,
    st.lists(product, min_size=1, max_size=3),
    st.fixed_dictionaries(
        {},
        optional={
            "total": amounts,
            "total_currency": stated,
            "currency": stated,
            "shipping": amounts,
            "shipping_currency": stated,
        },
    ),
    mostly_none,
    st.sampled_from([None, "USD", "KRW"]),
)


def currencies_of(payload: dict[str, Any]) -> list[str]:
    """The currencies of all amounts that are sent."""
    holders = [payload, *payload["items"]]
    keys = ("price", "price_seller", "revenue", "shipping_charge")
    return [holder[key]["currency"] for holder in holders for key in keys if key in holder]


def code(value: object) -> str | None:
    return str(value).strip().upper() or None if value is not None else None


def readings(order: Order) -> set[str | None]:
    """The one or more currencies that the amounts of an order have, by a second reading.

    Each amount has its own, else the event's, else any other that the order states, else the
    default. More than one means a contradiction.
    """
    of_event = code(order.properties.get("currency")) or code(order.attribute)
    of_amounts: list[str | None] = []
    unused: list[str | None] = []
    for each in order.products:
        price, beside = each["price"], code(each["currency"])
        inside = code(price.get("currency")) if isinstance(price, dict) else None
        of_amounts += [inside or beside] if price is not None else []
        of_amounts += [beside] if each["price_seller"] is not None else []
        unused.append(beside)
    for name in ("total", "shipping"):
        own = code(order.properties.get(f"{name}_currency"))
        if order.properties.get(name) is not None or name == "total":
            of_amounts.append(own)
        unused.append(own)
    used: set[str | None] = {each for each in of_amounts if each}
    spare = used or {each for each in unused if each and each != "BTC"} or {order.default}
    for own in of_amounts:
        used |= {own or of_event} if own or of_event else spare
    return used


def total_of(order: Order) -> Fraction | None:
    """The revenue: the total, else the sum of price x quantity."""
    total = order.properties.get("total")
    if total is not None:
        return Fraction(str(total))
    result = Fraction(0)
    for each in order.products:
        price = each["price"]
        price = price["amount"] if isinstance(price, dict) else price
        if price is None or each["quantity"] is None:
            return None
        result += Fraction(str(price)) * each["quantity"]
    return result


@given(orders)
@example(
    Order(
        [{"product_id": "a", "price": 1, "currency": None, "quantity": 1, "price_seller": None}],
        {"total": 1, "total_currency": "EUR"},
        None,
        "USD",
    )
)
def test_an_order_is_sent_in_its_one_currency_or_refused(order: Order) -> None:
    """What is sent has one currency: the one that a second reading of the order finds."""
    conversion = order.convert(OWN)
    found, total = readings(order), total_of(order)
    if not conversion.problems:
        payload = json.loads(conversion.body)
        # A part in a currency that MCM lacks is left out, unless it is the revenue.
        assert set(currencies_of(payload)) == found - {"BTC"}
        assert len(found - {"BTC"}) == 1
        assert Fraction(str(payload["revenue"]["amount"])) == total
    elif found <= {"USD", "EUR", "KRW"} and total is not None and len(found) == 1:
        # The only other problem is a currency without its amount.
        assert {each.reason for each in conversion.problems} <= {"half_money", "unknown_value"}
        assert "shipping_currency" in order.properties


@given(orders)
def test_a_ready_sync_sends_one_currency_too(order: Order) -> None:
    """The ready PURCHASE never sends two currencies, nor revenue in another than its items'."""
    conversion = order.convert(READY)
    if not conversion.problems:
        assert len(set(currencies_of(json.loads(conversion.body)))) == 1


ITEM = {"product_id": "a", "price": 5, "currency": "EUR", "quantity": 2, "price_seller": None}


@pytest.mark.parametrize(
    ("order", "place", "found"),
    [
        (
            Order([ITEM, {**ITEM, "currency": "USD"}], {"total": 20, "total_currency": "EUR"}),
            "items[1].price",
            "USD, while items[0].price is in EUR",
        ),
        (
            Order([ITEM, ITEM], {"total": 20, "total_currency": "usd"}),
            "revenue_currency",
            "USD, while items[0].price is in EUR",
        ),
        (
            Order([ITEM], {"currency": "EUR", "shipping": 1, "shipping_currency": "USD"}),
            "shipping_charge_currency",
            "USD, while items[0].price is in EUR",
        ),
    ],
)
def test_a_contradiction_names_both(order: Order, place: str, found: str) -> None:
    """Two currencies in one event are a problem that names both, and where they stand."""
    (problem,) = order.convert(OWN).problems
    assert (problem.field, problem.reason, problem.found) == (place, "mixed_currencies", found)
    assert problem.fix.startswith("use one currency for all prices and amounts of an event")


def test_an_unknown_currency_of_the_event_is_one_problem() -> None:
    """The event's own currency is reported once, and only if an amount would take it."""
    bare = {**ITEM, "currency": None}
    (problem,) = Order([bare, bare], {"total": 20, "currency": "BTC"}).convert(OWN).problems
    assert (problem.field, problem.reason) == ("currency", "unknown_value")
    complete = Order([ITEM], {"total": 10, "total_currency": "EUR", "currency": "BTC"})
    assert complete.convert(OWN).problems == ()


def test_currencies_of_unpriced_items_decide_only_if_they_agree() -> None:
    """Revenue takes the currency that all items state, and is refused if they state several."""
    unpriced = {**ITEM, "price": None}
    conversion = Order([unpriced, unpriced], {"total": 20}, default="USD").convert(OWN)
    assert conversion.payload["revenue"] == {"currency": "EUR", "amount": 20}
    several = Order([unpriced, {**unpriced, "currency": "USD"}], {"total": 20}, default="USD")
    assert [each.code for each in several.convert(OWN).problems] == ["revenue_currency half_money"]


def test_the_sum_of_prices_is_exact() -> None:
    """Revenue from prices is added in decimals: three times 0.1 is 0.3."""
    products = [{**ITEM, "price": 0.1, "quantity": 3}, {**ITEM, "price": Decimal("0.2")}]
    conversion = Order(products, {}).convert(OWN)
    assert conversion.payload["revenue"] == {"currency": "EUR", "amount": 0.7}


def test_only_a_purchase_sums_its_prices() -> None:
    """Other events than PURCHASE get no revenue from prices."""
    sync = Sync("ADD_TO_CART", "Order Completed", mapping={"items": OWN.mapping["items"]})
    assert "revenue" not in Order([ITEM], {}).convert(sync).payload


@pytest.mark.parametrize(
    ("properties", "attributes", "found"),
    [
        # The revenue is the attribute, and so is its currency.
        ({"currency": "EUR"}, {"revenue": 10.0, "currency": "USD"}, "USD"),
        ({"currency": "EUR", "total": " "}, {"revenue": 10.0, "currency": "usd"}, "USD"),
        ({"currency": "EUR"}, {"revenue": 10.0}, None),
        ({"currency": "EUR", "revenue_currency": " "}, {"revenue": 10.0}, None),
        # Another amount is the revenue, and has the event's currency.
        ({"currency": "EUR", "total": 10}, {"revenue": 10.0, "currency": "USD"}, None),
        ({"currency": "EUR", "total": 10, "revenue_currency": "USD"}, {}, "USD"),
        ({"currency": "EUR", "shipping": 1, "shipping_currency": "USD"}, {}, "USD"),
        ({"currency": "EUR", "shipping": 1, "shipping_charge_currency": "USD"}, {}, "USD"),
        ({"currency": "EUR", "shipping_currency": "USD"}, {}, None),
    ],
)
def test_a_ready_sync_never_takes_an_amount_for_another_currency(
    properties: dict[str, Any], attributes: dict[str, Any], found: str | None
) -> None:
    """What the event states about an amount is its currency; a contradiction refuses the event."""
    made = event({}, event_type="Order Completed", **attributes)
    item = {"product_id": "a", "price": 5, "quantity": 2}
    made.event_properties = {**properties, "products": [item]}
    (conversion,) = Converter([READY]).convert(made, NOW)
    if found is None:
        assert set(currencies_of(json.loads(conversion.body))) == {"EUR"}
    else:
        (problem,) = conversion.problems
        assert problem.found == f"{found}, while items[0].price is in EUR"


class Unreadable:
    """Raises whatever is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class UnreadableMapping(dict[str, Any]):
    """Raises when it is read."""

    def get(self, *arguments: Any) -> Any:
        raise RuntimeError


@pytest.mark.parametrize("part", ["seller_id", "price_seller", "item_group_id"])
@pytest.mark.parametrize(
    "make", [lambda: [1], complex, lambda: math.nan, Unreadable, UnreadableMapping]
)
def test_an_optional_part_of_an_item_costs_no_sum(part: str, make: Callable[[], object]) -> None:
    """A PURCHASE without revenue has the sum of its items, also if one has such a part."""
    items = [
        {"id": "a", "price": 5, "currency": "EUR", "quantity": 2, part: make()},
        {"id": "b", "price": 1.5, "quantity": 1},
    ]
    sync = Sync("PURCHASE", "Order Completed", mapping={"items": lambda event: items})
    (conversion,) = Converter([sync]).convert(event({}, event_type="Order Completed"), NOW)
    assert not conversion.problems
    assert conversion.payload["revenue"] == {"currency": "EUR", "amount": 11.5}
    assert [each.field.split(".")[:2] for each in conversion.omissions] == [["items[0]", part]]


@pytest.mark.parametrize(
    "make",
    [lambda: 10**5000, lambda: math.nan, lambda: math.inf, lambda: "1e400", list, bool, Unreadable],
)
def test_a_price_that_is_no_number_costs_no_sum(make: Callable[[], object]) -> None:
    """Amplitude's own price property is one way to a revenue, and the items are another."""
    items = [{"id": "a", "price": 5, "currency": "EUR", "quantity": 2}]
    made = event({}, event_type="Order Completed")
    made.event_properties = {"$price": make(), "items": items}
    (conversion,) = Converter([Sync("PURCHASE", "Order Completed")]).convert(made, NOW)
    assert conversion.payload["revenue"] == {"currency": "EUR", "amount": 10}
