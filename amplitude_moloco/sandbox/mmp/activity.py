"""What a device did: an install, a session, a reattribution or an event, and its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from amplitude_moloco.sandbox.mmp.decision import Decision
from amplitude_moloco.sandbox.mmp.refusal import OUT_OF_ORDER

ActivityKind = Literal["install", "session", "reattribution", "event"]


@dataclass(frozen=True)
class Activity:
    """One thing that a device did. It is attributed once, and never again."""

    number: int
    kind: ActivityKind
    device: str
    """The device's key."""
    adid: str
    at: float
    """When it happened, in Unix seconds, as the request says."""
    installed_at: float
    source: Decision
    """What it is attributed to: the device's source at that time."""
    parameters: Mapping[str, str]
    ids: Mapping[str, str]
    event_token: str = ""
    partner_params: Mapping[str, str] = field(default_factory=dict)
    considered: Decision | None = None
    """What was decided because of it. None for an event."""
    warnings: tuple[str, ...] = ()
    is_shared: bool = True
    """Whether partners may be told."""

    @property
    def partner(self) -> str | None:
        """The name of the partner that gets the credit. None for organic."""
        return self.source.partner


@dataclass(frozen=True)
class Refusal:
    """A session or an event that was refused."""

    number: int
    at: float
    """When it came, in the MMP's time."""
    device: str
    """The device's key. Empty if it is not known."""
    parameters: Mapping[str, str]
    status: int
    message: str
    why: str
    """What the message does not say. Empty if it says all."""

    @property
    def is_out_of_order(self) -> bool:
        """Whether it is an event that is earlier than the one before it."""
        return self.why == OUT_OF_ORDER
