"""``amplitude-moloco dead``: the dead letters of a durable buffer, while the app runs.

==========  =======================================================================================
exit code   meaning
==========  =======================================================================================
0           done
1           the files can't be read or written, or ``show`` finds no such letter
2           there is no buffer, or the command line can't work
3           another process keeps the file locked, or Redis can't be used: try again later
130         interrupted: what was done stays done, and the same command goes on
==========  =======================================================================================
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from amplitude_moloco.buffers.base import DeadLetter
from amplitude_moloco.cli.batches import Batches, Change, bar
from amplitude_moloco.cli.buffers import (
    BufferArgument,
    Choice,
    NewerOption,
    OlderOption,
    ReasonOption,
    SyncOption,
    age,
    choice_of,
    reading,
)
from amplitude_moloco.cli.finite import finite
from amplitude_moloco.cli.terminal import (
    FAILED,
    INTERRUPTED,
    UNUSABLE,
    AsJson,
    console,
    end,
    print_json,
    table,
)
from amplitude_moloco.text import one_line

dead = typer.Typer(
    help="See, resend or delete the dead letters of a durable buffer.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

IdsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="ID", help="The ids of the events.")
]
AllOption = Annotated[bool, typer.Option("--all", help="All of them.")]


@dead.command("list")
def list_letters(
    buffer: BufferArgument,
    *,
    reason: ReasonOption = None,
    sync: SyncOption = None,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Show the newest of them, up to this.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List dead letters, and why they are dead. Changes nothing.

    With --json, one line for each, oldest first, without a limit.
    """
    with reading(buffer) as reader:
        choice = choice_of(reason, sync, older_than, newer_than)
        chosen = (letter for letter in reader.letters() if letter in choice)
        if as_json:
            for letter in chosen:
                print_json(_as_json(letter))
            return
        newest: deque[DeadLetter] = deque(maxlen=limit)
        count = 0
        for letter in chosen:
            newest.append(letter._replace(body=b""))
            count += 1
        out = console()
        if newest:
            out.print(_letters_table(newest, time.time()))
        out.print(_letters(count) + (f", the newest {limit:,} shown." if count > limit else "."))


@dead.command()
def show(buffer: BufferArgument, id: str, *, as_json: AsJson = False) -> None:
    """Show the dead letters of one event, with what was sent. Changes nothing."""
    with reading(buffer) as reader:
        is_there = False
        for letter in reader.letters():
            if letter.id == id:
                is_there = True
                if as_json:
                    print_json({**_as_json(letter), "body": _body(letter)})
                else:
                    _show(console(), letter)
        if not is_there:
            end(FAILED, f"no dead letter has the id {one_line(id)}")


@dead.command()
def resend(
    buffer: BufferArgument,
    ids: IdsArgument = None,
    *,
    reason: ReasonOption = None,
    sync: SyncOption = None,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    is_all: AllOption = False,
    rate: Annotated[
        float | None,
        typer.Option(min=0.1, max=100_000, callback=finite, help="At most this many per second."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Have dead letters sent again, with their ids and timestamps.

    They become waiting events of the buffer. A process that uses it sends them: the app, now or
    when it starts. Interrupted, it leaves the rest as it was.
    """
    with reading(buffer) as reader:
        choice = choice_of(reason, sync, older_than, newer_than, ids=ids)
        _check_choice(choice, is_all=is_all)
        _run(Change.RESEND, Batches(reader, choice, rate), as_json=as_json)


@dead.command()
def purge(
    buffer: BufferArgument,
    ids: IdsArgument = None,
    *,
    reason: ReasonOption = None,
    sync: SyncOption = None,
    older_than: OlderOption = None,
    newer_than: NewerOption = None,
    is_all: AllOption = False,
    is_sure: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete dead letters for good. Asks first."""
    with reading(buffer) as reader:
        choice = choice_of(reason, sync, older_than, newer_than, ids=ids)
        _check_choice(choice, is_all=is_all)
        batches = Batches(reader, choice, None)
        question = f"Delete {_letters(batches.total)} for good?"
        if batches.total and not (is_sure or typer.confirm(question, err=True)):
            end(FAILED, "nothing was deleted")
        _run(Change.PURGE, batches, as_json=as_json)


def _check_choice(choice: Choice, *, is_all: bool) -> None:
    if choice.is_all and not is_all:
        end(UNUSABLE, "which dead letters? Give ids, a filter such as --reason, or --all")
    if is_all and not choice.is_all:
        end(UNUSABLE, "--all: given beside ids or a filter; use one of the two")


def _run(change: Change, batches: Batches, *, as_json: bool) -> None:
    """Changes the letters, and says how many. Ctrl-C ends it between two batches."""
    is_interrupted = False
    try:
        with bar(console(stderr=True), batches.total) as step:
            batches.change(change, step)
    except KeyboardInterrupt:  # a batch may be done, and not counted yet
        is_interrupted = True
    done = batches.total - batches.left()
    if as_json:
        print_json({change.value: done, "chosen": batches.total, "seconds": batches.seconds})
    elif not is_interrupted:
        speed = f", {done / batches.seconds:,.0f} per second" if batches.seconds > 1 else ""
        typer.echo(f"{_letters(done)} {change.value} in {batches.seconds:.1f} s{speed}.")
        if change is Change.RESEND and done:
            typer.echo("They wait in the buffer: the app sends them, now or when it starts.")
        if change is Change.RESEND and batches.in_lanes:
            typer.echo(
                f"{batches.in_lanes:,} of them belong to a partner that takes each device's events "
                f"in order: what is older than the newest event that it has will be refused."
            )
    if is_interrupted:
        end(
            INTERRUPTED,
            f"interrupted: {done:,} of {_letters(batches.total)} {change.value}, the others are "
            f"left; the same command goes on",
        )


def _letters(count: int) -> str:
    return f"{count:,} dead letter{'' if count == 1 else 's'}"


def _letters_table(letters: Iterable[DeadLetter], now: float) -> Table:
    made = table("Event")
    for name in ("Sync", "Reason", "Dead for"):
        made.add_column(name, overflow="fold")
    for letter in letters:
        cell = Text(one_line(letter.id))
        cell.append(f"\n  {_why(letter)}", style="dim")
        made.add_row(cell, one_line(letter.sync), str(letter.reason), age(now - letter.buried_at))
    return made


def _why(letter: DeadLetter) -> str:
    return one_line(f"{letter.status or ''} {letter.message}".strip())


def _show(out: Console, letter: DeadLetter) -> None:
    out.print(one_line(letter.id), style="bold", soft_wrap=True)
    rows = {
        "sync": letter.sync,
        "reason": letter.reason,
        "answer": _why(letter),
        "attempts": letter.attempts,
        "accepted": _time(letter.accepted_at),
        "dead since": _time(letter.buried_at),
    }
    for name, value in rows.items():
        out.print(f"  {name:12}{one_line(value)}", soft_wrap=True)
    body = json.dumps(_body(letter), indent=2, ensure_ascii=False)
    out.print("\n".join(map(one_line, body.split("\n"))), soft_wrap=True)


def _time(at: float) -> str:
    """Returns a Unix time in UTC; the number itself if a damaged or hostile file has no date."""
    try:
        return datetime.fromtimestamp(at, timezone.utc).isoformat(" ", "seconds")
    except (ValueError, OverflowError, OSError):
        return str(at)


def _body(letter: DeadLetter) -> Any:
    """Returns what was sent: the JSON, or the text if it is none."""
    try:
        return json.loads(letter.body)
    except (ValueError, RecursionError):
        return letter.body.decode(errors="replace")


def _as_json(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "sync": letter.sync,
        "reason": str(letter.reason),
        "status": letter.status,
        "message": letter.message,
        "attempts": letter.attempts,
        "accepted_at": letter.accepted_at,
        "buried_at": letter.buried_at,
        "bytes": len(letter.body),
    }
