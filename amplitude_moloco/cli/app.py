"""The commands of ``amplitude-moloco``, one module each."""

from __future__ import annotations

import typer

from amplitude_moloco.cli.backfill import backfill
from amplitude_moloco.cli.demo import demo
from amplitude_moloco.cli.fetch import fetch
from amplitude_moloco.cli.sandbox import sandbox

app = typer.Typer(
    help="Moloco Commerce Media as a destination of Amplitude: try it, and deliver history.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # a local variable may be an API key
)
app.command()(sandbox)
app.command()(demo)
app.command()(fetch)
app.command()(backfill)
