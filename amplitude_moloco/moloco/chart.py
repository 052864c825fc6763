"""The mapping chart: which part of an Amplitude event fills which Moloco field.

The fields and their defaults are those on Amplitude's page of its Moloco destination, plus those
that only MCM's API has. A user's mapping replaces a field's default. If it finds nothing, the field
is absent; the default is not used.

``currency`` is the currency of the whole event: of each price and amount without one of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from decimal import Context, Decimal, localcontext
from difflib import get_close_matches
from math import isfinite
from typing import Any, TypeGuard

from amplitude_moloco.convert.expression import compile_event_expression
from amplitude_moloco.convert.paths import explain_nothing
from amplitude_moloco.convert.problem import (
    CAUSED_BY_ABSENCE,
    Problem,
    ProblemReason,
    place_of,
    trace_of,
)
from amplitude_moloco.engine.checks import Checks, callable_of_one
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.host.interruption import is_interruption, pass_interruption
from amplitude_moloco.moloco.wire.apps import app_os
from amplitude_moloco.moloco.wire.money import is_blank
from amplitude_moloco.moloco.wire.values import is_mapping, short_text
from amplitude_moloco.moloco.wire.vocabulary import ABSENT_IDENTIFIERS, ChannelType, EventType
from amplitude_moloco.plugin import EVENT_ATTRIBUTES
from amplitude_moloco.text import one_line, shown

FieldSource = str | Callable[[Any], Any]
"""Where a field comes from: a JMESPath expression over the event, or a callable that gets it."""
Attributes = Mapping[str, Any]
_Fields = dict[str, Any]

# Each field, and the event's attribute that fills it by default. The last attribute present wins.
_DEFAULT_ATTRIBUTES = (
    ("platform", "platform"),
    ("event_id", "insert_id"),
    ("event_id", "event_id"),
    ("user_id", "user_id"),
    ("device_persistent_id", "device_id"),
    ("custom_id", "session_id"),
    ("os_name", "os_name"),
    ("os_version", "os_version"),
    ("device_type", "device_model"),
    ("language", "language"),
    ("ip_address", "ip"),
    ("library", "library"),
    ("library", "user_agent"),
    ("revenue_amount", "revenue"),
    ("timestamp", "time"),
    ("currency", "currency"),
    ("advertising_id", "adid"),
    ("advertising_id", "idfa"),
)
# Fields that the event property of the same name fills by default. It wins over an attribute.
_DEFAULT_PROPERTIES = (
    "shipping_charge_amount",
    "shipping_charge_currency",
    "revenue_amount",
    "revenue_currency",
    "page_id",
    "referrer_page_id",
    "search_query",
    "items",
    "domain",
    "decision_track_id",
    "personalization_mode",
    "advertising_id",
    "currency",
)
MOLOCO_FIELDS = tuple(
    dict.fromkeys((*(field for field, _ in _DEFAULT_ATTRIBUTES), *_DEFAULT_PROPERTIES))
)
"""The fields that a mapping may name."""
_CHANNEL_OF_PLATFORM = {
    **dict.fromkeys(("ios", "iphone os", "ipados", "iphone", "ipad", "ipod", "android"), "APP"),
    **dict.fromkeys(("iphoneos", "ipad os", "ipod touch", "apple ios", "android os"), "APP"),
    **dict.fromkeys(
        ("android tv", "fire os", "fireos", "fire tv", "google tv", "wear os", "wearos"), "APP"
    ),
    "web": "SITE",
    **{name.lower(): name for name in ChannelType.__members__},
}
USUAL_PLATFORMS = ("Web", "iOS", "Android")
"""As Amplitude's SDKs write them."""
_IDENTIFIERS = ("user_id", "device_persistent_id", "custom_id")
_VERSION = re.compile(r"[\s/_-]*v?[0-9.]+$")
_FIELD = re.compile(r"[^.\[]*")  # the chart's field in a problem's: items of items[0].price
_DECIMALS = Context(prec=60)
NO_PROPERTIES: Mapping[str, Any] = {}


class Chart:
    """The chart of one sync, compiled. Pure, and safe to use from any thread.

    Raises:
        ConfigurationError: The mapping names an unknown field, or a source that can't work.
    """

    def __init__(
        self,
        event_type: EventType,
        mapping: Mapping[str, FieldSource] | None,
        *,
        channel_type: ChannelType | None = None,
        include_user_properties: bool | Collection[str] = True,
        library_as_user_agent: bool = True,
    ) -> None:
        mapping = {} if mapping is None else mapping
        if not isinstance(mapping, Mapping):
            raise ConfigurationError(
                f"mapping: found {type(mapping).__name__}; use a dict from Moloco fields to "
                f"JMESPath expressions or callables"
            )
        self._expressions = {
            field: source for field, source in mapping.items() if isinstance(source, str)
        }
        checks = Checks()
        self._sources = [
            (field, *(checks.run(_compile, field, source) or ()))
            for field, source in mapping.items()
        ]
        checks.raise_errors()
        self.mapped = tuple(mapping)
        """The fields that the mapping fills."""
        self._attributes = [
            pair
            for pair in _DEFAULT_ATTRIBUTES
            if pair[0] not in mapping and (library_as_user_agent or pair[1] != "library")
        ]
        self.properties = tuple(field for field in _DEFAULT_PROPERTIES if field not in mapping)
        """The fields that the event property of the same name fills."""
        self._property_names = frozenset(self.properties)
        is_purchase = event_type is EventType.PURCHASE
        self.derives_amount = is_purchase and "revenue_amount" not in mapping
        """Whether an event without an amount of revenue has that of its price and quantity."""
        self.derives_currency = "revenue_currency" not in mapping
        """Whether an amount of revenue without a currency has the event's."""
        self._maps_amount = "revenue_amount" in mapping
        self._maps_currency = "currency" in mapping
        self._channel_type = channel_type.value if channel_type else None
        self._include_user_properties = include_user_properties
        self.sends_all_user_properties = include_user_properties is True
        self.fields_from_properties = self._property_names.union(
            field
            for field, source in mapping.items()
            if not isinstance(source, str) or "event_properties" in source
        )
        """The fields that event properties fill, or may fill."""

    @property
    def attributes(self) -> dict[str, list[str]]:
        """The attributes that fill each field: the last one that is present does."""
        found: dict[str, list[str]] = {}
        for field, name in self._attributes:
            found.setdefault(field, []).append(name)
        return found

    def apply(self, event: Any) -> tuple[_Fields, list[Problem]]:
        """Returns the event's fields as raw values, and a problem for each that was left out."""
        fields, problems = self.map(event)
        return fields, problems + self.complete(fields, event)

    def map(self, event: Any) -> tuple[_Fields, list[Problem]]:
        """Returns what the mapping finds, as raw values, and a problem for each that raised."""
        attributes = vars(event)
        fields: _Fields = {}
        problems: list[Problem] = []
        for field, search, takes_event in self._sources:
            try:
                fields[field] = search(event if takes_event else attributes)
            except Exception as error:  # callables may raise anything, and so may expressions
                if is_interruption(error):
                    raise
                problems.append(_mapping_failed(field, error))
        return fields, problems

    def complete(self, fields: _Fields, event: Any) -> list[Problem]:
        """Adds the fields that the mapping does not fill, as raw values.

        Returns a problem if the event's own id was left out, since it has a better one.
        """
        attributes = vars(event)
        properties = attributes.get("event_properties")
        problems: list[Problem] = []
        for field, name in self._attributes:
            value = attributes.get(name)
            if is_present(value):
                if name == "event_id" and field in fields and not is_own_id(value):
                    problems.append(_UNUSABLE_ID)
                else:
                    fields[field] = value
        if properties and not self._property_names.isdisjoint(properties):
            for field in self.properties:
                value = properties.get(field)
                if is_present(value):
                    fields[field] = value
        properties = properties or NO_PROPERTIES
        if self.derives_amount and "revenue_amount" not in fields:
            fields["revenue_amount"] = derive_amount(attributes, properties)
        if "$currency" in properties and not self._maps_currency:
            fields.setdefault("currency", properties["$currency"])
        if self.derives_currency and fields.get("revenue_amount") is not None:
            currency = self.currency_of_revenue(fields.get("currency"), attributes, properties)
            fields.setdefault("revenue_currency", currency)
        self._finish(fields, attributes)
        return problems

    def platform_os(self, event: Any) -> str | None:
        """Returns the os that the event's platform implies, for an app's event without one."""
        platform = vars(event).get("platform")
        for field, search, takes_event in self._sources:
            if field == "platform":
                platform = search(event if takes_event else vars(event))
        if not _is_text(platform):
            return None
        return app_os(str.__str__(platform))

    def explain(self, problem: Problem, event: Any) -> Problem:
        """Returns the problem with the expression of its field, and what of it is absent."""
        fields = _IDENTIFIERS if problem.reason == ProblemReason.NO_IDENTIFIER else [problem.field]
        more = ""
        for field in (_FIELD.match(each)[0] for each in fields):  # type: ignore[index]  # never None
            source = self._expressions.get(field)
            if source is not None:
                is_absent = problem.reason in CAUSED_BY_ABSENCE
                nothing = explain_nothing(source, vars(event)) if is_absent else ""
                more += f"; mapping.{field} is {source!r}" + (nothing and f": {nothing}")
        return replace(problem, fix=problem.fix + more) if more else problem

    def currency_of_revenue(
        self, currency: Any, attributes: Attributes, properties: Mapping[str, Any]
    ) -> Any:
        """Returns the currency that belongs to the amount, else ``currency``, the event's."""
        is_attribute = not self._maps_amount and is_blank(properties.get("revenue_amount"))
        if is_attribute and not self._maps_currency:
            own = attributes.get("currency") or properties.get("$currency")
            return own or currency
        return currency

    def channel_of(self, platform: object) -> str | None:
        """Returns MCM's channel for the event's platform, else the one that is set."""
        if type(platform) is not str:
            if not _is_text(platform):
                return self._channel_type
            platform = str.__str__(platform)
        name = platform.strip().lower()
        channel = _CHANNEL_OF_PLATFORM.get(name)
        if channel is None and name[-1:].isdigit():  # iOS 17.1
            channel = _CHANNEL_OF_PLATFORM.get(_VERSION.sub("", name))
        return self._channel_type if channel is None else channel

    def user_properties_of(self, attributes: Attributes) -> Any:
        """Returns the user properties that are to be sent, as raw values."""
        include = self._include_user_properties
        user_properties = attributes.get("user_properties") if include else None
        if isinstance(include, bool) or not is_mapping(user_properties):
            return user_properties
        return {k: v for k, v in user_properties.items() if k in include}

    def _finish(self, fields: _Fields, attributes: Attributes) -> None:
        """Sets the channel and the user properties, and removes Amplitude's placeholders."""
        channel = self.channel_of(fields.get("platform"))
        if channel:
            fields["platform"] = channel
        for field, is_placeholder in PLACEHOLDERS.items():
            if is_placeholder(fields.get(field)):
                del fields[field]
        if self._include_user_properties:
            fields["user_properties"] = self.user_properties_of(attributes)


def is_present(value: object) -> bool:
    """Whether an attribute or a property has a value: anything but None and blank text."""
    return value is not None and (type(value) is not str or bool(value.strip()))


BLANK_TEXT = "type({0}) is str and not {0}.strip()"
"""An expression that is true for what is not present, except None; for code written at run time."""


def is_own_id(event_id: object) -> bool:
    """Whether an id that the app has set can be an event's own.

    MCM would suppress all but the first event with the id "None".
    """
    try:
        word = short_text(event_id)
    except Exception as error:  # no id, or an object that raises when it is read
        pass_interruption(error)
        return False
    return word is not None and word.strip().lower() not in ABSENT_IDENTIFIERS


_UNUSABLE_ID = Problem(
    "event_id",
    ProblemReason.UNKNOWN_VALUE,
    "an event_id that can't be one, or a word for nothing",
    "the insert_id is sent instead; leave event_id unset, or use whole numbers or texts of at most "
    "128 characters, each once",
)


def _is_no_session(custom_id: object) -> bool:
    return type(custom_id) in (int, str) and custom_id in (-1, "-1")


def _is_callers(ip_address: object) -> bool:
    return type(ip_address) is str and ip_address == "$remote"


PLACEHOLDERS: Mapping[str, Callable[[object], bool]] = {
    "custom_id": _is_no_session,
    "ip_address": _is_callers,
}
"""Fields in which Amplitude writes something in place of a value, and how to tell."""


def _is_text(value: object) -> TypeGuard[str]:
    """Whether this is text, whatever it claims to be."""
    return issubclass(type(value), str)


def _compile(field: str, source: object) -> tuple[Callable[[Any], Any], bool]:
    """Returns a function for a field's value, and whether it takes the event or its attributes."""
    place = f"mapping.{one_line(field)}" if isinstance(field, str) else "mapping"
    if field not in MOLOCO_FIELDS:
        close = get_close_matches(field, MOLOCO_FIELDS, n=1) if isinstance(field, str) else ()
        hint = f"; did you mean {close[0]!r}? Use" if close else "; use"
        raise ConfigurationError(
            f"{place}: {shown(field)} is not a Moloco field{hint} one of {', '.join(MOLOCO_FIELDS)}"
        )
    if isinstance(source, str):
        return compile_event_expression(source, place, EVENT_ATTRIBUTES), False
    if callable(source):
        return callable_of_one(place, source, "the event"), True
    raise ConfigurationError(
        f"{place}: found {type(source).__name__}; use a JMESPath expression, such as "
        f"event_properties.{field}, or a callable. Constant text is an expression in single "
        f"quotes: \"'text'\"."
    )


def _mapping_failed(field: str, error: Exception) -> Problem:
    trace = trace_of(error)
    return Problem(
        field,
        ProblemReason.MAPPING_FAILED,
        f"a mapping that raised {type(error).__name__}{place_of(trace)}",
        "use a mapping that works for every event that the sync selects, even when a property is "
        "missing",
        trace,
    )


def derive_amount(event: Attributes, properties: Mapping[str, Any]) -> Any:
    """Returns a purchase's revenue as Amplitude derives it from prices and quantities."""
    amount = _multiply(event.get("price"), event.get("quantity"))
    if amount is None:
        amount = properties.get("$revenue")
    if amount is None:
        amount = _multiply(properties.get("$price"), properties.get("$quantity"))
    return amount


def _multiply(price: Any, quantity: Any) -> float | None:
    """Returns price x quantity (1 by default) in decimals: as floats, 3 x 10.1 is not 30.3."""
    if price is None:
        return None
    try:
        with localcontext(_DECIMALS):  # the app's own context may round
            amount = float(Decimal(str(price)) * Decimal(str(1 if quantity is None else quantity)))
    except Exception as error:  # not numbers, or from an object that raises when it is read
        pass_interruption(error)
        return None
    return amount if isfinite(amount) else None
