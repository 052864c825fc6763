"""The command line: ``amplitude-moloco sandbox`` and ``amplitude-moloco demo``.

Needs the extra ``cli``; the only part of the library that prints.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Annotated, Any, NoReturn

try:
    import typer
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.padding import Padding
    from rich.table import Table

    from amplitude_moloco.sandbox import Sandbox
except ImportError:
    # Ended here and not in main(), which the console script calls only after this import.
    raise SystemExit(
        'amplitude-moloco: the command line is an extra: pip install "amplitude-moloco[cli]"'
    ) from None

from amplitude_moloco.cli.demo import Arrival, run
from amplitude_moloco.engine.ledger import Stats

_WHERE = """\
The sandbox answers for MCM and for Amplitude at {url}

Point the plugin and the SDK at it:

  MolocoDestination(..., base_url="{url}")
  Config(server_url="{amplitude_url}")

See what came in, and have the next three events fail:

  curl {url}/events
  curl {url}/faults -d '{{"status": 503, "times": 3}}'

Ctrl-C ends it."""

app = typer.Typer(
    help="Try Moloco Commerce Media as a destination of Amplitude's SDK, without an account.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # one of them is a key
)


def main() -> None:
    """The console script ``amplitude-moloco``."""
    app(prog_name="amplitude-moloco")


@app.command()
def sandbox(
    host: Annotated[
        str, typer.Option(help="Where to listen. Only this machine can reach the default.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8765,
    api_key: Annotated[
        str | None, typer.Option(help="The only x-api-key to accept. By default any will do.")
    ] = None,
    platform_id: Annotated[
        str | None, typer.Option(help="The only platform to accept. By default any will do.")
    ] = None,
) -> None:
    """Run a stand-in for MCM and for Amplitude's HTTP API."""
    # SIGTERM is to do what Ctrl-C does, and SIGINT too where a shell has switched it off.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        with Sandbox(host=host, port=port, api_key=api_key, platform_id=platform_id) as running:
            typer.echo(_WHERE.format(url=running.url, amplitude_url=running.amplitude_url))
            _wait_for_interrupt()
    except KeyboardInterrupt:
        pass
    except OSError as error:
        raise SystemExit(f"amplitude-moloco: {error.strerror}") from None


@app.command()
def demo() -> None:
    """Track every kind of event once, and show what MCM and Amplitude received."""
    # What the log would say of the refused event is shown below.
    logging.getLogger("amplitude_moloco").addHandler(logging.NullHandler())
    os.environ["no_proxy"] = "*"  # a proxy would not find this process
    outcome = run()
    console = Console(highlight=False)
    console.print("\nThe events of a small shop, tracked once through Amplitude's SDK:")
    console.print(_arrivals_table(outcome.arrivals))
    for arrival in outcome.arrivals:
        for problem in arrival.problems:
            console.print(f"[bold]{escape(arrival.event_name)}[/] was refused before it was sent:")
            console.print(Padding(escape(str(problem)), (0, 0, 1, 2)))
    console.print("The destination's own counters, [bold]destination.stats()[/]:")
    console.print(_stats_table(outcome.stats))
    if not outcome.is_as_expected:
        raise SystemExit("amplitude-moloco: not everything arrived as it should have")


def _wait_for_interrupt() -> NoReturn:
    never = threading.Event()
    while True:
        never.wait(1.0)  # not for ever, since Windows acts on Ctrl-C only when a wait is over


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
        return f"[green]{event['event_type']}[/]", event["id"][:8], escape(_facts(event))
    if arrival.problems:
        return "[red]no: refused[/]", "", "see below"
    return "[dim]no[/]", "", "no sync selects it"


def _facts(event: dict[str, Any]) -> str:
    """What sets an event apart, a line each."""
    texts = [
        f"{field} {event[field]}"
        for field in ("referrer_page_id", "page_id", "search_query")
        if field in event
    ]
    items = [f"{item['quantity']} x {item['id']}" for item in event.get("items", ())]
    revenue = event.get("revenue")
    sums = [f"revenue {revenue['amount']} {revenue['currency']}"] if revenue else []
    return "\n".join(texts + items + sums)


def _stats_table(stats: Stats) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    counts = {field.name: getattr(stats, field.name) for field in fields(stats)}
    for name in counts:
        table.add_column(name, justify="right")
    # What is counted by reason is shown as one number.
    table.add_row(*(str(sum(n.values()) if isinstance(n, Mapping) else n) for n in counts.values()))
    return table
