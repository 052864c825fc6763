"""The commands of ``amplitude-moloco``, one module each."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from amplitude_moloco.cli.terminal import UNUSABLE

_COMMANDS = (
    *("init", "check", "ping", "trigger", "stats", "dead", "sandbox", "demo", "relay", "link"),
    *("fetch", "backfill"),
)
"""Each is a function, or a group of commands, in the module of its name."""
_SETTINGS: dict[str, Any] = {
    "rich_markup_mode": None,  # help and errors are plain text, wrapped at any width
    "pretty_exceptions_show_locals": False,  # a local variable may be an API key
}


class Commands(TyperGroup):
    """Imports a command when it is asked for: all together take longer than most of them run."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        names: dict[str, Any] = dict.fromkeys(_COMMANDS)
        self.commands = names  # all that is read here, to suggest one

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(import_module(f"amplitude_moloco.cli.{cmd_name}"), cmd_name)
        if not isinstance(command, typer.Typer):
            function, command = command, typer.Typer(**_SETTINGS, add_completion=False)
            command.command(cmd_name)(function)
        found = typer.main.get_command(command)
        found.name = cmd_name
        return found


app = typer.Typer(
    cls=Commands,
    help="Moloco Commerce Media as a destination of Amplitude, from the command line.",
    invoke_without_command=True,
    **_SETTINGS,
)


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
