"""Items, and the money that is paid for them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import pytest

from amplitude_moloco.convert.problem import Problem
from amplitude_moloco.moloco.wire.items import read_items, read_money
from amplitude_moloco.moloco.wire.problems import Problems

CURRENCIES = (
    "USD KRW JPY EUR GBP SEK INR THB IDR CNY CAD RUB BRL SGD HKD AUD PLN DKK VND MYR PHP TRY VES "
    "AED CHF"
).split()
MONEY = {"currency": "USD", "amount": 12.34}


class OwnMapping(Mapping[str, Any]):
    """An object that is no dict."""

    def __init__(self, **parts: Any) -> None:
        self._parts = parts

    def __getitem__(self, key: str) -> Any:
        return self._parts[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


def item(**parts: Any) -> dict[str, Any]:
    return {"id": "SKU-1", **parts}


def read(value: object, default_currency: str | None = None) -> list[dict[str, Any]] | None:
    """The items, where there is no problem."""
    problems = Problems()
    items = read_items(problems, value, default_currency)
    assert problems == []
    return items


def problems_of(value: object, default_currency: str | None = None) -> list[Problem]:
    problems = Problems()
    read_items(problems, value, default_currency)
    return list(problems)


def codes_of(value: object, default_currency: str | None = None) -> list[tuple[str, str]]:
    return [(told.field, told.reason) for told in problems_of(value, default_currency)]


def money(
    amount: object, currency: object, default_currency: str | None = None
) -> tuple[dict[str, Any] | None, list[Problem]]:
    problems = Problems()
    result = read_money(
        problems, "sum", amount, "code", currency, default_currency=default_currency
    )
    return result, list(problems)


def test_an_item_has_all_that_mcm_knows() -> None:
    """An item keeps every field of MCM's item, in MCM's form, and nothing else."""
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
    """An item needs an id, and what is absent in it stays absent."""
    assert read(value) == [{"id": "a"}]


def test_a_group_is_enough() -> None:
    """An item_group_id can stand in for the id."""
    assert read([{"item_group_id": 7}]) == [{"item_group_id": "7"}]


@pytest.mark.parametrize("name", ["id", "item_group_id", "seller_id"])
def test_whole_numbers_become_ids(name: str) -> None:
    """Each id of an item may be a whole number, 0 too, and becomes text."""
    assert read([item(**{name: 0})]) == [item(**{name: "0"})]


def test_an_id_of_an_item_may_be_long() -> None:
    """MCM names no limit for the id of an item, so none is cut or refused."""
    assert read([{"id": "x" * 129}]) == [{"id": "x" * 129}]


@pytest.mark.parametrize(
    "unnamed", [{}, {"id": None}, {"id": "", "item_group_id": " "}, {"name": "Kettle"}], ids=str
)
def test_an_item_without_any_id_is_a_problem(unnamed: dict[str, Any]) -> None:
    """An item with neither id nor item_group_id is a problem at its place."""
    (told,) = problems_of([item(), unnamed])
    assert (told.field, told.reason) == ("items[1]", "missing")
    assert told.found == "neither id nor item_group_id"
    assert "product_id" in told.fix


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
    """What is no list is a problem."""
    (told,) = problems_of(value)
    assert (told.field, told.reason, told.found) == ("items", "wrong_type", found)


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
    """What is no object is a problem at its place in the list."""
    (told,) = problems_of([item(), value])
    assert (told.field, told.reason, told.found) == ("items[1]", "wrong_type", found)


def test_no_item_is_no_list() -> None:
    """An empty list is absent."""
    assert read([]) is None


def test_ten_thousand_items_are_enough() -> None:
    """10,000 items are read, and one more is a problem."""
    assert len(read([item()] * 10_000) or []) == 10_000
    (told,) = problems_of([item()] * 10_001)
    assert (told.field, told.found) == ("items", "a list of 10001")
    assert "10000" in told.fix


def test_all_problems_of_all_items_are_told() -> None:
    """Each problem of each item is told with its place, and none hides another."""
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
    """A quantity that MCM can't hold is a problem of that item's quantity."""
    (told,) = problems_of([item(quantity=quantity)])
    assert told.field == "items[0].quantity"


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
    """A price that comes without a currency takes the default, and is a problem without one."""
    assert read([item(price=price)], "USD") == [item(price=MONEY)]
    (told,) = problems_of([item(price=price)])
    assert told.reason == "half_money"
    assert told.found == "an amount without a currency"
    assert "default_currency" in told.fix


def test_a_currency_without_any_price_is_nothing() -> None:
    """An item's currency needs no price: a default currency does no harm where there is none."""
    assert read([item(currency="USD")]) == [item()]
    assert read([item(currency="no currency at all")]) == [item()]


@pytest.mark.parametrize("amount", [0, 0.0, "0", Decimal(0), "0.00"], ids=repr)
def test_zero_is_a_price(amount: object) -> None:
    """A price of 0 is a price, and is sent."""
    assert read([item(price=amount, currency="USD")]) == [
        item(price={"currency": "USD", "amount": 0})
    ]


@pytest.mark.parametrize("currency", CURRENCIES)
def test_every_currency_of_mcm_is_known(currency: str) -> None:
    """Each of the 25 currencies is taken, in any case, and always sent in capitals."""
    assert len(set(CURRENCIES)) == 25
    for text in (currency, currency.lower(), f" {currency.title()}\n"):
        for amount in (1.5, "1.5"):
            assert money(amount, text) == ({"currency": currency, "amount": 1.5}, [])


@pytest.mark.parametrize("currency", ["XXX", "BTC", "US", "USDT", "$", "UNKNOWN_CURRENCY", 840])
def test_another_currency_is_a_problem_that_lists_them(currency: object) -> None:
    """A currency that MCM does not have is a problem that names all 25."""
    for amount in (1.5, 2):
        result, (told,) = money(amount, currency)
        assert result is None
        assert (told.field, told.reason) == ("code", "unknown_value")
        assert told.fix == f"use one of {', '.join(sorted(CURRENCIES))}"


@pytest.mark.parametrize(
    ("amount", "currency", "told"),
    [
        (None, "USD", [("sum", "half_money")]),
        (" ", "USD", [("sum", "half_money")]),
        (1.5, None, [("code", "half_money")]),
        (1.5, "", [("code", "half_money")]),
        (True, "USD", [("sum", "not_a_number")]),
        (float("nan"), "USD", [("sum", "not_a_number")]),
        (float("inf"), "USD", [("sum", "not_a_number")]),
        (True, True, [("sum", "not_a_number"), ("code", "wrong_type")]),
        (1.5, ["USD"], [("code", "wrong_type")]),
        (None, {}, [("code", "wrong_type")]),
    ],
    ids=repr,
)
def test_money_needs_both_halves(
    amount: object, currency: object, told: list[tuple[str, str]]
) -> None:
    """Money is an amount and a currency: a half that is missing or can't be read is told."""
    result, problems = money(amount, currency)
    assert result is None
    assert [(problem.field, problem.reason) for problem in problems] == told


@pytest.mark.parametrize(("amount", "currency"), [(None, None), ("", " "), (None, "")], ids=repr)
def test_neither_half_is_no_money(amount: object, currency: object) -> None:
    """Neither amount nor currency is no money and no problem, whatever the default."""
    assert money(amount, currency) == (None, [])
    assert money(amount, currency, "USD") == (None, [])


@pytest.mark.parametrize(
    ("amount", "sent"),
    [(1.5, 1.5), (1, 1), ("12.00", 12), (Decimal("0.10"), 0.1), (-2.5, -2.5), (1e15, 1e15)],
    ids=repr,
)
def test_an_amount_is_sent_as_it_is(amount: object, sent: float) -> None:
    """An amount is sent in whole units of its currency, neither rounded nor cut."""
    assert money(amount, None, "JPY") == ({"currency": "JPY", "amount": sent}, [])


def test_reading_changes_nothing() -> None:
    """The items of the event stay as they are."""
    items = [item(price={"amount": "1.50", "currency": "usd"}, quantity="2"), 7, {}]
    before = copy.deepcopy(items)
    problems_of(items)
    assert items == before


def test_no_problem_of_an_item_holds_a_value() -> None:
    """Whatever is wrong with an item, its texts are in no problem."""
    secret = "¤secret"
    told = problems_of(
        [
            secret,
            {"quantity": secret, "price": secret, "currency": secret, secret: secret},
            item(price=1.5, currency=secret, price_seller={"amount": secret, "currency": secret}),
        ]
    )
    assert len(told) == 5
    assert not any("¤" in f"{problem}{problem.code}" for problem in told)


def test_the_currency_beside_a_price_helps_out() -> None:
    """A Money object without a currency takes the one beside it, before the default."""
    problems = Problems()
    items = [{"id": "a", "price": {"amount": 1}, "currency": "USD"}]
    assert read_items(problems, items, "EUR") == [
        {"id": "a", "price": {"currency": "USD", "amount": 1}}
    ]
    assert problems == []
