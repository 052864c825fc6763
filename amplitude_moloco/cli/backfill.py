"""``amplitude-moloco backfill``: delivers events that Amplitude has exported.

Exit code 1: events can't be read or sent, or were refused. See ``terminal.py`` for the others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from amplitude_moloco.cli.backfill_report import plan_data, result_data
from amplitude_moloco.cli.backfill_view import Bar, show_plan, show_result
from amplitude_moloco.cli.settings import load
from amplitude_moloco.cli.terminal import (
    FAILED,
    UNUSABLE,
    AsJson,
    console,
    end,
    ending_well,
    print_json,
)
from amplitude_moloco.errors import BackfillError, ConfigurationError
from amplitude_moloco.history.backfill import Backfill
from amplitude_moloco.history.export import read_export
from amplitude_moloco.history.files import STANDARD_INPUT
from amplitude_moloco.history.place import ExportError
from amplitude_moloco.history.plan import Plan
from amplitude_moloco.text import one_line

_MOST_ERRORS = 10

Config = Annotated[Path, typer.Argument(help="The configuration: a TOML or JSON file.")]
Export = Annotated[
    list[str], typer.Argument(help="Files, folders or patterns; - for the standard input.")
]
Since = Annotated[str, typer.Option(help="The first time of an event, in UTC: 2026-01-31.")]
Until = Annotated[str | None, typer.Option(help="The time after the last one.")]
Rate = Annotated[float, typer.Option(help="The highest rate, in events a second.")]
StateFile = Annotated[
    Path | None, typer.Option("--state", help="Keeps what was sent. By default beside CONFIG.")
]
Library = Annotated[list[str] | None, typer.Option(help="Only what this library sent.")]
EventType = Annotated[list[str] | None, typer.Option(help="Only events of this name.")]
Exclude = Annotated[list[str] | None, typer.Option(help="No events of this name.")]
EventId = Annotated[
    bool, typer.Option("--keep-event-id", help="Send event_id as the id, as Amplitude does.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan, and send nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Ask nothing.")]


def backfill(
    config: Config,
    export: Export,
    *,
    since: Since,
    until: Until = None,
    rate: Rate = 30.0,
    state: StateFile = None,
    library: Library = None,
    event_type: EventType = None,
    exclude: Exclude = None,
    keep_event_id: EventId = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Deliver exported events to Moloco. Run it again to go on where it ended.

    It reads everything and shows a plan, asks, and sends at the rate that Moloco documents. The
    summary is also written beside the state, to a file that ends in .report.json.

    Exit codes: 0 all delivered, 1 some can't be sent or were refused, 2 wrong usage, 130
    interrupted.
    """
    filters: dict[str, Any] = {"since": since, "until": until, "keep_event_id": keep_event_id}
    names = {"libraries": library, "event_types": event_type, "exclude": exclude}
    filters |= {name: given or () for name, given in names.items()}
    with ending_well("interrupted; the same command goes on where it ended"):
        try:
            job = _Job(config, export, filters, state, rate, as_json=as_json)
            raise typer.Exit(job.plan() if dry_run else job.run(is_to_ask=not yes))
        except ExportError as error:  # a path; what can't be read in a file is counted
            end(UNUSABLE, str(error))
        except BackfillError as error:
            end(FAILED, str(error))


class _Job:
    """One call of the command. Raises what a backfill raises."""

    def __init__(
        self,
        config: Path,
        export: list[str],
        filters: dict[str, Any],
        state: Path | None,
        rate: float,
        *,
        as_json: bool,
    ) -> None:
        self._errors: list[ExportError] = []
        self._unreadable = 0
        self._reader = read_export(export, on_error=self._note, **filters)
        self._settings = load(config)
        self._url = self._settings.endpoint().url
        self._state = state or config.with_name(f"{config.stem}.backfill.db")
        self._rate = rate
        self._backfill = Backfill(self._settings, self._reader, state=self._state, rate=rate)
        self._as_json = as_json
        self._console = console(stderr=as_json)

    def plan(self) -> int:
        """Show what would be sent. Returns the exit code."""
        plan = self._plan()
        if self._as_json:
            print_json(plan_data(plan, self._rate))
        return FAILED if plan.invalid or plan.unreadable else 0

    def run(self, *, is_to_ask: bool) -> int:
        """Send, perhaps after a question. Returns the exit code."""
        if self._settings.chosen_transport() == "none":
            raise ConfigurationError("transport: found 'none', which sends nothing; use 'auto'")
        self._backfill.check_state()
        total = None
        if STANDARD_INPUT not in self._reader.files:
            total = self._plan().total
        elif is_to_ask:
            raise ConfigurationError(
                "-: the standard input can be read only once, so that there is no plan; add --yes, "
                "or use a file"
            )
        if is_to_ask and not typer.confirm(f"Send them to {self._url}?", err=self._as_json):
            return 0
        self._errors, self._unreadable = [], 0
        with Bar(self._console, "sending", total) as bar:
            result = self._backfill.run(bar.show_progress)
        self._show_errors()
        data = result_data(result, self._url)
        report = self._state.with_name(f"{self._state.name}.report.json")
        report.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
        if self._as_json:
            print_json(data)
        show_result(self._console, result, report)
        return FAILED if result.has_failures or self._unreadable else 0

    def _plan(self) -> Plan:
        with Bar(self._console, "reading", None) as bar:
            plan = self._backfill.plan(bar.show_plan)
        self._show_errors()
        show_plan(self._console, plan, self._url, self._rate)
        return plan

    def _note(self, error: ExportError) -> None:
        self._unreadable += 1
        if len(self._errors) < _MOST_ERRORS:
            self._errors.append(error)

    def _show_errors(self) -> None:
        for error in self._errors:
            typer.echo(f"amplitude-moloco: {one_line(error)}", err=True)
        if self._unreadable > len(self._errors):
            more = self._unreadable - len(self._errors)
            typer.echo(f"amplitude-moloco: and {more:,} more can't be read", err=True)
