"""Money, and the items that it is paid for."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

from amplitude_moloco.moloco.wire import values
from amplitude_moloco.moloco.wire.problems import Problems
from amplitude_moloco.moloco.wire.vocabulary import CURRENCIES

ITEM_FIX = (
    "map items to a list of objects with an id, as in "
    "event_properties.products[].{id: product_id, price: price, currency: currency}"
)

_PLAIN: tuple[tuple[str, Callable[[object], Any]], ...] = (
    ("id", values.text),
    ("item_group_id", values.text),
    ("quantity", values.quantity),
    ("seller_id", values.text),
)
_PRICES = ("price", "price_seller")
_Money = dict[str, Any]


def read_items(
    problems: Problems, value: object, default_currency: str | None
) -> list[dict[str, Any]] | None:
    """MCM's items of a list of objects; None for an empty list."""
    if not isinstance(value, (list, tuple)) or len(value) > values.MAX_VALUES:
        fix = f"use a list of at most {values.MAX_VALUES} objects, one for each item"
        problems.note("items", "wrong_type", values.describe(value), fix)
        return None
    items = []
    for problems.item, item in enumerate(value):
        items.append(_read_item(problems, item, default_currency))
    problems.item = None
    return items or None


def read_money(
    problems: Problems,
    amount_field: str,
    amount: object,
    currency_field: str,
    currency: object,
    *,
    default_currency: str | None,
) -> _Money | None:
    """MCM's Money of an amount and a currency, which go together."""
    plain = _plain_money(amount, currency)
    if plain:
        return plain
    known_problems = len(problems)
    number = problems.read(amount_field, values.number, amount)
    code = problems.read(currency_field, values.text, currency)
    if len(problems) > known_problems or (number is None and code is None):
        return None
    if number is None:
        fix = "give the amount too, or no currency"
        problems.note(amount_field, "half_money", "a currency without an amount", fix)
        return None
    code = code or default_currency
    if code is None:
        fix = "give the currency too, or set default_currency"
        problems.note(currency_field, "half_money", "an amount without a currency", fix)
        return None
    code = code.strip().upper()
    if code not in CURRENCIES:
        fix = f"use one of {', '.join(sorted(CURRENCIES))}"
        problems.note(currency_field, "unknown_value", values.describe(currency), fix)
        return None
    return {"currency": code, "amount": number}


def _read_item(problems: Problems, item: object, default_currency: str | None) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if not values.is_mapping(item):
        problems.note("", "wrong_type", values.describe(item), "use an object with an id")
        return result
    known_problems = len(problems)
    for name, as_what in _PLAIN:
        value = item.get(name)
        if value is not None:
            try:  # here, since a call for each part of each item is what takes the time
                part = as_what(value)
            except values.Unusable as unusable:
                problems.note_unusable(name, unusable)
                continue
            if part is not None:
                result[name] = part
    is_named = "id" in result or "item_group_id" in result
    if not is_named and len(problems) == known_problems:
        problems.note("", "missing", "neither id nor item_group_id", ITEM_FIX)
    for name in _PRICES:
        price = item.get(name)
        # Without a price, the currency beside it belongs to the other one, or to nothing.
        if price is not None:
            currency = item.get("currency")
            money = _plain_money(price, currency) or _read_price(
                problems, name, price, currency, default_currency
            )
            if money is not None:
                result[name] = money
    return result


def _read_price(
    problems: Problems, name: str, price: object, currency: object, default_currency: str | None
) -> _Money | None:
    if isinstance(price, str) and not price.strip():  # as absent as None
        return None
    if not values.is_mapping(price):
        fields_and_values = (name, price, "currency", currency)
    else:
        fields_and_values = (
            f"{name}.amount",
            price.get("amount"),
            f"{name}.currency",
            currency if price.get("currency") is None else price.get("currency"),
        )
    return read_money(problems, *fields_and_values, default_currency=default_currency)


def _plain_money(amount: object, currency: object) -> _Money | None:
    """What nearly all of them are like, in a fraction of the time."""
    if type(amount) is float and type(currency) is str and currency in CURRENCIES:
        return {"currency": currency, "amount": amount} if isfinite(amount) else None
    return None
