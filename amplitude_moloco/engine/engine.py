"""The engine of one process: a buffer, a transport, and the senders between them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from math import inf

from amplitude_moloco.buffers.base import BufferFactory, BufferState, DeadLetter, Storage
from amplitude_moloco.engine.books import Books, open_books
from amplitude_moloco.engine.breaker import BreakerPolicy, Circuit
from amplitude_moloco.engine.checks import MOST, number, whole_number
from amplitude_moloco.engine.delivery import Delivery
from amplitude_moloco.engine.dispatcher import Dispatcher
from amplitude_moloco.engine.facts import Dropped, Fact, Hook, Invalid
from amplitude_moloco.engine.fleet import Fleet, limits_of
from amplitude_moloco.engine.ledger import Stats
from amplitude_moloco.engine.log_fields import fields
from amplitude_moloco.engine.measures import Measurements
from amplitude_moloco.engine.rate import Pace
from amplitude_moloco.engine.reports import report
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.engine.runtime import Runtime
from amplitude_moloco.engine.senders import Senders, senders_for
from amplitude_moloco.engine.status import Status
from amplitude_moloco.engine.tending import Tending
from amplitude_moloco.engine.verdict import Classify, Refusal
from amplitude_moloco.engine.wakeups import Wakeups
from amplitude_moloco.engine.window import Window
from amplitude_moloco.host.fork import Origin
from amplitude_moloco.host.weak import weakly
from amplitude_moloco.reasons import DropReason
from amplitude_moloco.transports.base import ConcurrentTransport, SendResult, Transport

logger = logging.getLogger(__name__)

_DRAIN_POLL_SECONDS = 0.05
_FLUSH_SECONDS = 5.0
_GRACE_SECONDS = 0.1
"""Grace for senders to return unsent entries after close() times out."""
_TELL_SECONDS = 0.5
"""What hooks are given to learn what was lost, after close() times out."""


@dataclass(frozen=True)
class Partner:
    """What an engine needs to know of the partner whose server it calls."""

    server: str
    """The server's name in log lines and thread names."""
    access: str
    """What may be wrong if the server refuses all events: the key, for example."""
    classify: Classify
    """Reads the result of a request as the partner's failure protocol wants it."""
    identify: Callable[[bytes], str] | None = None
    """Returns a one-way fingerprint of the identifier in a body; None: it is never named."""
    why_not: Callable[[bytes], Refusal | None] | None = None
    """Returns why a body must not be sent any more, or None. Asked before each attempt."""
    refused: Callable[[bytes, SendResult], None] | None = None
    """Told of each body that the server refuses for good: its answer may hold for others."""


@dataclass(frozen=True)
class EngineSettings:
    """How to build an engine.

    Raises:
        ConfigurationError: A number is not above 0, or of the wrong type.
    """

    partner: Partner
    open_buffer: BufferFactory
    open_transport: Callable[[], Transport]
    hooks: tuple[Hook, ...] = ()
    retry: RetrySchedule = field(default_factory=RetrySchedule)
    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)
    max_requests_per_second: float | None = None
    connections: int = 16
    flush_queue_size: int = 16
    flush_interval_millis: int = 200
    flush_timeout_seconds: float | None = None
    """How long a flush may take; None: five seconds."""
    host: str = ""
    """The server's host, for log lines about its answers. Empty: they name the server alone."""
    near_name: Callable[[str], str] = lambda name: ""
    """Returns the configured name that an event's name nearly is; empty for none."""
    delivers: bool = True
    """Whether this process sends. Otherwise it stores events for other processes, and the
    transport is not used."""
    may_drain: bool = True
    """Whether ``close()`` may send what waits in a durable buffer that asks for it. Otherwise it
    sends nothing more: it waits only for the answers to what was sent."""
    heartbeat: Callable[[], object] | None = None
    """Called by a sender again and again, for as long as it does its work. Must be quick."""
    heartbeat_seconds: float = 1.0
    """At least this often, unless the sender waits for the disk or for a hook."""

    def __post_init__(self) -> None:
        whole_number("connections", self.connections)
        whole_number("flush_queue_size", self.flush_queue_size)
        number("flush_interval_millis", self.flush_interval_millis)
        if self.flush_timeout_seconds is not None:
            number("flush_timeout_seconds", self.flush_timeout_seconds)


def build_engine(settings: EngineSettings, runtime: Runtime | None = None) -> Engine:
    """Build an engine for this process. Starts no thread, and needs no client of the SDK.

    Raises ConfigurationError where the buffer or the transport can't be opened.
    """
    return Engine(settings, settings.open_buffer(), settings.open_transport(), runtime or Runtime())


class Engine:
    """Delivers what is put into it. Safe from any thread.

    A forked child builds an engine of its own, and never touches its parent's.
    """

    def __init__(
        self, settings: EngineSettings, buffer: Storage, transport: Transport, runtime: Runtime
    ) -> None:
        self.origin = Origin()
        self._buffer = buffer
        self._transport = transport
        self._monotonic = runtime.monotonic
        self._new_thread = runtime.new_thread
        self._wakeups = Wakeups(runtime)
        self._books = self._open_books(settings, buffer)
        self._ledger, self.selection = self._books.ledger, self._books.selection
        self._is_closed = threading.Event()
        self._delivers, self._is_service = settings.delivers, settings.heartbeat is not None
        self._breaker, self._rate, self._fleet = self._limits(settings)
        breaker, rate = self._breaker, self._rate
        is_concurrent = isinstance(transport, ConcurrentTransport)
        self._dispatcher = Dispatcher(
            buffer,
            _delivery(settings, buffer, self._books, breaker=breaker, rate=rate, runtime=runtime),
            breaker=breaker,
            rate=rate,
            ledger=self._ledger,
            tending=self._tending(settings),
            delivers=self._delivers,
            # A thread for each request is started only when it is needed.
            window=Window(settings.connections, runtime.monotonic, is_fixed=not is_concurrent),
            # Handed to others by time alone: a transaction for each few would cost more.
            flush_queue_size=settings.flush_queue_size if self._delivers else MOST,
            flush_interval_seconds=settings.flush_interval_millis / 1000,
            flush_timeout_seconds=settings.flush_timeout_seconds or _FLUSH_SECONDS,
            wake=self._wakeups.wake,
            runtime=runtime,
        )
        self._name = f"{settings.partner.server}-{'sender' if self._delivers else 'storer'}"
        self._senders: Senders = senders_for(
            transport,
            self._dispatcher,
            self._wakeups,
            connections=settings.connections,
            name=self._name,
            runtime=runtime,
        )
        self._start_first_sender = self._senders.threads.start_first
        self._dispatcher.tending.call_when_needed(weakly(self._start_first_sender))
        _listen(buffer, weakly(self._claim_now))

    @property
    def is_closed(self) -> bool:
        """Whether it was closed, or is about to be: it accepts nothing more."""
        return self._ledger.is_closing

    def start(self) -> None:
        """Resume what a durable buffer holds, from earlier or of other processes. Never raises."""
        has_backlog = self._buffer.is_durable and self._books.vitals.read_buffer() > 0
        if has_backlog or self._is_service or hasattr(self._buffer, "call_when_due"):
            self._dispatcher.claim_now()
        if has_backlog or self._dispatcher.tending.is_needed:
            self._start_first_sender()

    def put(self, id: str, sync: str, body: bytes, lane: str = "") -> None:
        """Store one event, to be sent soon. Never raises, waits or calls a hook.

        Events of one ``lane`` are sent one at a time, in the order of their puts.

        An exception that strikes from outside, such as a signal handler's, may cost this event. It
        reaches the caller, and everything after it works.
        """
        try:
            self._dispatcher.put(id, sync, body, lane)
            self._start_first_sender()
        except BaseException:
            self._recover()
            raise

    def invalid(self, fact: Invalid) -> None:
        """Count an event that can't be sent. As careful as ``put``."""
        self.post(fact, is_new=True)

    def post(self, fact: Fact, *, is_new: bool = False) -> None:
        """Have a sender tell a fact to the hooks. As careful as ``put``."""
        try:
            self._ledger.post(fact, is_new=is_new)
            self._dispatcher.claim_now()
            self._start_first_sender()
        except BaseException:
            self._recover()
            raise

    def flush(self, timeout_seconds: float = 0.0) -> Future[Stats]:
        """Send at once what waits for its first attempt. Never raises.

        The future is done when everything stored before this call has been delivered, buried or
        tried once, or when sending pauses, and at the latest after ``flush_timeout_seconds``, or
        ``timeout_seconds`` if that is longer. Where this process does not deliver, it is done when
        all of that lies where other processes find it. Its result is the counters at that time, its
        exception the buffer's.
        """
        future = self._dispatcher.flush(timeout_seconds)
        if not future.done():
            self._start_first_sender()
        return future

    def stats(self) -> Stats:
        """Returns the counters of this process."""
        return self._ledger.stats()

    def status(self) -> Status:
        """Returns how sending goes. Waits for nothing that a sender does."""
        return self._books.vitals.status(
            self._breaker,
            self._rate,
            buffered=self.stats().buffered,
            threads=self._senders.threads.alive,
            is_closed=self.is_closed,
            delivers=self._delivers,
        )

    def measurements(self) -> Measurements:
        """Returns what the senders of this process have measured."""
        return self._books.measures.measurements()

    def buffer_state(self) -> BufferState:
        """Returns what the buffer holds, from all processes that share it."""
        return self._buffer.state()

    def dead_letters(self) -> list[DeadLetter]:
        """Returns the dead letters, oldest first."""
        return list(self._buffer.dead_letters())

    def resend(self, ids: Iterable[str] | None = None) -> int:
        """Send dead letters again: those with these ids, or all. Returns how many there were."""
        wanted = None if ids is None else frozenset(ids)
        resent = 0
        for letter in self._buffer.dead_letters():
            if wanted is None or letter.id in wanted:
                resent += self._resend(letter)
        self.flush()
        return resent

    def set_max_rate(self, max_requests_per_second: float | None) -> None:
        """Change the highest rate of requests; None for no limit.

        Raises ConfigurationError if it is no number of at least 0.1.
        """
        self._rate.set_max(max_requests_per_second)
        self._wakeups.wake()

    def work_here(self, ends_at: float) -> float:
        """Send in the calling thread what can be sent now, but begin nothing after ``ends_at``.

        For where no thread can be started, and none runs. The time is the monotonic clock's.
        Returns the seconds until there may be more to send; infinity if nothing waits.
        """
        return self._senders.work_here(ends_at)

    def _resend(self, letter: DeadLetter) -> bool:
        self._ledger.accept()  # first: a sender may deliver it before resend() returns
        is_resent = False
        try:
            is_resent = self._buffer.resend(letter)
        finally:
            if not is_resent:
                self._ledger.retract()
            elif self._buffer.is_durable:
                self._ledger.hand_on()
        return is_resent

    def _open_books(self, settings: EngineSettings, buffer: Storage) -> Books:
        return open_books(
            server=settings.partner.server,
            access=settings.partner.access,
            host=settings.host,
            buffer=buffer,
            hooks=settings.hooks,
            near_name=settings.near_name,
            monotonic=self._monotonic,
            post=self.post,
            schedule=self._schedule_chore,
            delivers=settings.delivers,
        )

    def _limits(self, settings: EngineSettings) -> tuple[Circuit, Pace, Fleet | None]:
        return limits_of(
            *(self._buffer, settings.breaker, settings.max_requests_per_second, self._monotonic),
            wake=self._wakeups.wake,
            claim=weakly(self._learn_of_fleet),
        )

    def _tending(self, settings: EngineSettings) -> Tending:
        # A health check wants to know of the buffer, too.
        heart = settings.heartbeat and (self._books.vitals.run, settings.heartbeat)
        return Tending(
            *(self._buffer, self._ledger, self._monotonic),
            beats=heart or (),
            beat_seconds=settings.heartbeat_seconds,
            may_drain=settings.may_drain,
        )

    def _learn_of_fleet(self) -> None:
        """Tell what other processes have done. Called in the buffer's thread."""
        for fact in self._fleet.take_facts() if self._fleet else ():
            self.post(fact)
        self._claim_now()

    def _claim_now(self) -> None:
        """Claim what a buffer has fetched. Called in its thread."""
        if not self.is_closed:
            self._dispatcher.claim_now()
            self._start_first_sender()

    def _schedule_chore(self, seconds: float) -> None:
        """Let a sender do a chore after this time."""
        if not self.is_closed:
            self._dispatcher.claim_within(seconds)

    def _recover(self) -> None:
        """Mend what an exception that struck from outside may have left half done."""
        self._senders.threads.recover()
        self._dispatcher.recover()
        self._start_first_sender()

    # -- the end -----------------------------------------------------------------------------

    def close(self, timeout_seconds: float) -> None:
        """Send what can be sent in time, then end the threads and the connections.

        With a durable buffer it waits only for what is on its way: the rest is safe where it is.
        An event whose next attempt comes later than the timeout is not waited for either. A second
        call waits for the first one. A hook that is too slow for this deadline is not waited for.
        """
        ends_at = self._monotonic() + timeout_seconds
        self._ledger.begin_closing()
        if not self._dispatcher.begin_closing():
            self._is_closed.wait(timeout_seconds)
            return
        self._ledger.tell_until(ends_at)
        try:
            self._drain(ends_at)
        finally:
            self._stop(ends_at)
            self._transport.close()
            self._is_closed.set()

    def _drain(self, ends_at: float) -> None:
        threads = self._senders.threads
        while (remaining := ends_at - self._monotonic()) > 0:
            if not self._dispatcher.can_send_within(remaining):
                return
            wait_seconds = _DRAIN_POLL_SECONDS
            if not threads and not threads.start_one():
                wait_seconds = min(wait_seconds, self.work_here(ends_at))
            self._dispatcher.wait_for_settled(min(remaining, wait_seconds))

    def _stop(self, ends_at: float) -> None:
        self._dispatcher.stop()
        self._wakeups.close()
        self._senders.threads.join(max(ends_at - self._monotonic(), _GRACE_SECONDS))
        self._dispatcher.release()
        lost = self._buffer.close()
        if self._buffer.is_durable:  # they were handed on; what was claimed was taken over then
            self._ledger.take_over(sum(not self._dispatcher.has_sent(each) for each in lost))
        self._ledger.post_all(
            Dropped(entry.sync, entry.id, DropReason.SHUTDOWN, entry.body) for entry in lost
        )
        if lost:
            message = "%d events could not be sent in time, and are lost"
            extra = fields(reason=DropReason.SHUTDOWN, count=len(lost))
            report(logger, logging.WARNING, message, len(lost), extra=extra)
        self._tell_posted(max(ends_at, self._monotonic() + _TELL_SECONDS))
        self._books.reporter.write_last(self.stats())
        self._dispatcher.end_flushes()

    def _tell_posted(self, ends_at: float) -> None:
        """Tell what was posted, until this time."""
        self._ledger.tell_until(ends_at)
        if self._ledger.has_posted or self._ledger.is_telling:
            # A hook may hang: it must not hold up the thread that closes.
            teller = self._new_thread(target=self._ledger.tell_all, name=self._name, daemon=True)
            try:
                teller.start()
            except RuntimeError:  # no more threads, or the interpreter is ending
                self._ledger.tell_posted()
            else:
                teller.join(max(0.0, ends_at - self._monotonic()))
        untold = self._ledger.give_up_posted()
        if untold:
            message = "Hooks are too slow: %d facts were counted, but not told"
            report(logger, logging.WARNING, message, untold, extra=fields(count=untold))
        self._ledger.tell_until(inf)


def _delivery(
    settings: EngineSettings,
    buffer: Storage,
    books: Books,
    *,
    breaker: Circuit,
    rate: Pace,
    runtime: Runtime,
) -> Delivery:
    return Delivery(
        buffer,
        classify=settings.partner.classify,
        breaker=breaker,
        rate=rate,
        retry=settings.retry,
        ledger=books.ledger,
        identify=settings.partner.identify,
        why_not=settings.partner.why_not,
        refused=settings.partner.refused,
        measures=books.measures,
        monotonic=runtime.monotonic,
    )


def _listen(buffer: Storage, call: Callable[[], object]) -> None:
    """Have a buffer that notices what is due call this."""
    listen = getattr(buffer, "call_when_due", None)
    if listen is not None:
        listen(call)
