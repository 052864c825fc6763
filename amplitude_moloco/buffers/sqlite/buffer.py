"""A buffer in files: its entries survive the process, and several processes can share it."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from amplitude_moloco.buffers.base import BufferState, Claim, DeadLetter, Entry, News
from amplitude_moloco.buffers.bounds import bound
from amplitude_moloco.buffers.sqlite.exchange import Exchange
from amplitude_moloco.buffers.sqlite.file import SqliteFile, is_locked
from amplitude_moloco.buffers.sqlite.journal import Journal
from amplitude_moloco.buffers.sqlite.outbox import Outbox
from amplitude_moloco.buffers.sqlite.owner import Owner, new_owner
from amplitude_moloco.buffers.sqlite.store import LetterBounds, Store
from amplitude_moloco.buffers.sqlite.tail import What
from amplitude_moloco.buffers.sqlite.upkeep import Upkeep
from amplitude_moloco.buffers.sqlite.watch import Watch
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.host.fork import Origin, take_part
from amplitude_moloco.reasons import DeadLetterReason, DropReason
from amplitude_moloco.text import one_line

logger = logging.getLogger(__name__)

_MODES = {"FULL": "FULL", "1S": "FULL", "NORMAL": "FULL", "OFF": "OFF"}
"""SQLite's own setting for each of ours. A journal is deleted once its events are in the store."""
_HORIZON_SECONDS = 60.0


class SqliteBuffer:
    """The Buffer in files, which all processes of a machine may open at the same time.

    ``put`` appends one record to a journal of this process alone, with one system call. Once it
    has returned None the event survives the end of the process, even kill -9. With
    ``synchronous="FULL"`` it also survives a loss of power, if the disk writes what it reports as
    written; with ``"1s"`` a loss of power takes the last second; with ``"OFF"`` what the system has
    not written yet. Senders take events from memory. What waits for long, and dead letters, they
    move into the SQLite file ``path``, which all processes share, and claim it there.

    Each process holds a lock for as long as it lives. What a dead one has left, on its way or not,
    any other process takes over when it tends the buffer. So an entry may be sent twice, always
    with the same id and body: one that was claimed when its process died, and one of up to 31 that
    were acknowledged since the last claim, within the last second, while others were still claimed.
    One in a lane is noted with its ``ack``. A loss of power may undo the notes of a second, with
    ``"OFF"`` of more. The locks need a local disk of a POSIX system, never a network's.

    An entry in a lane stays in the memory and the journal of its process until that ends: so 32 MB
    of them, at 512 bytes and the body each, is the bound. What ended processes have left of all
    lanes is taken by one process, whole and in order, and goes before what that process has not
    begun to send. Two processes that put into one lane while both live keep no order between them.

    ``put`` never raises, and waits for no other process. It refuses an event with ``full`` (a bound
    is reached; or the disk can't be written, and the memory for that is used up), ``closed``,
    ``forked`` (another process opened it: a child has to open it again) or ``unavailable``.
    ``state``, ``checkpoint``, ``dead_letters`` and ``resend`` raise sqlite3.Error or OSError.

    Beside the file lie ``NAME-lock``, ``NAME-wal``, ``NAME-shm``, and for each process
    ``NAME-TOKEN.lock`` and ``NAME-TOKEN-NUMBER.journal``. None of them may be a link. Damage costs
    the records that it hits: the others are read, and a damaged file is kept under another name.
    Raises ConfigurationError if the file can't be used, is not a buffer, or holds another target's
    events.

    Args:
        path: The file. It is created if missing, for this user alone; its folder has to exist. A
            link is resolved once, here.
        target: Where the events go. It is kept in the file, which accepts no other target.
        max_events, max_bytes: The bounds of all entries, claimed ones included. Bytes are those of
            the bodies. What other processes have put counts within a second, but for what each
            holds in its memory: a hundredth of the bounds, and what is on its way.
        synchronous: ``FULL``, ``1s`` or ``OFF``. ``NORMAL`` is another name of ``1s``.
        drain_at_exit: Whether the end of the process waits for what waits here.
        patience_seconds: The longest wait for other processes when it is opened, closed or read.
        longest_delay_seconds: The longest delay of a retry. An entry that is due even later was
            written before the clock was set back, and is due now.
        max_dead_letters, max_dead_bytes, max_dead_age_seconds: The bounds of the dead letters.
            Beyond them, the oldest are forgotten.
        wall: Gives the Unix time in seconds. All processes that share the file need the same.
        monotonic: Gives seconds that never go back.
    """

    is_durable = True
    tend_seconds = 0.9
    """What a dead process has left is to be taken over within a second."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        target: str,
        max_events: int = 1_000_000,
        max_bytes: int = 2 * 1024**3,
        synchronous: str = "1s",
        drain_at_exit: bool = False,
        patience_seconds: float = 3.0,
        longest_delay_seconds: float = 2 * 3600.0,
        max_dead_letters: int = 100_000,
        max_dead_bytes: int = 512 * 1024**2,
        max_dead_age_seconds: float = 30 * 24 * 3600.0,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        mode = synchronous.upper()
        if mode not in _MODES:
            raise ConfigurationError(
                f"buffer: synchronous={synchronous!r} can't be used; use 'FULL', '1s' or 'OFF'"
            )
        bounds = bound("max_events", max_events), bound("max_bytes", max_bytes)
        self.max_events = bounds[0]
        self.drain_at_exit = drain_at_exit
        self._patience_seconds = patience_seconds
        self._state_at_close = BufferState(0, 0, 0)
        self._origin = Origin()
        # SQLite, too, puts the WAL beside what a link leads to.
        self._path = Path(os.path.realpath(path))
        file, owner = self._open(target, _MODES[mode])
        token, is_synced = owner.token, mode != "OFF"
        journal = Journal(self._path, token, is_synced=is_synced)
        self._outbox = outbox = Outbox(
            journal, token, bounds, wall=wall, monotonic=monotonic, is_synced=mode == "FULL"
        )
        letter_bounds = LetterBounds(max_dead_letters, max_dead_bytes, max_dead_age_seconds)
        horizon_seconds = longest_delay_seconds + _HORIZON_SECONDS
        self._store = store = Store(
            file, token, horizon_seconds, letter_bounds, wall=wall, monotonic=monotonic
        )
        self._exchange = Exchange(self._path, token, outbox, store, wall=wall, monotonic=monotonic)
        parts = owner, outbox, self._exchange, store, file
        self._watch = Watch(self._path)
        self._upkeep = Upkeep(self._path, parts, monotonic, is_synced=is_synced)
        take_part(self)
        logger.info("Events wait in the file %s", one_line(self._path))

    def _open(self, target: str, synchronous: str) -> tuple[SqliteFile, Owner]:
        """Open the shared file, and take a lock of its own. Raises ConfigurationError."""
        try:
            file = SqliteFile(
                self._path,
                target=target,
                synchronous=synchronous,
                patience_seconds=self._patience_seconds,
            )
            owner = new_owner(self._path)
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(_unusable_message(self._path, error)) from error
        return file, owner

    def __repr__(self) -> str:
        path = getattr(self, "_path", None)  # it may not be constructed yet
        return f"SqliteBuffer({path and str(path)!r})"

    @property
    def has_due(self) -> bool:
        """As ``Tended.has_due``."""
        return self._exchange.has_due

    @property
    def may_rest(self) -> bool:
        """As ``Tended.may_rest``: another open buffer of this process watches the file."""
        return self._watch.is_relieved and self._outbox.is_empty

    def call_when_needed(self, begin: Callable[[], object]) -> None:
        """As ``Tended.call_when_needed``."""
        self._watch.begin = begin

    @property
    def _is_over(self) -> bool:
        """Whether it is closed, or another process opened it, and forked: it can't be used here."""
        return self._origin.is_elsewhere or self._outbox.is_closed

    def put(self, id: str, sync: str, body: bytes, lane: str = "") -> DropReason | None:
        if self._origin.is_elsewhere:
            return DropReason.FORKED
        return self._outbox.put(id, sync, body, lane)

    def claim(self, limit: int, newest: int = 0) -> Claim:
        if self._is_over:
            return Claim([], None)
        outbox, stored, from_lanes = self._outbox, None, False
        try:
            if limit and (self.has_due or not outbox.has_due(limit)):
                stored = self._store.next_seconds()
                if stored == 0 and limit > len(outbox.tail.taken):
                    self._exchange.take(limit, newest)
            from_lanes = limit > 0 and self._may_open_lanes(limit)
            if not outbox.has_due(limit + 1):
                stored = self._store.next_seconds()
        except (OSError, sqlite3.Error) as error:
            self._upkeep.note_trouble(error)
        entries, next_seconds = outbox.claim(limit, newest, from_lanes=from_lanes)
        dues = [each for each in (next_seconds, stored) if each is not None]
        return Claim(entries, min(dues, default=None))

    def _may_open_lanes(self, limit: int) -> bool:
        """Returns whether lanes may go on. What the store has of them goes first."""
        if not (self._outbox.tail.lanes.ready and self._store.has_lanes()):
            return True
        self._exchange.take(limit, 0)
        return not self._store.has_lanes()  # nothing is taken while the journal can't be written

    def ack(self, entry: Entry) -> bool:
        return not self._origin.is_elsewhere and self._outbox.ack(entry.key)

    def retry(self, entry: Entry, delay_seconds: float, *, attempts: int, strikes: int = 0) -> bool:
        if self._is_over:
            return False
        return self._outbox.retry(entry.key, delay_seconds, attempts, strikes)

    def checkpoint(self) -> Callable[[], bool]:
        """As ``Buffer.checkpoint``: for this process's entries, and those that none has claimed.

        What dead processes have left is taken over first. The function reads the file. Both raise
        sqlite3.Error if it can't be read. Once the buffer is closed, the function returns True.
        """
        if self._is_over:
            return lambda: True
        self._upkeep.take_over()
        return self._exchange.checkpoint()

    def state(self) -> BufferState:
        """What lies in the files, of all processes; ``claimed`` counts this object's claims alone.

        After ``close()``, what lay in it at that moment.
        """
        return self._state_at_close if self._is_over else self._exchange.state()

    def oldest_age_seconds(self) -> float | None:
        """As ``Aged.oldest_age_seconds``, but for what other processes hold in memory."""
        return None if self._is_over else self._exchange.oldest_age_seconds()

    def tend(self) -> list[News]:
        """As ``Tended.tend``: move, note and take over what is due, and mend the files."""
        if self._is_over:
            return []
        self._watch.join()
        return self._upkeep.tend()

    def begin_sharing(self) -> None:
        """As ``Shared.begin_sharing``: a buffer that claims watches the file before this one."""
        self._watch.is_claiming = False

    def share(self) -> bool:
        """As ``Shared.share``: move all into the store."""
        return self._is_over or self._upkeep.share()

    def close(self) -> list[Entry]:
        """Move everything into the store, release everything, and return what could not be kept.

        Entries that are claimed now may be on their way: others can claim them from now on.
        """
        if self._is_over:
            return []
        lost, self._state_at_close = self._upkeep.close(self._patience_seconds)
        self._watch.end()
        return lost

    # -- dead letters ------------------------------------------------------------------------------

    def bury(
        self, entry: Entry, reason: DeadLetterReason, *, status: int | None, message: str
    ) -> bool:
        if self._is_over:
            return False
        return self._outbox.bury(entry.key, entry.attempts, reason, status, message)

    def dead_letters(self) -> Iterator[DeadLetter]:
        """Reads them page by page, since all together might not fit into memory."""
        if not self._is_over:
            self._exchange.move(What.LETTERS, self._patience_seconds)
            yield from self._store.letters()

    def resend(self, letter: DeadLetter) -> bool:
        """As ``DeadLetters.resend``. The entry may exceed the bounds."""
        return not self._is_over and self._exchange.resend(letter, self._patience_seconds)

    # -- forks -------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        if not self._origin.is_elsewhere:
            self._upkeep.hold()

    def after_fork(self, *, is_child: bool) -> None:
        self._upkeep.let_go()


def _unusable_message(path: Path, error: Exception) -> str:
    """Says why a file can't be opened, and what to use instead."""
    name = one_line(path)
    if is_locked(error):
        return f"buffer: {name} is kept locked by another process; end the process that locks it"
    return (
        f"buffer: {name} can't be used: {one_line(error)}; it must be a file on a local disk that "
        f"this process may write to, in a directory that it may write to"
    )
