"""Reads a buffer's files while other processes use them. It changes none of them, and locks none.

A SqliteBuffer takes part in all that happens to its files, from the moment it is opened: it takes a
lock, takes over what the dead have left, and mends what is damaged. A reader only looks.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from math import inf
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from amplitude_moloco.buffers.base import DeadLetter
from amplitude_moloco.buffers.contents import Part
from amplitude_moloco.buffers.sqlite.file import is_corrupt
from amplitude_moloco.buffers.sqlite.guard import check_files
from amplitude_moloco.buffers.sqlite.letters import LetterFile
from amplitude_moloco.buffers.sqlite.owner import tokens_beside
from amplitude_moloco.buffers.sqlite.record import Event, read_event, unpack
from amplitude_moloco.buffers.sqlite.remains import Remains
from amplitude_moloco.buffers.sqlite.schema import APPLICATION_ID, VERSION
from amplitude_moloco.buffers.sqlite.store import LETTERS, PAGE, check_order, letter_from
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.text import one_line

_PATIENCE_SECONDS = 3.0
_OWNERS = "SELECT token, numbers, taken FROM owners"
_FIRST = "SELECT frame FROM events ORDER BY key LIMIT 1"
_TOTALS = """SELECT events, bytes, dead, dead_bytes, (SELECT min(due) FROM events),
    (SELECT count(*) FROM damaged) FROM totals"""
_LAST_LETTER = "SELECT coalesce(max(number), 0) FROM letters"
Row = tuple[Any, ...]


class Contents(NamedTuple):
    """What lies in a buffer's files at one moment, of all processes."""

    stored: int
    """Events in the SQLite file."""
    stored_bytes: int
    """The size of their bodies."""
    journaled: int
    """Events in journals: on their way, or not in the SQLite file yet."""
    journals: int
    """The processes with such events. They live, or have died."""
    dead: int
    dead_bytes: int
    damaged: int
    """Records that can't be read any more, and are kept for a person to look at."""
    oldest_age_seconds: float | None
    """The age of the event that was accepted first; None for none."""
    next_seconds: float | None
    """Seconds until the next attempt of an event in the SQLite file; None if none waits there."""

    @property
    def waiting(self) -> int:
        """The events that are not delivered yet."""
        return self.stored + self.journaled

    @property
    def parts(self) -> tuple[Part, ...]:
        """Where they are, and what is damaged."""
        damaged = [Part("damaged records", self.damaged)] if self.damaged else []
        return (
            Part("  in the file", self.stored, self.stored_bytes),
            Part("  in journals", self.journaled),
            *damaged,
        )

    @property
    def caption(self) -> str:
        return f"in the journals of {self.journals:,} process(es)" if self.journals else ""


class SqliteReader:
    """The files of a SqliteBuffer, read-only. All methods raise sqlite3.Error and OSError.

    Raises ConfigurationError if there is no buffer at this path, or one of another release.

    Args:
        path: The SQLite file. Links are followed, as in a SqliteBuffer.
        wall: Gives the Unix time in seconds.
    """

    def __init__(self, path: str | os.PathLike[str], wall: Callable[[], float] = time.time) -> None:
        self.path = Path(os.path.realpath(path))
        self._wall = wall
        name = one_line(self.path)
        if not self.path.exists():
            raise ConfigurationError(f"buffer: {name} does not exist; use the path of a buffer")
        check_files(self.path)
        try:
            ((application_id,),) = self._read("PRAGMA application_id")
        except sqlite3.DatabaseError as error:
            if not is_corrupt(error):
                raise
            application_id = 0
        if application_id != APPLICATION_ID:
            raise ConfigurationError(f"buffer: {name} is not a buffer; use the path of a buffer")
        ((version,),) = self._read("PRAGMA user_version")
        if version != VERSION:
            raise ConfigurationError(
                f"buffer: {name} has version {version} of the schema, this release uses {VERSION}; "
                f"use the release that wrote it, or start the app with this one first"
            )
        ((self.target,),) = self._read("SELECT target FROM totals")

    def contents(self) -> Contents:
        """Returns what lies in the files now."""
        journals = [events for events in self._journals() if events]
        events = [event for journal in journals for event in journal]
        ((stored, size, dead, dead_bytes, due, damaged),) = self._read(_TOTALS)
        stored_first = (read_event(frame) for (frame,) in self._read(_FIRST))
        first = [event.accepted_at for event in [*events, *filter(None, stored_first)]]
        now = self._wall()
        return Contents(
            *(stored, size, len(events), len(journals), dead, dead_bytes, damaged),
            oldest_age_seconds=max(0.0, now - min(first)) if first else None,
            next_seconds=None if due is None else max(0.0, due - now),
        )

    def letters(self) -> Iterator[DeadLetter]:
        """Yields the dead letters that are there now, oldest first, page by page.

        Others may be added or removed meanwhile. What is damaged is left out.
        """
        last = 0
        ((until,),) = self._read(_LAST_LETTER)
        while last < until and (rows := self._read(LETTERS, (last, PAGE))):
            check_order(rows, last)
            for row in rows:
                letter = letter_from(row) if row[0] <= until else None
                if letter is not None:
                    yield letter
            last = rows[-1][0]

    def changing(self) -> closing[LetterFile]:
        """Opens the file to change its dead letters."""
        return closing(LetterFile(self.path, target=self.target))

    def close(self) -> None:
        """Does nothing: no connection stays open between two calls."""

    def _journals(self) -> list[list[Event]]:
        known = {token: (set(unpack(n)), taken) for token, n, taken in self._read(_OWNERS)}
        tokens = tokens_beside(self.path) | known.keys()
        return [
            Remains(self.path, token, *known.get(token, (set(), inf))).events()
            for token in sorted(tokens)
        ]

    def _read(self, query: str, values: Row = ()) -> list[Row]:
        """Returns the rows of a query. No transaction is open between two of them."""
        while True:
            before = self._files()
            has_wal = before[1] is not None
            # Without a WAL, no process has the file open. SQLite would create one even to read it,
            # but for a file that it takes for immutable.
            mode = "mode=ro" if has_wal else "mode=ro&immutable=1"
            address = f"file:{quote(os.fsencode(self.path))}?{mode}"
            with closing(sqlite3.connect(address, uri=True, timeout=_PATIENCE_SECONDS)) as db:
                db.text_factory = lambda text: text.decode(errors="replace")
                rows = db.execute(query, values).fetchall()
            if has_wal or self._files() == before:
                return rows

    def _files(self) -> tuple[object, object]:
        wal = Path(f"{self.path}-wal")
        found = self.path.stat()
        return (found.st_ino, found.st_size, found.st_mtime_ns), wal.exists() or None
