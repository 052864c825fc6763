"""A buffer in Redis: the entries of many machines, sent by any of them."""

from __future__ import annotations

import logging
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress

from amplitude_moloco.buffers.base import (
    BufferState,
    Claim,
    DeadLetter,
    Entry,
    Member,
    News,
    Storage,
)
from amplitude_moloco.buffers.bounds import bound
from amplitude_moloco.buffers.redis.address import RedisAddress
from amplitude_moloco.buffers.redis.bell import Bell
from amplitude_moloco.buffers.redis.board import Board
from amplitude_moloco.buffers.redis.courier import Courier
from amplitude_moloco.buffers.redis.desk import Desk
from amplitude_moloco.buffers.redis.faults import RedisAway
from amplitude_moloco.buffers.redis.letters import Letters
from amplitude_moloco.buffers.redis.link import Clock, Link, connect
from amplitude_moloco.buffers.redis.outlook import Outlook
from amplitude_moloco.buffers.redis.worker import Worker
from amplitude_moloco.buffers.redis.writer import Writer
from amplitude_moloco.host.fork import Origin, process_id
from amplitude_moloco.reasons import DeadLetterReason, DropReason

logger = logging.getLogger(__name__)

_HORIZON_SECONDS = 60.0
_LAST_PAUSE_SECONDS = 0.1
_OVER_SECONDS = 60.0
_TEND_SECONDS = 5.0
"""A stage may need care more often. What has happened in Redis is told at once."""


class RedisBuffer:
    """The Buffer in a Redis or Valkey server, which the processes of many machines share.

    No method but ``dead_letters``, ``resend``, ``share`` and ``close`` waits for the network.
    ``put`` stores an entry in a stage, and senders take entries that were fetched ahead. A thread
    of the buffer's own carries them to and from Redis, in batches: it starts with the first of
    them, and ends when there is nothing to do.

    **What is promised.** The stage is in memory by default: an event that ``put`` has accepted and
    Redis has not got yet is lost if the process is killed. That takes some milliseconds while Redis
    answers, and as long as it does not, up to the bounds of the stage. With a SQLite file as the
    stage, no event is lost by the end of a process or an outage of Redis. What Redis has got is as
    safe as its own settings make it: its ``appendonly`` and ``appendfsync``, and its failovers.

    Delivery is at least once. ``ack`` returns True if the claim is this process's as far as it
    knows, and Redis learns of it a little later. If it can't, or another process has taken over the
    claim since, the event is sent again, with the same id and body.

    ``state`` waits for a new reading, but no longer than ``read_seconds``, and then returns what
    was read last. ``state``, ``dead_letters`` and ``resend`` raise OSError where Redis can't be
    used. A claim lasts for ``lease_seconds``, and is renewed while this process lives; what a dead
    one has claimed is taken over after that time.

    Args:
        address: Where Redis is, and which of its streams.
        stage: Holds new entries until Redis has them. It is closed with the buffer.
        target: Where the events go. It is kept in Redis: the stream accepts no other target.
        max_events, max_bytes: The bounds of all entries in Redis, claimed ones included. Bytes are
            those of the bodies. A put counts what was in Redis a moment ago.
        lease_seconds: How long a claim lasts.
        longest_delay_seconds: The longest delay of a retry. An entry that is due even later was
            written before Redis's clock was set back, and is due now.
        patience_seconds: How long ``close`` tries to write what is staged.
        read_seconds: How long ``state`` waits for a new reading.
        is_ahead: Whether entries are fetched before senders ask for them.
        clock: Gives the Unix time in seconds for what is stored; None: Redis's own clock.
        monotonic: Gives seconds that never go back.
        new_thread: Makes a thread that is not started yet.
    """

    is_durable = True

    def __init__(
        self,
        address: RedisAddress,
        stage: Storage,
        *,
        target: str,
        max_events: int = 1_000_000,
        max_bytes: int = 1024**3,
        lease_seconds: float = 30.0,
        longest_delay_seconds: float = 2 * 3600.0,
        patience_seconds: float = 3.0,
        read_seconds: float = 0.25,
        is_ahead: bool = True,
        clock: Clock | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        new_thread: Callable[..., threading.Thread] = threading.Thread,
    ) -> None:
        bounds = bound("max_events", max_events), bound("max_bytes", max_bytes)
        self.max_events, self._max_bytes = bounds
        self._address = address
        self._stage = stage
        self.tend_seconds: float = getattr(stage, "tend_seconds", _TEND_SECONDS)
        self._patience_seconds = patience_seconds
        self._read_seconds = read_seconds
        self._monotonic = monotonic
        self._origin = Origin()
        self._is_closed = False
        self._state_at_close = BufferState(0, 0, 0)
        self._on_due: Callable[[], object] = lambda: None
        self._has_read = threading.Condition(threading.RLock())
        consumer = f"{socket.gethostname()}-{process_id()}-{uuid.uuid4().hex[:8]}"
        self._desk = Desk(consumer, monotonic, is_ahead=is_ahead)
        link = Link(connect(address), address, clock)
        self._writer = Writer(stage, link, bounds, monotonic)
        self._worker = Worker(
            *(self.step, lambda: self._courier.is_idle), name="redis-buffer", new_thread=new_thread
        )
        bell = Bell(address, self._worker.wake, monotonic, new_thread)
        self._courier: Courier = Courier(
            (link, self._writer, self._desk, Board(link), bell),
            place=str(address),
            target=target,
            consumer=consumer,
            lease_seconds=lease_seconds,
            horizon_seconds=longest_delay_seconds + _HORIZON_SECONDS,
            monotonic=monotonic,
        )
        self._outlook = Outlook(stage, self._writer, self._desk, self._courier, monotonic)
        self._letters = Letters(self._courier.run)
        logger.info("Events wait in %s", address)

    def __repr__(self) -> str:
        return f"RedisBuffer({str(self._address)!r})"

    @property
    def _is_over(self) -> bool:
        """Whether it is closed, or another process opened it, and forked: it can't be used here."""
        return self._is_closed or self._origin.is_elsewhere

    # -- the app's threads -------------------------------------------------------------------

    def put(self, id: str, sync: str, body: bytes, lane: str = "") -> DropReason | None:
        """As ``Buffer.put``: stage an entry. It waits for no network. Refuses one with a lane."""
        if lane or self._origin.is_elsewhere:  # several senders would get a lane's entries at once
            return DropReason.UNAVAILABLE if lane else DropReason.FORKED
        events, bytes_ = self._writer.room
        try:
            if (events < 1 or len(body) > bytes_) and not self._is_closed:
                self.refresh()  # there may be room by now
                return DropReason.FULL
            refused = self._stage.put(id, sync, body)
            if not self._worker.is_awake:
                self._worker.wake()
        except BaseException:  # from a signal handler, after any instruction
            self._worker.recover()
            raise
        return refused

    # -- the senders -------------------------------------------------------------------------

    def claim(self, limit: int, newest: int = 0) -> Claim:
        if self._is_over:
            return Claim([], None)
        claim = self._desk.claim(limit, newest)
        if limit:
            self._worker.wake()
        return claim

    def ack(self, entry: Entry) -> bool:
        return not self._is_over and self._settled(is_ours=self._desk.ack(entry))

    def retry(self, entry: Entry, delay_seconds: float, *, attempts: int, strikes: int = 0) -> bool:
        if self._is_over:
            return False
        return self._settled(is_ours=self._desk.give_back(entry, delay_seconds, attempts, strikes))

    def bury(
        self, entry: Entry, reason: DeadLetterReason, *, status: int | None, message: str
    ) -> bool:
        if self._is_over:
            return False
        return self._settled(is_ours=self._desk.bury(entry, reason, status, message))

    def _settled(self, *, is_ours: bool) -> bool:
        if is_ours:
            self._worker.wake()
        return is_ours

    def call_when_due(self, call: Callable[[], object]) -> None:
        """As ``Noticing.call_when_due``."""
        self._on_due = call

    def join_fleet(self, member: Member) -> Callable[[], object]:
        """As ``Meeting.join_fleet``."""
        self._courier.board.member = member
        return self._worker.wake

    def share(self) -> bool:
        """Write what is staged into Redis, in the calling thread. Returns whether Redis has it all.

        For a process that claims nothing. Never raises.
        """
        if self._is_over:
            return True
        try:
            is_written = self._stage.checkpoint()
            if not is_written():
                self.step()
            return is_written()
        except Exception:  # the stage's file can't be read
            return False

    def checkpoint(self) -> Callable[[], bool]:
        """As ``Buffer.checkpoint``: for this process's entries, and all that were in Redis before.

        The function waits for no network: it asks the buffer's thread for another reading.
        """
        if self._is_over:
            return lambda: True
        return self._outlook.checkpoint(lambda: self._is_over, self.refresh)

    @property
    def ready(self) -> int:
        """How many entries can be claimed at once."""
        return self._desk.ready

    # -- what is known -----------------------------------------------------------------------

    @property
    def has_due(self) -> bool:
        """As ``Tended.has_due``."""
        return self._desk.next_seconds() == 0

    def state(self) -> BufferState:
        """What lies in Redis, of all processes, and in the stage of this one.

        After ``close()``, what lay there at that moment.
        """
        if self._is_over:
            return self._state_at_close
        self._read()
        if self._courier.away:
            raise RedisAway(f"{self._address} can't be used: {self._courier.away}")
        return self._outlook.state()

    def oldest_age_seconds(self) -> float | None:
        return None if self._is_over else self._outlook.oldest_age_seconds()

    def refresh(self) -> None:
        """Have the buffer's thread read anew what lies in Redis."""
        self._courier.is_asked = True
        self._worker.wake()

    def _read(self) -> None:
        """Wait for another reading, unless Redis is away."""
        seen = self._desk.readings
        self.refresh()
        if self._worker.is_running:
            with self._has_read:
                self._has_read.wait_for(
                    lambda: self._desk.readings != seen or bool(self._courier.away),
                    self._read_seconds,
                )

    def tend(self) -> list[News]:
        """As ``Tended.tend``: return what has happened, and tend a stage that needs it."""
        if self._is_over:
            return []
        tend: Callable[[], list[News]] | None = getattr(self._stage, "tend", None)
        return [*(tend() if tend else ()), *self._courier.take_news()]

    # -- dead letters ------------------------------------------------------------------------

    def dead_letters(self) -> Iterator[DeadLetter]:
        """Reads them page by page, since all together might not fit into memory."""
        if not self._is_over:
            self.step(is_last=True)
            yield from self._letters.read()

    def resend(self, letter: DeadLetter) -> bool:
        """As ``DeadLetters.resend``. The entry may exceed the bounds."""
        if self._is_over:
            return False
        done, last = self._letters.resend([letter.key])
        self._writer.last = max(self._writer.last, last)
        self._worker.wake()
        return bool(done)

    # -- the thread --------------------------------------------------------------------------

    def step(self, *, is_last: bool = False) -> float:
        """Carry what is due to and from Redis. Returns the seconds until more is. Never raises."""
        if self._is_over:
            return _OVER_SECONDS
        seen = self._desk.readings
        seconds = self._courier.step(is_last=is_last)
        if self._desk.readings != seen or self._courier.away:
            with self._has_read:
                self._has_read.notify_all()
        if self._courier.take_found():
            self._on_due()
        return seconds

    # -- the end -----------------------------------------------------------------------------

    def close(self) -> list[Entry]:
        """Write what is staged, give back what is claimed, and return what could not be kept.

        An entry whose write got no answer is among them, though Redis may have it.
        """
        if self._is_over:
            return []
        ends_at = self._monotonic() + self._patience_seconds
        with suppress(Exception):  # the stage's file can't be read
            self._state_at_close = self._outlook.state()
        self._is_closed = True
        self._worker.stop(self._patience_seconds)
        self._desk.close()
        if self._courier.born or self._has_staged():
            self._finish(ends_at)
        self._courier.close()
        return self._stage.close()

    def _finish(self, ends_at: float) -> None:
        pause = threading.Event()
        while not self._courier.finish() and self._monotonic() < ends_at:
            is_safe = self._stage.is_durable or not self._has_staged()
            if self._courier.away and is_safe:
                return  # nothing is lost by giving up
            pause.wait(_LAST_PAUSE_SECONDS)

    def _has_staged(self) -> bool:
        try:
            return any(self._stage.state()[:2])
        except Exception:  # its file can't be read
            return False
