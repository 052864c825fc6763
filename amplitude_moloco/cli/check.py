"""``amplitude-moloco check``: says what is wrong with settings, and what becomes of events.

==========  =======================================================================================
exit code   meaning
==========  =======================================================================================
0           the settings work, and all events that a sync selects can be sent
1           at least one event would be refused, or could not be read
2           the settings, or a path of the command line, can't work
130         interrupted
==========  =======================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from amplitude import BaseEvent

from amplitude_moloco.cli import check_view
from amplitude_moloco.cli.progress import watched
from amplitude_moloco.cli.settings import inspect
from amplitude_moloco.cli.tally import Tally
from amplitude_moloco.cli.terminal import (
    FAILED,
    UNUSABLE,
    AsJson,
    console,
    end,
    ending_well,
    print_json,
)
from amplitude_moloco.history import ExportError, ExportReader, Place
from amplitude_moloco.history.files import find_files
from amplitude_moloco.history.filters import Filters
from amplitude_moloco.history.tracked import event_of_any
from amplitude_moloco.partner.settings import DeliverySettings
from amplitude_moloco.plugin import Converter
from amplitude_moloco.text import one_line


def check(
    config: Annotated[Path, typer.Argument(help="The settings: a .toml or .json file.")],
    events: Annotated[
        list[str] | None,
        typer.Argument(
            help="Events to try them with: JSON lines, or what Amplitude exports (zips, gzip); "
            "files, folders, patterns; - for the standard input."
        ),
    ] = None,
    *,
    explain: Annotated[
        int, typer.Option(min=0, help="Show for this many events what each sync makes of them.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Find all mistakes of a settings file, and show what would become of events.

    The settings are for MCM, for Adjust or for Adbrix, as their names tell. Nothing is sent, and
    no key is needed. An event is one line of JSON: as Amplitude exports it, or with the
    attributes of a BaseEvent: {"event_type": "Order Completed", "user_id": "u-1"}.

    Exit codes: 0 all is well, 1 events would be refused or can't be read, 2 the settings or a path
    can't work, 130 interrupted.
    """
    with ending_well():
        loaded = inspect(config)
        report = check_view.Report(one_line(config), loaded)
        if loaded.settings is None:
            _print(report, as_json=as_json)
            raise typer.Exit(UNUSABLE)
        if not events:
            _print(report, as_json=as_json)
            return
        _read(loaded.settings, events, report, explain if not as_json else 0)
        _print(report, as_json=as_json)
        if report.is_refusing:
            raise typer.Exit(FAILED)


def _read(
    settings: DeliverySettings, sources: list[str], report: check_view.Report, explain: int
) -> None:
    """Counts what becomes of the events. Ends the command if a path can't be read at all."""
    converter = settings.converter()
    report.tally = Tally(converter)
    try:
        files = find_files(sources)
    except ExportError as error:
        end(UNUSABLE, str(error))
    with watched(files, console(stderr=True)) as (watched_files, progress):
        reader = ExportReader(
            watched_files, Filters(), on_error=report.add_error, to_event=event_of_any
        )
        for number, (place, event) in enumerate(reader):
            if number < explain:
                _explain(converter, place, event)
            report.tally.add(event, place)
            progress()
    report.left_out = sum(reader.left_out.values())
    report.hints = dict(_hints(converter, report.tally))


def _hints(converter: Converter, tally: Tally) -> Iterator[tuple[str, str]]:
    """Yields each name that no sync selects, with the configured one that it resembles."""
    for name, counts in tally.names.items():
        nearest = converter.near_name(name) if counts.unselected else ""
        if nearest:
            yield name, nearest


def _explain(converter: Converter, place: Place, event: BaseEvent) -> None:
    out = console()
    out.print(f"{place}:", style="bold", soft_wrap=True)
    text = str(converter.explain(event, int(event.time)))
    out.print("\n".join(map(one_line, text.split("\n"))), soft_wrap=True)
    out.print()


def _print(report: check_view.Report, *, as_json: bool) -> None:
    if as_json:
        print_json(report.as_json())
    else:
        report.show(console())
