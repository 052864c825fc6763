"""What a journal holds that is not done, as another process reads it."""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from pathlib import Path

from amplitude_moloco.buffers.sqlite.record import (
    DONE,
    EVENTS,
    START,
    TAKEN,
    Damage,
    Event,
    event_of,
    numbers_of,
    scan,
)

_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Remains:
    """The journal of a process that has died, or of one that still writes. Raises OSError.

    Args:
        stored: The numbers of events that are in the store, though the journal may not say so.
        taken_until: What was to leave the store, and has a higher number, is still there.
    """

    def __init__(self, file: Path, token: str, stored: set[int], taken_until: float) -> None:
        pattern = re.compile(rf"{re.escape(file.name)}-{token}-\d+\.journal")
        found = (each for each in file.parent.iterdir() if pattern.fullmatch(each.name))
        self._paths = sorted(found)
        self._events: dict[int, Event] = {}
        self._notes: dict[int, list[int]] = {DONE: [], TAKEN: [], START: []}
        self._damaged: list[Path] = []
        for path in self._paths:
            for record in scan(_content(path)):
                if isinstance(record, Damage):
                    if not record.is_torn:
                        self._damaged.append(path)
                elif record.kind in EVENTS:
                    event = event_of(record)
                    self._events[event.number] = event
                else:
                    self._notes[record.kind] += numbers_of(record)
        numbers = iter(self._notes[TAKEN])
        self._keys = dict(zip(numbers, numbers, strict=True))
        self._done = stored.union(self._notes[DONE])
        self._done.update(number for number in self._keys if number > taken_until)

    def events(self) -> list[Event]:
        """Returns the events that are not done, oldest first."""
        left = self._events.keys() - self._done
        events = [self._events[each]._replace(key=self._keys.get(each, 0)) for each in left]
        return sorted(events, key=lambda event: event.order)

    def lost(self) -> list[int | None]:
        """Returns the numbers of events that were damaged; None where that can't be known."""
        if not self._damaged:
            return []
        starts, numbers = self._notes[START], self._events.keys()
        known = range(starts[0], max(numbers) + 1) if starts and numbers else ()
        return [*sorted({*known} - numbers - self._done)] or [None]

    def delete(self) -> None:
        """Delete the segments; those that are damaged are kept under another name."""
        for path in self._paths:
            if path in self._damaged:
                path.rename(path.with_suffix(".damaged"))
            else:
                with suppress(FileNotFoundError, IsADirectoryError):
                    path.unlink()


def _content(path: Path) -> bytes:
    """Returns the content of a segment; nothing if it is gone, or is a link or a folder."""
    try:
        with open(path, "rb", opener=lambda name, _: os.open(name, _READ_FLAGS)) as file:
            return file.read()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.EISDIR):
            return b""
        raise
