"""How the command ``backfill`` shows its plan, its progress and its result."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from amplitude_moloco.cli.rate_column import RateColumn
from amplitude_moloco.cli.terminal import table
from amplitude_moloco.history import backfill
from amplitude_moloco.history.outcome import Ended, Outcome
from amplitude_moloco.history.plan import Plan
from amplitude_moloco.text import one_line

if TYPE_CHECKING:
    from typing_extensions import Self

_SHOW_SECONDS = 0.2
_PRINT_SECONDS = 10.0
_MOST_PROBLEMS = 10
_OTHER_IDS = (
    "Amplitude's own stream to Moloco sends event_id as the id. If it was on in this range, choose "
    "another one, or use --keep-event-id: otherwise its events count twice."
)


class Bar(AbstractContextManager["Bar"]):
    """A bar on a terminal; in a pipe a line every ten seconds."""

    def __init__(
        self,
        console: Console,
        task: str,
        total: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._console = console
        self._is_live = console.is_terminal
        self._task = task
        self._shown_at = self._clock()
        self._has_begun = False
        columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn()]
        if total is not None:
            columns += [MofNCompleteColumn(), RateColumn(), TimeRemainingColumn()]
        self._progress = Progress(*columns, console=console, get_time=clock)
        self._id = self._progress.add_task(task, total=total)

    def __enter__(self) -> Self:
        if self._is_live:  # elsewhere, an older Rich prints an empty line at the end
            self._progress.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_live:
            self._progress.stop()

    def show_plan(self, plan: Plan) -> None:
        if self._is_due():
            self._show(f"{self._task}: {plan.read:,} events", None)

    def show_progress(self, progress: backfill.Progress) -> None:
        counts = counts_of(progress.counts)
        done = counts[Outcome.DELIVERED] + counts[Outcome.REFUSED]
        if not self._has_begun:  # what earlier runs have done says nothing about the rate
            self._has_begun = True
            self._progress.reset(self._id, completed=done)
        if self._is_due():
            parts = [f"{events:,} {outcome}" for outcome, events in sorted(counts.items())]
            if progress.pause:
                parts.append(f"waiting: {one_line(progress.pause)}")
            self._show(", ".join(parts) or self._task, done)

    def _is_due(self) -> bool:
        seconds = _SHOW_SECONDS if self._is_live else _PRINT_SECONDS
        is_due = self._clock() - self._shown_at >= seconds
        if is_due:
            self._shown_at = self._clock()
        return is_due

    def _show(self, text: str, done: int | None) -> None:
        if self._is_live:
            self._progress.update(self._id, description=text, completed=done)
        else:
            _print(self._console, text)


def counts_of(counts: dict[Ended, int]) -> Counter[Outcome]:
    """Returns how many ended with each outcome."""
    found: Counter[Outcome] = Counter()
    for ended, events in counts.items():
        found[ended.outcome] += events
    return found


def show_plan(console: Console, plan: Plan, url: str, rate: float) -> None:
    """Show what would be sent, what would not and why, and how long it takes."""
    _print(console, f"{plan.read:,} events read{_range(plan)}, for {url}")
    syncs = table("sync", "to send", "invalid")
    invalid: Counter[str] = Counter()
    for (sync, _), events in plan.invalid.items():
        invalid[sync] += events
    for sync in sorted(plan.to_send.keys() | invalid.keys()):
        syncs.add_row(Text(one_line(sync)), f"{plan.to_send[sync]:,}", f"{invalid[sync]:,}")
    console.print(syncs)
    for (sync, code), events in plan.invalid.most_common(_MOST_PROBLEMS):
        _print(console, f"{sync}: {events:,} with {code}; the first: {plan.problems[sync, code]}")
    rest = {"no sync selects them": plan.unselected, "their id was there before": plan.duplicates}
    rest |= {f"left out by {reason}": events for reason, events in plan.left_out.items()}
    for why, events in rest.items():
        if events:
            _print(console, f"{events:,} not sent: {why}")
    time_needed = timedelta(seconds=round(plan.seconds(rate)))
    _print(console, f"{plan.total:,} to send: {time_needed} at {rate:g} a second")
    if plan.total:
        _print(console, _OTHER_IDS)


def show_result(console: Console, result: backfill.Result, report: Path) -> None:
    """Show what became of the events, with the reasons of those that were not delivered."""
    for ended, events in sorted(result.counts.items()):
        where = f" ({ended.reason}); the first: {result.first_places[ended]}"
        is_fine = ended.outcome is Outcome.DELIVERED
        _print(console, f"{ended.sync}: {events:,} {ended.outcome}{'' if is_fine else where}")
    _print(console, f"All events are done. The report is in {report}")


def _range(plan: Plan) -> str:
    if plan.first_millis is None or plan.last_millis is None:
        return ""
    first, last = (
        datetime.fromtimestamp(millis / 1000, timezone.utc).strftime("%Y-%m-%d %H:%M")
        for millis in (plan.first_millis, plan.last_millis)
    )
    return f", to send from {first} to {last} UTC"


def _print(console: Console, line: str) -> None:
    console.print(Text(one_line(line)), soft_wrap=True)
