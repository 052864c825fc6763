"""Money: an amount and its currency, for prices, revenue and shipping charges. Pure.

All amounts of one event have one currency. Each has its own; else the event's; else the one that
the event's other amounts state; else, if the event states none, the default. Amounts in different
currencies are a problem.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Context, Decimal, localcontext
from math import isfinite
from typing import Any

from amplitude_moloco.convert.problem import Problem, ProblemReason
from amplitude_moloco.host.interruption import pass_interruption
from amplitude_moloco.moloco.wire.problems import Problems
from amplitude_moloco.moloco.wire.values import describe, is_mapping, number, text
from amplitude_moloco.moloco.wire.vocabulary import CURRENCIES

Money = dict[str, Any]
"""MCM's ``{"currency": …, "amount": …}``."""
PRICES = ("price", "price_seller")
"""The fields of an item that are Money."""
_CURRENCY_FIELDS = ("revenue_currency", "shipping_charge_currency")
_KNOWN = f"use one of {', '.join(sorted(CURRENCIES))}"
_ONE_CURRENCY = "use one currency for all prices and amounts of an event"
_PRECISION = 60  # digits: exact for any price in a float, times 32 bits, summed over all items


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
    default_currency: object,
) -> Money | None:
    """Returns Money; None if both parts are absent, or, with a problem, if one can't be used.

    ``default_currency`` completes an amount without a currency. It may be the event's, unread.
    """
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
    known = known_currency(default_currency if code is None else code)
    if known:
        return {"currency": known, "amount": value}
    if code is None and default_currency is None:
        fix = "use a currency with the amount, map currency to the event's, or set default_currency"
        problems.add(currency_field, ProblemReason.HALF_MONEY, "an amount without a currency", fix)
    elif code is not None:
        problems.add(currency_field, ProblemReason.UNKNOWN_VALUE, describe(currency), _KNOWN)
    else:
        _add_unknown_event_currency(problems, default_currency)
    return None


def read_price(
    problems: Problems, name: str, price: object, currency: object, default_currency: object
) -> Money | None:
    """Reads an item's price: a number beside the item's ``currency``, or an object with both."""
    if is_blank(price):
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


def is_blank(value: object) -> bool:
    """Whether a value is absent: None or blank text."""
    if value is None:
        return True
    try:
        return isinstance(value, str) and not str.strip(value)
    except Exception as error:  # from an object that raises when it is asked for its class
        pass_interruption(error)
        return False


def known_currency(value: object) -> str | None:
    """Returns one of MCM's currencies, in capitals, for text in any case; None for other values."""
    if type(value) is str and value in CURRENCIES:
        return value
    try:
        code = (text(value) or "").strip().upper()
    except Exception as error:  # InvalidValue, or from an object that raises when it is read
        pass_interruption(error)
        return None
    return code if code in CURRENCIES else None


def common_currency(fields: Mapping[str, Any], default_currency: str | None) -> object:
    """Returns the currency of an event's amounts without one: raw, and perhaps not MCM's.

    It is the field ``currency``; else what the event's other amounts state; else the default.
    None if nothing is stated, and if items without prices state several. An amount in a currency
    that MCM lacks forbids the default, which would be a guess.
    """
    currency = fields.get("currency")
    if not is_blank(currency):
        return currency
    unknown: object = None
    revenue = fields.get("revenue_currency")  # of an amount that may be the sum of the items
    if not is_blank(revenue):
        code = known_currency(revenue)
        if code:
            return code
        unknown = revenue
    priced, unused, stated = _currencies_of_items(fields.get("items"))
    if priced:
        return priced
    shipping = fields.get("shipping_charge_currency")
    if not is_blank(shipping):
        code = known_currency(shipping)
        if not is_blank(fields.get("shipping_charge_amount")):
            if code:
                return code
            unknown = shipping
        elif code:
            unused.add(code)
    unknown = unknown if stated is None else stated
    if unknown is not None:
        return unknown
    if len(unused) > 1:
        return None
    return unused.pop() if unused else default_currency


def check_currencies(problems: Problems, payload: Mapping[str, Any]) -> None:
    """Adds a problem for each further currency among the amounts of MCM's event."""
    first_place = first = None
    known = set()
    for place, money in _amounts(payload):
        currency = money["currency"]
        if currency in known:
            continue
        known.add(currency)
        if first is None:
            first_place, first = place, currency
            continue
        found = f"{currency}, while {first_place} is in {first}"
        problems.append(Problem(place, ProblemReason.MIXED_CURRENCIES, found, _ONE_CURRENCY))


def sum_of_items(items: Sequence[Mapping[str, Any]], given: object) -> Decimal | None:
    """Returns the sum of price x quantity; None without items, or if one lacks either.

    ``given`` is the list that the items were read from. Where one of them could not be read, a sum
    of the others would be too small.
    """
    if not items or not isinstance(given, (list, tuple)) or len(given) != len(items):
        return None
    if not all("price" in item and "quantity" in item for item in items):
        return None
    with localcontext(Context(prec=_PRECISION)):  # the app's own context may round
        return sum(
            (Decimal(repr(item["price"]["amount"])) * item["quantity"] for item in items),
            Decimal(0),
        )


def _currencies_of_items(items: object) -> tuple[str | None, set[str], object]:
    """Returns the currency of the first price that has one of MCM's, and what else items state.

    That is the currencies of items without a price, and the last one of a price that MCM lacks.
    Other prices in other currencies are found once they are read.
    """
    unused: set[str] = set()
    unknown: object = None
    for beside, prices in _prices(items):
        own = known_currency(beside)
        for price, inside in prices:
            code = known_currency(inside) or own
            if code and not is_blank(price):
                return code, unused, unknown
            stated = beside if is_blank(inside) else inside
            if not is_blank(price) and not is_blank(stated):
                unknown = stated
        if own:
            unused.add(own)
    return None, unused, unknown


def _prices(items: object) -> list[tuple[object, list[tuple[object, object]]]]:
    """Returns the currency of each item, and its prices, each with the currency inside it.

    Passes over what raises when it is read: it is reported as soon as its turn comes.
    """
    found: list[tuple[object, list[tuple[object, object]]]] = []
    try:
        several = [*items] if isinstance(items, (list, tuple)) else []
    except Exception as error:
        pass_interruption(error)
        return found
    for item in several:
        try:
            if is_mapping(item):
                prices = [item.get(name) for name in PRICES]
                found.append((item.get("currency"), [(each, _inside(each)) for each in prices]))
        except Exception as error:
            pass_interruption(error)
    return found


def _inside(price: object) -> object:
    """Returns the currency inside a price; None if there is none, or if it can't be read."""
    try:
        return price.get("currency") if is_mapping(price) else None
    except Exception as error:
        pass_interruption(error)
        return None


def _amounts(payload: Mapping[str, Any]) -> Iterator[tuple[str, Money]]:
    """Yields the place and the Money of each amount in MCM's event."""
    for index, item in enumerate(payload.get("items", ())):
        for name in PRICES:
            if name in item:
                yield f"items[{index}].{name}", item[name]
    for field in _CURRENCY_FIELDS:
        if money := payload.get(field.removesuffix("_currency")):
            yield field, money


def _add_unknown_event_currency(problems: Problems, currency: object) -> None:
    """Reports the event's own currency, once for all amounts that would take it."""
    if not any(problem.field == "currency" for problem in problems):
        found = describe(currency)
        problems.append(Problem("currency", ProblemReason.UNKNOWN_VALUE, found, _KNOWN))
