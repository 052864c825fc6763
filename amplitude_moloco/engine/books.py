"""What an engine keeps of what happens: counters, log lines, and the notes for a health check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from amplitude_moloco.buffers.base import Storage
from amplitude_moloco.engine.facts import Hook, Unselected
from amplitude_moloco.engine.ledger import Ledger
from amplitude_moloco.engine.log import LogHook
from amplitude_moloco.engine.measures import Measures
from amplitude_moloco.engine.reporter import Reporter
from amplitude_moloco.engine.selection import SelectionCounts
from amplitude_moloco.engine.status import Vitals
from amplitude_moloco.engine.summary import Summary


class Books(NamedTuple):
    """The parts of one engine that keep what happens. Each fact reaches all of them."""

    ledger: Ledger
    selection: SelectionCounts
    vitals: Vitals
    measures: Measures
    reporter: Reporter


def open_books(
    *,
    server: str,
    access: str,
    host: str,
    buffer: Storage,
    hooks: Sequence[Hook],
    near_name: Callable[[str], str],
    monotonic: Callable[[], float],
    post: Callable[[Unselected], object],
    schedule: Callable[[float], object],
    delivers: bool,
) -> Books:
    """Returns new books. The arguments are those of the parts, which document each."""
    selection, vitals = SelectionCounts(post), Vitals(buffer, monotonic)
    summary = Summary(monotonic, schedule)
    log = LogHook(server, access, monotonic, host=host, summary=summary, near_name=near_name)
    reporter = Reporter(server, summary, delivers=delivers)
    ledger = Ledger((vitals, log, *hooks), monotonic, (reporter, vitals), selection)
    return Books(ledger, selection, vitals, Measures(), reporter)
