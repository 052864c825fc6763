"""The events of one process that are not in the store: each is in its memory and its journal."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Hashable
from typing import Any

from amplitude_moloco.buffers.base import Claim, Entry
from amplitude_moloco.buffers.sqlite.journal import Journal
from amplitude_moloco.buffers.sqlite.record import DONE, Event, frame_of
from amplitude_moloco.buffers.sqlite.waiting import Batch, Letter, Waiting, What
from amplitude_moloco.host.interruption import is_interruption
from amplitude_moloco.host.locks import release_fully
from amplitude_moloco.reasons import DropReason


class Outbox:
    """Safe from any thread. Its lock is held for an append to the journal at most.

    Args:
        bounds: Of events and bytes, and of what is in the store as well; see ``shared``.
        clocks: The wall's, in Unix seconds, and one that never goes back.
        is_synced: Whether each put waits for the disk.
    """

    def __init__(
        self,
        journal: Journal,
        token: str,
        bounds: tuple[int, int],
        clocks: tuple[Callable[[], float], Callable[[], float]],
        *,
        is_synced: bool,
    ) -> None:
        self.journal = journal
        self.token = token
        self._max_events, self._max_bytes = bounds
        self._wall, monotonic = clocks
        self._is_synced = is_synced
        self.lock = threading.RLock()
        self.waiting = Waiting(monotonic)
        self.last = 0
        """The number of the newest event."""
        self.shared = (0, 0)
        """Events and bytes of the store, and of other processes."""
        self.unwritten_from = 1
        """The first number that is not in the journal; 0 if there is none."""
        self.fault = ""
        """Why the journal can't be written."""
        self.sync_fault = ""
        """Why the disk has not written it."""
        self.is_closed = False
        self._claims = 0

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
        size, waiting = len(body), self.waiting
        with self.lock:
            if self.is_closed:
                return DropReason.CLOSED
            events, shared_bytes = self.shared
            if (
                waiting.events + events >= self._max_events
                or waiting.bytes + shared_bytes + size > self._max_bytes
                or waiting.is_full
            ):
                return DropReason.FULL
            # The copy lets go of what the encoder has allocated beyond its length.
            event = Event(self.last + 1, self._wall(), sync, id, b"%b" % body)
            frame = frame_of(event)
            self.last += 1
            segment = None if self.unwritten_from else self.journal.current
            if segment is not None:
                try:
                    segment.append(frame)
                    self.journal.written += 1
                except OSError as error:
                    if is_interruption(error):
                        raise
                    self.lose_journal(error)
            waiting.new.append(event)
            waiting.events += 1
            waiting.bytes += size
            return None

    def _recover(self) -> None:
        """Called without the lock, or with one that was not released."""
        release_fully(self.lock)
        self.journal.recover()
        with self.lock:
            self.waiting.recount()

    def sync(self) -> None:
        """Have the disk write the journal."""
        try:
            self.journal.sync()
        except OSError as error:
            if is_interruption(error):
                raise
            self.sync_fault = error.strerror or str(error)

    # -- the senders -------------------------------------------------------------------------

    def has_due(self, limit: int) -> bool:
        """Whether this many are due here."""
        with self.lock:
            return self.waiting.has_due(limit)

    def claim(self, limit: int, newest: int) -> Claim:
        """As ``Buffer.claim``, of what is here."""
        with self.lock:
            entries = []
            for event in self.waiting.pop_due(limit, newest):
                self._claims += 1
                key = self.token, self._claims
                self.waiting.claimed[key] = event
                entries.append(self._entry(key, event))
            return Claim(entries, self.waiting.next_seconds())

    def ack(self, key: Hashable) -> bool:
        """Remove a claimed event that was delivered, and note it."""
        with self.lock:
            event = self.waiting.claimed.pop(key, None)
            if event is None:
                return False
            self.waiting.count([event], -1)
        self.journal.note(DONE, [event.number])
        return True

    def retry(self, key: Hashable, delay_seconds: float, attempts: int, strikes: int) -> bool:
        """Keep a claimed event until it is due again."""
        with self.lock:
            event = self.waiting.claimed.pop(key, None)
            if event is None:
                return False
            event = event._replace(attempts=attempts, strikes=strikes)
            self.waiting.add_later(event, delay_seconds)
            return True

    def bury(self, key: Hashable, attempts: int, *how: Any) -> bool:
        """Turn a claimed event into a dead letter; ``how`` it ended, as ``Letter`` has it."""
        with self.lock:
            event = self.waiting.claimed.pop(key, None)
            if event is None:
                return False
            self.waiting.count([event], -1)
            letter = Letter(event._replace(attempts=attempts), self._wall(), *how)
            self.waiting.letters.append(letter)
            return True

    def _entry(self, key: Hashable, event: Event) -> Entry:
        _, accepted_at, sync, id, body, attempts, strikes, _, _ = event
        age_seconds = max(0.0, self._wall() - accepted_at)
        return Entry(key, id, sync, body, accepted_at, age_seconds, attempts, strikes)

    # -- to and from the store ---------------------------------------------------------------

    def begin_move(self, what: What) -> Batch:
        """Take out what should go into the store."""
        with self.lock:
            return self.waiting.begin_move(what, is_written=not self.unwritten_from)

    def end_move(self, batch: Batch, *, is_done: bool) -> None:
        """It is in the store now, or must come back here."""
        with self.lock:
            self.waiting.end_move(batch, is_done=is_done)
            if is_done:
                self._share(batch.events(), 1)

    def write_taken(self, events: list[Event], note: Callable[[int, int], bytes]) -> list[Event]:
        """Append events from the store to the journal, after a note. Returns them with numbers.

        Raises OSError.
        """
        with self.lock:
            first = self.last + 1
            events = [event._replace(number=first + i) for i, event in enumerate(events)]
            self.last += len(events)
            try:
                self.journal.append(b"".join([note(first, self.last), *map(frame_of, events)]))
            except OSError as error:
                self.lose_journal(error)
                raise
            return events

    def add_taken(self, events: list[Event]) -> None:
        """Hold events that have left the store."""
        with self.lock:
            self.waiting.add_taken(events, self._wall())
            self._share([event for event in events if event.key], -1)

    def _share(self, events: list[Event], sign: int) -> None:
        shared, size = self.shared
        self.shared = (
            shared + sign * len(events),
            size + sign * sum(len(event.body) for event in events),
        )

    def close(self) -> dict[int, Hashable]:
        """Refuse everything from now on. Returns the claim of each number that is claimed."""
        with self.lock:
            self.is_closed = True
            return self.waiting.return_claims(self._wall())

    # -- the journal -------------------------------------------------------------------------

    def lose_journal(self, error: OSError) -> None:
        """Keep new events in memory alone."""
        with self.lock:
            self.journal.current = None
            self.unwritten_from = self.unwritten_from or max(1, self.last)
            self.fault = error.strerror or str(error)

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
            for event in self.waiting
            if event.number >= first
        ]

    def oldest(self) -> int:
        """Returns the lowest number that the journal must keep."""
        with self.lock:
            return self.waiting.oldest() or self.last + 1

    def rotate(self) -> None:
        """Begin another segment. Raises OSError."""
        segment = self.journal.new_segment()
        with self.lock:
            self.journal.begin(segment, self.last + 1)

    def rewrite(self, journal: Journal) -> None:
        """Write all into a new segment of this journal, and give up the others. Raises OSError."""
        segment = journal.new_segment()
        with self.lock:
            events = [*self.waiting, *(letter.event for letter in self.waiting.letters)]
            journal.begin(segment, self.last + 1, b"".join(map(frame_of, events)))
            old, self.journal = self.journal, journal
            self.unwritten_from, self.fault = 0, ""
            old.close(is_done=True, most=1 if old is journal else 0)
