"""The commands of ``amplitude-moloco``, one module each."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from amplitude_moloco.cli import dead, link
from amplitude_moloco.cli.backfill import backfill
from amplitude_moloco.cli.check import check
from amplitude_moloco.cli.demo import demo
from amplitude_moloco.cli.fetch import fetch
from amplitude_moloco.cli.init import init
from amplitude_moloco.cli.ping import ping
from amplitude_moloco.cli.sandbox import sandbox
from amplitude_moloco.cli.stats import stats
from amplitude_moloco.cli.terminal import UNUSABLE
from amplitude_moloco.cli.trigger import trigger

app = typer.Typer(
    help="Moloco Commerce Media as a destination of Amplitude, from the command line.",
    invoke_without_command=True,
    rich_markup_mode=None,  # help and errors are plain text, wrapped at any width
    pretty_exceptions_show_locals=False,  # a local variable may be an API key
)
app.command()(init)
app.command()(check)
app.command()(ping)
app.command()(trigger)
app.command()(stats)
app.add_typer(dead.app, name="dead")
app.command()(sandbox)
app.command()(demo)
app.add_typer(link.app, name="link")
app.command()(fetch)
app.command()(backfill)


def _print_version(*, is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"amplitude-moloco {version('amplitude-moloco')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    *,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Moloco Commerce Media as a destination of Amplitude, from the command line."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(UNUSABLE)
