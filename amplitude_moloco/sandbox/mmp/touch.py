"""A touch: an ad was shown to a device, or clicked there, as a tracking link reports it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from amplitude_moloco.sandbox.mmp.identity import identifiers, is_macro

TouchKind = Literal["click", "view"]
EVENT_CALLBACK = "event_callback_"
"""How the parameters begin that ask for callbacks about events; their tokens follow."""
# Adbrix has one parameter for the advertising id of both systems.
_ADBRIX_NAMES = {
    "m_adgroup": ("adgroup",),
    "m_creative": ("creative",),
    "m_adid": ("gps_adid", "idfa"),
    "m_cost": ("cost_amount",),
    "m_cost_currency": ("cost_currency",),
    "m_cost_model": ("cost_type",),
}


@dataclass(frozen=True)
class Touch:
    """A click or a view."""

    number: int
    """They grow in the order in which touches were recorded."""
    kind: TouchKind
    link: str
    """The link's token."""
    partner: str
    at: float
    """The MMP's time in Unix seconds."""
    ids: Mapping[str, str]
    ip_address: str
    """Empty if it is not known, like the user agent."""
    user_agent: str
    parameters: Mapping[str, str]
    """The link's parameters, without macros that were not filled in."""
    unfilled: tuple[str, ...] = ()
    """The names of parameters with a macro that was not filled in."""
    callbacks: Mapping[str, str] = field(default_factory=dict)
    """The addresses that the link wants to have called, by parameter."""

    @property
    def may_reattribute(self) -> bool:
        """False if the link says ``rt=0``."""
        return self.parameters.get("rt") != "0"

    @property
    def reftag(self) -> str:
        """What the app store hands on to an install that followed this click."""
        return f"sandbox{self.number}" if self.kind == "click" else ""


def touch_of(
    kind: TouchKind,
    link: str,
    partner: str,
    parameters: Mapping[str, str],
    *,
    number: int,
    at: float,
    ip_address: str = "",
    user_agent: str = "",
) -> Touch:
    """Returns the touch that a link reports.

    ``ip_address`` and ``user_agent`` are those of the connection; parameters of these names
    override them.
    """
    callbacks = {name: value for name, value in parameters.items() if _is_callback(name)}
    known = {name: value for name, value in parameters.items() if name not in callbacks}
    for name, names in _ADBRIX_NAMES.items():
        if name in known:
            known = {**dict.fromkeys(names, known[name]), **known}
    unfilled = tuple(name for name, value in known.items() if is_macro(value))
    filled = {name: value for name, value in known.items() if value and name not in unfilled}
    return Touch(
        number,
        kind,
        link,
        partner,
        at,
        identifiers(filled),
        filled.get("ip_address", ip_address),
        filled.get("user_agent", user_agent),
        filled,
        unfilled,
        callbacks,
    )


def _is_callback(name: str) -> bool:
    return name.endswith("_callback") or name.startswith(EVENT_CALLBACK)
