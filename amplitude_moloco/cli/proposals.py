"""Proposes syncs for sample events, by their names and properties."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from amplitude_moloco import ConfigurationError, EventType, Sync

_TYPES: tuple[tuple[EventType, str], ...] = (
    (EventType.ADD_TO_WISHLIST, r"wish ?list|favou?rite|liked?\b|bookmark"),
    (EventType.ADD_TO_CART, r"\badd(ed)?\b.*\b(cart|basket|bag)\b|\b(cart|basket|bag) add"),
    (
        EventType.PURCHASE,
        r"purchase|order (completed|placed|paid|created)|checkout complete|\bpaid",
    ),
    (EventType.SEARCH, r"\bsearch"),
    (
        EventType.ITEM_PAGE_VIEW,
        r"(product|item|goods|article|detail)s?\b.*\b(view|seen|open|click)",
    ),
    (EventType.ITEM_PAGE_VIEW, r"\b(view|see|open)\w* (product|item|goods|article)"),
    (EventType.HOME, r"\bhome"),
    (EventType.LAND, r"\bland"),
    (
        EventType.PAGE_VIEW,
        r"\b(page|screen|category|list)s?\b.*\bview|\bview\w* (page|screen|category)",
    ),
)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUERY = "query search_query search_term keyword keywords term q search text"
_PAGE = "page_id path page screen page_path screen_name category url name"
_REFERRER = "referrer_page_id referrer referring_url source"
_PRODUCTS = "products items cart order_items line_items goods"
_TOTAL = "total revenue order_total grand_total total_price amount value"
_CURRENCY = "currency currency_code"
_ITEM = {
    "id": "product_id id sku item_id goods_id productid itemid",
    "price": "price unit_price item_price",
    "currency": _CURRENCY,
    "quantity": "quantity qty count",
}
_MOST_NAMES = 200


@dataclass
class Seen:
    """What was seen of the events of one name."""

    properties: dict[str, Any] = field(default_factory=dict)
    """The first value of each property."""


class Proposals:
    """Looks at events, and proposes a sync for each name that seems to be a shopper's action."""

    def __init__(self) -> None:
        self._seen: dict[str, Seen] = {}

    def add(self, event: Any) -> None:
        """Looks at one event. The memory that this takes is bounded by the number of names."""
        name = event.event_type
        if name not in self._seen and len(self._seen) >= _MOST_NAMES:
            return
        seen = self._seen.setdefault(name, Seen())
        for key, value in (event.event_properties or {}).items():
            seen.properties.setdefault(key, value)

    def syncs(self) -> list[Sync]:
        """Returns the proposed syncs, in the order in which their events were seen."""
        found = []
        for name, seen in self._seen.items():
            # A file in UTF-8 can't hold half of a surrogate pair.
            kind = type_of(name) if name.encode(errors="replace").decode() == name else None
            if kind is not None:
                mapping = _mapping(kind, seen.properties)
                try:
                    label = f"{kind.value} of {name}"
                    found.append(Sync(kind, name, name=label, mapping=mapping))
                except ConfigurationError:  # a name that looks like a regular expression
                    continue
        return found


def type_of(name: str) -> EventType | None:
    """Returns the type that a name suggests; None if it suggests none."""
    words = " ".join(_WORDS.findall(name)).lower()
    return next((kind for kind, pattern in _TYPES if re.search(pattern, words)), None)


def _mapping(kind: EventType, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields that the type needs, as far as properties seem to hold them."""
    mapping: dict[str, Any] = {}
    if kind is EventType.SEARCH:
        mapping["search_query"] = _path(_first(_QUERY, properties))
    if kind is EventType.PAGE_VIEW:
        mapping["page_id"] = _path(_first(_PAGE, properties))
    if kind is EventType.LAND:
        mapping["referrer_page_id"] = _path(_first(_REFERRER, properties))
    if kind in _WITH_ITEMS:
        mapping["items"] = _items(properties)
    if kind is EventType.PURCHASE:
        mapping["revenue_amount"] = _path(_first(_TOTAL, properties))
    if kind in _WITH_ITEMS:
        mapping["currency"] = _path(_first(_CURRENCY, properties))
    return {name: source for name, source in mapping.items() if source is not None}


_WITH_ITEMS = frozenset(
    {
        EventType.ITEM_PAGE_VIEW,
        EventType.ADD_TO_CART,
        EventType.ADD_TO_WISHLIST,
        EventType.PURCHASE,
    }
)


def _items(properties: Mapping[str, Any]) -> str | None:
    """Returns the expression for the items: of a list of them, or of the properties themselves."""
    products = _first(_PRODUCTS, properties)
    listed = properties[products] if products is not None else None
    if isinstance(listed, list) and listed and isinstance(listed[0], dict):
        fields = _item_fields(listed[0])
        return f"{_path(products)}[].{{{fields}}}" if fields else None
    fields = _item_fields(properties)
    return f"event_properties.{{{fields}}} | [@]" if fields else None


def _item_fields(found: Mapping[str, Any]) -> str:
    keys = {name: _first(candidates, found) for name, candidates in _ITEM.items()}
    if keys["id"] is None:
        return ""
    return ", ".join(f"{name}: {_quoted(key)}" for name, key in keys.items() if key is not None)


def _first(candidates: str, found: Iterable[str]) -> str | None:
    """Returns the key that is the best of the candidates, in any case and with any separators."""
    known = {re.sub(r"[^a-z0-9]+", "_", key.lower()).strip("_"): key for key in found}
    return next((known[each] for each in candidates.split() if each in known), None)


def _path(key: str | None) -> str | None:
    return None if key is None else f"event_properties.{_quoted(key)}"


def _quoted(key: str) -> str:
    """Returns a key as JMESPath takes it."""
    return key if _PLAIN.fullmatch(key) else json.dumps(key)
