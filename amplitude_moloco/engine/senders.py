"""Senders ask the dispatcher for work, hand it to the transport, and settle what comes of it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from math import inf
from typing import Protocol, TypeVar, cast

from amplitude_moloco.engine.dispatcher import Dispatcher, Send, Stop, Wait
from amplitude_moloco.engine.reports import report
from amplitude_moloco.engine.runtime import Runtime
from amplitude_moloco.engine.threads import Threads
from amplitude_moloco.engine.wakeups import Wakeups
from amplitude_moloco.host.interruption import raise_if_apps
from amplitude_moloco.text import keep_record_on_one_line
from amplitude_moloco.transports.base import (
    ConcurrentTransport,
    RequestLoop,
    SendResult,
    Transport,
)

logger = logging.getLogger(__name__)
logger.addFilter(keep_record_on_one_line)  # what a transport raised may hold an answer
T = TypeVar("T")

_POLL_SECONDS = 0.02
"""While requests are on their way, a loop asks for more work at least this often."""
_LATE_SECONDS = 0.1
"""A hook may be slow; keep reading meanwhile, so that other answers don't time out."""


class Senders(Protocol):
    """Send what the dispatcher hands out. All methods are safe from any thread."""

    threads: Threads

    def work_here(self, ends_at: float) -> float:
        """Send in the calling thread what can be sent now, but begin nothing after ``ends_at``.

        For where no thread can be started, and none runs. The time is the monotonic clock's.
        Returns the seconds until there may be more to send; infinity if nothing waits.
        """
        ...


class ThreadedSenders:
    """One thread for each request that is on its way."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        transport: Transport,
        wakeups: Wakeups,
        *,
        connections: int,
        name: str,
        runtime: Runtime,
    ) -> None:
        self._dispatcher = dispatcher
        self._transport = transport
        self._wakeups = wakeups
        self._monotonic = runtime.monotonic
        self._idle_seconds = runtime.idle_seconds
        self._worked_at = self._monotonic()
        self.threads = Threads(
            self._run,
            most=connections + bool(dispatcher.tending),
            name=name,
            new_thread=runtime.new_thread,
            is_needed=dispatcher.needs_sender,
        )

    def work_here(self, ends_at: float) -> float:
        while self._monotonic() < ends_at:
            work = _survive(self._dispatcher.next_work)
            if isinstance(work, Send):
                _survive(partial(self._deliver, work))
            elif work is not None:
                return _seconds(work)
        return inf

    def _run(self) -> None:
        while _survive(self._step) is not False:
            pass

    def _step(self) -> bool:
        """Deliver one entry, or wait for one. Returns False to end."""
        work = self._dispatcher.next_work()
        if isinstance(work, Send):
            if self._wakeups.hand_over(has_more=self._dispatcher.has_staged):
                self.threads.start_one()
            self._deliver(work)
            self._worked_at = self._monotonic()
            return True
        if isinstance(work, Stop):
            return False
        if self._wakeups.wait(_at_most(work.seconds, self._idle_seconds)):
            return False
        return not self._is_idle()

    def _is_idle(self) -> bool:
        """Whether there was no work for long, and none is left. Then the other senders end too."""
        if self._monotonic() - self._worked_at < self._idle_seconds:
            return False
        self._wakeups.dismiss_sleepers()
        _close_idle(self._transport)
        return self._dispatcher.is_idle()

    def _deliver(self, work: Send) -> None:
        started_at = self._monotonic()
        try:
            result = self._transport.send(work.entry.body)
        except BaseException as error:  # whatever it is, the event must not be lost by it
            result = _fault(error)
        self._dispatcher.settle(work, result, self._monotonic() - started_at)


class LoopSender:
    """One thread that has many requests on their way."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        transport: ConcurrentTransport,
        wakeups: Wakeups,
        *,
        name: str,
        runtime: Runtime,
    ) -> None:
        self._dispatcher = dispatcher
        self._transport = transport
        self._wakeups = wakeups
        self._monotonic = runtime.monotonic
        self._idle_seconds = runtime.idle_seconds
        self.threads = Threads(
            self._run,
            most=1,
            name=name,
            new_thread=runtime.new_thread,
            is_needed=dispatcher.needs_sender,
        )
        # Used by the one thread that sends.
        self._loop: RequestLoop | None = None
        self._on_their_way: dict[Hashable, tuple[Send, float]] = {}
        """Each with the time at which it began."""
        self._results: deque[tuple[Send, SendResult, float]] = deque()
        """Each with the time at which it came."""
        self._polled_at = self._monotonic()

    def work_here(self, ends_at: float) -> float:
        while self._monotonic() < ends_at:
            work = _survive(self._step)
            if work is not None:
                return _seconds(work)
        return inf

    def _run(self) -> None:
        try:
            is_stopped = False
            while not is_stopped:
                work = _survive(self._step)
                if work is None:
                    continue
                if isinstance(work, Wait):
                    self._wakeups.wait(_at_most(work.seconds, self._idle_seconds))
                is_stopped = isinstance(work, Stop) or self._is_idle()
        finally:
            self._close_loop()

    def _step(self) -> Wait | Stop | None:
        """Settle what ended, and start one or move all on. Returns why there is nothing to do."""
        while self._results:
            self._settle_next()
        work = self._dispatcher.next_work()
        if isinstance(work, Send):
            self._start(work)
            return None
        if not self._on_their_way:
            return work
        self._poll(min(_seconds(work), _POLL_SECONDS))
        return None

    def _is_idle(self) -> bool:
        """Whether there was no work for long, and none is left."""
        is_busy = self._on_their_way or self._results
        if is_busy or self._monotonic() - self._polled_at < self._idle_seconds:
            return False
        self._close_loop()
        return self._dispatcher.is_idle()

    def _start(self, work: Send) -> None:
        now = self._monotonic()
        self._on_their_way[work.entry.key] = work, now
        try:
            if self._loop is None:
                self._loop = self._transport.open_loop()
            self._loop.start(work, work.entry.body)
        except BaseException as error:
            self._results.append((work, _fault(error), now))

    def _poll(self, seconds: float) -> None:
        try:
            started_at = self._monotonic()
            results = cast(RequestLoop, self._loop).poll(seconds)
        except BaseException as error:  # no request in it can be trusted any more
            fault = _fault(error)
            self._close_loop()
            results = [(work, fault) for work, _ in self._on_their_way.values()]
        else:
            if not results:
                self._dispatcher.note_wait(self._monotonic() - started_at)
        self._polled_at = now = self._monotonic()
        for work, result in cast("list[tuple[Send, SendResult]]", results):
            self._results.append((work, result, now))

    def _settle_next(self) -> None:
        work, result, ended_at = self._results.popleft()
        # A request whose loop broke may have its result already.
        begun = self._on_their_way.pop(work.entry.key, None)
        if begun is None:
            return
        try:
            self._dispatcher.settle(work, result, ended_at - begun[1])
        finally:
            if self._on_their_way and self._monotonic() - self._polled_at > _LATE_SECONDS:
                self._poll(0.0)

    def _close_loop(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.close()


def senders_for(
    transport: Transport,
    dispatcher: Dispatcher,
    wakeups: Wakeups,
    *,
    connections: int,
    name: str,
    runtime: Runtime,
) -> Senders:
    """Returns the senders that suit a transport."""
    if isinstance(transport, ConcurrentTransport):
        return LoopSender(dispatcher, transport, wakeups, name=name, runtime=runtime)
    return ThreadedSenders(
        dispatcher, transport, wakeups, connections=connections, name=name, runtime=runtime
    )


def _survive(step: Callable[[], T]) -> T | None:
    """Returns what a step returns; None if it raised. One event's trouble must not end a sender."""
    try:
        return step()
    except BaseException as error:
        raise_if_apps(error)
        report(logger, logging.ERROR, "A sender failed, and goes on", error=error)
        return None


def _close_idle(transport: Transport) -> None:
    """Close the idle connections of a transport that can do so, and goes on."""
    close = getattr(transport, "close_idle", None)
    if close is not None:
        _survive(close)


def _at_most(seconds: float | None, most: float) -> float:
    return most if seconds is None else min(seconds, most)


def _seconds(work: Wait | Stop) -> float:
    """Returns how long to wait; infinity if that is not known."""
    return inf if isinstance(work, Stop) or work.seconds is None else work.seconds


def _fault(error: BaseException) -> SendResult:
    report(logger, logging.ERROR, "The transport raised", error=error)
    return SendResult(message=type(error).__name__)
