"""The items of an event, and their prices."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import pytest
from support.values import OwnMapping

from amplitude_moloco.convert.problem import Problem
from amplitude_moloco.moloco.wire.items import read_items
from amplitude_moloco.moloco.wire.problems import Problems

MONEY = {"currency": "USD", "amount": 12.34}


def item(**parts: Any) -> dict[str, Any]:
    return {"id": "SKU-1", **parts}


def read(value: object, default_currency: str | None = None) -> list[dict[str, Any]] | None:
    """The items, which must have no problems."""
    problems = Problems()
    items = read_items(problems, value, default_currency)
    assert problems == []
    return items


def problems_of(value: object, default_currency: str | None = None) -> list[Problem]:
    problems = Problems()
    read_items(problems, value, default_currency)
    return list(problems)


def codes_of(value: object, default_currency: str | None = None) -> list[tuple[str, str]]:
    return [(reported.field, reported.reason) for reported in problems_of(value, default_currency)]


def test_an_item_has_every_field_of_mcms() -> None:
    """An item is sent with every field that MCM knows, in MCM's form, and no other."""
    everything = {
        "id": "SKU-1",
        "item_group_id": "GROUP-1",
        "price": 89.5,
        "currency": "USD",
        "quantity": 2,
        "seller_id": "SELLER-1",
        "price_seller": 80,
        "color": "red",
    }
    assert read([everything]) == [
        {
            "id": "SKU-1",
            "item_group_id": "GROUP-1",
            "quantity": 2,
            "seller_id": "SELLER-1",
            "price": {"currency": "USD", "amount": 89.5},
            "price_seller": {"currency": "USD", "amount": 80},
        }
    ]


@pytest.mark.parametrize(
    "value",
    [
        [{"id": "a"}],
        ({"id": "a"},),
        [OwnMapping(id="a")],
        [{"id": "a", "item_group_id": None, "price": None, "quantity": None, "seller_id": ""}],
        [{"id": "a", "price": " ", "currency": "USD"}],
    ],
    ids=["list", "tuple", "own mapping", "nulls", "blank price"],
)
def test_an_id_is_enough(value: object) -> None:
    """An item needs only an id; absent fields are left out."""
    assert read(value) == [{"id": "a"}]


def test_a_group_is_enough() -> None:
    """An item_group_id is enough without an id."""
    assert read([{"item_group_id": 7}]) == [{"item_group_id": "7"}]


@pytest.mark.parametrize("name", ["id", "item_group_id", "seller_id"])
def test_whole_numbers_become_ids(name: str) -> None:
    """Ids that are whole numbers, 0 included, become text."""
    assert read([item(**{name: 0})]) == [item(**{name: "0"})]


def test_an_id_of_an_item_may_be_long() -> None:
    """The id of an item has no limit, so a long one is neither cut nor refused."""
    assert read([{"id": "x" * 129}]) == [{"id": "x" * 129}]


@pytest.mark.parametrize(
    "unnamed", [{}, {"id": None}, {"id": "", "item_group_id": " "}, {"name": "Kettle"}], ids=str
)
def test_an_item_without_any_id_is_a_problem(unnamed: dict[str, Any]) -> None:
    """An item with neither id nor item_group_id is a problem that names its place."""
    (reported,) = problems_of([item(), unnamed])
    assert (reported.field, reported.reason) == ("items[1]", "missing")
    assert reported.found == "neither id nor item_group_id"
    assert "product_id" in reported.fix


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("SKU-1", "text of 5 characters"),
        ({"id": "SKU-1"}, "an object"),
        (7, "a value of type int"),
        ({"SKU-1"}, "a value of type set"),
    ],
    ids=str,
)
def test_items_are_a_list(value: object, found: str) -> None:
    """Items that are not a list are a problem."""
    (reported,) = problems_of(value)
    assert (reported.field, reported.reason, reported.found) == ("items", "wrong_type", found)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("SKU-1", "text of 5 characters"),
        (None, "nothing"),
        ([{"id": 1}], "a list of 1"),
        (7, "a value of type int"),
    ],
    ids=str,
)
def test_each_item_is_an_object(value: object, found: str) -> None:
    """An item that is not an object is a problem that names its place."""
    (reported,) = problems_of([item(), value])
    assert (reported.field, reported.reason, reported.found) == ("items[1]", "wrong_type", found)


def test_an_empty_list_is_absent() -> None:
    """An empty list of items counts as absent."""
    assert read([]) is None


def test_ten_thousand_items_are_enough() -> None:
    """10,000 items are accepted, one more is a problem."""
    assert len(read([item()] * 10_000) or []) == 10_000
    (reported,) = problems_of([item()] * 10_001)
    assert (reported.field, reported.found) == ("items", "a list of 10001")
    assert "10000" in reported.fix


def test_all_problems_of_all_items_are_reported() -> None:
    """Each problem of each item is reported with its place; no problem hides another."""
    several = [
        item(price=True, quantity=2**31),
        7,
        {"seller_id": 1.5, "price": 1},
        item(price={"amount": "x", "currency": "GOLD"}, price_seller=1),
    ]
    assert codes_of(several) == [
        ("items[0].quantity", "wrong_type"),
        ("items[0].price", "not_a_number"),
        ("items[1]", "wrong_type"),
        ("items[2].seller_id", "wrong_type"),
        ("items[2].currency", "half_money"),
        ("items[3].price.amount", "not_a_number"),
        ("items[3].currency", "half_money"),
    ]


@pytest.mark.parametrize("quantity", [0, 1, -1, 2**31 - 1, -(2**31), "3", 3.0, Decimal(3)], ids=str)
def test_a_quantity_has_32_bits(quantity: Any) -> None:
    """The quantity of an item is any whole number of 32 bits."""
    assert read([item(quantity=quantity)]) == [item(quantity=int(quantity))]


@pytest.mark.parametrize("quantity", [2**31, -(2**31) - 1, 0.5, True, "many", []], ids=str)
def test_another_quantity_is_a_problem(quantity: object) -> None:
    """Any other quantity is a problem that names the item."""
    (reported,) = problems_of([item(quantity=quantity)])
    assert reported.field == "items[0].quantity"


@pytest.mark.parametrize("name", ["price", "price_seller"])
@pytest.mark.parametrize(
    "price",
    [
        {"price": 12.34, "currency": "USD"},
        {"price": "12.34", "currency": "usd"},
        {"price": Decimal("12.34"), "currency": " Usd "},
        {"price": {"amount": 12.34, "currency": "USD"}},
        {"price": {"amount": 12.34, "currency": "USD"}, "currency": "EUR"},
        {"price": {"currency": "USD", "amount": "12.34", "unit": "piece"}},
        pytest.param({"price": OwnMapping(amount=12.34, currency="USD")}, id="own mapping"),
    ],
    ids=str,
)
def test_a_price_is_a_number_beside_a_currency_or_money(name: str, price: dict[str, Any]) -> None:
    """A price may be a number beside the item's currency, or an object with both of its own."""
    parts = {name if key == "price" else key: value for key, value in price.items()}
    assert read([item(**parts)]) == [item(**{name: MONEY})]


@pytest.mark.parametrize("price", [12.34, {"amount": 12.34}, {"amount": 12.34, "currency": None}])
def test_a_price_without_a_currency_has_the_default(price: object) -> None:
    """A price without a currency has the default currency, and is a problem without one."""
    assert read([item(price=price)], "USD") == [item(price=MONEY)]
    (reported,) = problems_of([item(price=price)])
    assert reported.reason == "half_money"
    assert reported.found == "an amount without a currency"
    assert "default_currency" in reported.fix


def test_a_currency_without_any_price_is_ignored() -> None:
    """A currency without a price is not a problem, and is not sent."""
    assert read([item(currency="USD")]) == [item()]
    assert read([item(currency="no currency at all")]) == [item()]


@pytest.mark.parametrize("amount", [0, 0.0, "0", Decimal(0), "0.00"], ids=repr)
def test_zero_is_a_price(amount: object) -> None:
    """A price of 0 is sent."""
    assert read([item(price=amount, currency="USD")]) == [
        item(price={"currency": "USD", "amount": 0})
    ]


def test_reading_changes_nothing() -> None:
    """Reading items leaves them unchanged."""
    items = [item(price={"amount": "1.50", "currency": "usd"}, quantity="2"), 7, {}]
    before = copy.deepcopy(items)
    problems_of(items)
    assert items == before


def test_no_problem_of_an_item_holds_a_value() -> None:
    """The problems of an item never contain its values."""
    secret = "¤secret"
    reported = problems_of(
        [
            secret,
            {"quantity": secret, "price": secret, "currency": secret, secret: secret},
            item(price=1.5, currency=secret, price_seller={"amount": secret, "currency": secret}),
        ]
    )
    assert len(reported) == 5
    assert not any("¤" in f"{problem}{problem.code}" for problem in reported)


def test_a_price_object_takes_the_currency_beside_it() -> None:
    """A price object without a currency takes the item's, which precedes the default."""
    problems = Problems()
    items = [{"id": "a", "price": {"amount": 1}, "currency": "USD"}]
    assert read_items(problems, items, "EUR") == [
        {"id": "a", "price": {"currency": "USD", "amount": 1}}
    ]
    assert problems == []
