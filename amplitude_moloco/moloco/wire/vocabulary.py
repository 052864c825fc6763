"""The words and limits of MCM's User Event API, and the limits that this library adds."""

from __future__ import annotations

import hashlib
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
    """What MCM may use an event for: everything, metrics only, or nothing that identifies."""

    STANDARD = "STANDARD"
    METRIC_ONLY = "METRIC_ONLY"
    ID_LESS = "ID_LESS"


CURRENCIES = frozenset(
    """USD KRW JPY EUR GBP SEK INR THB IDR CNY CAD RUB BRL SGD HKD AUD PLN DKK VND MYR PHP TRY VES
    AED CHF""".split()
)
NULL_LIKE = frozenset({"null", "undefined", "invalid", "nil"})
"""Identifiers that MCM treats as absent, in any case."""
ABSENT_IDENTIFIERS = NULL_LIKE.union(
    # what Python, pandas, JavaScript, databases and spreadsheets print for nothing
    """none nan <na> na n/a nat #n/a #null! -nan inf -inf infinity -infinity void empty missing
    unset blank true false -1 [] {} () <null> (null) [null] (none) <none> <nil> (nil) <nan> (nan)
    <nat> <unset> (unset) <empty> (empty) <undefined> (undefined) [undefined] null-null none-none
    undefined-undefined \\n pd.na np.nan nullptr""".split(),
    ["[object object]", "[object undefined]", "[object null]", "(not set)", "not set", "<not set>"],
    ["not_set", "not-set", "notset", "(not provided)", "not provided", "not_provided", '""', "''"],
    # what apps call all of the shoppers whom they don't know
    """anonymous anon guest unknown visitor public default nobody unidentified unregistered
    unauthenticated anonymoususer anonymous_user anonymous-user guestuser guest_user guest-user
    unknownuser unknown_user unknown-user unknown_id not_logged_in not-logged-in notloggedin
    logged_out logged-out loggedout no_user no-user nouser (anonymous) <anonymous> (guest)
    (unknown) <unknown>""".split(),
    ["anonymous user", "guest user", "unknown user", "not logged in", "logged out", "no user"],
    """user noid no_id no-id nul unavailable not_available not-available nonetype""".split(),
    # what empty collections and other placeholders of Python, JavaScript, Swift and Java print
    """set() frozenset() b'' b"" ellipsis notimplemented nattype nan+nanj pd.nat masked symbol()
    symbol(undefined) optional(nil) optional.empty nullnull nan.0""".split(),
    ["no value", "no data", "n / a", "n.a.", "none none", "null null"],
    # the names of fields, in place of what is in them
    """user_id user-id userid device_id device-id deviceid customer_id customer-id customerid
    your_user_id your-user-id your_device_id""".split(),
    ["not available", "<class 'nonetype'>", "1.#qnan", "1.#ind", "#ref!", "#value!", "#name?"],
    # what other languages and databases print for nothing, and forms for what was not filled in
    """nothing undef noone no-one no_one unspecified not_specified not-specified unassigned
    not_assigned not-assigned not_found not-found notfound not_applicable not-applicable nilclass
    nullobject null_object dbnull system.dbnull kotlin.unit na_character_ #div/0! #num! -1.0 -0
    anonymous_id anonymous-id anonymousid guest_id guest-id guestid""".split(),
    ["no one", "not specified", "not assigned", "not found", "not applicable", "null object"],
    # an Android emulator's, that of a whole series of devices with a faulty Android 2.2, and the
    # address that Android and iOS give every app
    ["9774d56d682e549c", "lmy47d", "02:00:00:00:00:00", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    # hashes of an empty text: MD5, SHA-1, SHA-256
    [hashlib.new(name, usedforsecurity=False).hexdigest() for name in ("md5", "sha1", "sha256")],
)
"""Identifiers that this library treats as absent, in lowercase: they stand for no one shopper.

A destination adds those of its setting ``absent_identifiers``."""
MAX_ID_CHARACTERS = 128
MAX_CLOCK_SKEW_MILLIS = 5 * 60 * 1000
"""This library's limit: an event's clock may be this far ahead, and its time is then set to now."""
MAX_SIZE = 1_000_000
"""This library's limit for the bytes of a request, and for the characters in an object's texts.

MCM states none. An event of a megabyte is a mistake."""
MAX_VALUES = 10_000
"""This library's limit for the values in an object, and for the items of a list.

It also stops at an object that contains itself."""
