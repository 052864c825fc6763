"""``amplitude-moloco init``: writes settings to begin with, and shows the lines of code.

==========  =======================================================================================
exit code   meaning
==========  =======================================================================================
0           the file is written
1           the file is there already, or can't be written
2           the command line can't work
130         interrupted
==========  =======================================================================================
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from amplitude_moloco import ConfigurationError, MolocoSettings, Sync, ecommerce_syncs
from amplitude_moloco.cli.app_starters import STARTERS, Partner
from amplitude_moloco.cli.proposals import Proposals
from amplitude_moloco.cli.starters import Framework, code_text, settings_text
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
from amplitude_moloco.history import ExportError, ExportReader
from amplitude_moloco.history.files import find_files
from amplitude_moloco.history.filters import Filters
from amplitude_moloco.history.tracked import event_of_any

_NAME = "moloco.toml"
_MOST_EVENTS = 10_000
_NEXT = f"""\
  export MOLOCO_API_KEY=any     the sandbox takes any key
  amplitude-moloco sandbox      in another terminal
  amplitude-moloco ping {_NAME}
  amplitude-moloco check {_NAME} EVENTS.jsonl"""


def init(
    *,
    events: Annotated[
        list[str] | None,
        typer.Option(help="Sample events, as for check, to propose syncs for. Repeatable."),
    ] = None,
    framework: Annotated[
        Framework | None, typer.Option(help="What the app is built with, for the lines of code.")
    ] = None,
    partner: Annotated[
        Partner, typer.Option(help="Whose settings to write: adjust.toml or adbrix.toml for apps.")
    ] = Partner.MOLOCO,
    as_json: AsJson = False,
) -> None:
    """Write a commented moloco.toml here, and show the lines of code that use it.

    It works against the sandbox at once. A file that is there is never overwritten. With sample
    events, it proposes syncs by their names and properties. With --partner, it writes an
    adjust.toml or adbrix.toml, for the events of an app.

    Exit codes: 0 written, 1 there already or not writable, 2 wrong usage, 130 interrupted.
    """
    with ending_well("interrupted; nothing was written"):
        if partner is Partner.MOLOCO:
            _init(events or [], framework or Framework.SCRIPT, as_json=as_json)
        elif events or framework:
            raise ConfigurationError(
                f"--partner: {partner.value} has neither --events nor --framework; leave them out"
            )
        else:
            _init_app(partner, as_json=as_json)


def _init(events: Sequence[str], framework: Framework, *, as_json: bool) -> None:
    _refuse_file(_NAME)
    proposed, count, sent = _proposed(events)
    _write(_NAME, settings_text(_NAME, proposed))
    code = code_text(framework, _NAME)
    if as_json:
        report = {"path": _NAME, "syncs": [sync.name for sync in proposed], "code": code}
        print_json(report | {"events": count, "would_be_sent": sent})
        return
    _show(proposed, count, sent, code)


def _init_app(partner: Partner, *, as_json: bool) -> None:
    name, starter = f"{partner.value}.toml", STARTERS[partner]
    _refuse_file(name)
    _write(name, starter.settings)
    if as_json:
        print_json({"path": name, "code": starter.code})
    else:
        _show_next(name, "", starter.code, starter.next)


def _refuse_file(name: str) -> None:
    if os.path.lexists(name):
        end(FAILED, f"{name} is there already, and is left as it is; rename it first")


def _write(name: str, text: str) -> None:
    try:
        with Path(name).open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        end(FAILED, f"{name}: {error.strerror}")


def _proposed(sources: Sequence[str]) -> tuple[list[Sync], int, int]:
    """Returns the proposed syncs, how many events were read, and how many would be sent.

    There are no syncs if the ready-made ones send as much.
    """
    if not sources:
        return [], 0, 0
    proposals = Proposals()
    reader = _reader(sources)
    count = 0
    for _, event in reader:
        proposals.add(event)
        count += 1
        if count == _MOST_EVENTS:
            break
    syncs = proposals.syncs()
    ready = _sent(sources, ecommerce_syncs())
    sent = _sent(sources, syncs) if syncs else 0
    return ([], count, ready) if ready >= sent else (syncs, count, sent)


def _reader(sources: Sequence[str]) -> ExportReader:
    try:
        files = find_files(sources)
    except ExportError as error:
        end(UNUSABLE, str(error))
    if any(not file.is_ours for file in files):
        end(UNUSABLE, "--events: the standard input can be read only once; use a file")
    return ExportReader(files, Filters(), on_error=lambda error: None, to_event=event_of_any)


def _sent(sources: Sequence[str], syncs: Sequence[Sync]) -> int:
    """Returns how many of the events these syncs would send."""
    settings = MolocoSettings(
        "any", "ANY", syncs, base_url="http://127.0.0.1", channel_type="SITE", transport="none"
    )
    tally = Tally(settings.converter())
    for number, (place, event) in enumerate(_reader(sources)):
        if number == _MOST_EVENTS:
            break
        tally.add(event, place)
    return sum(counts.sent for counts in tally.names.values())


def _show(proposed: Sequence[Sync], count: int, sent: int, code: str) -> None:
    kind = f"{len(proposed)} syncs of your own" if proposed else "the ready-made syncs"
    tried = f"With {kind}, {sent:,} of {count:,} sample events would be sent." if count else ""
    _show_next(_NAME, tried, code, _NEXT)


def _show_next(name: str, tried: str, code: str, next_steps: str) -> None:
    out = console()
    out.print(f"Wrote {name}", style="bold green")
    if tried:
        out.print(tried)
    out.print("\nThe code:\n", style="bold")
    out.print(code, soft_wrap=True)
    out.print("What next:\n", style="bold")
    out.print(next_steps, soft_wrap=True)
