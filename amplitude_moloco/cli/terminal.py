"""What all commands share: how they print, and how they end.

==========  =======================================================================================
exit code   meaning
==========  =======================================================================================
0           done, and all is well
1           done, and something is not well: events would be refused, MCM refuses the key, …
2           the command line, the settings or a variable of the environment can't work
3           the server can't be reached, or fails: try again later
130         interrupted, by Ctrl-C or SIGTERM. These stop ``sandbox`` and ``relay``, which end with
            0; ``relay`` ends with 130 if a second one comes before it has finished
==========  =======================================================================================

Everything that comes from outside is data: it goes through ``one_line``, and no text is markup.
"""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.text import one_line

_SILENT = logging.NullHandler()

FAILED, UNUSABLE, LATER, INTERRUPTED = 1, 2, 3, 130

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def console(*, stderr: bool = False) -> Console:
    """Returns a console that prints text as it is: no markup, no highlighting, no emoji codes."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)


def table(name: str, *numbers: str) -> Table:
    """Returns a table in the style of all commands: a column of names, and columns of numbers."""
    made = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    made.add_column(name, overflow="fold")
    for each in numbers:
        made.add_column(each.replace(" ", "\n"), justify="right", no_wrap=True)
    return made


def print_item(console: Console, bullet: str, text: str, style: str = "") -> None:
    """Prints a text behind a bullet, with all of its lines at the same distance."""
    if not console.is_terminal:  # a line stays a line, for grep
        console.print(f"{bullet}{text}", soft_wrap=True)
        return
    grid = Table.grid()
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(bullet, Text(text, style=style))
    console.print(grid)


def print_json(value: Any) -> None:
    """Prints a value as one line of JSON. What is not ASCII is escaped."""
    typer.echo(json.dumps(value))


def end(code: int, *messages: str) -> NoReturn:
    """Ends the command with an exit code, and each message on a line of stderr."""
    for message in messages:
        typer.echo(f"amplitude-moloco: {one_line(message)}", err=True)
    raise typer.Exit(code)


@contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM works like Ctrl-C, and SIGINT even where the shell ignores it in the background."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def ending_well(interrupted: str = "interrupted") -> Iterator[None]:
    """Ends the command with the exit code that fits what is raised in the block."""
    for name in ("amplitude", "amplitude_moloco"):  # the command itself says what went wrong
        logging.getLogger(name).addHandler(_SILENT)
    try:
        with _signals():
            yield
    except ConfigurationError as error:
        end(UNUSABLE, *error.errors)
    except (KeyboardInterrupt, typer.Abort):  # the latter from a question
        end(INTERRUPTED, interrupted)
