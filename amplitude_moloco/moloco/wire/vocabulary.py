"""MCM's words and limits, as its User Event API defines them."""

from __future__ import annotations

from enum import Enum


class EventType(str, Enum):
    """What a shopper did."""

    HOME = "HOME"
    LAND = "LAND"
    PAGE_VIEW = "PAGE_VIEW"
    ITEM_PAGE_VIEW = "ITEM_PAGE_VIEW"
    SEARCH = "SEARCH"
    ADD_TO_CART = "ADD_TO_CART"
    ADD_TO_WISHLIST = "ADD_TO_WISHLIST"
    PURCHASE = "PURCHASE"


class ChannelType(str, Enum):
    """Where the shopper was."""

    APP = "APP"
    SITE = "SITE"
    DESKTOP_SITE = "DESKTOP_SITE"
    MOBILE_SITE = "MOBILE_SITE"


class PersonalizationMode(str, Enum):
    """What MCM may do with an event: all, metrics only, or nothing that identifies."""

    STANDARD = "STANDARD"
    METRIC_ONLY = "METRIC_ONLY"
    ID_LESS = "ID_LESS"


CURRENCIES = frozenset(
    """USD KRW JPY EUR GBP SEK INR THB IDR CNY CAD RUB BRL SGD HKD AUD PLN DKK VND MYR PHP TRY VES
    AED CHF""".split()
)
NULL_LIKE = frozenset({"null", "undefined", "invalid", "nil"})
"""An identifier that reads so, in any case, is no value."""
MAX_ID_CHARACTERS = 128
MAX_CLOCK_SKEW_MILLIS = 5 * 60 * 1000
"""Ours: how far ahead an event's clock may be to be taken for skew and clamped to now."""
