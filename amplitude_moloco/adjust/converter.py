"""From an Amplitude event to Adjust's form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple

import orjson

from amplitude_moloco.adjust import form
from amplitude_moloco.adjust.event import NEVER_SENT, AdjustEvent
from amplitude_moloco.adjust.identifiers import identifiers_of
from amplitude_moloco.convert.conversion import Conversion
from amplitude_moloco.convert.explanation import (
    Explanation,
    Outcome,
    SelectionReason,
    SyncExplanation,
)
from amplitude_moloco.convert.names import closest_pattern, near_pattern
from amplitude_moloco.convert.problem import Problem, ProblemReason, place_of, trace_of
from amplitude_moloco.convert.reads import values_read
from amplitude_moloco.engine.selection import SelectionWatch
from amplitude_moloco.host.interruption import pass_interruption

Read = Callable[[Any], Any]
_MAPPING_FAILED = ProblemReason.MAPPING_FAILED


class App(NamedTuple):
    """What all events of a destination have in common."""

    tokens: str | Mapping[str, str]
    """The app token, or one for each ``os_name``."""
    environment: str
    default_currency: str | None
    identifiers: Mapping[str, Read]
    """How to read identifiers that Amplitude has no attribute for, by Adjust's names."""


class _Failed(Exception):
    """The event can't be sent."""

    def __init__(self, field: str, reason: ProblemReason, found: str, fix: str) -> None:
        super().__init__(field)
        self.problem = Problem(field, reason, found, fix)


class Converter:
    """Converts events by the AdjustEvents that select them. Safe from any thread."""

    def __init__(self, events: Sequence[AdjustEvent], app: App) -> None:
        self.syncs = tuple(events)
        self._app = app

    def convert(
        self, event: Any, now_millis: int, watch: SelectionWatch | None = None
    ) -> list[Conversion]:
        """Returns a conversion for each AdjustEvent that selects the event. Never raises."""
        conversions: list[Conversion] = []
        for each in self._named(event.event_type):
            try:
                if not each.selects(event):
                    if watch is not None:
                        watch.refused(each)
                    continue
                conversions.append(self._convert(event, each, now_millis, len(conversions)))
            except _Failed as failed:
                conversions.append(_refused(each, failed.problem))
            except Exception as error:  # from a callable, an expression or an object in the event
                pass_interruption(error)
                conversions.append(_refused(each, _raised(error)))
        if not conversions and watch is not None:
            watch.unselected(event.event_type)
        return conversions

    def explain(
        self, event: Any, now_millis: int, *, is_dropped_by_plugin: bool = False
    ) -> Explanation:
        """Returns what ``convert`` does with an event, one outcome for each AdjustEvent."""
        outcomes = []
        refusals = _Refusals()
        found = [] if is_dropped_by_plugin else self.convert(event, now_millis, refusals)
        conversions = iter(found)
        named = self._named(event.event_type)
        for each in self.syncs:
            if is_dropped_by_plugin:
                outcomes.append(_not_selected(each, SelectionReason.PLUGIN))
            elif each not in named:
                outcomes.append(_differs(each, event.event_type))
            elif each in refusals.events:
                outcomes.append(_filtered(each, event))
            else:
                conversion = next(conversions)
                outcome = Outcome.INVALID if conversion.problems else Outcome.SENT
                outcomes.append(SyncExplanation(each.name, outcome, conversion))
        return Explanation(str(event.event_type), tuple(outcomes))

    def near_name(self, name: str) -> str:
        """Returns a configured name that is nearly this one; empty for none."""
        names = [each.event for each in self.syncs]
        return "" if name in NEVER_SENT or self._named(name) else near_pattern(name, names)

    def _named(self, name: object) -> list[AdjustEvent]:
        if not isinstance(name, str) or name in NEVER_SENT:
            return []
        return [each for each in self.syncs if each.matches_name(name)]

    def _convert(self, event: Any, each: AdjustEvent, now_millis: int, earlier: int) -> Conversion:
        attributes, omissions = vars(event), list[Problem]()
        os_name = form.os_name_of(attributes)
        seconds = _seconds(attributes.get("time"), now_millis)
        more = {name: read(event) for name, read in self._app.identifiers.items()}
        identifiers, wrong = identifiers_of(attributes, more)
        omissions += [_wrong_identifier(name) for name in wrong]
        if not identifiers:
            raise _Failed(
                "device",
                ProblemReason.NO_IDENTIFIER,
                "no identifier of a device",
                "give idfa, idfv, adid (the advertising id) or android_id, or another one by the "
                "setting identifiers; Adjust knows devices only",
            )
        fields = {
            "s2s": "1",
            "app_token": self._app_token(os_name),
            "event_token": each.token,
            "environment": self._app.environment,
            "created_at_unix": str(seconds),
            **identifiers,
        }
        address = form.ipv4(attributes.get("ip"))
        user_agent = attributes.get("user_agent")
        fields |= {"os_name": os_name} if os_name else {}
        fields |= {"ip_address": address} if address else {}
        fields |= {"user_agent": user_agent} if user_agent and isinstance(user_agent, str) else {}
        fields |= self._revenue(event, each, omissions)
        for name, reads in (
            ("callback_params", each.callback_params),
            ("partner_params", each.partner_params),
        ):
            params = _params(name, reads, event, omissions)
            if params:
                fields[name] = orjson.dumps(params).decode()
        id = str(attributes.get("insert_id")) + (f"-{earlier + 1}" if earlier else "")
        device = attributes.get("device_id") or next(iter(identifiers.values()))
        body, lane = form.encode(fields), f"{each.token} {device}"
        return Conversion(each.name, id, dict(fields), body, (), tuple(omissions), lane=lane)

    def _app_token(self, os_name: str | None) -> str:
        tokens = self._app.tokens
        if isinstance(tokens, str):
            return tokens
        token = tokens.get(os_name or "")
        if token is None:
            raise _Failed(
                "app_token",
                ProblemReason.NO_APP,
                "an event of a platform without an app token",
                f"give the event an os_name or a platform; tokens are for {', '.join(tokens)}",
            )
        return token

    def _revenue(self, event: Any, each: AdjustEvent, omissions: list[Problem]) -> dict[str, str]:
        """Returns revenue and currency: both or neither."""
        if not each.has_revenue:
            return {}
        value = each.revenue(event) if each.revenue else _own_revenue(vars(event))
        if value is None:
            return {}
        found = form.amount(value)
        if found is None:
            raise _Failed(
                "revenue", ProblemReason.NOT_A_NUMBER, type(value).__name__, "use a finite number"
            )
        if not form.LEAST_REVENUE <= found <= form.MOST_REVENUE:
            problem = Problem(
                "revenue",
                ProblemReason.OUT_OF_RANGE,
                "an amount below 0.001 or above 100,000,000,000",
                "send refunds and trials without revenue, by leaves_out_revenue=True",
            )
            if not each.leaves_out_revenue:
                raise _Failed(problem.field, ProblemReason.OUT_OF_RANGE, problem.found, problem.fix)
            omissions.append(problem)
            return {}
        return {"revenue": form.plain(found), "currency": self._currency(event, each)}

    def _currency(self, event: Any, each: AdjustEvent) -> str:
        value = each.currency(event) if each.currency else _own_currency(vars(event))
        value = self._app.default_currency if value is None else value
        if value is None:
            raise _Failed(
                "currency",
                ProblemReason.HALF_MONEY,
                "revenue without a currency",
                "give the event a currency, or the destination a default_currency",
            )
        code = value.strip().upper() if isinstance(value, str) else ""
        if not (len(code) == 3 and code.isascii() and code.isalpha()):
            raise _Failed(
                "currency",
                ProblemReason.UNKNOWN_VALUE,
                "no ISO 4217 code",
                "use three letters, such as 'USD'",
            )
        return code


class _Refusals:
    """Remembers which AdjustEvents have refused an event."""

    def __init__(self) -> None:
        self.events: list[AdjustEvent] = []

    def refused(self, sync: Any) -> None:
        self.events.append(sync)

    def unselected(self, event_name: object) -> None:
        """Nothing to remember."""


def _seconds(time: object, now_millis: int) -> int:
    """Returns the time of an event in Unix seconds."""
    if isinstance(time, bool) or not isinstance(time, int) or not 0 < time < 10**14:
        raise _Failed(
            "created_at_unix",
            ProblemReason.NOT_MILLISECONDS,
            type(time).__name__,
            "use Unix time in milliseconds",
        )
    if now_millis - time > form.MAX_AGE_SECONDS * 1000:
        raise _Failed(
            "created_at_unix",
            ProblemReason.TOO_OLD,
            "a time more than 58 days ago",
            "send events sooner: Adjust refuses older ones",
        )
    return time // 1000


def _params(
    field: str, reads: Mapping[str, Read], event: Any, omissions: list[Problem]
) -> dict[str, str]:
    """Returns the parameters as text by name. What can't be sent is left out."""
    params = {}
    for key, read in reads.items():
        place = f"{field}.{key}"
        try:
            value = read(event)
        except Exception as error:
            pass_interruption(error)
            omissions.append(replace(_raised(error), field=place, reason=_MAPPING_FAILED))
            continue
        try:
            if value is not None:
                params[key] = form.flat(value)
        except (TypeError, ValueError):
            kind, fix = type(value).__name__, "use text, numbers, or lists and dicts of them"
            omissions.append(Problem(place, ProblemReason.NOT_JSON, kind, fix))
    return params


def _own_revenue(event: Mapping[str, Any]) -> Any:
    """Returns the revenue that an event states in Amplitude's own ways; None for none."""
    if event.get("revenue") is not None:
        return event["revenue"]
    price, quantity = form.amount(event.get("price")), form.amount(event.get("quantity"))
    if price is not None:
        return price * (Decimal(1) if quantity is None else quantity)
    properties = event.get("event_properties") or {}
    return next(
        (properties[name] for name in ("$revenue", "revenue") if properties.get(name) is not None),
        None,
    )


def _own_currency(event: Mapping[str, Any]) -> Any:
    own = event.get("currency")
    return own if own is not None else (event.get("event_properties") or {}).get("currency")


def _wrong_identifier(name: str) -> Problem:
    return Problem(
        name,
        ProblemReason.WRONG_TYPE,
        "an identifier in another format",
        "use the device's own, unchanged",
    )


def _refused(each: AdjustEvent, problem: Problem) -> Conversion:
    return Conversion(each.name, None, {}, b"", (problem,))


def _raised(error: Exception) -> Problem:
    trace = trace_of(error)
    return Problem(
        "event",
        ProblemReason.UNREADABLE,
        f"a value, an expression or a callable that raised {type(error).__name__}{place_of(trace)}",
        "use plain dicts, lists, text and numbers, and callables that work for every event",
        trace,
    )


def _differs(each: AdjustEvent, name: object) -> SyncExplanation:
    if isinstance(name, str) and name in NEVER_SENT:
        return _not_selected(each, SelectionReason.NEVER_SENT)
    closest = closest_pattern(name, [each.event]) if isinstance(name, str) else ""
    names = (each.event,)
    return _not_selected(each, SelectionReason.NAME, closest_name=closest, names=names)


def _filtered(each: AdjustEvent, event: Any) -> SyncExplanation:
    where = each.where
    if isinstance(where, str):
        read = values_read(where, vars(event))
        return _not_selected(each, SelectionReason.WHERE, source=where, read_values=read)
    source = f"the callable {getattr(where, '__qualname__', type(where).__qualname__)}"
    return _not_selected(each, SelectionReason.WHERE, source=source)


def _not_selected(each: AdjustEvent, reason: SelectionReason, **more: Any) -> SyncExplanation:
    return SyncExplanation(each.name, Outcome.NOT_SELECTED, None, reason, **more)
