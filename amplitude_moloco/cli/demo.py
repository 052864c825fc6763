"""``amplitude-moloco demo``: shows what the events of a small shop become.

==========  =======================================================================================
exit code   meaning
==========  =======================================================================================
0           each event arrived as expected
1           one did not
130         interrupted
==========  =======================================================================================
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from amplitude_moloco import Stats
from amplitude_moloco.cli.shop import Arrival, Outcome, run
from amplitude_moloco.cli.terminal import (
    FAILED,
    AsJson,
    console,
    end,
    ending_well,
    print_json,
    table,
)

_DETAILS = ("delivered_by_sync",)
"""Counters whose sum another counter has."""
_NEXT = """\
What next, with your own app:

  amplitude-moloco init
      settings and a few lines of code to begin with
  amplitude-moloco sandbox
      a stand-in for MCM and Amplitude to send to
  amplitude-moloco check moloco.toml EVENTS.jsonl
      what becomes of your events, and why"""


def demo(*, as_json: AsJson = False) -> None:
    """Track every kind of event once, and show what MCM and Amplitude received.

    Exit codes: 0 each event arrived as expected, 1 one did not, 130 interrupted.
    """
    with ending_well():
        os.environ["no_proxy"] = "*"  # a proxy could not reach this process
        outcome = run()
        if as_json:
            print_json(_as_json(outcome))
        else:
            _show(outcome)
        if not outcome.is_as_expected:
            end(FAILED, "not every event arrived as expected")


def _show(outcome: Outcome) -> None:
    out = console()
    out.print("\nThe events of a small shop, each tracked once through Amplitude's SDK:")
    out.print(_arrivals_table(outcome.arrivals))
    for arrival in outcome.arrivals:
        for problem in arrival.problems:
            name = Text(arrival.event_name, style="bold")
            out.print(name.append(" was invalid, so it was not sent:", style="not bold"))
            out.print(Padding(str(problem), (0, 0, 1, 2)))
    out.print(Text("The destination's counters, ").append("destination.stats()", style="bold"))
    out.print(_stats_table(outcome.stats))
    out.print(_NEXT)


def _arrivals_table(arrivals: Iterable[Arrival]) -> Table:
    made = table("Tracked")
    made.add_column("MCM received")
    made.add_column("Amplitude", no_wrap=True)
    for arrival in arrivals:
        in_amplitude = Text("yes", "green") if arrival.in_amplitude else Text("no", "red")
        made.add_row(arrival.event_name, _moloco_cell(arrival), in_amplitude)
    return made


def _moloco_cell(arrival: Arrival) -> Text:
    if arrival.user_event:
        cell = Text(arrival.user_event["event_type"], style="green")
        for line in _details(arrival.user_event):
            cell.append(f"\n  {line}", style="default")
        return cell
    if arrival.problems:
        return Text("no: invalid, see below", style="red")
    return Text("no: no sync selects it", style="dim")


def _details(event: dict[str, Any]) -> Iterable[str]:
    """Yields the fields that are particular to the event's type."""
    for field in ("referrer_page_id", "page_id", "search_query"):
        if field in event:
            yield f"{field} {event[field]}"
    for item in event.get("items", ()):
        yield f"{item['quantity']} x {item['id']}"
    if revenue := event.get("revenue"):
        yield f"revenue {revenue['amount']} {revenue['currency']}"


def _stats_table(stats: Stats) -> Table:
    made = table("counter", "events")
    made.show_header = False
    for field in fields(stats):
        if field.name not in _DETAILS:
            made.add_row(field.name, str(_count(getattr(stats, field.name))))
    return made


def _count(counter: Any) -> int:
    """Returns a counter; a count by reason as its sum."""
    return int(sum(counter.values()) if isinstance(counter, Mapping) else counter)


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "events": [
            {
                "tracked": arrival.event_name,
                "moloco": arrival.user_event,
                "problems": [*map(str, arrival.problems)],
                "in_amplitude": arrival.in_amplitude,
            }
            for arrival in outcome.arrivals
        ],
        "stats": asdict(outcome.stats),
        "is_as_expected": outcome.is_as_expected,
    }
