"""The standard e-commerce events, under the names that Adbrix's own SDKs give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from amplitude_moloco.experimental.adbrix.event import AdbrixEvent

ABX_EVENTS: Final[Mapping[str, str]] = {
    "Home Viewed": "abx:view_home",
    "Product List Viewed": "abx:category_view",
    "Products Searched": "abx:search",
    "Product Viewed": "abx:product_view",
    "Product Added": "abx:add_to_cart",
    "Product Added to Wishlist": "abx:add_to_wishlist",
    "Cart Viewed": "abx:cart_view",
    "Checkout Started": "abx:review_order",
    "Payment Info Entered": "abx:paymentinfo_added",
    "Order Completed": "abx:purchase",
    "Order Refunded": "abx:refund",
    "Signed Up": "abx:sign_up",
    "Signed In": "abx:login",
}
"""Adbrix's name for each of the standard event names."""

_ITEM = (
    "{product_id: [product_id, id, sku][?@] | [0], product_name: name, category1: category, "
    "quantity: quantity, price: price, coupon_id: coupon}"
)
_ITEMS = f"(event_properties.products || [event_properties])[].{_ITEM}"
_ITEM_EVENTS = (
    *("abx:product_view", "abx:add_to_cart", "abx:add_to_wishlist", "abx:cart_view"),
    *("abx:review_order", "abx:purchase", "abx:refund"),
)
_ORDER_EVENTS = ("abx:review_order", "abx:purchase", "abx:refund")


def adbrix_commerce_events() -> list[AdbrixEvent]:
    """Returns an event for each of ``ABX_EVENTS``, with order and items from the usual properties.

    Each call returns a new list. Adbrix's own example of this API calls a purchase ``purchase``,
    its SDKs ``abx:purchase``: which one counts is not documented.
    """
    return [
        AdbrixEvent(
            event,
            name,
            items=_ITEMS if name in _ITEM_EVENTS else None,
            order_id="event_properties.order_id" if name in _ORDER_EVENTS else None,
            order_sales=(
                "event_properties.[total, revenue, value][?@ != null] | [0]"
                if name in _ORDER_EVENTS
                else None
            ),
            payment_method="event_properties.payment_method" if name in _ORDER_EVENTS else None,
            discount="event_properties.discount" if name in _ORDER_EVENTS else None,
        )
        for event, name in ABX_EVENTS.items()
    ]
