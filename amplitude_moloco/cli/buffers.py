"""The files of durable buffers, and which dead letters in them a command is about."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Annotated

import typer

from amplitude_moloco.buffers.base import DeadLetter
from amplitude_moloco.buffers.contents import BufferReader
from amplitude_moloco.buffers.readers import open_reader
from amplitude_moloco.buffers.redis.address import is_redis, without_login
from amplitude_moloco.buffers.url import file_of
from amplitude_moloco.cli.terminal import FAILED, LATER, end, ending_well
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.reasons import DeadLetterReason
from amplitude_moloco.text import one_line, shown

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGE = re.compile(r"(\d{1,9})([smhdw])")

BufferArgument = Annotated[
    str,
    typer.Argument(
        metavar="BUFFER",
        help="A durable buffer: the path of its file, or its URL (sqlite:///…, redis://…).",
    ),
]
ReasonOption = Annotated[
    list[DeadLetterReason] | None, typer.Option("--reason", help="Why they are dead. Repeatable.")
]
SyncOption = Annotated[
    list[str] | None, typer.Option("--sync", help="The name of their sync. Repeatable.")
]
OlderOption = Annotated[
    str | None, typer.Option("--older-than", help="Dead for longer: 30s, 15m, 12h, 7d or 2w.")
]
NewerOption = Annotated[str | None, typer.Option("--newer-than", help="Dead for less than this.")]


@dataclass(frozen=True)
class Choice:
    """Which dead letters a command is about. Without any condition, all of them."""

    reasons: Collection[str] = ()
    syncs: Collection[str] = ()
    ids: Collection[str] = ()
    dead_before: float | None = None
    """Unix time in seconds."""
    dead_after: float | None = None

    @property
    def is_all(self) -> bool:
        """Whether there is no condition."""
        has_times = self.dead_before is not None or self.dead_after is not None
        return not (self.reasons or self.syncs or self.ids or has_times)

    def __contains__(self, letter: object) -> bool:
        return (
            isinstance(letter, DeadLetter)
            and (not self.reasons or letter.reason in self.reasons)
            and (not self.syncs or letter.sync in self.syncs)
            and (not self.ids or letter.id in self.ids)
            and (self.dead_before is None or letter.buried_at < self.dead_before)
            and (self.dead_after is None or letter.buried_at > self.dead_after)
        )


def choice_of(
    reasons: Collection[str] | None,
    syncs: Collection[str] | None,
    older_than: str | None,
    newer_than: str | None,
    *,
    ids: Collection[str] | None = None,
    clock: Callable[[], float] = time.time,
) -> Choice:
    """Returns the choice that the options of a command make. Raises ConfigurationError."""
    now = clock()
    older, newer = _seconds("--older-than", older_than), _seconds("--newer-than", newer_than)
    return Choice(
        frozenset(reasons or ()),
        frozenset(syncs or ()),
        frozenset(ids or ()),
        None if older is None else now - older,
        None if newer is None else now - newer,
    )


@contextmanager
def reading(buffer: str) -> Iterator[BufferReader]:
    """Opens a buffer read-only. Ends the command if it can't be read or written."""
    with ending_well():
        is_remote = is_redis(buffer)
        name = without_login(buffer) if is_remote else file_of(buffer)
        try:
            with closing(open_reader(buffer)) as reader:
                yield reader
        except BrokenPipeError:  # of the output, whose reader has seen enough
            raise
        except (OSError, sqlite3.Error) as error:
            is_locked = isinstance(error, sqlite3.OperationalError) and "locked" in str(error)
            code = LATER if is_locked or is_remote else FAILED
            end(code, f"{one_line(name)}: {one_line(error)}")


def age(seconds: float) -> str:
    """Returns an age in words, in the two largest units that it needs: ``3 h 12 min``."""
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s"))
    first = next((i for i, (count, _) in enumerate(parts) if count), 3)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


def _seconds(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    found = _AGE.fullmatch(text.strip().lower())
    if found is None:
        raise ConfigurationError(f"{option}: found {shown(text)}; use 30s, 15m, 12h, 7d or 2w")
    return float(int(found[1]) * _UNITS[found[2]])
