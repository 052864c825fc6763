"""Predefined syncs for the event names and properties that most shops use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from amplitude_moloco.engine.unreadable import refusing_unreadable
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.moloco.chart import FieldSource
from amplitude_moloco.moloco.sync import Sync, read_event_type
from amplitude_moloco.moloco.wire.money import is_blank
from amplitude_moloco.moloco.wire.vocabulary import EventType

_REFERRER = "event_properties.[referrer_page_id, referrer, referring_url][?@] | [0]"
_PAGE = (
    'event_properties.[page_id, path, "[Amplitude] Page Path", url, name, "[Amplitude] Page URL"]'
    "[?@] | [0]"
)
_LIST = "event_properties.[page_id, list_id, category][?@] | [0]"
_QUERY = "event_properties.[query, search_query, search_term][?@] | [0]"
_REVENUES = ("revenue", "subtotal", "total", "value")
# A referrer shows MCM how a shopper found an item, so it is sent whenever there is one.
_FROM_REFERRER: dict[str, FieldSource] = {"referrer_page_id": _REFERRER}


def ecommerce_syncs(
    *, without: Iterable[EventType | str] = (), replace: Sync | Iterable[Sync] = ()
) -> list[Sync]:
    """Returns syncs for the standard e-commerce events, covering each of MCM's event types.

    ======================================================  ================  ===================
    Amplitude event                                         MCM event type    from the properties
    ======================================================  ================  ===================
    Home, Home Viewed, Home Page Viewed                     HOME
    Landed, Landing Page Viewed                             LAND              referrer
    Page Viewed, [Amplitude] Page Viewed                    PAGE_VIEW         page_id, path, url
    Product List Viewed                                     PAGE_VIEW         list_id, category
    Product Viewed                                          ITEM_PAGE_VIEW    product_id, price …
    Product Added, Product Added to Cart                    ADD_TO_CART       product_id, price …
    Product Added to Wishlist                               ADD_TO_WISHLIST   product_id, price …
    Products Searched                                       SEARCH            query
    Order Completed                                         PURCHASE          products, total …
    ======================================================  ================  ===================

    Products are the list ``products`` or, without one, the properties themselves: ``product_id``
    (or ``id``, ``sku``), ``price``, ``currency`` (or the event's), ``quantity``, ``seller_id``.
    An amount has its own currency (``revenue_currency``, ``shipping_currency``), else the event's.
    An order without revenue has the sum of price x quantity, if each product has both.
    Each call returns a new list: add syncs of your own, and remove those that you do not need.

    Args:
        without: MCM event types to leave out, as :class:`EventType` or as text in any case.
        replace: Syncs of your own. They take the place of all ready ones of the same types.

    Raises:
        ConfigurationError: A type that MCM does not have, or something that is no Sync.
    """
    with refusing_unreadable({"without": without, "replace": replace}):
        return _ready_syncs(without, replace)


def _ready_syncs(without: Iterable[EventType | str], replace: Sync | Iterable[Sync]) -> list[Sync]:
    replacing = (replace,) if isinstance(replace, Sync) else replace
    for name, several in (("without", without), ("replace", replacing)):
        if not isinstance(several, Iterable):
            raise ConfigurationError(f"{name}: found {type(several).__name__}; use a list")
    types = [without] if isinstance(without, str) else [*without]
    replacing = [*replacing]
    if not all(isinstance(sync, Sync) for sync in replacing):
        raise ConfigurationError("replace: found something else than a Sync; use [Sync(…)]")
    left_out = {read_event_type(each, "without") for each in types}
    left_out.update(sync.event_type for sync in replacing)
    ready = [*_page_syncs(), *_item_syncs(), _search_sync(), _purchase_sync()]
    return [*(sync for sync in ready if sync.event_type not in left_out), *replacing]


def _page_syncs() -> list[Sync]:
    return [
        Sync("HOME", events=["Home", "Home Viewed", "Home Page Viewed"]),
        Sync("LAND", events=["Landed", "Landing Page Viewed"], mapping=_FROM_REFERRER),
        Sync(
            "PAGE_VIEW",
            events=["Page Viewed", "[Amplitude] Page Viewed"],
            mapping={"page_id": _PAGE, **_FROM_REFERRER},
        ),
        Sync(
            "PAGE_VIEW",
            name="PAGE_VIEW of a list",
            events=["Product List Viewed"],
            mapping={"page_id": _LIST, **_FROM_REFERRER},
        ),
    ]


def _item_syncs() -> list[Sync]:
    mapping: dict[str, FieldSource] = {"items": _items, **_FROM_REFERRER}
    return [
        Sync("ITEM_PAGE_VIEW", events=["Product Viewed"], mapping=mapping),
        Sync("ADD_TO_CART", events=["Product Added", "Product Added to Cart"], mapping=mapping),
        Sync("ADD_TO_WISHLIST", events=["Product Added to Wishlist"], mapping=mapping),
    ]


def _search_sync() -> Sync:
    return Sync(
        "SEARCH",
        events=["Products Searched"],
        mapping={"search_query": _QUERY, **_FROM_REFERRER},
    )


def _purchase_sync() -> Sync:
    return Sync(
        "PURCHASE",
        events=["Order Completed"],
        mapping={
            "items": _items,
            "revenue_amount": _revenue,
            "revenue_currency": _revenue_currency,
            "shipping_charge_amount": "event_properties.shipping",
            "shipping_charge_currency": _shipping_currency,
        },
    )


def _items(event: Any) -> Any:
    properties = event.event_properties or {}
    products = properties.get("products")
    if products is None:
        products = [properties] if _product_id(properties) is not None else []
    if not isinstance(products, list):
        return products  # the wire's check of items reports it
    currency = _currency(event)
    return [_item(product, currency) for product in products]


def _item(product: Any, currency: Any) -> Any:
    if not isinstance(product, Mapping):
        return product
    return {
        "id": _product_id(product),
        "price": product.get("price"),
        "currency": currency if is_blank(own := product.get("currency")) else own,
        "quantity": product.get("quantity"),
        "seller_id": product.get("seller_id"),
    }


def _product_id(product: Mapping[str, Any]) -> Any:
    return _first(product, "product_id", "id", "sku")


def _revenue(event: Any) -> Any:
    """Returns what the items cost together: properties that may include shipping and tax last."""
    amount = _first(event.event_properties or {}, *_REVENUES)
    return event.revenue if amount is None else amount


def _revenue_currency(event: Any) -> Any:
    """Returns the currency that belongs to the revenue, else the event's."""
    properties = event.event_properties or {}
    own = properties.get("revenue_currency")
    if own is not None and not is_blank(own):
        return own
    is_attribute = event.revenue is not None and _first(properties, *_REVENUES) is None
    if is_attribute and not is_blank(event.currency):
        return event.currency
    return _currency(event)


def _currency(event: Any) -> Any:
    currency = (event.event_properties or {}).get("currency")
    return event.currency if is_blank(currency) else currency


def _shipping_currency(event: Any) -> Any:
    properties = event.event_properties or {}
    if is_blank(properties.get("shipping")):
        return None
    own = _first(properties, "shipping_charge_currency", "shipping_currency")
    return _currency(event) if own is None else own


def _first(properties: Mapping[str, Any], *names: str) -> Any:
    for name in names:
        value = properties.get(name)
        if value is not None and not is_blank(value):
            return value
    return None
