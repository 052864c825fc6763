"""Money: an amount and its currency, for prices, revenue and shipping charges. Pure."""

from __future__ import annotations

from math import isfinite
from typing import Any

from amplitude_moloco.convert.problem import ProblemReason
from amplitude_moloco.moloco.wire.problems import Problems
from amplitude_moloco.moloco.wire.values import describe, is_mapping, number, text
from amplitude_moloco.moloco.wire.vocabulary import CURRENCIES

Money = dict[str, Any]
"""MCM's ``{"currency": …, "amount": …}``."""


def exact_money(amount: object, currency: object) -> Money | None:
    """Returns Money for a finite float and a currency in capitals; None for anything else.

    Nearly all money is like this, and :func:`read_money` takes several times as long.
    """
    if type(amount) is float and type(currency) is str and currency in CURRENCIES:
        return {"currency": currency, "amount": amount} if isfinite(amount) else None
    return None


def read_money(
    problems: Problems,
    amount_field: str,
    amount: object,
    currency_field: str,
    currency: object,
    *,
    default_currency: str | None,
) -> Money | None:
    """Returns Money; None if both parts are absent, or, with a problem, if one can't be used."""
    exact = exact_money(amount, currency)
    if exact:
        return exact
    known_problems = len(problems)
    value = problems.read(amount_field, number, amount)
    code = problems.read(currency_field, text, currency)
    if len(problems) > known_problems or (value is None and code is None):
        return None
    if value is None:
        fix = "use an amount with the currency, or neither"
        problems.add(amount_field, ProblemReason.HALF_MONEY, "a currency without an amount", fix)
        return None
    code = code or default_currency
    if code is None:
        fix = "use a currency with the amount, or set default_currency"
        problems.add(currency_field, ProblemReason.HALF_MONEY, "an amount without a currency", fix)
        return None
    code = code.strip().upper()
    if code not in CURRENCIES:
        fix = f"use one of {', '.join(sorted(CURRENCIES))}"
        problems.add(currency_field, ProblemReason.UNKNOWN_VALUE, describe(currency), fix)
        return None
    return {"currency": code, "amount": value}


def read_price(
    problems: Problems, name: str, price: object, currency: object, default_currency: str | None
) -> Money | None:
    """Reads an item's price: a number beside the item's ``currency``, or an object with both."""
    if isinstance(price, str) and not price.strip():  # absent, like None
        return None
    if not is_mapping(price):
        return read_money(
            problems, name, price, "currency", currency, default_currency=default_currency
        )
    own_currency = price.get("currency")
    return read_money(
        problems,
        f"{name}.amount",
        price.get("amount"),
        f"{name}.currency",
        currency if own_currency is None else own_currency,
        default_currency=default_currency,
    )
