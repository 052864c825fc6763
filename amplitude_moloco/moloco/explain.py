"""Why syncs don't select an event."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from amplitude_moloco.convert.conversion import Conversion
from amplitude_moloco.convert.explanation import (
    Explanation,
    Outcome,
    SelectionReason,
    SyncExplanation,
)
from amplitude_moloco.convert.names import closest_pattern
from amplitude_moloco.convert.reads import values_read
from amplitude_moloco.host.interruption import pass_interruption
from amplitude_moloco.moloco.sync import Sync, is_never_sent


class Refusals:
    """Remembers the syncs that have refused an event whose name matches."""

    def __init__(self) -> None:
        self.syncs: list[Sync] = []

    def refused(self, sync: Sync) -> None:
        self.syncs.append(sync)

    def unselected(self, event_name: object) -> None:
        """Nothing to remember: all syncs have refused it, or none has the name."""


def explained(
    event: Any, syncs: Iterable[Sync], refusals: Refusals, conversions: Iterable[Conversion]
) -> Explanation:
    """Returns one outcome for each sync.

    ``conversions`` are those of the event, in the order of the syncs that select it.
    """
    name = event.event_type
    name = str.__str__(name) if isinstance(name, str) else None
    refusing, rest = deque(refusals.syncs), deque(conversions)
    return Explanation(
        name or "", tuple(_outcome(event, name, sync, refusing, rest) for sync in syncs)
    )


def explained_as_dropped(event: Any, syncs: Iterable[Sync]) -> Explanation:
    """Returns why no sync got the event: a plugin that was added to the destination dropped it."""
    return Explanation(
        str(event.event_type),
        tuple(_not_selected(sync, SelectionReason.PLUGIN) for sync in syncs),
    )


def _outcome(
    event: Any,
    name: str | None,
    sync: Sync,
    refusing: deque[Sync],
    conversions: deque[Conversion],
) -> SyncExplanation:
    """Returns the outcome of one sync. Takes what belongs to it from the two queues."""
    if name is None or not sync.matches_name(name):
        return _differs(sync, name)
    if refusing and refusing[0] is sync:
        return _refused(event, refusing.popleft())
    conversion = conversions.popleft()
    outcome = Outcome.INVALID if conversion.problems else Outcome.SENT
    return SyncExplanation(sync.name, outcome, conversion)


def _differs(sync: Sync, name: str | None) -> SyncExplanation:
    if name is None:
        return _not_selected(sync, SelectionReason.NAME, names=sync.names or ())
    if is_never_sent(name):
        return _not_selected(sync, SelectionReason.NEVER_SENT)
    names = sync.names or ()
    closest = closest_pattern(name, names)
    return _not_selected(sync, SelectionReason.NAME, closest_name=closest, names=names)


def _refused(event: Any, sync: Sync) -> SyncExplanation:
    if not sync.enabled:
        return _not_selected(sync, SelectionReason.DISABLED)
    if sync.selector is not None and (sync.where is None or _is_false(sync.selector, event)):
        source = _name_of(sync.selector)
        return _not_selected(sync, SelectionReason.EVENTS, source=source)
    if not isinstance(sync.where, str):
        return _not_selected(sync, SelectionReason.WHERE, source=_name_of(sync.where))
    read = values_read(sync.where, vars(event))
    return _not_selected(sync, SelectionReason.WHERE, source=sync.where, read_values=read)


def _is_false(selector: Callable[[Any], Any], event: Any) -> bool:
    try:
        return not selector(event)
    except Exception as error:  # it has not raised before
        pass_interruption(error)
        return True


def _not_selected(sync: Sync, reason: SelectionReason, **more: Any) -> SyncExplanation:
    return SyncExplanation(sync.name, Outcome.NOT_SELECTED, None, reason, **more)


def _name_of(function: object) -> str:
    return f"the callable {getattr(function, '__qualname__', type(function).__qualname__)}"
