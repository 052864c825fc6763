"""The shortcut of one sync: a function that goes straight from an event to its bytes.

It is written as source code when the destination is constructed, from the tables of the chart and
of the wire, and has one line for each thing that this sync may find in an event. It calls the same
readers as the wire, and knows no rule of its own: where a reader refuses a value, where a problem
arises or where something required is missing, it declines. Then chart and wire convert the event
once more, and explain. ``print(shortcut_code(sync, chart, settings))`` shows all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, NamedTuple

from amplitude_moloco.convert.code import Code
from amplitude_moloco.convert.conversion import Conversion
from amplitude_moloco.moloco.chart import (
    BLANK_TEXT,
    MOLOCO_FIELDS,
    NO_PROPERTIES,
    PLACEHOLDERS,
    USUAL_PLATFORMS,
    Chart,
    derive_amount,
    is_own_id,
)
from amplitude_moloco.moloco.sync import Sync
from amplitude_moloco.moloco.wire import event as wire
from amplitude_moloco.moloco.wire import values
from amplitude_moloco.moloco.wire.identifiers import (
    IDENTIFIERS,
    IdentifierReader,
    is_unknown_device,
)
from amplitude_moloco.moloco.wire.items import READERS as ITEM_READERS
from amplitude_moloco.moloco.wire.money import (
    PRICES,
    common_currency,
    known_currency,
    sum_of_items,
)
from amplitude_moloco.moloco.wire.requirements import APP, is_app_os, required_keys
from amplitude_moloco.moloco.wire.unchanged import OBJECTS, UNCHANGED
from amplitude_moloco.moloco.wire.user_properties import read_user_properties
from amplitude_moloco.moloco.wire.vocabulary import MAX_SIZE, MAX_VALUES, EventType

Shortcut = Callable[[Mapping[str, Any], Mapping[str, Any], int, str], Conversion | None]
"""Gets the event's attributes, what the mapping found, the time, and a suffix for the event's id.

Returns None, or raises, if it declines. Changes none of its arguments."""

_MONEY = tuple(sorted(wire.MONEY_FIELDS))
_AMOUNTS = frozenset({*_MONEY, "currency"})
_NO_PLAIN_MONEY = (
    f"not ({UNCHANGED[values.number]}) or common is None or ({{1}} is not None and {{1}} != common)"
)


class WireSettings(NamedTuple):
    """What a destination sets for all of its events."""

    default_currency: str | None
    read_identifier: IdentifierReader
    id_less_fields: Collection[str]


def shortcut_code(sync: Sync, chart: Chart, settings: WireSettings) -> Code:
    """Returns the source of the sync's :data:`Shortcut`."""
    code = Code("convert(attributes, mapped, now_millis, suffix)")
    code.bind(**_OBJECTS, chart=chart, sync_name=sync.name)
    code.bind(default_currency=settings.default_currency, id_less_fields=settings.id_less_fields)
    code.add(
        "properties = attributes['event_properties'] or NO_PROPERTIES",
        "if type(properties) is not dict:",
        "    return None",
        f"payload = {{'event_type': {sync.event_type.value!r}}}",
        "device = {}",
    )
    _Fields(code, chart).write()
    _write_channel_and_user_properties(code, chart)
    _write_identity(code, settings)
    _write_money(code, chart, sync.event_type)
    _write_end(code, required_keys(sync.event_type))
    return code


class _Fields:
    """Writes the lines that find the chart's fields, in the order of the chart."""

    def __init__(self, code: Code, chart: Chart) -> None:
        self._code = code
        self._chart = chart
        self._mapped = chart.mapped
        self._attributes = chart.attributes
        self._properties = chart.properties
        # Many events have properties about money, and few have another of these names.
        for name, properties in (("money", _AMOUNTS), ("other", {*MOLOCO_FIELDS} - _AMOUNTS)):
            code.bind(**{f"{name}_names": properties.intersection(chart.properties)})

    def write(self) -> None:
        code = self._code
        found = {*self._mapped, *self._attributes}
        code.add(*(f"{each} = None" for each in MOLOCO_FIELDS if each not in found))
        code.add("has_money = not money_names.isdisjoint(properties)")
        code.add("has_other = not other_names.isdisjoint(properties)")
        for field in self._mapped:
            code.add(f"{field} = mapped[{field!r}]")
            self._write_reader(field)
        for field, names in self._attributes.items():
            self._write_attributes(field, names)
            self._write_reader(field)
        of_properties = [each for each in self._properties if each not in self._attributes]
        for has, is_money in (("has_money", True), ("has_other", False)):
            with code.block(f"if {has}:"):
                for field in of_properties:
                    if (field in _AMOUNTS) == is_money:
                        code.add(f"{field} = properties.get({field!r})")
                        self._write_presence(field)
                        self._write_reader(field)

    def _write_attributes(self, field: str, names: list[str]) -> None:
        """A property wins over the attributes, and the last attribute over those before it."""
        code = self._code
        *others, name = names
        code.add(f"{field} = attributes[{name!r}]")
        for other in reversed(others):
            code.add(f"if {field} is None or {BLANK_TEXT.format(field)}:")
            code.add(f"    {field} = attributes[{other!r}]")
            if name == "event_id":
                code.add("elif not is_own_id(event_id):", "    return None")
        if field in self._properties:
            with code.block("if has_money:" if field in _AMOUNTS else "if has_other:"):
                code.add(f"own = properties.get({field!r})")
                code.add(f"if own is not None and not ({BLANK_TEXT.format('own')}):")
                code.add(f"    {field} = own")
        self._write_presence(field)

    def _write_presence(self, field: str) -> None:
        """The readers take blank text for nothing; what decides about money looks at it first."""
        if field in _AMOUNTS:
            self._code.add(f"if {BLANK_TEXT.format(field)}:", f"    {field} = None")

    def _write_reader(self, field: str) -> None:
        code = self._code
        if field in PLACEHOLDERS:
            code.bind(**{f"is_placeholder_{field}": PLACEHOLDERS[field]})
            code.add(f"if {field} is not None and is_placeholder_{field}({field}):")
            code.add(f"    {field} = None")
        if field == "platform":
            code.bind(channels={each: self._chart.channel_of(each) for each in USUAL_PLATFORMS})
            code.add("channel = channels.get(platform) if type(platform) is str else None")
            code.add("if channel is None:", "    channel = chart.channel_of(platform)")
            if field in self._mapped:
                code.add("payload['channel_type'] = channel")
            else:  # without a platform, the channel comes last
                code.add(f"if platform is not None and not ({BLANK_TEXT.format('platform')}):")
                code.add("    payload['channel_type'] = channel")
        elif field in wire.READERS:
            in_device, key, read = wire.READERS[field]
            holder = "device" if in_device else "payload"
            with code.block(f"if {field} is not None:"):
                if field == "event_id":
                    code.add("if suffix:", "    event_id = read_text(event_id) + suffix")
                _write_reading(code, field, read)
                code.add(f"if {field} is not None:", f"    {holder}[{key!r}] = {field}")


def _write_reading(code: Code, name: str, read: Callable[..., object]) -> None:
    """The reader is called where it may do more than return its argument."""
    code.bind(**{f"read_{name}": read})
    reading = f"{name} = read_{name}({name})"
    reader = read
    if isinstance(read, partial):
        reader = read.func
        code.bind(**read.keywords)
    if reader in UNCHANGED:
        code.add(f"if not ({UNCHANGED[reader].format(name)}):", f"    {reading}")
    else:
        code.add(reading)


def _write_channel_and_user_properties(code: Code, chart: Chart) -> None:
    source = "chart.user_properties_of(attributes)"
    if chart.sends_all_user_properties:
        source = "attributes['user_properties']"
    code.add(
        "if channel is None:",
        "    return None",
        "payload.setdefault('channel_type', channel)",
        f"user_properties = {source}",
        "if user_properties is not None:",
        "    user_properties, left_out = read_user_properties(user_properties)",
        "    if left_out:",
        "        return None",
        "    if user_properties is not None:",
        "        payload['user_properties'] = user_properties",
        "timestamp = read_timestamp(now_millis, timestamp)",
        "if timestamp is None:",
        "    return None",
        "payload['timestamp'] = timestamp",
    )


def _write_identity(code: Code, settings: WireSettings) -> None:
    code.add("if personalization_mode == ID_LESS:")
    code.add("    remove_identifying(payload, device, id_less_fields)")
    with code.block("else:"):
        code.add("is_identified = False")
        for field, in_device, key in IDENTIFIERS:
            holder, more = "payload", ""
            if in_device:
                holder, more = "device", f" and not is_unknown_device({field})"
            with code.block(f"if {field} is not None{more}:"):
                # A session's number: its digits identify if it does.
                code.add(f"if type({field}) is int:", f"    {field} = read_text({field})")
                _write_reading(code, field, settings.read_identifier)
                with code.block(f"if {field} is not None:"):
                    code.add(f"{holder}[{key!r}] = {field}", "is_identified = True")
        code.add("if not is_identified:", "    return None")
    code.add("if channel == APP and not is_app_os(device.get('os', '')):", "    return None")
    code.add("if device:", "    payload['device'] = device")


def _write_money(code: Code, chart: Chart, event_type: EventType) -> None:
    """All amounts are plain numbers in one currency; else the shortcut declines."""
    if chart.derives_amount:
        code.add("if revenue_amount is None:")
        code.add("    revenue_amount = derive_amount(attributes, properties)")
    if "currency" not in chart.mapped:
        code.add("if currency is None:", "    currency = properties.get('$currency')")
    if chart.derives_currency:
        with code.block("if revenue_amount is not None and revenue_currency is None:"):
            code.add("revenue_currency = chart.currency_of_revenue(")
            code.add("    currency, attributes, properties", ")")
    with code.block(f"if {' or '.join(f'{field} is not None' for field in _MONEY)}:"):
        code.add("common = currency")
        with code.block(f"if not ({UNCHANGED[known_currency].format('common')}):"):
            code.add("common = known_currency(common_currency({")
            code.add(*(f"    {field!r}: {field}," for field in sorted(_AMOUNTS)))
            code.add("}, default_currency))")
        _write_items(code)
        for key, amount, currency in wire.MONEY:
            if key == "revenue" and event_type is EventType.PURCHASE:
                code.add(f"if {amount} is None:")
                code.add(f"    {amount} = number(sum_of_items(payload.get('items', ()), items))")
            with code.block(f"if {amount} is not None or {currency} is not None:"):
                _write_plain_money(code, "payload", key, amount, currency)


def _write_items(code: Code) -> None:
    with code.block("if items is not None:"):
        code.add("if type(items) is not list or not 0 < len(items) <= MAX_VALUES:")
        code.add("    return None")
        code.add("payload['items'] = sent_items = []")
        with code.block("for item in items:"):
            code.add("if type(item) is not dict:", "    return None")
            code.add("get = item.get", "sent = {}")
            for name, read in ITEM_READERS:
                code.add(f"{name} = get({name!r})")
                with code.block(f"if {name} is not None:"):
                    _write_reading(code, name, read)
                    code.add(f"if {name} is not None:", f"    sent[{name!r}] = {name}")
            code.add("if id is None and item_group_id is None:", "    return None")
            for name in PRICES:
                code.add(f"{name} = get({name!r})")
                with code.block(f"if {name} is not None:"):
                    code.add("own = get('currency')")
                    _write_plain_money(code, "sent", name, name, "own")
            code.add("sent_items.append(sent)")


def _write_plain_money(code: Code, holder: str, key: str, amount: str, currency: str) -> None:
    code.add(f"if {_NO_PLAIN_MONEY.format(amount, currency)}:", "    return None")
    code.add(f"{holder}[{key!r}] = {{'currency': common, 'amount': {amount}}}")


_ALWAYS_THERE = {"channel_type", "timestamp"}  # it declines before, where they are missing


def _write_end(code: Code, keys: Collection[str]) -> None:
    nothing_wrong = ", ".join(map(repr, Conversion("", None, {}, b"", ())[4:]))
    missing = [f"{key!r} not in payload" for key in keys if key not in _ALWAYS_THERE]
    code.add(
        f"if {' or '.join(missing)}:",
        "    return None",
        "body = encode(payload)",
        "if len(body) > MAX_SIZE:",
        "    return None",
        f"return new(Conversion, (sync_name, payload['id'], payload, body, {nothing_wrong}))",
    )


_OBJECTS: Mapping[str, object] = {
    **OBJECTS,
    "APP": APP,
    "Conversion": Conversion,
    "ID_LESS": wire.ID_LESS,
    "MAX_SIZE": MAX_SIZE,
    "NO_PROPERTIES": NO_PROPERTIES,
    "MAX_VALUES": MAX_VALUES,
    "common_currency": common_currency,
    "known_currency": known_currency,
    "new": tuple.__new__,  # what Conversion() comes to, without its Python code
    "number": values.number,
    "sum_of_items": sum_of_items,
    "derive_amount": derive_amount,
    "encode": wire.encode,
    "is_app_os": is_app_os,
    "is_own_id": is_own_id,
    "is_unknown_device": is_unknown_device,
    "read_text": values.text,
    "read_timestamp": values.timestamp,
    "read_user_properties": read_user_properties,
    "remove_identifying": wire.remove_identifying,
}
