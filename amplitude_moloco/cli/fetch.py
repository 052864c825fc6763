"""``amplitude-moloco fetch``: downloads what Amplitude has of a range of hours.

==============  ===================================================================
exit code       meaning
==============  ===================================================================
0               the folder has all of the hours
1               Amplitude refuses the request, or the folder can't be used
2               the command line, or a variable of the environment, can't work
3               Amplitude can't be reached, or fails too often: run it again later
130             interrupted, by Ctrl-C or SIGTERM: run it again to go on
==============  ===================================================================
"""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from amplitude_moloco.cli.fetch_view import view_of
from amplitude_moloco.cli.terminal import (
    FAILED,
    LATER,
    AsJson,
    console,
    end,
    ending_well,
    print_json,
)
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.history.export_api import ADDRESS, EU_ADDRESS, ExportApi, Keys
from amplitude_moloco.history.fetch import fetch as fetch_hours
from amplitude_moloco.history.folder import open_folder
from amplitude_moloco.history.hours import Hours, parse_hours
from amplitude_moloco.history.problem import FetchError
from amplitude_moloco.text import one_line


def fetch(
    *,
    start: Annotated[
        str, typer.Option(help="The first hour of upload, in UTC: 2026-01-31T18, or a date.")
    ],
    last: Annotated[
        str,
        typer.Option("--end", help="The last hour, which is included. A date is its whole day."),
    ],
    out: Annotated[Path, typer.Option(help="The folder for the downloads. Made if it is missing.")],
    eu: Annotated[bool, typer.Option("--eu", help="For a project with data in the EU.")] = False,
    url: Annotated[str | None, typer.Option(help="Another address, such as a sandbox's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Download events from Amplitude's Export API. Run it again to go on where it ended.

    Needs the variables AMPLITUDE_API_KEY and AMPLITUDE_SECRET_KEY. Hours are those in which
    Amplitude received the events.

    Exit codes: 0 all hours are there, 1 refused, 2 wrong usage, 3 try again later, 130 interrupted.
    """
    with ending_well("interrupted; the same command goes on where it ended"):
        if eu and url is not None:
            raise ConfigurationError("--url: given beside --eu; use one of the two")
        hours = parse_hours(start, last, time.time())
        api = ExportApi(Keys.of_environment(), url or (EU_ADDRESS if eu else ADDRESS))
        try:
            _run(api, hours, out, as_json=as_json)
        except FetchError as error:
            end(LATER if error.is_temporary else FAILED, f"{error}{_how_to_go_on(error)}")
        except BrokenPipeError:  # of the output
            raise
        except OSError as error:
            end(FAILED, f"{out}: {error.strerror}")


def _run(api: ExportApi, hours: Hours, out: Path, *, as_json: bool) -> None:
    with closing(api), open_folder(out, api.project) as folder:
        present = folder.present(hours)
        shown = console()
        shown.quiet = as_json
        with view_of(shown, hours, present) as view:
            has_data = fetch_hours(api, folder, hours, view)
    if as_json:
        print_json({"folder": str(out), "hours": str(hours), "has_new_data": has_data})
        return
    if present < hours.total and not has_data:
        typer.echo("Amplitude has no data in the hours that were missing.")
    typer.echo(f"All hours of {hours} are in {one_line(out)}")


def _how_to_go_on(error: FetchError) -> str:
    return "; the same command goes on later" if error.is_temporary else ""
