"""The events of one process that are not in the store: each is in its memory and its journal."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Hashable
from itertools import count
from typing import Any

from amplitude_moloco.buffers.base import Claim, Entry
from amplitude_moloco.buffers.sqlite.disk import Disk
from amplitude_moloco.buffers.sqlite.journal import Journal
from amplitude_moloco.buffers.sqlite.record import TAKEN, Event, frame_of, note_frame
from amplitude_moloco.buffers.sqlite.tail import Batch, Letter, Tail, What
from amplitude_moloco.host.interruption import is_interruption
from amplitude_moloco.host.locks import release_fully
from amplitude_moloco.reasons import DropReason

_NOTED_TOGETHER = 32
"""This many events that are done are noted at the latest, each time with one call of the system."""


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
        self.disk = Disk(journal, self.lock)
        self.tail = Tail(*bounds, monotonic)
        self._numbers = count(1)
        self.last = 0
        """The number of the newest event."""
        self.shared = (0, 0)
        """Events and bytes of the store."""
        self.unwritten_from = 1
        """The first number of a put that is not in the journal; 0 if there is none."""
        self.doubtful: list[Event] = []
        """In the journal, and perhaps still in the store: its transaction has not ended well."""
        self.fault = ""
        """Why the journal can't be written."""
        self.is_closed = False
        self._claims = count(1)

    # -- the app's threads -------------------------------------------------------------------

    def put(self, id: str, sync: str, body: bytes, lane: str = "") -> DropReason | None:
        """As ``Buffer.put``. An exception that strikes from outside leaves all other events."""
        try:
            refused = self._put(id, sync, body, lane)
            if self._is_synced and refused is None:
                self.disk.write()
        except Exception as error:
            self._recover()
            if is_interruption(error):
                raise
            return DropReason.UNAVAILABLE  # an app's thread must not see it, whatever it is
        except BaseException:  # from a signal handler, after any instruction
            self._recover()
            raise
        return refused

    def _put(self, id: str, sync: str, body: bytes, lane: str) -> DropReason | None:
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
            event = Event(number, self._wall(), sync, id, b"%b" % body, 0, 0, 0, 0.0, lane)
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
            if lane:
                tail.lanes.add(lane, event)
            else:
                tail.new.append(event)
            tail.events += 1
            tail.bytes += size
            return None

    def _next_number(self) -> int:
        number = next(self._numbers)
        # A call could be interrupted by another put.
        self.last = number if number > self.last else self.last  # noqa: FURB136  # max() is a call
        return number

    def _recover(self) -> None:
        """Called without the locks, or with some that were not released."""
        self.disk.recover()
        release_fully(self.lock)
        with self.lock:
            self.tail.recount()

    # -- the senders -------------------------------------------------------------------------

    def has_due(self, limit: int) -> bool:
        """Whether this many are due here."""
        with self.lock:
            return self.tail.has_due(limit)

    def claim(self, limit: int, newest: int, *, from_lanes: bool = True) -> Claim:
        """As ``Buffer.claim``, of what is here; ``from_lanes``: whether ready lanes may go on."""
        with self.lock:
            self.note_done()
            entries = []
            for event in self.tail.pop_due(limit, newest, self._wall(), from_lanes=from_lanes):
                key = self._token, next(self._claims)
                self.tail.claimed[key] = event
                entries.append(_entry(key, event, self._wall()))
            return Claim(entries, self.tail.next_seconds())

    def ack(self, key: Hashable) -> bool:
        """Remove a claimed event that was delivered.

        It is noted together with others that were on their way with it: before more is claimed,
        and once none is. One in a lane is noted at once, since its destination may count what
        comes twice.
        """
        with self.lock:
            event = self.tail.remove(key)
            if event is None:
                return False
            self.journal.end([event.number])
            is_much = len(self.journal.unnoted) >= _NOTED_TOGETHER
            if event.lane or not self.tail.claimed or is_much:
                self.note_done()
            return True

    def retry(self, key: Hashable, delay_seconds: float, attempts: int, strikes: int) -> bool:
        """Keep a claimed event until it is due again."""
        with self.lock:
            event = self.tail.claimed.pop(key, None)
            if event is None:
                return False
            self.tail.add_retry(event._replace(attempts=attempts, strikes=strikes), delay_seconds)
            if not self.tail.claimed:
                self.note_done()
            return True

    def bury(self, key: Hashable, attempts: int, *how: Any) -> bool:
        """Turn a claimed event into a dead letter; ``how`` it ended, as ``Letter`` has it."""
        with self.lock:
            event = self.tail.remove(key)
            if event is not None:
                letter = Letter(event._replace(attempts=attempts), self._wall(), *how)
                self.tail.letters.append(letter)
            if not self.tail.claimed:
                self.note_done()
            return event is not None

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
                self._share(batch.events(), 1)
                moved = batch.events() + [letter.event for letter in batch.letters]
                self.journal.end(event.number for event in moved)
                self.note_done()

    def hold(self, events: list[Event]) -> int:
        """Append events to the journal that leave the store. Returns the last one's number.

        They are doubtful until ``end_doubt``. Raises OSError.
        """
        with self.lock:
            self.doubtful = [each._replace(number=self._next_number()) for each in events]
            try:
                self.journal.append(_taken_frames(self.doubtful))
            except OSError as error:
                self.lose_journal(error)
                raise
        if self.journal.is_synced:
            self.disk.write()
        return self.doubtful[-1].number

    def end_doubt(self, until: float) -> None:
        """What is doubtful up to this number is out of the store; the rest is still there."""
        with self.lock:
            doubtful, self.doubtful = self.doubtful, []
            taken = [each for each in doubtful if each.number <= until]
            self._share([each for each in taken if each.key], -1)
            self.tail.add_taken(taken, self._wall())
            self.journal.end(each.number for each in doubtful if each.number > until)
            self.note_done()

    def _share(self, events: list[Event], sign: int) -> None:
        """Count events as in the store, or as no longer there."""
        stored, size = self.shared
        self.shared = stored + sign * len(events), size + sign * sum(len(e.body) for e in events)

    def close(self) -> dict[int, Hashable]:
        """Refuse everything from now on. Returns the claim of each number that is claimed."""
        with self.lock:
            self.is_closed = True
            self.note_done()
            return self.tail.return_claims(self._wall())

    # -- the journal -------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """Whether nothing is here that has to be sent, moved or noted."""
        with self.lock:
            tail = self.tail
            return not (tail.events or tail.letters or self.journal.unnoted or self.fault)

    def note_done(self) -> None:
        """Tell the journal what is done."""
        with self.lock:
            try:
                self.journal.note_done()
            except OSError as error:
                self.lose_journal(error)

    def lose_journal(self, error: OSError, first: int = 0) -> None:
        """Keep events in memory alone, from this number on or from the next one."""
        with self.lock:
            first = first or self.last + 1
            self.journal.give_up(self.last)
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
            _entry(claims.get(event.number), event, self._wall())
            for event in self.tail
            if event.number >= first and not event.key
        ]

    def rotate_journal(self, *, is_cramped: bool) -> None:
        """Begin another segment if it is time. Raises OSError."""
        with self.lock:
            is_due = self.journal.is_due(
                is_cramped=is_cramped, is_idle=lambda: self._oldest() > self.last
            )
        if is_due:
            segment = self.journal.new_segment()
            with self.lock:
                self.journal.begin(segment, self.last + 1)

    def trim_journal(self) -> None:
        """Delete the segments in which nothing is needed. Raises OSError."""
        with self.lock:
            self.journal.trim(self._oldest)

    def _oldest(self) -> float:
        """Returns the lowest number that the journal must keep; infinity if there is none."""
        return min([self.tail.oldest(), *(event.number for event in self.doubtful)])

    def rewrite_journal(self) -> None:
        """Write all into a new segment, and give up the others. Raises OSError."""
        segment = self.journal.new_segment()
        with self.lock:
            events = [*self.tail, *(letter.event for letter in self.tail.letters)]
            taken = [*self.doubtful, *(event for event in events if event.key)]
            frames = [frame_of(event) for event in events if not event.key]
            frames = [self.journal.done_frame(), _taken_frames(taken), *frames]
            self.journal.begin(segment, self.last + 1, b"".join(frames))
            self.journal.close(is_done=True, most=1)
            self.unwritten_from, self.fault = 0, ""


def _taken_frames(events: list[Event]) -> bytes:
    """Returns the frames of events that leave the store, behind a note that says so."""
    note = note_frame(TAKEN, [number for event in events for number in (event.number, event.key)])
    return b"".join([note, *map(frame_of, events)])


def _entry(key: Hashable, event: Event, wall: float) -> Entry:
    """Returns a claimed event, with its age at this Unix time."""
    _, accepted_at, sync, id, body, attempts, strikes, _, _, lane = event
    age_seconds = max(0.0, wall - accepted_at)
    return Entry(key, id, sync, body, accepted_at, age_seconds, attempts, strikes, lane)
