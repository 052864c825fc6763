"""What a journal holds that is not done, as another process reads it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from amplitude_moloco.buffers.sqlite.record import (
    COMMITTED,
    DONE,
    EVENT,
    START,
    STEP,
    Damage,
    Event,
    event_of,
    numbers_of,
    scan,
)

_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Remains:
    """The journal of a process that has died, or of one that still writes.

    Args:
        step: The last transaction of its process with the store, as the store knows it.
    """

    def __init__(self, file: Path, token: str, step: int) -> None:
        pattern = re.compile(rf"{re.escape(file.name)}-{token}-\d+\.journal")
        found = (each for each in file.parent.iterdir() if pattern.fullmatch(each.name))
        self._paths = sorted(found)
        self._events: dict[int, Event] = {}
        self._notes: dict[int, list[list[int]]] = {DONE: [], STEP: [], COMMITTED: [], START: []}
        self._damaged: list[Path] = []
        for path in self._paths:
            for record in scan(_content(path)):
                if isinstance(record, Damage):
                    if not record.is_torn:
                        self._damaged.append(path)
                elif record.kind == EVENT:
                    event = event_of(record)
                    self._events[event.number] = event
                else:
                    self._notes[record.kind].append(numbers_of(record))
        self._done = {number for note in self._notes[DONE] for number in note}
        committed = {step, *(number for note in self._notes[COMMITTED] for number in note)}
        for number, first, last, *moved in self._notes[STEP]:
            self._done.update(moved if number in committed else range(first, last + 1))

    def events(self) -> list[Event]:
        """Returns the events that are not done, oldest first."""
        left = (event for event in self._events.values() if event.number not in self._done)
        return sorted(left, key=lambda event: event.order)

    def lost(self) -> list[int | None]:
        """Returns the numbers of events that were damaged; None where that can't be known."""
        starts, numbers = self._notes[START], self._events
        known = range(starts[0][0], max(numbers) + 1) if starts and numbers else ()
        missing: list[int | None] = sorted({*known} - {*numbers} - self._done)
        return missing or [None] * bool(self._damaged)

    def __len__(self) -> int:
        return len(self._events.keys() - self._done)

    def delete(self) -> None:
        """Delete the segments; those that are damaged are kept under another name."""
        for path in self._paths:
            if path in self._damaged:
                path.rename(path.with_suffix(".damaged"))
            else:
                path.unlink(missing_ok=True)


def _content(path: Path) -> bytes:
    """Returns the content of a segment; nothing if it is gone, or can't be read."""
    try:
        with open(path, "rb", opener=lambda name, _: os.open(name, _READ_FLAGS)) as file:
            return file.read()
    except OSError:
        return b""
