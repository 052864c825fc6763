"""The events of one process that are not in the store: each is in its memory and its journal."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Hashable
from itertools import count
from typing import Any

from amplitude_moloco.buffers.base import Claim, Entry
from amplitude_moloco.buffers.sqlite.journal import Journal
from amplitude_moloco.buffers.sqlite.record import DONE, GONE, Event, frame_of, note_frame
from amplitude_moloco.buffers.sqlite.tail import Batch, Letter, Row, Tail, What
from amplitude_moloco.host.interruption import is_interruption
from amplitude_moloco.host.locks import release_fully
from amplitude_moloco.reasons import DropReason


class Outbox:
    """Safe from any thread. Its lock is held for an append to the journal at most.

    Args:
        token: Names this process's claims.
        bounds: Of events and bytes, and of what is in the store as well; see ``shared``.
        wall, monotonic: Give Unix seconds, and seconds that never go back.
        is_synced: Whether each put waits for the disk.
    """

    def __init__(
        self,
        journal: Journal,
        token: str,
        bounds: tuple[int, int],
        *,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        is_synced: bool,
    ) -> None:
        self.journal = journal
        self._token = token
        self._max_events, self._max_bytes = bounds
        self._wall = wall
        self._is_synced = is_synced
        self.lock = threading.RLock()
        self._syncing = threading.RLock()
        self._synced = 0
        self.tail = Tail(*bounds, monotonic)
        self._numbers = count(1)
        self.last = 0
        """The number of the newest event."""
        self.shared = (0, 0)
        """Events and bytes of the store, and of other processes."""
        self.unnoted: list[int] = []
        """The numbers of events that are done, though the journal could not be told."""
        self.unwritten_from = 1
        """The first number that is not in the journal; 0 if there is none."""
        self.fault = ""
        """Why the journal can't be written."""
        self.sync_fault = ""
        """Why the disk has not written it."""
        self.is_closed = False
        self._claims = count(1)

    # -- the app's threads -------------------------------------------------------------------

    def put(self, id: str, sync: str, body: bytes) -> DropReason | None:
        """As ``Buffer.put``. An exception that strikes from outside leaves all other events."""
        try:
            refused = self._put(id, sync, body)
            if self._is_synced and refused is None:
                self.sync()
        except Exception as error:
            self._recover()
            if is_interruption(error):
                raise
            return DropReason.UNAVAILABLE  # an app's thread must not see it, whatever it is
        except BaseException:  # from a signal handler, after any instruction
            self._recover()
            raise
        return refused

    def _put(self, id: str, sync: str, body: bytes) -> DropReason | None:
        """A finalizer or a signal handler may call it once more, anywhere in the midst."""
        size, tail = len(body), self.tail
        with self.lock:
            if self.is_closed:
                return DropReason.CLOSED
            events, shared_bytes = self.shared
            if (
                tail.events + events >= self._max_events
                or tail.bytes + shared_bytes + size > self._max_bytes
                or tail.is_full
            ):
                return DropReason.FULL
            number = self._next_number()
            # The copy lets go of what the encoder has allocated beyond its length.
            event = Event(number, self._wall(), sync, id, b"%b" % body)
            frame = frame_of(event)
            segment = None if self.unwritten_from else self.journal.current
            if segment is not None:
                try:
                    segment.append(frame)
                    self.journal.written += 1
                except OSError as error:
                    if is_interruption(error):
                        raise
                    self.lose_journal(error, number)
            tail.new.append(event)
            tail.events += 1
            tail.bytes += size
            return None

    def _next_number(self) -> int:
        number = next(self._numbers)
        # A call could be interrupted by another put.
        self.last = number if number > self.last else self.last  # noqa: FURB136
        return number

    def _recover(self) -> None:
        """Called without the locks, or with some that were not released."""
        release_fully(self._syncing)
        release_fully(self.lock)
        with self.lock:
            self.tail.recount()

    def sync(self) -> None:
        """Have the disk write what was appended until now, once for all threads that wait."""
        wanted = self.journal.written
        with self._syncing:
            if self._synced >= wanted:
                return
            with self.lock:
                written, last = self.journal.written, self.journal.last_descriptors()
            try:
                for descriptor in last:
                    os.fdatasync(descriptor)
                self._synced = written
            except OSError as error:
                if is_interruption(error):
                    raise
                self.sync_fault = error.strerror or str(error)
            finally:
                for descriptor in last:
                    os.close(descriptor)

    # -- the senders -------------------------------------------------------------------------

    def has_due(self, limit: int) -> bool:
        """Whether this many are due here."""
        with self.lock:
            return self.tail.has_due(limit)

    def claim(self, limit: int, newest: int) -> Claim:
        """As ``Buffer.claim``, of what is here."""
        with self.lock:
            entries = []
            for event in self.tail.pop_due(limit, newest):
                key = self._token, next(self._claims)
                self.tail.claimed[key] = event
                entries.append(self._entry(key, event))
            return Claim(entries, self.tail.next_seconds())

    def ack(self, key: Hashable) -> bool:
        """Remove a claimed event that was delivered, and note it."""
        with self.lock:
            event = self._remove(key)
            if event is not None and event.key:
                self.tail.gone.append(Row(event.key, len(event.body)))
                self._note(GONE, [event.key])
            elif event is not None:
                self._note(DONE, [event.number])
            return event is not None

    def retry(self, key: Hashable, delay_seconds: float, attempts: int, strikes: int) -> bool:
        """Keep a claimed event until it is due again."""
        with self.lock:
            event = self.tail.claimed.pop(key, None)
            if event is None:
                return False
            event = event._replace(attempts=attempts, strikes=strikes)
            self.tail.add_retry(event, delay_seconds)
            return True

    def bury(self, key: Hashable, attempts: int, *how: Any) -> bool:
        """Turn a claimed event into a dead letter; ``how`` it ended, as ``Letter`` has it."""
        with self.lock:
            event = self._remove(key)
            if event is not None:
                letter = Letter(event._replace(attempts=attempts), self._wall(), *how)
                self.tail.letters.append(letter)
            return event is not None

    def _remove(self, key: Hashable) -> Event | None:
        event = self.tail.claimed.pop(key, None)
        if event is not None and event.key:
            events, size = self.shared
            self.shared = events - 1, size - len(event.body)
        elif event is not None:
            self.tail.count([event], -1)
        return event

    def _entry(self, key: Hashable, event: Event) -> Entry:
        _, accepted_at, sync, id, body, attempts, strikes, _, _ = event
        age_seconds = max(0.0, self._wall() - accepted_at)
        return Entry(key, id, sync, body, accepted_at, age_seconds, attempts, strikes)

    # -- to and from the store ---------------------------------------------------------------

    def begin_move(self, what: What) -> Batch:
        """Take out what should go into the store."""
        with self.lock:
            return self.tail.begin_move(what, is_written=not self.unwritten_from)

    def end_move(self, batch: Batch, *, is_done: bool) -> None:
        """It is in the store now, or must come back here."""
        with self.lock:
            self.tail.end_move(batch, is_done=is_done)
            if is_done:
                self._share([event for event in batch.events() if not event.key])
                moved = batch.events() + [letter.event for letter in batch.letters]
                self._note(DONE, [event.number for event in moved if not event.key])

    def add_taken(self, events: list[Event], gone: list[Row]) -> None:
        """Hold events that were claimed in the store, from which these rows were deleted."""
        with self.lock:
            del self.tail.gone[: len(gone)]
            self.tail.add_taken(events, self._wall())

    def add_resent(self, event: Event) -> None:
        """Hold a dead letter that is an event again, claimed in the store."""
        with self.lock:
            self.tail.new.append(event._replace(number=self._next_number()))
            self._share([event])

    def _share(self, events: list[Event]) -> None:
        """Count events as stored."""
        shared, size = self.shared
        self.shared = shared + len(events), size + sum(len(event.body) for event in events)

    def close(self) -> dict[int, Hashable]:
        """Refuse everything from now on. Returns the claim of each number that is claimed."""
        with self.lock:
            self.is_closed = True
            return self.tail.return_claims(self._wall())

    # -- the journal -------------------------------------------------------------------------

    def _note(self, kind: int, numbers: list[int]) -> None:
        try:
            self.journal.append(note_frame(kind, numbers))
        except OSError as error:
            self.lose_journal(error)
            if kind == DONE:
                self.unnoted += numbers

    def lose_journal(self, error: OSError, first: int = 0) -> None:
        """Keep events in memory alone, from this number on or from the next one."""
        with self.lock:
            first = first or self.last + 1
            self.journal.current = None
            self.unwritten_from = min(self.unwritten_from or first, first)
            self.fault = self.fault or error.strerror or str(error)

    def spare_disk(self) -> None:
        """Keep new events in memory alone: the rest of the disk is for settling what is stored."""
        with self.lock:
            self.unwritten_from = self.unwritten_from or self.last + 1
            self.fault = os.strerror(errno.ENOSPC)

    def unwritten(self, claims: dict[int, Hashable]) -> list[Entry]:
        """Returns what is here and not in the journal, with the claims that it had."""
        first = self.unwritten_from or self.last + 1
        return [
            self._entry(claims.get(event.number), event)
            for event in self.tail
            if event.number >= first and not event.key
        ]

    def rotate_journal(self, *, is_cramped: bool) -> None:
        """Begin another segment if it is time. Raises OSError."""
        with self.lock:
            is_due = self.journal.is_due(
                is_cramped=is_cramped, is_idle=lambda: self.tail.oldest() > self.last
            )
        if is_due:
            segment = self.journal.new_segment()
            with self.lock:
                self.journal.begin(segment, self.last + 1)

    def trim_journal(self) -> None:
        """Delete the segments in which nothing is needed, if no row waits for its deletion.

        Call it after a move that followed the last rotation: notes of rows are in the newest then.
        """
        with self.lock:
            self.journal.trim(self.tail.oldest)

    def rewrite_journal(self) -> None:
        """Write all into a new segment, and give up the others. Raises OSError."""
        segment = self.journal.new_segment()
        with self.lock:
            events = [*self.tail, *(letter.event for letter in self.tail.letters)]
            frames = [frame_of(event) for event in events if not event.key]
            gone = note_frame(GONE, [row.key for row in self.tail.gone])
            self.journal.begin(segment, self.last + 1, b"".join([gone, *frames]))
            self.journal.close(is_done=True, most=1)
            self.unwritten_from, self.fault, self.unnoted = 0, "", []
