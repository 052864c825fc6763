"""The mapping chart: which property of an Amplitude event goes to which Moloco field.

The fields and their defaults are those of the chart on Amplitude's page of its Moloco
destination, and what MCM's API has beyond it; the tables are at the end. A mapping of the user's
replaces a default: what it finds is used, and where it finds nothing the field is absent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from decimal import Decimal, DecimalException
from difflib import get_close_matches
from typing import Any

from amplitude_moloco.convert.expression import compile_expression
from amplitude_moloco.convert.problem import Problem
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.moloco.wire.event import ChannelType, EventType

Source = str | Callable[[Any], Any]
"""Where a field comes from: a JMESPath expression over the event, or a callable that gets it."""
Attributes = Mapping[str, Any]
_Fields = dict[str, Any]

_CHANNEL_OF_PLATFORM = {
    "ios": "APP",
    "ipados": "APP",
    "android": "APP",
    "web": "SITE",
    **{name.lower(): name for name in ChannelType.__members__},
}


class EventMapping:
    """The chart for one sync, compiled. Pure, and safe to use from any thread."""

    def __init__(
        self,
        event_type: EventType,
        mapping: Mapping[str, Source] | None,
        *,
        channel_type: ChannelType | None = None,
        include_user_properties: bool | Collection[str] = True,
    ) -> None:
        """Raises ConfigurationError for a mapping that can't work."""
        mapping = {} if mapping is None else mapping
        if not isinstance(mapping, Mapping):
            raise ConfigurationError(
                f"mapping: found {type(mapping).__name__}; use a dict of Moloco fields and "
                f"expressions or callables"
            )
        self._sources = [(field, *_source(field, source)) for field, source in mapping.items()]
        self._attributes = [pair for pair in _ATTRIBUTES if pair[0] not in mapping]
        self._properties = [field for field in _PROPERTIES if field not in mapping]
        self._property_names = frozenset(self._properties)
        is_purchase = event_type is EventType.PURCHASE
        self._derives_amount = is_purchase and "revenue_amount" not in mapping
        self._derives_currency = "revenue_currency" not in mapping
        self._channel_type = channel_type.value if channel_type else None
        self._include_user_properties = include_user_properties
        self.from_properties = self._property_names.union(
            field
            for field, source in mapping.items()
            if not isinstance(source, str) or "event_properties" in source
        )
        """The fields that come, or may come, from the event's properties."""

    def apply(self, event: Any) -> tuple[_Fields, list[Problem]]:
        """The fields for ``event``, as raw values, and a problem for each that can't be had."""
        attributes = vars(event)
        properties = attributes.get("event_properties")
        fields: _Fields = {}
        problems: list[Problem] = []
        for field, search, wants_event in self._sources:
            try:
                fields[field] = search(event if wants_event else attributes)
            except Exception as error:  # a callable may raise anything, and so may an expression
                problems.append(_failed(field, error))
        get = attributes.get
        for field, name in self._attributes:
            value = get(name)
            if value is not None and (type(value) is not str or value.strip()):
                fields[field] = value
        if properties and not self._property_names.isdisjoint(properties):
            for field in self._properties:
                value = properties.get(field)
                if value is not None and (type(value) is not str or value.strip()):
                    fields[field] = value
        if self._derives_amount and "revenue_amount" not in fields:
            fields["revenue_amount"] = _derived_amount(attributes, properties or _NOTHING)
        if self._derives_currency and fields.get("revenue_amount") is not None:
            fields.setdefault("revenue_currency", _derived_currency(attributes, properties))
        self._finish(fields, attributes)
        return fields, problems

    def _finish(self, fields: _Fields, attributes: Attributes) -> None:
        platform = fields.get("platform")
        channel = self._channel_type
        if isinstance(platform, str):
            channel = _CHANNEL_OF_PLATFORM.get(str.__str__(platform).strip().lower(), channel)
        if channel:
            fields["platform"] = channel
        if fields.get("custom_id") in (-1, "-1"):  # Amplitude's word for outside of any session
            del fields["custom_id"]
        if fields.get("ip_address") == "$remote":  # Amplitude's word for the caller's address
            del fields["ip_address"]
        include = self._include_user_properties
        if include:
            user_properties = attributes.get("user_properties")
            if include is not True and isinstance(user_properties, Mapping):
                user_properties = {k: v for k, v in user_properties.items() if k in include}
            fields["user_properties"] = user_properties


def _source(field: str, source: object) -> tuple[Callable[[Any], Any], bool]:
    """What finds a field's value, and whether it wants the event or the event's attributes."""
    place = f"mapping.{field}"
    if field not in MOLOCO_FIELDS:
        close = get_close_matches(str(field), MOLOCO_FIELDS, n=1)
        raise ConfigurationError(
            f"{place}: {field!r} is not a Moloco field"
            + (f"; did you mean {close[0]!r}?" if close else ".")
            + f" The fields are {', '.join(MOLOCO_FIELDS)}."
        )
    if isinstance(source, str):
        return compile_expression(source, place), False
    if callable(source):
        return source, True
    raise ConfigurationError(
        f"{place}: found {type(source).__name__}; use a JMESPath expression, such as "
        f"event_properties.{field}, or a callable. Constant text is an expression in single "
        f"quotes: \"'text'\"."
    )


def _failed(field: str, error: Exception) -> Problem:
    return Problem(
        field,
        "mapping_failed",
        f"a mapping that raised {type(error).__name__}",
        "make it work for every event that the sync selects, also where a property is missing",
    )


def _derived_amount(event: Attributes, properties: Mapping[str, Any]) -> Any:
    """What Amplitude derives a purchase's revenue from; elsewhere a price is none."""
    amount = _product(event.get("price"), event.get("quantity"))
    if amount is None:
        amount = properties.get("$revenue")
    if amount is None:
        amount = _product(properties.get("$price"), properties.get("$quantity"))
    return amount


def _derived_currency(event: Attributes, properties: Mapping[str, Any] | None) -> Any:
    return event.get("currency") or (properties or _NOTHING).get("$currency")


def _product(price: Any, quantity: Any) -> float | None:
    """In decimals, since 3 times 10.1 is not 30.299999999999997. One, if there is no quantity."""
    if price is None:
        return None
    try:
        return float(Decimal(str(price)) * Decimal(str(1 if quantity is None else quantity)))
    except DecimalException:  # not numbers
        return None


_NOTHING: Mapping[str, Any] = {}
# Field, and an attribute that it has by default; of several attributes the last one that is there.
_ATTRIBUTES = (
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
    ("advertising_id", "adid"),
    ("advertising_id", "idfa"),
)
# Fields that have the event property of the same name by default, before any attribute.
_PROPERTIES = (
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
)
MOLOCO_FIELDS = tuple(dict.fromkeys((*(field for field, _ in _ATTRIBUTES), *_PROPERTIES)))
"""The names that a mapping may have."""
