"""A device, as the MMP knows it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from amplitude_moloco.sandbox.mmp.decision import Decision


@dataclass
class Device:
    """A device with an install."""

    adid: str
    app_token: str
    ids: dict[str, str]
    installed_at: float
    sources: list[Decision]
    """Where it came from, oldest first: the install, then reattributions."""
    session_at: float
    active_at: float
    """Its last session or event."""
    places: set[tuple[str, str]] = field(default_factory=set)
    """The IP addresses and user agents of its sessions."""
    event_at: dict[str, float] = field(default_factory=dict)
    """The time of the last event accepted for each event token."""
    is_opted_out: bool = False
    is_shared: bool = True
    """Whether partners may be told what it does."""

    @property
    def key(self) -> str:
        """The app's token and the MMP's identifier, which no other device shares."""
        return f"{self.app_token}-{self.adid}"

    def copy(self) -> Device:
        """Returns a copy that changes no more."""
        return replace(
            self,
            ids=dict(self.ids),
            sources=list(self.sources),
            places=set(self.places),
            event_at=dict(self.event_at),
        )

    def source_at(self, at: float) -> Decision:
        """Returns the source at a time since the install."""
        # Requests name whole seconds.
        return next(source for source in reversed(self.sources) if int(source.at) <= at)
