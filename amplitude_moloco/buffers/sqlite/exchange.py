"""Moves events between a process's memory and the store, and takes over what the dead have left."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Callable
from itertools import count
from math import inf
from pathlib import Path
from threading import RLock

from amplitude_moloco.buffers.base import BufferState, DeadLetter, Lost
from amplitude_moloco.buffers.sqlite.outbox import Outbox
from amplitude_moloco.buffers.sqlite.owner import Owner, tokens_beside
from amplitude_moloco.buffers.sqlite.record import Event
from amplitude_moloco.buffers.sqlite.remains import Remains
from amplitude_moloco.buffers.sqlite.store import WAIT_SECONDS, Store
from amplitude_moloco.buffers.sqlite.tail import Batch, What

_BATCHES = 4
_TAKEOVER_SECONDS = 1.0
"""The longest wait for other processes: a dead one's events are due."""


class _Mark:
    """Which events a checkpoint waits for."""

    def __init__(self, last: int, until: int) -> None:
        self.last = last
        """The highest number."""
        self.until = until
        """The highest key of those that were in the store."""
        self.keys: list[int] = []
        """The keys of those that have moved into the store since."""


class Exchange:
    """Safe from any thread. All methods raise sqlite3.Error and OSError.

    Args:
        token: Names this process's lock and journal.
        wall, monotonic: Give Unix seconds, and seconds that never go back.
    """

    def __init__(
        self,
        file: Path,
        token: str,
        outbox: Outbox,
        store: Store,
        *,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._file = file
        self._token = token
        self._outbox = outbox
        self._store = store
        self._wall = wall
        self._monotonic = monotonic
        self._marks: weakref.WeakSet[_Mark] = weakref.WeakSet()
        self.lock = RLock()
        """Held while something is in neither place, or in both."""
        self.has_due = False
        """Whether something in the store was due when this process looked last."""

    def move(self, what: What = What.LONG, wait_seconds: float = WAIT_SECONDS) -> None:
        """Move events and dead letters from the memory into the store."""
        with self.lock:
            self._end_doubt()
            for _ in range(_BATCHES) if what is What.LONG else count():
                if not self._move_some(what, wait_seconds):
                    return

    def share(self) -> None:
        """Move all that is in the memory now; what is put meanwhile, the next time."""
        with self.lock:
            self._end_doubt()
            last = self._outbox.last
            while self._holds_until(last) and self._move_some(What.ALL, WAIT_SECONDS):
                pass

    def _holds_until(self, last: int) -> bool:
        """Whether an event or a dead letter with a number up to this one is in the memory."""
        with self._outbox.lock:
            return self._outbox.tail.oldest() <= last

    def _move_some(self, what: What, wait_seconds: float) -> bool:
        """Move one batch. Returns False if there is none."""
        batch = self._outbox.begin_move(what)
        if batch:
            is_done = False
            try:
                self._put(batch, wait_seconds)
                is_done = True
            finally:
                self._outbox.end_move(batch, is_done=is_done)
        return bool(batch)

    def _put(self, batch: Batch, wait_seconds: float) -> None:
        shift = self._wall() - self._monotonic()
        retries = [
            # 0 marks what was never sent
            each.event._replace(due=max(each.due_at + shift, 1.0))
            for each in batch.retries
        ]
        events = sorted(batch.fresh + retries, key=lambda event: event.order)
        unnoted = self._outbox.journal.unnoted
        first = self._store.put(events, batch.letters, unnoted, wait_seconds)
        own = [event.number for event in events if not event.key]
        for mark in self._marks:
            mark.keys += [first + i for i, number in enumerate(own) if number <= mark.last]

    def take(self, limit: int, newest: int) -> None:
        """Move what is due from the store into the memory, and the journal."""
        with self.lock:
            self._end_doubt()
            if self._outbox.journal.current is not None:
                self._store.take(limit, newest, self._outbox.hold)
                self._outbox.end_doubt(inf)

    def resend(self, letter: DeadLetter, wait_seconds: float) -> bool:
        """As ``DeadLetters.resend``."""
        with self.lock:
            self._end_doubt()
            is_there = self._store.resend(letter, self._outbox.hold, wait_seconds)
            self._outbox.end_doubt(inf)
            return is_there

    def _end_doubt(self) -> None:
        if self._outbox.doubtful:
            _, taken_until = self._store.known_of(self._token)
            self._outbox.end_doubt(taken_until)

    def count(self) -> None:
        """Learn what the store holds."""
        with self.lock:
            self._store.follow_clock()
            events, size, _ = self._store.count()
            self._outbox.shared = events, size
            self.has_due = events > 0 and self._store.next_seconds() == 0

    def checkpoint(self) -> Callable[[], bool]:
        """As ``Buffer.checkpoint``, for what this process holds and what no process has claimed."""
        outbox = self._outbox
        with self.lock:
            mark = _Mark(outbox.last, self._store.last_key())
            self._marks.add(mark)

        def is_before(event: Event) -> bool:
            if event.key:
                return event.key <= mark.until or event.key in mark.keys
            return event.number <= mark.last

        def is_reached() -> bool:
            with self.lock:
                with outbox.lock:
                    if outbox.is_closed:
                        return True
                    if any(is_before(event) for event in outbox.tail.untried()):
                        return False
                return not self._store.has_untried(mark.until, mark.keys)

        return is_reached

    def state(self) -> BufferState:
        """As ``Buffer.state``."""
        tail = self._outbox.tail
        with self.lock:
            others = sum(len(self._remains(token).events()) for token in self._others())
            stored, _, dead = self._store.count()
            with self._outbox.lock:
                claimed = len(tail.claimed)
                waiting = stored + tail.events + others - claimed
                return BufferState(waiting, claimed, dead + len(tail.letters))

    def oldest_age_seconds(self) -> float | None:
        """Returns the age of the oldest event here and in the store; None for none."""
        with self.lock:
            stored_at = self._store.oldest_at()
            with self._outbox.lock:
                oldest_at = min([stored_at, *(event.accepted_at for event in self._outbox.tail)])
        return None if oldest_at == inf else max(0.0, self._wall() - oldest_at)

    def take_over(self) -> None:
        """Move what dead processes have left into the store."""
        errors = []
        for token in sorted(self._others()):
            try:
                self._take_over_from(token)
            except (OSError, sqlite3.Error) as error:
                if not isinstance(error, BlockingIOError):  # else it lives
                    errors.append(error)
        if errors:
            raise errors[0]

    def _take_over_from(self, token: str) -> None:
        dead = Owner(self._file, token)
        is_done = False
        try:
            remains = self._remains(token)
            self._store.take_over(token, remains.events(), _TAKEOVER_SECONDS)
            for number in remains.lost():
                lost = Lost(1, "a record of a journal was damaged", number=number)
                self._store.lost.append(lost)
            remains.delete()
            self._store.forget(token)
            is_done = True
        finally:
            dead.release(is_done=is_done)

    def _others(self) -> set[str]:
        return (tokens_beside(self._file) | self._store.owners()) - {self._token}

    def _remains(self, token: str) -> Remains:
        return Remains(self._file, token, *self._store.known_of(token))
