"""What becomes of one event, sync by sync, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from amplitude_moloco.convert.conversion import Conversion
from amplitude_moloco.convert.problem import Problem
from amplitude_moloco.convert.reads import ReadValue
from amplitude_moloco.reasons import Reason
from amplitude_moloco.text import shown

_MOST_NAMES = 10


class Outcome(Reason):
    """What one sync makes of one event."""

    SENT = "sent"
    """It is sent, perhaps without a part that the partner does not need."""
    INVALID = "invalid"
    """The sync selects it, but it can't become one of the partner's events."""
    NOT_SELECTED = "not_selected"
    """The sync does not select it."""


class SelectionReason(Reason):
    """Why a sync does not select an event."""

    NAME = "name"
    """None of the names that the sync is configured with matches."""
    NEVER_SENT = "never_sent"
    """Events of this name describe users or groups. No sync ever selects them."""
    DISABLED = "disabled"
    """The sync is switched off."""
    EVENTS = "events"
    """The callable ``events`` returned something false."""
    WHERE = "where"
    """The filter ``where`` is false."""
    PLUGIN = "plugin"
    """A plugin that was added to the destination has dropped the event."""


@dataclass(frozen=True)
class SyncExplanation:
    """What one sync makes of one event. Its text holds values of the event: keep it out of logs."""

    sync: str
    """The sync's name."""
    outcome: Outcome
    conversion: Conversion | None = field(default=None, repr=False)
    """As ``preview()`` returns it; None if the sync does not select the event."""
    reason: SelectionReason | None = None
    """Why the sync does not select the event; None if it does."""
    closest_name: str = ""
    """The configured name that the event's name resembles most; empty if none does."""
    names: tuple[str, ...] = ()
    """The configured names, if the reason is the name."""
    source: str = ""
    """The filter's expression, or the callable in words, if it is the reason."""
    read_values: tuple[ReadValue, ...] = ()
    """What the filter's expression reads in the event, if it is the reason."""

    @property
    def payload(self) -> Mapping[str, Any] | None:
        """The partner's event; None if it is not sent."""
        is_sent = self.conversion is not None and self.outcome is Outcome.SENT
        return self.conversion.payload if self.conversion is not None and is_sent else None

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Why the event is invalid."""
        return self.conversion.problems if self.conversion is not None else ()

    @property
    def omissions(self) -> tuple[Problem, ...]:
        """The parts that are left out of what is sent."""
        return self.conversion.omissions if self.conversion is not None else ()

    def __str__(self) -> str:
        if self.conversion is not None:
            return str(self.conversion)
        lines = [f"{self.sync} does not select it: {self._why()}"]
        lines += [f"- {each}" for each in self.read_values]
        return "\n".join(lines)

    def _why(self) -> str:
        if self.reason is SelectionReason.NAME:
            if self.closest_name:
                return f"its name differs; did you mean {shown(self.closest_name)}?"
            more = ", …" if len(self.names) > _MOST_NAMES else ""
            names = ", ".join(map(shown, self.names[:_MOST_NAMES]))
            return f"its name is none of {names}{more}"
        return _WHYS[self.reason].format(self.source)


_WHYS: dict[SelectionReason | None, str] = {
    SelectionReason.NEVER_SENT: "it describes users or groups, and is never sent",
    SelectionReason.DISABLED: "the sync is disabled",
    SelectionReason.EVENTS: "events is false: {}",
    SelectionReason.WHERE: "where is false: {}",
    SelectionReason.PLUGIN: "a plugin that was added to the destination has dropped it",
}


@dataclass(frozen=True)
class Explanation:
    """What becomes of one event: one outcome for each sync, in the order of the syncs.

    ``print(destination.explain(event))`` shows all of it. The text holds values of the event: keep
    it out of logs.
    """

    event_name: str
    """Amplitude's event type."""
    syncs: tuple[SyncExplanation, ...]
    notes: tuple[str, ...] = ()
    """Why nothing that is tracked now is sent, whatever its syncs say."""

    @property
    def is_sent(self) -> bool:
        """Whether at least one sync sends the event."""
        return any(each.outcome is Outcome.SENT for each in self.syncs)

    def __str__(self) -> str:
        title = f"{shown(self.event_name)} is {'sent' if self.is_sent else 'not sent'}."
        return "\n".join([title, *self.notes, *map(str, self.syncs)])
