"""The engine's threads: they claim entries that are due, and have each one delivered.

Senders are daemon threads, started one by one as there is work for them, the first one with the
first event. One idle sender keeps the time: it alone wakes up when something comes due, claims a
batch, and wakes the others for it. While the buffer is empty, nobody wakes up at all.

Over a transport that can have many requests on their way in one thread, there is one sender: while
some are on their way it does the timekeeper's work in between.

An open circuit and a slow pace hold the senders back here: nothing is claimed while the circuit is
open but one entry for a probe, and what was claimed before goes back as it was.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from functools import partial

from amplitude_moloco.buffers.base import Buffer, Entry
from amplitude_moloco.engine.breaker import CircuitBreaker
from amplitude_moloco.engine.delivery import Delivery, Taken
from amplitude_moloco.engine.facts import Dropped, Fact, Hooks, Rejected
from amplitude_moloco.engine.flushes import Flushes
from amplitude_moloco.engine.in_flight import AHEAD_SECONDS, Claims
from amplitude_moloco.engine.ledger import Ledger, Stats
from amplitude_moloco.engine.rate import Pacer

logger = logging.getLogger("amplitude_moloco")

_DRAIN_POLL_SECONDS = 0.05
_ASK_AGAIN_SECONDS = 1.0
_FLUSH_POLL_SECONDS = 0.05
_TROUBLE_SECONDS = 5.0
_TAKE_OVER_SECONDS = 30.0
_LAST_SECONDS = 0.1
"""For senders to give back what they wait with, once the time of close() is over."""
_Task = Callable[[], None]


class Dispatcher:
    """Takes events in from the app's threads, and has them delivered by its own.

    Args:
        connections: How many requests are on their way at a time, at most. Each has a thread, but
            over a transport that has them all in one.
        flush_queue_size: So many waiting events are sent at once.
        flush_interval_seconds: So long an event waits for others at most.
        wall, monotonic: The clocks, in seconds.
        thread: Makes a thread that is not started yet.
        wait: Waits for a condition, as long as is said; holds its lock before and afterwards.
    """

    def __init__(
        self,
        buffer: Buffer,
        delivery: Delivery,
        *,
        breaker: CircuitBreaker,
        pacer: Pacer,
        ledger: Ledger,
        hooks: Hooks,
        connections: int,
        flush_queue_size: int,
        flush_interval_seconds: float,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        thread: Callable[..., threading.Thread] = threading.Thread,
        wait: Callable[[threading.Condition, float | None], object] = threading.Condition.wait,
    ) -> None:
        self._buffer = buffer
        self._delivery = delivery
        self._breaker = breaker
        self._pacer = pacer
        self._ledger = ledger
        self._hooks = hooks
        self._is_concurrent = delivery.is_concurrent
        self._max_senders = 1 if self._is_concurrent else connections
        self._flush_queue_size = flush_queue_size
        self._flush_interval_seconds = flush_interval_seconds
        self._wall = wall
        self._monotonic = monotonic
        self._thread = thread
        self._wait = wait

        # One lock for all that follows. It is never held while something is sent, stored or told.
        self._lock = threading.RLock()
        self._tick = threading.Condition(self._lock)  # the timekeeper waits here
        self._work = threading.Condition(self._lock)  # the other idle senders wait here
        self._paced = threading.Condition(self._lock)  # senders wait for their moment here
        self._settled = threading.Condition(self._lock)  # close() waits here
        self._due_at: float | None = None  # when to claim next, monotonic; None: nothing to do
        self._fresh = 0  # events put since the last claim
        self._claims = Claims(connections)
        self._is_claiming = False
        self._has_timekeeper = False
        self._idle = 0
        self._senders: set[threading.Thread] = set()
        self._flushes = Flushes()
        self._is_closing = self._is_stopped = False
        self._ends_at = math.inf  # when to begin nothing more, monotonic
        self._is_closed = threading.Event()

    def start(self) -> None:
        """Go on with what a durable buffer holds from an earlier time. Never raises."""
        with suppress(Exception):  # the first event finds out
            if self._buffer.is_durable and self._buffer.state().waiting:
                with self._lock:
                    self._bring_forward(0.0)
                self._start_first_sender()

    def put(self, id: str, sync: str, body: bytes) -> None:
        """Take in one event. Runs in the app's thread: never raises, waits or calls a hook."""
        self._ledger.stored()
        refused = "closed" if self._is_closing else self._buffer.put(id, sync, body, self._wall())
        if refused:
            dropped = Dropped(sync, id, refused, body)
            self._ledger.settled(dropped)
            self.post(dropped)
            return
        with self._lock:
            self._fresh += 1
            if self._fresh == self._flush_queue_size:
                self._bring_forward(0.0)
            elif self._fresh == 1:
                self._bring_forward(self._flush_interval_seconds)
        self._start_first_sender()

    def reject(self, rejected: Rejected) -> None:
        """Count an event that can't be sent, and have the hooks told. As careful as ``put``."""
        self._ledger.refused(rejected)
        self.post(rejected)

    def post(self, fact: Fact) -> None:
        """Have the hooks told of something by a sender. As careful as ``put``."""
        self._hooks.post(fact)
        with self._lock:
            self._bring_forward(0.0)
        self._start_first_sender()

    def flush(self) -> Future[Stats]:
        """Send at once what waits for its first attempt.

        The future is done when everything that was put before this call has been delivered, buried
        or tried once; its result are the counters at that time, its exception is the buffer's.
        """
        try:
            newest = self._buffer.state().last_key
        except Exception as error:
            failed: Future[Stats] = Future()
            failed.set_exception(error)
            return failed
        with self._lock:
            future = self._flushes.add(newest)
            self._bring_forward(0.0)
        with suppress(Exception):  # then a sender finds out
            self._finish_flushes()
        if not future.done():
            self._start_first_sender()
        return future

    def stats(self) -> Stats:
        """The counters now. Of a durable buffer, ``buffered`` is what lies in it, from whomever."""
        stats = self._ledger.snapshot()
        if self._buffer.is_durable:
            state = self._buffer.state()
            stats = replace(stats, buffered=state.waiting + state.claimed)
        return stats

    def send_due(self) -> None:
        """Do the senders' work once, in the calling thread: claim a batch that is due, and send it.

        For where no thread can be started any more, and for tests.
        """
        self._claim()
        while self._claims.staged:
            self._send(self._claims.take(), leaves_no_watch=False)

    def close(self, timeout_seconds: float) -> int:
        """Send what can be sent in time, then end the threads. Returns how many events are lost.

        Of a durable buffer only what is on its way is waited for: the rest is safe where it is. An
        event whose next attempt falls due only later is not waited for either. A second call waits
        for the first one.
        """
        deadline = self._monotonic() + timeout_seconds
        with self._lock:
            is_first = not self._is_closing
            self._is_closing = True
            self._ends_at = min(self._ends_at, deadline)
            self._bring_forward(0.0)
        if not is_first:
            self._is_closed.wait(timeout_seconds)
            return 0
        try:
            self._drain(deadline)
        finally:
            lost = self._stop(deadline)
            self._is_closed.set()
        return lost

    # -- the senders -------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while task := self._next_task():
                try:
                    task()
                except Exception:  # a sender must survive whatever happens to one event
                    logger.exception("A sender failed, and goes on")
        finally:
            with self._lock:
                self._senders.discard(threading.current_thread())
            self._hooks.tell_posted()

    def _next_task(self) -> _Task | None:
        """Wait for something to do; None to end."""
        with self._lock:
            while not self._is_stopped:
                if self._claims.staged:
                    return partial(self._send, self._claims.take(), self._leaves_no_watch())
                if self._has_timekeeper:
                    self._idle += 1
                    self._wait(self._work, None)
                    self._idle -= 1
                    continue
                self._has_timekeeper = True
                if self._begin_claim():
                    return self._claim
                self._wait(self._tick, self._delay_seconds())
                self._has_timekeeper = False
            return None

    def _claim(self) -> None:
        """The timekeeper's task: stage the entries that are due, and see when the next ones are."""
        entries: list[Entry] = []
        delay: float | None = None
        self._is_claiming = True
        try:
            self._hooks.tell_posted()
            delay = self._breaker.delay_seconds()
            if self._is_closing and self._buffer.is_durable:
                delay = None
            limit = self._claim_limit()
            if delay == 0 and limit > 0:
                delay = _TROUBLE_SECONDS  # should the buffer raise
                entries = self._buffer.claim(limit, self._wall(), newest=limit // 4)
                delay = self._until_next_claim(is_batch_full=len(entries) == limit)
            elif delay == 0:
                delay = AHEAD_SECONDS / 10
        finally:
            with self._lock:
                self._has_timekeeper = self._is_claiming = False
                self._claims.stage(entries)
                if delay is not None:
                    self._bring_forward(delay)
        if self._flushes:
            self._finish_flushes()

    def _until_next_claim(self, *, is_batch_full: bool) -> float | None:
        due = self._buffer.state().next_due
        delay = None if due is None else max(0.0, due - self._wall())
        if due == 0 and not is_batch_full:  # put just now: whoever put it has set the time, or will
            delay = self._flush_interval_seconds
        if self._buffer.is_durable:  # other processes put, send and leave things there
            look = _FLUSH_POLL_SECONDS if self._flushes else _TAKE_OVER_SECONDS
            delay = look if delay is None else min(delay, look)
        return delay

    def _claim_limit(self) -> int:
        """How many more may be claimed now."""
        if self._breaker.is_open:
            return 1
        rate = self._pacer.rate
        with self._lock:
            return self._claims.limit(rate)

    def _send(self, entry: Entry, leaves_no_watch: bool) -> None:
        if leaves_no_watch:
            self._start_sender()
        is_probe = self._breaker.begin_probe()
        if not is_probe and (self._breaker.is_open or not self._wait_for_pace()):
            self._give_back(entry)
        elif self._is_concurrent:
            self._delivery.deliver_each(entry, self._take_more, self._after, is_probe=is_probe)
        else:
            again: float | None = 0.0
            try:
                again = self._delivery.deliver(entry, is_probe=is_probe)
            finally:
                self._after(entry, is_probe, again)

    def _give_back(self, entry: Entry) -> None:
        try:
            self._delivery.give_back(entry)
        finally:
            self._after(entry, False, 0.0)

    def _take_more(self) -> Taken | float:
        """One more entry for the thread that has others on their way, or when it may ask again."""
        if self._claims.is_full:
            return _ASK_AGAIN_SECONDS
        if not self._claims.staged:
            with self._lock:
                is_due = self._begin_claim()
            if is_due and self._monotonic() < self._ends_at:
                self._claim()
            if not self._claims.staged:
                return _ASK_AGAIN_SECONDS
        is_open = self._breaker.is_open
        is_probe = is_open and self._breaker.begin_probe()
        if not is_open and (delay := self._pacer.reserve(only_now=True)):
            return delay
        with self._lock:
            if self._is_stopped:  # what is staged is given back by who has stopped it
                return _ASK_AGAIN_SECONDS
            entry = self._claims.take()
        if is_open and not is_probe:
            self._give_back(entry)
            return 0.0
        return entry, is_probe

    def _after(self, entry: Entry, is_probe: bool, again: float | None) -> None:
        """An entry is settled, and comes due again in so many seconds; None if it does not."""
        delay = 0.0 if is_probe else again  # what comes after a probe, the circuit tells
        with self._lock:
            self._claims.settled(entry)
            if delay is not None:
                self._bring_forward(delay)
            may_be_flushed = self._may_be_flushed()
            if self._is_closing:
                self._settled.notify_all()
        if may_be_flushed:
            self._finish_flushes()

    def _wait_for_pace(self) -> bool:
        """Wait for this request's moment. False if the circuit opened, or the end came, before."""
        delay = self._pacer.reserve()
        if delay > 0:
            with self._lock:
                if not self._is_stopped:
                    self._wait(self._paced, delay)
                return not (self._is_stopped or self._breaker.is_open)
        return True

    def _leaves_no_watch(self) -> bool:
        """Called before a sender goes to send: whether nobody else sees to what is left."""
        needs_watch = bool(self._claims.staged) or not self._has_timekeeper
        if needs_watch and self._idle:
            self._work.notify()
        return needs_watch and not self._idle

    def _start_first_sender(self) -> None:
        if not self._senders:  # seen without the lock: at worst there are two
            self._start_sender()

    def _start_sender(self) -> bool:
        """Start one more sender, as long as there are too few; False if that can't be done."""
        with self._lock:
            if len(self._senders) >= self._max_senders:
                return True
            sender = self._thread(target=self._run, name="moloco-sender", daemon=True)
            self._senders.add(sender)
        try:
            sender.start()
        except RuntimeError:  # no more threads, or the interpreter is on its way out
            with self._lock:
                self._senders.discard(sender)
            return False
        return True

    # -- helpers that want the lock ------------------------------------------------------------

    def _bring_forward(self, delay_seconds: float) -> None:
        """See to it that the next claim is made no later than so."""
        due_at = self._monotonic() + delay_seconds
        if self._due_at is None or due_at < self._due_at:
            self._due_at = due_at
            self._tick.notify()

    def _delay_seconds(self) -> float | None:
        return None if self._due_at is None else self._due_at - self._monotonic()

    def _begin_claim(self) -> bool:
        """Take over the claim that is due. False if none is."""
        delay = self._delay_seconds()
        if delay is None or delay > 0:
            return False
        self._due_at, self._fresh = None, 0
        return True

    def _may_be_flushed(self) -> bool:
        """Whether a flush can be done, as far as can be told without the buffer."""
        return bool(self._flushes and self._flushes.done(self._claims.oldest_untried()))

    # -- ends ------------------------------------------------------------------------------------

    def _finish_flushes(self) -> None:
        """Called without the lock, since it reads the buffer."""
        oldest = self._buffer.state().oldest_untried
        with self._lock:
            # What the buffer knows to be settled may still be on its way into the counters.
            keys = (oldest, self._claims.oldest_untried())
            oldest = min((key for key in keys if key is not None), default=None)
            done = self._flushes.take(oldest)
        self._tell_flushed(done)

    def _tell_flushed(self, done: list[Future[Stats]]) -> None:
        for future in done:
            try:
                future.set_result(self.stats())
            except Exception as error:
                future.set_exception(error)

    def _drain(self, deadline: float) -> None:
        while (remaining := deadline - self._monotonic()) > 0:
            if not self._comes_in_time(remaining):
                return
            if self._senders or self._start_sender():
                with self._lock:
                    self._wait(self._settled, min(remaining, _DRAIN_POLL_SECONDS))
            else:
                self.send_due()

    def _comes_in_time(self, remaining_seconds: float) -> bool:
        """Whether something is on its way, or can be sent before the time is over."""
        # Looked at first: what leaves the buffer from now on is among the claims.
        due = None if self._buffer.is_durable else self._buffer.state().next_due
        with self._lock:
            if self._claims or self._is_claiming:
                return True
        probe_delay = self._breaker.delay_seconds()
        return (
            due is not None
            and due - self._wall() < remaining_seconds
            and (probe_delay is None or probe_delay < remaining_seconds)
        )

    def _stop(self, deadline: float) -> int:
        with self._lock:
            self._is_stopped = True
            senders = self._senders - {threading.current_thread()}  # a hook may close as well
            flushes = self._flushes.take(None)
            for condition in (self._tick, self._work, self._paced):
                condition.notify_all()
        end = max(deadline, self._monotonic() + _LAST_SECONDS)
        for sender in senders:
            with suppress(RuntimeError):  # it is not quite started yet, and will find nothing to do
                sender.join(max(0.0, end - self._monotonic()))
        while self._claims.staged:
            with suppress(Exception):  # then its lease ends by itself
                self._delivery.give_back(self._claims.staged.popleft())
        lost = self._buffer.close()
        for entry in lost:
            dropped = Dropped(entry.sync, entry.id, "shutdown", entry.body)
            self._ledger.settled(dropped)
            self._hooks.tell(dropped)
        if lost:
            logger.warning("%d events could not be sent to MCM in time, and are lost", len(lost))
        self._hooks.tell_posted()
        self._tell_flushed(flushes)
        return len(lost)
