"""What a user configures: which Amplitude events are sent, and under which event token."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from amplitude_moloco.convert.names import matcher
from amplitude_moloco.engine.checks import Checks
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.partner.sources import (
    Source,
    check_name,
    read_predicate,
    read_source,
    read_sources,
)
from amplitude_moloco.text import shown

_TOKEN = re.compile(r"[0-9A-Za-z_]+")


class AdjustEvent:
    """Amplitude events of this name are sent under this event token.

    Args:
        event: The name of Amplitude events; ``*`` stands for any text.
        token: The event token, from Adjust's dashboard. It must belong to the app token.
        revenue: The amount in full units. By default the event's ``revenue``, or its price
            times quantity, or the property ``$revenue`` or ``revenue``. False: no revenue is sent.
        currency: Its ISO 4217 code. By default the event's ``currency``, or the property of that
            name, or the destination's ``default_currency``.
        where: Only events for which it is true are sent.
        partner_params: The parameters that Adjust forwards to partners, by name. Only these are
            sent. Which name Moloco reads product ids from, you agree with its representative.
        callback_params: The parameters for raw exports, by name.
        leaves_out_revenue: Whether an event is sent without its revenue where that is below 0.001,
            such as a refund or a trial. Otherwise it is invalid.

    Callables run in the app's thread, inside ``track()``. They must be quick, and must not track
    events. Immutable.

    Raises:
        ConfigurationError: A name or a token that can't be, or an expression that doesn't compile.
    """

    def __init__(
        self,
        event: str,
        token: str,
        *,
        revenue: Source | Literal[False] | None = None,
        currency: Source | None = None,
        where: Source | None = None,
        partner_params: Mapping[str, Source] | None = None,
        callback_params: Mapping[str, Source] | None = None,
        leaves_out_revenue: bool = False,
    ) -> None:
        checks = Checks()
        checks.run(check_name, event)
        checks.run(_check_token, token)
        self.has_revenue = revenue is not False
        self.revenue = checks.run(read_source, "revenue", revenue or None)
        self.currency = checks.run(read_source, "currency", currency)
        self._where = checks.run(read_predicate, where)
        self.partner_params = checks.run(read_sources, "partner_params", partner_params)
        self.callback_params = checks.run(read_sources, "callback_params", callback_params)
        checks.raise_errors()
        self.event, self.token, self.where = event, token, where
        self.leaves_out_revenue = leaves_out_revenue
        self.matches_name = matcher([event])
        self.name = f"{event} ({token})"
        """What facts, previews and problems call it."""
        self.enabled = True

    def __repr__(self) -> str:
        return f"AdjustEvent({self.event!r}, {self.token!r})"

    def selects(self, event: Any) -> bool:
        """Whether to send an event whose name matches. Raises what the user's callable raises."""
        return bool(self._where(event))


def _check_token(token: object) -> None:
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise ConfigurationError(
            f"token: found {shown(token)}; use the event token of Adjust's dashboard, such as "
            f"'abc123'"
        )
