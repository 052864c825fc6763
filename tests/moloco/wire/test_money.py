"""Money: amounts and currencies."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from amplitude_moloco.convert.problem import Problem
from amplitude_moloco.moloco.wire.money import read_money
from amplitude_moloco.moloco.wire.problems import Problems

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
