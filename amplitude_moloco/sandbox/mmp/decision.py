"""A decision of the MMP: which touch an install or a session goes to, and why."""

from __future__ import annotations

from dataclasses import dataclass

from amplitude_moloco.sandbox.mmp.touch import Touch

ORGANIC = "organic"


@dataclass(frozen=True)
class Candidate:
    """A touch of the device, and what became of it."""

    touch: Touch
    has_won: bool
    reason: str
    """Why it has won or lost."""


@dataclass(frozen=True)
class Decision:
    """Where a device came from, and why."""

    at: float
    touch: Touch | None
    """The touch that won. None if no touch did: organic, or no reattribution."""
    tier: str
    """How it won: ``device-matched click`` and so on, or ``organic``."""
    match: str
    """``device``, ``referrer``, ``probabilistic``, or empty."""
    candidates: tuple[Candidate, ...]
    others: int
    """How many touches were recorded that match this device in no way."""

    @property
    def partner(self) -> str | None:
        """The name of the partner that gets the credit. None for organic."""
        return None if self.touch is None else self.touch.partner
