"""From an Amplitude event to Adjust's form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple

from amplitude_moloco.adjust import form
from amplitude_moloco.adjust.event import AdjustEvent
from amplitude_moloco.adjust.identifiers import identifiers_of
from amplitude_moloco.convert.conversion import Conversion
from amplitude_moloco.convert.json import dumps
from amplitude_moloco.convert.problem import Problem, ProblemReason
from amplitude_moloco.host.interruption import pass_interruption
from amplitude_moloco.partner.converter import Failed, PartConverter, raised
from amplitude_moloco.partner.number import finite_decimal

Read = Callable[[Any], Any]
_MAPPING_FAILED = ProblemReason.MAPPING_FAILED
CONSENT: Mapping[str, Callable[[object], str | None]] = {
    "att_status": form.att_status,
    "tracking_enabled": form.tracking_enabled,
}
"""The parameters that say what a device's user allows. The first one that is known is sent."""


class App(NamedTuple):
    """What all events of a destination have in common."""

    tokens: str | Mapping[str, str]
    """The app token, or one for each ``os_name``."""
    environment: str
    default_currency: str | None
    identifiers: Mapping[str, Read]
    """How to read identifiers that Amplitude has no attribute for, by Adjust's names."""
    consent: Mapping[str, Read]
    """How to read what the device's user allows, by Adjust's names."""


class Converter(PartConverter[AdjustEvent]):
    """Converts events by the AdjustEvents that select them. Safe from any thread."""

    def __init__(self, events: Sequence[AdjustEvent], app: App) -> None:
        super().__init__(events)
        self._app = app

    def _convert(self, event: Any, each: AdjustEvent, now_millis: int, earlier: int) -> Conversion:
        attributes, omissions = vars(event), list[Problem]()
        os_name = form.os_name_of(attributes)
        seconds = _seconds(attributes.get("time"), now_millis)
        more = {name: read(event) for name, read in self._app.identifiers.items()}
        identifiers, wrong = identifiers_of(attributes, more)
        omissions += [_wrong_identifier(name) for name in wrong]
        if not identifiers:
            raise Failed(
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
        fields |= self._consent(event, omissions)
        fields |= self._revenue(event, each, omissions)
        for name, reads in (
            ("callback_params", each.callback_params),
            ("partner_params", each.partner_params),
        ):
            params = _params(name, reads, event, omissions)
            if params:
                fields[name] = dumps(params).decode()
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
            raise Failed(
                "app_token",
                ProblemReason.NO_APP,
                "an event of a platform without an app token",
                f"give the event an os_name or a platform; tokens are for {', '.join(tokens)}",
            )
        return token

    def _consent(self, event: Any, omissions: list[Problem]) -> dict[str, str]:
        """Returns what the user allows, as far as the app knows: one of the two, never both."""
        for name, check in CONSENT.items():
            value = self._app.consent[name](event) if name in self._app.consent else None
            found = check(value)
            if found is not None:
                return {name: found}
            if value is not None:
                kind, fix = type(value).__name__, f"use a number that {name} can be"
                omissions.append(Problem(name, ProblemReason.UNKNOWN_VALUE, kind, fix))
        return {}

    def _revenue(self, event: Any, each: AdjustEvent, omissions: list[Problem]) -> dict[str, str]:
        """Returns revenue and currency: both or neither."""
        if not each.has_revenue:
            return {}
        value = each.revenue(event) if each.revenue else _own_revenue(vars(event))
        if value is None:
            return {}
        found = finite_decimal(value)
        if found is None:
            raise Failed(
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
                raise Failed(problem.field, ProblemReason.OUT_OF_RANGE, problem.found, problem.fix)
            omissions.append(problem)
            return {}
        return {"revenue": form.plain(found), "currency": self._currency(event, each)}

    def _currency(self, event: Any, each: AdjustEvent) -> str:
        value = each.currency(event) if each.currency else _own_currency(vars(event))
        value = self._app.default_currency if value is None else value
        if value is None:
            raise Failed(
                "currency",
                ProblemReason.HALF_MONEY,
                "revenue without a currency",
                "give the event a currency, or the destination a default_currency",
            )
        code = value.strip().upper() if isinstance(value, str) else ""
        if not (len(code) == 3 and code.isascii() and code.isalpha()):
            raise Failed(
                "currency",
                ProblemReason.UNKNOWN_VALUE,
                "no ISO 4217 code",
                "use three letters, such as 'USD'",
            )
        return code


def _seconds(time: object, now_millis: int) -> int:
    """Returns the time of an event in Unix seconds."""
    if isinstance(time, bool) or not isinstance(time, int) or not 0 < time < 10**14:
        raise Failed(
            "created_at_unix",
            ProblemReason.NOT_MILLISECONDS,
            type(time).__name__,
            "use Unix time in milliseconds",
        )
    if now_millis - time > form.MAX_AGE_SECONDS * 1000:
        raise Failed(
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
            omissions.append(replace(raised(error), field=place, reason=_MAPPING_FAILED))
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
    price, quantity = finite_decimal(event.get("price")), finite_decimal(event.get("quantity"))
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
