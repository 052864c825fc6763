"""Resends or deletes dead letters, some at a time, at a limited rate."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from itertools import islice

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from amplitude_moloco.buffers.base import DeadLetter
from amplitude_moloco.buffers.contents import BufferReader
from amplitude_moloco.cli.buffers import Choice
from amplitude_moloco.cli.rate_column import RateColumn
from amplitude_moloco.host.pause import pause

_BATCH = 100
_BATCHES_PER_SECOND = 4
"""At a limited rate: so that it is even, and the bar moves."""


class Change(Enum):
    """What becomes of the chosen letters."""

    RESEND = "resent"
    PURGE = "deleted"


class Batches:
    """The chosen letters that are there now, each batch of which is changed as a whole.

    Args:
        rate: The most letters per second; None: as fast as possible.
    """

    def __init__(self, reader: BufferReader, choice: Choice, rate: float | None) -> None:
        self._reader = reader
        self._choice = choice
        self._rate = rate
        self._last = 0
        self.seconds = 0.0
        """How long the changes took."""
        self.total = self.in_lanes = 0
        """How many there were, and how many of them are sent in a fixed order."""
        for letter in reader.letters():
            if letter in choice:
                self.total += 1
                self.in_lanes += bool(letter.lane)
                self._last = int(str(letter.key))

    def left(self) -> int:
        """Returns how many of them are there still."""
        return sum(1 for _ in self._chosen())

    def change(self, change: Change, step: Callable[[int], object]) -> None:
        """Changes them all. Calls ``step`` after each batch, with its size."""
        started, done = time.monotonic(), 0
        chosen = self._chosen()
        try:
            with self._reader.changing() as letters:
                apply = letters.resend if change is Change.RESEND else letters.delete
                while batch := list(islice(chosen, self._size)):
                    if self._rate:
                        pause(max(0.0, started + done / self._rate - time.monotonic()))
                    apply(batch)
                    done += len(batch)
                    step(len(batch))
        finally:
            self.seconds = time.monotonic() - started

    @property
    def _size(self) -> int:
        if self._rate is None:
            return _BATCH
        return max(1, min(_BATCH, int(self._rate / _BATCHES_PER_SECOND)))

    def _chosen(self) -> Iterator[DeadLetter]:
        for letter in self._reader.letters():
            if int(str(letter.key)) > self._last:  # it has died since
                return
            if letter in self._choice:
                yield letter


@contextmanager
def bar(console: Console, total: int) -> Iterator[Callable[[int], None]]:
    """Shows how many of all letters are done, on a terminal. Yields a function for each batch."""
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
    )
    if not console.is_terminal:
        yield lambda size: None
        return
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda size: progress.update(task, advance=size, refresh=True)
