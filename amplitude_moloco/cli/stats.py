"""``amplitude-moloco stats``: says what lies in a durable buffer, while the app runs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping

from rich.filesize import decimal
from rich.table import Table

from amplitude_moloco.buffers.contents import Contents
from amplitude_moloco.cli.buffers import BufferArgument, age, reading
from amplitude_moloco.cli.terminal import AsJson, console, print_json, table
from amplitude_moloco.text import one_line

_MOST_ROWS = 40


def stats(buffer: BufferArgument, *, as_json: AsJson = False) -> None:
    """Show what lies in a durable buffer: what waits, how long, and what is dead.

    Reads what all processes have stored, and changes nothing.

    Exit codes: 0 done, 1 the files can't be read, 2 there is no buffer, 3 locked, or Redis can't be
    used, 130 interrupted.
    """
    with reading(buffer) as reader:
        contents = reader.contents()
        dead: Counter[tuple[str, str]] = Counter()
        first_dead_at = None
        for letter in reader.letters():
            dead[letter.sync, str(letter.reason)] += 1
            first_dead_at = first_dead_at or letter.buried_at
        oldest = None if first_dead_at is None else max(0.0, time.time() - first_dead_at)
        if as_json:
            print_json(_as_json(str(reader.path), reader.target, contents, dead, oldest))
            return
        out = console()
        out.print(f"{one_line(reader.path)}", style="bold", soft_wrap=True)
        out.print(f"for {one_line(reader.target)}", soft_wrap=True)
        out.print(_summary(contents, oldest))
        if dead:
            out.print(_dead_table(dead))
            out.print("To see why: amplitude-moloco dead list BUFFER")


def _summary(contents: Contents, oldest_dead_seconds: float | None) -> Table:
    made = table("Events", "number", "size", "oldest")
    first = contents.oldest_age_seconds
    made.add_row("waiting", f"{contents.waiting:,}", "", "" if first is None else age(first))
    for name, events, size in contents.parts:
        made.add_row(name, f"{events:,}", "" if size is None else decimal(size), "")
    oldest = "" if oldest_dead_seconds is None else age(oldest_dead_seconds)
    made.add_row("dead letters", f"{contents.dead:,}", decimal(contents.dead_bytes), oldest)
    made.caption = contents.caption or None
    return made


def _dead_table(dead: Mapping[tuple[str, str], int]) -> Table:
    made = table("Dead letters of", "reason", "number")
    rows = sorted(dead.items(), key=lambda row: -row[1])
    for (sync, reason), count in rows[:_MOST_ROWS]:
        made.add_row(one_line(sync), reason, f"{count:,}")
    if len(rows) > _MOST_ROWS:
        made.add_row(f"… and {len(rows) - _MOST_ROWS:,} more")
    return made


def _as_json(
    path: str,
    target: str,
    contents: Contents,
    dead: Mapping[tuple[str, str], int],
    oldest_dead_seconds: float | None,
) -> dict[str, object]:
    return {
        "path": one_line(path),
        "target": target,
        "waiting": contents.waiting,
        **contents._asdict(),
        "oldest_dead_seconds": oldest_dead_seconds,
        "dead_by": [
            {"sync": sync, "reason": reason, "dead": count}
            for (sync, reason), count in sorted(dead.items())
        ],
    }
