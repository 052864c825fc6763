"""The items of an event. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amplitude_moloco.convert.problem import ProblemReason
from amplitude_moloco.moloco.wire import values
from amplitude_moloco.moloco.wire.money import PRICES, exact_money, read_price
from amplitude_moloco.moloco.wire.problems import InvalidValue, Problems
from amplitude_moloco.moloco.wire.vocabulary import MAX_VALUES

ITEM_FIX = (
    "map items to a list of objects with an id, as in "
    "event_properties.products[].{id: product_id, price: price, currency: currency}"
)

READERS: tuple[tuple[str, Callable[[object], Any]], ...] = (
    ("id", values.text),
    ("item_group_id", values.text),
    ("quantity", values.quantity),
    ("seller_id", values.text),
)
"""Field of an item, and its reader."""


def read_items(
    problems: Problems, value: object, default_currency: object
) -> list[dict[str, Any]] | None:
    """Returns MCM's items for a list of objects: those that have an id. None if none is left.

    A price has its own currency, else its item's, else ``default_currency``.
    """
    several = problems.read("items", _list, value)
    items: list[dict[str, Any]] = []
    for index, item in enumerate(several or ()):
        problems.item_index = index
        try:
            part = _read_item(problems, item, default_currency)
        except Exception as error:
            problems.add_error("", error)
            continue
        if "id" in part or "item_group_id" in part:  # without, the item is left out
            items.append(part)
    problems.item_index = None
    return items or None


def _list(value: object) -> list[object]:
    if not isinstance(value, (list, tuple)) or len(value) > MAX_VALUES:
        fix = f"use a list of at most {MAX_VALUES} objects, one for each item"
        raise InvalidValue(ProblemReason.WRONG_TYPE, values.describe(value), fix)
    return [*value]


def _read_item(problems: Problems, item: object, default_currency: object) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if not values.is_mapping(item):
        fix = "use an object with an id"
        problems.add("", ProblemReason.WRONG_TYPE, values.describe(item), fix)
        return result
    known_problems = len(problems)
    for name, read in READERS:
        value = item.get(name)
        if value is None:
            continue
        try:  # inline: problems.read() for each field of each item takes noticeable time
            part = read(value)
        except Exception as error:  # InvalidValue, or from an object that raises when it is read
            problems.add_error(name, error)
            continue
        if part is not None:
            result[name] = part
    has_id = "id" in result or "item_group_id" in result
    if not has_id and len(problems) == known_problems:
        problems.add("", ProblemReason.MISSING, "neither id nor item_group_id", ITEM_FIX)
    for name in PRICES:
        price = item.get(name)
        # A currency without this price belongs to the other price, or to none: not a problem.
        if price is None:
            continue
        currency = item.get("currency")
        money = exact_money(price, default_currency if currency is None else currency)
        if money is None:
            try:
                money = read_price(problems, name, price, currency, default_currency)
            except Exception as error:
                problems.add_error(name, error)
        if money is not None:
            result[name] = money
    return result
