"""Moves events between a process's memory and the store, and takes over what the dead have left.

Each transaction is a step with a number, noted in the journal before and after it. If the process
dies in between, the store knows whether that step was committed. So every event is in one place.
"""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

from amplitude_moloco.buffers.base import BufferState, DeadLetter, Lost
from amplitude_moloco.buffers.sqlite.outbox import Outbox
from amplitude_moloco.buffers.sqlite.owner import Owner, tokens_beside
from amplitude_moloco.buffers.sqlite.record import COMMITTED, STEP, Event, note_frame
from amplitude_moloco.buffers.sqlite.remains import Remains
from amplitude_moloco.buffers.sqlite.store import WAIT_SECONDS, Store
from amplitude_moloco.buffers.sqlite.waiting import Batch, What

_BATCHES = 4
_TAKEOVER_SECONDS = 1.0
"""The longest wait for other processes: a dead one's events are due."""


class _Mark:
    """Up to which event a checkpoint goes: its number, and its key if it is in the store."""

    def __init__(self, last: int, until: int) -> None:
        self.last = last
        self.until = until


class Exchange:
    """Safe from any thread. All methods raise sqlite3.Error and OSError.

    Args:
        is_synced: Whether what leaves the store must be on the disk first.
    """

    def __init__(
        self,
        file: Path,
        outbox: Outbox,
        store: Store,
        clocks: tuple[Callable[[], float], Callable[[], float]],
        *,
        is_synced: bool,
    ) -> None:
        self._file = file
        self._outbox = outbox
        self._store = store
        self._is_synced = is_synced
        self._wall, self._monotonic = clocks
        self._steps = count(1)
        self._marks: weakref.WeakSet[_Mark] = weakref.WeakSet()
        self.lock = threading.RLock()
        """Held while something is in neither place, or in both."""

    def move(self, what: What = What.LONG, wait_seconds: float = WAIT_SECONDS) -> None:
        """Move events and dead letters from the memory into the store."""
        with self.lock:
            for _ in range(_BATCHES) if what is What.LONG else count():
                batch = self._outbox.begin_move(what)
                if not batch:
                    return
                is_done = False
                try:
                    self._put(batch, wait_seconds)
                    is_done = True
                finally:
                    self._outbox.end_move(batch, is_done=is_done)

    def _put(self, batch: Batch, wait_seconds: float) -> None:
        token, journal, step = self._outbox.token, self._outbox.journal, next(self._steps)
        shift = self._wall() - self._monotonic()
        later = [
            # 0 marks what was never sent
            each.event._replace(due=max(each.due_at + shift, 1.0))
            for each in batch.later
        ]
        numbers = [event.number for event in batch.events()]
        buried = [letter.event.number for letter in batch.letters]
        journal.note(STEP, [step, 1, 0, *numbers, *buried])  # it brings none
        last_key = self._store.put(token, step, batch.new + later, batch.letters, wait_seconds)
        journal.note(COMMITTED, [step])
        for mark in self._marks:
            if min(numbers, default=mark.last + 1) <= mark.last:
                mark.until = last_key

    def take(self, limit: int, newest: int) -> None:
        """Take what is due out of the store, into the journal and the memory."""
        with self.lock:
            step, taken = next(self._steps), list[Event]()
            keep = partial(self._keep, step, taken)
            self._store.take(self._outbox.token, step, limit, newest, keep)
            self._finish(step, taken)

    def resend(self, letter: DeadLetter, wait_seconds: float) -> bool:
        """As ``DeadLetters.resend``."""
        with self.lock:
            step, taken = next(self._steps), list[Event]()
            keep = partial(self._keep, step, taken)
            token = self._outbox.token
            is_resent = self._store.resend(token, step, letter, keep, wait_seconds)
            self._finish(step, taken)
            return is_resent

    def _keep(self, step: int, taken: list[Event], events: list[Event]) -> None:
        taken += self._outbox.write_taken(
            events, lambda first, last: note_frame(STEP, [step, first, last])
        )
        if self._is_synced:
            self._outbox.journal.sync()

    def _finish(self, step: int, taken: list[Event]) -> None:
        self._outbox.journal.note(COMMITTED, [step])
        self._outbox.add_taken(taken)

    def checkpoint(self) -> Callable[[], bool]:
        """As ``Buffer.checkpoint``, for what this process holds and what no process has claimed."""
        outbox = self._outbox
        with self.lock:
            mark = _Mark(outbox.last, self._store.last_key())
            self._marks.add(mark)

        def is_reached() -> bool:
            with self.lock, outbox.lock:
                if outbox.is_closed:
                    return True
                for event in outbox.waiting:
                    is_before = event.key <= mark.until if event.key else event.number <= mark.last
                    if is_before and not event.attempts:
                        return False
                return not self._store.has_untried(mark.until)

        return is_reached

    def state(self) -> BufferState:
        """As ``Buffer.state``."""
        outbox, waiting = self._outbox, self._outbox.waiting
        with self.lock:
            stored, _, dead = self._store.count()
            others = sum(len(self._remains(token)) for token in self._other_tokens())
            with outbox.lock:
                waits = others + stored + len(waiting)
                return BufferState(waits, len(waiting.claimed), dead + len(waiting.letters))

    def take_over(self) -> list[Lost]:
        """Move what dead processes have left into the store. Returns what can't be read."""
        lost = []
        for token in sorted(self._other_tokens()):
            with suppress(BlockingIOError, FileNotFoundError):
                dead = Owner(self._file, token)
                is_done = False
                try:
                    remains = self._remains(token)
                    if self._store.take_over(token, remains.events(), _TAKEOVER_SECONDS):
                        lost += remains.lost()
                    remains.delete()
                    is_done = True
                finally:
                    dead.release(is_done=is_done)
                with suppress(sqlite3.Error):
                    self._store.forget(token)
        return [Lost(1, "a record of a journal was damaged", number=number) for number in lost]

    def _other_tokens(self) -> set[str]:
        return tokens_beside(self._file) - {self._outbox.token}

    def _remains(self, token: str) -> Remains:
        return Remains(self._file, token, self._store.step_of(token))
