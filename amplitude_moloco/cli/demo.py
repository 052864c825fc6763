"""``amplitude-moloco demo``: shows what the events of a small shop become."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from amplitude_moloco import Stats
from amplitude_moloco.cli.shop import Arrival, run


def demo() -> None:
    """Track every kind of event once, and show what MCM and Amplitude received."""
    # The invalid event is shown below, so the log need not report it.
    logging.getLogger("amplitude_moloco").addHandler(logging.NullHandler())
    os.environ["no_proxy"] = "*"  # a proxy could not reach this process
    outcome = run()
    console = Console(highlight=False)
    console.print("\nThe events of a small shop, each tracked once through Amplitude's SDK:")
    console.print(_arrivals_table(outcome.arrivals))
    for arrival in outcome.arrivals:
        for problem in arrival.problems:
            console.print(f"[bold]{escape(arrival.event_name)}[/] was invalid, so it was not sent:")
            console.print(Padding(escape(str(problem)), (0, 0, 1, 2)))
    console.print("The destination's counters, [bold]destination.stats()[/]:")
    console.print(_stats_table(outcome.stats))
    if not outcome.is_as_expected:
        raise SystemExit("amplitude-moloco: not every event arrived as expected")


def _arrivals_table(arrivals: Iterable[Arrival]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("Tracked", max_width=17)
    table.add_column("MCM received", no_wrap=True)
    table.add_column("id", no_wrap=True)
    table.add_column("with")
    table.add_column("Amplitude", no_wrap=True)
    for arrival in arrivals:
        table.add_row(
            escape(arrival.event_name),
            *_moloco_cells(arrival),
            "[green]yes[/]" if arrival.in_amplitude else "[red]no[/]",
        )
    return table


def _moloco_cells(arrival: Arrival) -> tuple[str, str, str]:
    if arrival.user_event:
        event = arrival.user_event
        return f"[green]{event['event_type']}[/]", event["id"][:8], escape(_details(event))
    if arrival.problems:
        return "[red]no: invalid[/]", "", "see below"
    return "[dim]no[/]", "", "no sync selects it"


def _details(event: dict[str, Any]) -> str:
    """Returns the fields that are particular to the event's type, one a line."""
    lines = [
        f"{field} {event[field]}"
        for field in ("referrer_page_id", "page_id", "search_query")
        if field in event
    ]
    lines += [f"{item['quantity']} x {item['id']}" for item in event.get("items", ())]
    if revenue := event.get("revenue"):
        lines.append(f"revenue {revenue['amount']} {revenue['currency']}")
    return "\n".join(lines)


def _stats_table(stats: Stats) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_header=False)
    table.add_column("counter")
    table.add_column("events", justify="right")
    for field in fields(stats):
        count = getattr(stats, field.name)
        # A count by reason is shown as its sum.
        table.add_row(field.name, str(sum(count.values()) if isinstance(count, Mapping) else count))
    return table
