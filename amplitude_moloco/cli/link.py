"""``amplitude-moloco link``: builds and checks the tracking links that Moloco Ads wants.

==========  ==========================================================
exit code   meaning
==========  ==========================================================
0           done: the link is printed, or nothing is wrong with it
1           ``check`` has found problems, which are printed
2           the command line can't work
==========  ==========================================================
"""

from __future__ import annotations

from typing import Annotated

import typer

from amplitude_moloco.cli.terminal import (
    FAILED,
    AsJson,
    console,
    end,
    ending_well,
    print_item,
    print_json,
)
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.links import check_link, tracking_link
from amplitude_moloco.text import one_line, shown

link = typer.Typer(
    help="Build and check tracking links for Moloco Ads.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@link.command()
def build(
    partner: Annotated[str, typer.Argument(help="adjust or adbrix.")],
    kind: Annotated[str, typer.Argument(help="click or view.")],
    tracker: Annotated[str, typer.Argument(help="The link's token, or its tracker id.")],
    *,
    app_key: Annotated[str | None, typer.Option(help="The app's key, for Adbrix.")] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="One parameter more; without value: one fewer."),
    ] = None,
) -> None:
    """Print a tracking link with Moloco's macros.

    Exit codes: 0 done, 2 the arguments can't be a link's.
    """
    with ending_well():
        parameters: dict[str, str | None] = {}
        for each in parameter or ():
            name, is_given, value = each.partition("=")
            if not (name and is_given):
                raise ConfigurationError(f"--parameter: found {shown(each)}; use NAME=VALUE")
            parameters[name] = value or None
        typer.echo(tracking_link(partner, kind, tracker, app_key=app_key, parameters=parameters))


@link.command()
def check(
    url: Annotated[str, typer.Argument(help="The link.")], *, as_json: AsJson = False
) -> None:
    """Check a tracking link of Adjust or Adbrix, as Moloco Ads does.

    Exit codes: 0 nothing is wrong, 1 something is.
    """
    with ending_well():
        problems = check_link(url)
        if as_json:
            print_json([vars(each) for each in problems])
        else:
            out = console()
            for each in problems:
                print_item(out, "- ", one_line(each))
            if not problems:
                out.print("Nothing is wrong with this link.")
        if problems:
            end(FAILED)
