"""Decides what a sender does next: which entry may be sent now, and when to ask again.

It takes events in from the app's threads, claims entries that are due, and lets circuit and rate
say whether one may go. The threads, and the requests themselves, belong to the senders.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from amplitude_moloco.buffers.base import Entry, Storage
from amplitude_moloco.engine.breaker import Circuit
from amplitude_moloco.engine.claimer import Claimer
from amplitude_moloco.engine.delivery import Delivery
from amplitude_moloco.engine.facts import Dropped
from amplitude_moloco.engine.flushes import Flushes
from amplitude_moloco.engine.handover import Handover
from amplitude_moloco.engine.in_flight import InFlight
from amplitude_moloco.engine.ledger import Ledger, Stats
from amplitude_moloco.engine.next_claim import NextClaim
from amplitude_moloco.engine.rate import Pace
from amplitude_moloco.engine.runtime import Runtime
from amplitude_moloco.engine.tending import Tending
from amplitude_moloco.engine.window import Window
from amplitude_moloco.reasons import DropReason
from amplitude_moloco.transports.base import SendResult

_PAUSED_SECONDS = 1.0
"""While the circuit is open, and no probe is due sooner, no flush waits for it."""
_TROUBLE_SECONDS = 5.0


class Send(NamedTuple):
    """Send this entry now, then call ``settle`` with it."""

    entry: Entry
    is_probe: bool = False


@dataclass(frozen=True)
class Wait:
    """There is nothing to send. Ask again after ``seconds``, or when woken; None: when woken."""

    seconds: float | None = None


@dataclass(frozen=True)
class Stop:
    """There is nothing more to do, ever."""


Work = Send | Wait | Stop
_WAIT_TO_BE_WOKEN = Wait()


@dataclass(frozen=True)
class _GiveBack:
    """Return this entry: since it was claimed the circuit has opened, or a service ends."""

    entry: Entry


@dataclass(frozen=True)
class _ClaimMore:
    """Claim what is due."""


@dataclass(frozen=True)
class _TendBuffer:
    """Tend the buffer, which was not tended for a while."""


class Dispatcher:
    """Hands out work. Safe from any thread.

    Decisions are made under one lock, which is never held during I/O or while a hook runs. ``put``,
    ``recover`` and ``claim_now`` wait for no lock but the buffer's. A signal handler or a finalizer
    may call them amid any other code, whose thread may hold a lock that others wait for; and who
    holds the buffer's waits for nothing meanwhile.

    Args:
        tending: Of this buffer.
        window: How many requests may be on their way at a time.
        delivers: Whether events are claimed here. Otherwise they are handed to other processes.
        flush_queue_size: Send as soon as this many events wait.
        flush_interval_seconds: Send at the latest this long after an event was stored.
        flush_timeout_seconds: How long a flush may take.
        wake: Called whenever work may be due sooner than the senders were told.
    """

    def __init__(
        self,
        buffer: Storage,
        delivery: Delivery,
        *,
        breaker: Circuit,
        rate: Pace,
        ledger: Ledger,
        tending: Tending,
        window: Window,
        delivers: bool,
        flush_queue_size: int,
        flush_interval_seconds: float,
        flush_timeout_seconds: float,
        wake: Callable[[], None],
        runtime: Runtime,
    ) -> None:
        self._buffer = buffer
        self._delivery = delivery
        self._breaker = breaker
        self._rate = rate
        self._ledger = ledger
        self._wake = wake
        self._monotonic = runtime.monotonic
        self._wait = runtime.wait
        self._lock = threading.RLock()
        self._settled = threading.Condition(self._lock)  # wait_for_settled() waits here
        flushes_after = flush_queue_size, flush_interval_seconds
        self._next_claim = NextClaim(*flushes_after, monotonic=runtime.monotonic, wake=wake)
        self.claim_now = self._next_claim.ask
        """Claim as soon as a sender is free."""
        self._window = window
        self._in_flight = InFlight(window, runtime.monotonic)
        self.has_sent = self._in_flight.has_sent
        self.tending = tending
        due = self._lock, self._in_flight, tending.drains_at_exit, flush_interval_seconds
        self._claimer = (
            Claimer(buffer, *due, breaker=breaker, rate=rate, ledger=ledger, delivery=delivery)
            if delivers
            else Handover(buffer)
        )
        self._flushes = Flushes(
            self._claimer.checkpoint,
            settling=lambda: self._in_flight.settling,
            is_paused=lambda: (breaker.delay_seconds() or 0.0) > _PAUSED_SECONDS,
            stats=ledger.stats,
            timeout_seconds=flush_timeout_seconds,
            monotonic=runtime.monotonic,
        )
        self._is_claiming = self._is_closing = self._is_stopped = False

    # -- the app's threads -------------------------------------------------------------------

    def put(self, id: str, sync: str, body: bytes, lane: str = "") -> None:
        """As ``Engine.put``. After an exception that strikes from outside, call ``recover``."""
        put = self._buffer.put
        if self._is_closing:
            refused: DropReason | None = DropReason.CLOSED
        else:  # a buffer of the app's own may know no lanes
            refused = put(id, sync, body, lane) if lane else put(id, sync, body)
        if refused:
            body = b"%b" % body  # the encoder's may keep a larger allocation
            self._ledger.post(Dropped(sync, id, refused, body), is_new=True)
            self.claim_now()
            return
        is_durable = self._buffer.is_durable
        if is_durable:
            self._delivery.remember(id)
        # Counted once it is stored: what is interrupted before is neither.
        self._ledger.accept(is_handed_on=is_durable)
        self._next_claim.note_stored()

    def recover(self) -> None:
        """Mend what an exception that struck anywhere in ``put`` may have left half done."""
        self._ledger.recover()
        self._next_claim.insist()

    def flush(self, timeout_seconds: float = 0.0) -> Future[Stats]:
        """As ``Engine.flush``."""
        future = self._flushes.begin(timeout_seconds)
        with suppress(Exception):  # a sender finds out
            self._flushes.finish()
        if not future.done():
            self.claim_now()
        return future

    def claim_within(self, delay_seconds: float) -> None:
        """Make the next claim no later than this."""
        if not delay_seconds:
            self.claim_now()
            return
        with self._lock:
            is_sooner = self._next_claim.plan(self._monotonic() + delay_seconds)
        if is_sooner:
            self._wake()

    # -- the senders -------------------------------------------------------------------------

    @property
    def has_staged(self) -> bool:
        """Whether an entry is ready for the next sender."""
        return bool(self._in_flight.staged)

    def next_work(self) -> Work:
        """Returns what the calling sender does next. May claim, give back and call hooks.

        Raises what the buffer raises; asking again is safe, and does not reach the buffer for
        five seconds.
        """
        while True:
            decision = self._decide()
            if isinstance(decision, (Send, Wait)):
                return decision
            if isinstance(decision, _ClaimMore):
                self._claim()
            elif isinstance(decision, _TendBuffer):
                if self.tending.tend():  # of other processes
                    self.claim_now()
            elif isinstance(decision, _GiveBack):
                self._give_back(decision.entry)
            else:
                self._ledger.tell_posted()  # what was refused since close()
                return decision

    def note_wait(self, seconds: float) -> None:
        """The sender has waited this long for an answer, and did nothing else."""
        with self._lock:
            has_backlog = self._in_flight.staged or self._next_claim.at <= self._monotonic()
            if has_backlog and self._in_flight.is_full:
                self._window.note_wait(seconds)

    def settle(self, work: Send, result: SendResult, seconds: float) -> None:
        """Record what became of a request, after this time. Raises what the buffer raises."""
        entry, again_seconds = work.entry, 0.0
        self._in_flight.begin_settling(entry)
        try:
            again = self._delivery.settle(entry, result, seconds, is_probe=work.is_probe)
            # What follows a probe is up to the circuit.
            # After an end, the next one of its lane may go.
            again_seconds = (0.0 if entry.lane else inf) if again is None else again
        finally:
            self._end_settling(entry, 0.0 if work.is_probe else again_seconds)

    def _decide(self) -> Work | _ClaimMore | _GiveBack | _TendBuffer:
        with self._lock:
            if self._is_stopped:
                return Stop()
            delay_seconds = self.tending.begin_in()
            if delay_seconds == 0:
                return _TendBuffer()
            if self._in_flight.staged and self._is_closing and not self.tending.may_drain:
                return _GiveBack(self._in_flight.take())
            if self._in_flight.staged and not self._in_flight.is_full:
                if self._breaker.is_open:
                    is_probe = self._breaker.begin_probe()
                    entry = self._in_flight.take()
                    return Send(entry, is_probe=True) if is_probe else _GiveBack(entry)
                rate_seconds = self._rate.take()
                if rate_seconds == 0:
                    return Send(self._in_flight.take())
                delay_seconds = min(delay_seconds, rate_seconds)
            if not (self._is_claiming or self._in_flight.is_full):
                due_seconds = self._next_claim.at - self._monotonic()
                if due_seconds <= 0:
                    self._is_claiming = True
                    self._next_claim.begin()
                    return _ClaimMore()
                delay_seconds = min(delay_seconds, due_seconds)
            return _WAIT_TO_BE_WOKEN if delay_seconds == inf else Wait(delay_seconds)

    def _claim(self) -> None:
        """Stage the entries that are due, and set the time of the next claim."""
        entries: list[Entry] = []
        again_seconds = _TROUBLE_SECONDS  # should the buffer raise
        try:
            self._ledger.tell_posted()
            self.tending.tend()
            entries, again_seconds = self._claimer.claim(
                is_closing=self._is_closing, is_flushing=bool(self._flushes)
            )
        finally:
            self._flushes.end_late()  # also where the buffer raises: the bound holds
            again_seconds = min(again_seconds, self._flushes.seconds_left(), self._ledger.due_in())
            due_at = self._monotonic() + again_seconds
            with self._lock:  # at no moment does it look as if nothing were left
                self._in_flight.stage(entries)
                self._next_claim.plan(due_at)
                self._is_claiming = False
            if again_seconds != inf:
                self._wake()
        if self._flushes:
            self._flushes.finish()

    def _give_back(self, entry: Entry) -> None:
        self._in_flight.begin_settling(entry)
        try:
            self._delivery.give_back(entry)
        finally:
            self._end_settling(entry, 0.0)

    def _end_settling(self, entry: Entry, again_seconds: float) -> None:
        with self._lock:
            self._in_flight.end_settling(entry)
            if self._is_closing:
                self._settled.notify_all()
        if again_seconds != inf:
            self.claim_within(again_seconds)
        if self._flushes:
            self._flushes.note_settled(has_more=self.has_staged)

    # -- the end -----------------------------------------------------------------------------

    def begin_closing(self) -> bool:
        """Accept nothing more, and send what waits. Returns False if that was begun before."""
        with self._lock:
            is_first, self._is_closing = not self._is_closing, True
        self.claim_now()
        return is_first

    def can_send_within(self, seconds: float) -> bool:
        """Whether something is on its way, or can be sent in this time."""
        with self._lock:
            if self._in_flight or self._is_claiming:
                return True
            return self._next_claim.at - self._monotonic() < seconds

    def is_idle(self) -> bool:
        """Whether there is nothing to send, to wait for or to finish."""
        is_resting = self.tending.is_resting and self._ledger.due_in() == inf
        with self._lock:
            if self._in_flight or self._is_claiming or self._flushes or self.tending.is_needed:
                return False
        return is_resting or self._next_claim.at == inf

    def needs_sender(self) -> bool:
        """Whether some sender must run."""
        return not self._is_stopped and not self.is_idle()

    def wait_for_settled(self, timeout_seconds: float) -> None:
        """Wait until an entry is settled, but no longer than this."""
        with self._lock:
            self._wait(self._settled, timeout_seconds)

    def stop(self) -> None:
        """Hand out nothing more."""
        with self._lock:
            self._is_stopped = True
        self._wake()

    def release(self) -> None:
        """Return what is staged. Called once the senders have stopped."""
        while self._in_flight.staged:
            with suppress(Exception):  # then its claim ends with this process
                self._delivery.give_back(self._in_flight.staged.popleft()[0])

    def end_flushes(self) -> None:
        """Resolve all flushes with the counters of now, whatever was tried."""
        self._flushes.end_all()
