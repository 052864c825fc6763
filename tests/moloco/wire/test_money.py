"""Money: amounts and currencies."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from support.wire import build_parts, problem, problems

from amplitude_moloco.convert.problem import Problem
from amplitude_moloco.moloco.wire.money import common_currency, read_money
from amplitude_moloco.moloco.wire.problems import Problems
from amplitude_moloco.moloco.wire.vocabulary import EventType

CURRENCIES = (
    "USD KRW JPY EUR GBP SEK INR THB IDR CNY CAD RUB BRL SGD HKD AUD PLN DKK VND MYR PHP TRY VES "
    "AED CHF"
).split()


def money(
    amount: object, currency: object, default_currency: str | None = None
) -> tuple[dict[str, Any] | None, list[Problem]]:
    problems = Problems()
    result = read_money(
        problems, "sum", amount, "code", currency, default_currency=default_currency
    )
    return result, list(problems)


@pytest.mark.parametrize("currency", CURRENCIES)
def test_every_currency_of_mcm_is_known(currency: str) -> None:
    """Each of the 25 currencies is accepted in any case, and sent in capitals."""
    assert len(set(CURRENCIES)) == 25
    for text in (currency, currency.lower(), f" {currency.title()}\n"):
        for amount in (1.5, "1.5"):
            assert money(amount, text) == ({"currency": currency, "amount": 1.5}, [])


@pytest.mark.parametrize("currency", ["XXX", "BTC", "US", "USDT", "$", "UNKNOWN_CURRENCY", 840])
def test_another_currency_is_a_problem_that_lists_them(currency: object) -> None:
    """A currency that MCM does not have is a problem that lists all 25."""
    for amount in (1.5, 2):
        result, (reported,) = money(amount, currency)
        assert result is None
        assert (reported.field, reported.reason) == ("code", "unknown_value")
        assert reported.fix == f"use one of {', '.join(sorted(CURRENCIES))}"


@pytest.mark.parametrize(
    ("amount", "currency", "found"),
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
    amount: object, currency: object, found: list[tuple[str, str]]
) -> None:
    """A missing or unusable amount or currency is a problem of its field."""
    result, problems = money(amount, currency)
    assert result is None
    assert [(problem.field, problem.reason) for problem in problems] == found


@pytest.mark.parametrize(("amount", "currency"), [(None, None), ("", " "), (None, "")], ids=repr)
def test_money_without_both_halves_is_absent(amount: object, currency: object) -> None:
    """Without amount and currency there is no money and no problem, whatever the default."""
    assert money(amount, currency) == (None, [])
    assert money(amount, currency, "USD") == (None, [])


@pytest.mark.parametrize(
    ("amount", "sent"),
    [(1.5, 1.5), (1, 1), ("12.00", 12), (Decimal("0.10"), 0.1), (-2.5, -2.5), (1e15, 1e15)],
    ids=repr,
)
def test_an_amount_is_sent_unchanged(amount: object, sent: float) -> None:
    """An amount is sent in whole units of its currency, without rounding."""
    assert money(amount, None, "JPY") == ({"currency": "JPY", "amount": sent}, [])


def test_a_shipping_charge_in_another_currency_is_the_culprit() -> None:
    """Revenue without a currency has that of the items, whatever a shipping charge states."""
    fields = {
        "items": [{"id": "a", "price": 5, "currency": "EUR"}],
        "revenue_amount": 5,
        "shipping_charge_amount": 1,
        "shipping_charge_currency": "USD",
    }
    reported = problem(EventType.PURCHASE, revenue_currency=None, **fields)
    assert (reported.field, reported.reason) == ("shipping_charge_currency", "mixed_currencies")
    assert reported.found == "USD, while items[0].price is in EUR"


@pytest.mark.parametrize(
    ("shipping", "code"), [({}, None), ({"shipping_charge_amount": 1}, "unknown_value")]
)
def test_an_unknown_currency_of_a_shipping_charge_forbids_the_default_if_it_is_used(
    shipping: dict[str, Any], code: str | None
) -> None:
    """A charge in a currency that MCM lacks leaves revenue without one; no charge, no harm."""
    fields: dict[str, Any] = {"revenue_amount": 5, "revenue_currency": None}
    fields["shipping_charge_currency"] = "XXX"
    _, refused, _ = build_parts(EventType.PURCHASE, default_currency="USD", **fields, **shipping)
    assert [each.reason for each in refused] == ([code] if code else [])


def test_an_item_without_a_price_is_why_a_purchase_has_no_sum() -> None:
    """A purchase without revenue names the item whose price could not be read."""
    items = [{"id": "a", "price": "1,299.00", "currency": "EUR", "quantity": 1}]
    found = problems(EventType.PURCHASE, items=items, revenue_amount=None, revenue_currency=None)
    assert found == [("items[0].price", "not_a_number"), ("revenue_amount", "missing")]


def test_items_that_can_not_be_read_state_no_currency() -> None:
    """A list that raises when it is read states nothing, so the default applies."""

    class Unreadable(list[Any]):
        def __iter__(self) -> Iterator[Any]:
            raise RuntimeError

    assert common_currency({"items": Unreadable([{"currency": "EUR"}])}, "USD") == "USD"
