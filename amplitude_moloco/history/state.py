"""What became of each event of a backfill, from one run to the next."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from amplitude_moloco.convert.conversion import Conversion
from amplitude_moloco.history.outcome import Ended, Outcome, Refusal
from amplitude_moloco.history.place import Place
from amplitude_moloco.history.state_file import Batch, Key, StateFile

_WRITE_EVENTS = 1000
"""After this many more events are behind it, that is written."""


class Read(NamedTuple):
    """An event of a file, and what the syncs made of it."""

    number: int
    """Events count from 1 in each file."""
    place: Place
    conversions: Sequence[Conversion]


class _Pending:
    """An event that was read. It is behind it once no sync has it on its way."""

    __slots__ = ("ended", "event", "file", "on_their_way", "place")

    def __init__(self, file: int, event: int, place: Place) -> None:
        self.file, self.event, self.place = file, event, place
        self.on_their_way: set[str] = set()
        self.ended: list[Ended] = []


class State:
    """Safe from any thread. All methods raise sqlite3.Error.

    After ``kill -9`` it has each outcome that was noted; after a loss of power perhaps not the last
    ones, so that their events are sent once more.

    The arguments are those of :class:`StateFile`, which says what is raised.
    """

    def __init__(self, path: Path, *, target: str, selection: str) -> None:
        self._lock = threading.RLock()
        self._pending: deque[_Pending] = deque()
        self._sent: dict[tuple[str, str], _Pending] = {}
        self._beyond: dict[Key, Ended] = {}
        self._batch = Batch()
        self._unwritten = 0
        self._file = StateFile(path, target=target, selection=selection)
        self.counts = self._file.counts

    def close(self) -> None:
        """Write what is left, and let another process use the file."""
        with self._lock:
            with suppress(sqlite3.Error):
                self._write()
            self._file.close()

    # -- reading -----------------------------------------------------------------------------

    def begin_file(self, name: str, size: int | None) -> tuple[int, int] | None:
        """Returns a file's number, and its event up to which all is done; None if all is.

        Raises ConfigurationError if its size is not what it was.
        """
        with self._lock:
            known = self._file.begin_file(name, size)
            if known is None:
                return None
            self._beyond.update(known.beyond)
            return known.number, known.upto

    def begin(self, file: int, events: Sequence[Read]) -> list[Conversion]:
        """Note events that were read. Returns what is to be sent of them, each to be settled."""
        with self._lock:
            repeated = self._repeated(file, events)
            to_send: list[Conversion] = []
            for event in events:
                pending = _Pending(file, event.number, event.place)
                for each in event.conversions:
                    key = file, event.number, each.sync
                    ended = self._beyond.pop(key, None) or _ended_already(each, key in repeated)
                    if ended is not None:
                        self._end(pending, ended)
                    else:
                        pending.on_their_way.add(each.sync)
                        self._sent[each.sync, str(each.id)] = pending
                        to_send.append(each)
                self._pending.append(pending)
            self._advance()
            return to_send

    def _repeated(self, file: int, events: Sequence[Read]) -> set[Key]:
        """Returns which of them have an id that an earlier event has had for the same sync."""
        ids = [
            (event.number, each.sync, each.id)
            for event in events
            for each in event.conversions
            if not each.problems
        ]
        if not ids:
            return set()
        are_first = self._file.are_first(file, ids)
        return {
            (file, event, sync)
            for (event, sync, _), is_first in zip(ids, are_first, strict=True)
            if not is_first
        }

    def end_file(self, file: int) -> None:
        """Note that all events of a file were read."""
        with self._lock:
            self._pending.append(_Pending(file, -1, Place("")))
            self._advance()

    @property
    def on_their_way(self) -> int:
        """How many events wait to be settled."""
        return len(self._sent)

    @property
    def window(self) -> int:
        """How many events were read, the first of which is not done."""
        return len(self._pending)

    # -- settling ----------------------------------------------------------------------------

    def settle(self, sync: str, id: str, outcome: Outcome, reason: str = "") -> None:
        """Note the outcome of an event that was sent. It is written when this returns."""
        with self._lock:
            self._settle(sync, id, Ended(sync, outcome, reason))

    def refuse(self, sync: str, id: str, reason: str, *, status: int | None, message: str) -> None:
        """As ``settle``, of an event that was not accepted. It is kept for the report."""
        with self._lock:
            place = str(self._sent[sync, id].place)
            refusal = Refusal(place, sync, id, reason, status, message)
            self._settle(sync, id, Ended(sync, Outcome.REFUSED, reason), refusal)

    def _settle(self, sync: str, id: str, ended: Ended, refusal: Refusal | None = None) -> None:
        pending = self._sent.pop((sync, id))
        self._file.note((pending.file, pending.event, sync), ended, refusal)
        pending.on_their_way.discard(sync)
        self._end(pending, ended)
        self._advance()

    def _end(self, pending: _Pending, ended: Ended) -> None:
        pending.ended.append(ended)
        self.counts[ended] += 1

    def _advance(self) -> None:
        """Count what is done with all before it, and forget it."""
        batch = self._batch
        while self._pending and not self._pending[0].on_their_way:
            done = self._pending.popleft()
            if done.event < 0:
                batch.done_files.append(done.file)
            else:
                batch.upto[done.file] = done.event
                for ended in done.ended:
                    batch.count(ended, done.place)
            self._unwritten += 1
        if self._unwritten >= _WRITE_EVENTS:
            self._write()

    def _write(self) -> None:
        self._file.write(self._batch)
        self._batch = Batch()
        self._unwritten = 0

    # -- what became of them -----------------------------------------------------------------

    def first_places(self) -> dict[Ended, str]:
        """Returns the place of the first event of each outcome."""
        with self._lock:
            self._write()
            return {ended: place for ended, _, place in self._file.outcomes()}

    def refusals(self) -> list[Refusal]:
        """Returns what was sent and not accepted, in the order of the export."""
        with self._lock:
            self._write()
            return list(self._file.refusals())


def _ended_already(conversion: Conversion, is_repeated: bool) -> Ended | None:
    if conversion.problems:
        return Ended(conversion.sync, Outcome.INVALID, conversion.problems[0].code)
    return Ended(conversion.sync, Outcome.DUPLICATE) if is_repeated else None
