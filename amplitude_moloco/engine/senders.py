"""Senders ask the dispatcher for work, hand it to the transport, and settle what comes of it."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Protocol, cast

from amplitude_moloco.engine.dispatcher import Dispatcher, Send, Stop, Wait
from amplitude_moloco.engine.threads import NewThread, Threads
from amplitude_moloco.engine.wakeups import Wakeups
from amplitude_moloco.transports.base import (
    ConcurrentTransport,
    RequestLoop,
    SendResult,
    Transport,
)

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.02
"""While requests are on their way, a loop asks for more work at least this often."""
_LATE_SECONDS = 0.1
"""A hook may be slow; keep reading meanwhile, so that other answers don't time out."""


class Senders(Protocol):
    """Send what the dispatcher hands out. All methods are safe from any thread."""

    threads: Threads

    def work_here(self, ends_at: float) -> None:
        """Send in the calling thread what can be sent now, but begin nothing after this time.

        For where no thread can be started, and none runs. ``ends_at`` is monotonic time.
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
        new_thread: NewThread,
    ) -> None:
        self._dispatcher = dispatcher
        self._transport = transport
        self._wakeups = wakeups
        self.threads = Threads(
            self._run, most=connections, name=f"{name}-sender", new_thread=new_thread
        )

    def work_here(self, ends_at: float) -> None:
        _repeat(lambda: self._step(may_wait=False), ends_at)

    def _run(self) -> None:
        _repeat(lambda: self._step(may_wait=True))

    def _step(self, *, may_wait: bool) -> bool:
        """Do one piece of work, or wait for some. Returns False to end."""
        signals = self._wakeups.signals
        work = self._dispatcher.next_work()
        if isinstance(work, Send):
            if self._wakeups.hand_over(has_more=self._dispatcher.has_staged) and may_wait:
                self.threads.start_one()
            self._dispatcher.settle(work, self._send(work.entry.body))
            return True
        if isinstance(work, Stop) or not may_wait:
            return False
        self._wakeups.wait(work.seconds, signals)
        return True

    def _send(self, body: bytes) -> SendResult:
        try:
            return self._transport.send(body)
        except BaseException as error:  # whatever it is, the event must not be lost by it
            return _fault(error)


class LoopSender:
    """One thread that has many requests on their way."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        transport: ConcurrentTransport,
        wakeups: Wakeups,
        *,
        name: str,
        new_thread: NewThread,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dispatcher = dispatcher
        self._transport = transport
        self._wakeups = wakeups
        self._monotonic = monotonic
        self.threads = Threads(self._run, most=1, name=f"{name}-sender", new_thread=new_thread)
        # Used by the one thread that sends.
        self._loop: RequestLoop | None = None
        self._on_their_way: dict[Hashable, Send] = {}
        self._results: deque[tuple[Send, SendResult]] = deque()
        self._polled_at = 0.0

    def work_here(self, ends_at: float) -> None:
        _repeat(lambda: self._step(may_wait=False), ends_at)

    def _run(self) -> None:
        try:
            _repeat(lambda: self._step(may_wait=True))
        finally:
            self._close_loop()

    def _step(self, *, may_wait: bool) -> bool:
        """Do one piece of work, or wait for some. Returns False to end."""
        if self._results:
            self._settle_next()
            return True
        signals = self._wakeups.signals
        work = self._dispatcher.next_work()
        if isinstance(work, Send):
            self._start(work)
        elif self._on_their_way:
            seconds = work.seconds if isinstance(work, Wait) else None
            self._poll(_POLL_SECONDS if seconds is None else min(seconds, _POLL_SECONDS))
        elif isinstance(work, Stop) or not may_wait:
            return False
        else:
            self._wakeups.wait(work.seconds, signals)
        return True

    def _start(self, work: Send) -> None:
        self._on_their_way[work.entry.key] = work
        try:
            if self._loop is None:
                self._loop = self._transport.open_loop()
            self._loop.start(work, work.entry.body)
        except BaseException as error:
            self._results.append((work, _fault(error)))

    def _poll(self, seconds: float) -> None:
        try:
            results = cast(RequestLoop, self._loop).poll(seconds)
        except BaseException as error:  # no request in it can be trusted any more
            fault = _fault(error)
            self._close_loop()
            self._results.extend((work, fault) for work in self._on_their_way.values())
        else:
            self._results.extend(cast("list[tuple[Send, SendResult]]", results))
        self._polled_at = self._monotonic()

    def _settle_next(self) -> None:
        work, result = self._results.popleft()
        # A request whose loop broke may have its result already.
        if self._on_their_way.pop(work.entry.key, None) is None:
            return
        try:
            self._dispatcher.settle(work, result)
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
    new_thread: NewThread,
) -> Senders:
    """Returns the senders that suit a transport."""
    if isinstance(transport, ConcurrentTransport):
        return LoopSender(dispatcher, transport, wakeups, name=name, new_thread=new_thread)
    return ThreadedSenders(
        dispatcher, transport, wakeups, connections=connections, name=name, new_thread=new_thread
    )


def _repeat(step: Callable[[], bool], ends_at: float | None = None) -> None:
    """Repeat a step until it returns False. One event's trouble must not end a sender."""
    goes_on = True
    while goes_on and (ends_at is None or time.monotonic() < ends_at):
        try:
            goes_on = step()
        except Exception:
            logger.exception("A sender failed, and goes on")


def _fault(error: BaseException) -> SendResult:
    logger.error("The transport raised", exc_info=error)
    return SendResult(message=type(error).__name__)
