"""Futures that are done once everything stored before them has been tried, or sending pauses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent import futures
from concurrent.futures import Future
from math import inf

from amplitude_moloco.engine.ledger import Stats

_LOOK_SECONDS = 0.001


class FlushFuture(Future[Stats]):
    """A future whose result comes within a bound, even where no thread can bring it.

    Args:
        seconds_left: Returns the seconds until the bound.
        end: Called at the bound by a thread that waits. It gives the future its result.
    """

    def __init__(
        self, seconds_left: Callable[[], float], end: Callable[[FlushFuture], object]
    ) -> None:
        super().__init__()
        self._seconds_left = seconds_left
        self._end = end
        self.set_running_or_notify_cancel()  # its events are on their way: no way back

    def result(self, timeout: float | None = None) -> Stats:
        return super().result(self._wait_for_end(timeout))

    def exception(self, timeout: float | None = None) -> BaseException | None:
        return super().exception(self._wait_for_end(timeout))

    def _wait_for_end(self, timeout: float | None) -> float | None:
        """End the future if its bound comes before the timeout. Returns the timeout."""
        seconds = max(0.0, self._seconds_left())
        if not self.done() and (timeout is None or seconds < timeout):
            futures.wait([self], seconds)
            if not self.done():
                self._end(self)
        return timeout


class Flush:
    """One flush: first the buffer must have seen all outcomes, then the counters."""

    def __init__(self, is_tried: Callable[[], bool], future: FlushFuture, ends_at: float) -> None:
        self.future = future
        self.is_tried = is_tried
        """Whether the buffer knows that everything before has been tried. May raise."""
        self.ends_at = ends_at
        """When it is done at the latest, by the monotonic clock."""
        self.uncounted: frozenset[Hashable] | None = None
        """The entries that the counters still lack; None until the buffer knows all."""

    def is_counted(self, settling: frozenset[Hashable]) -> bool:
        """Whether it is done while these entries are being settled."""
        if self.uncounted is not None:
            self.uncounted &= settling
        return self.uncounted == frozenset()


class Flushes:
    """The flushes that are not done yet. Safe from any thread.

    Args:
        checkpoint: As ``Buffer.checkpoint``.
        settling: Returns the entries whose outcome the counters may not have yet.
        is_paused: Returns whether sending pauses: then all flushes are done.
        stats: Returns the counters, the result of a flush.
        timeout_seconds: How long a flush may take.
        monotonic: The clock, in seconds.
    """

    def __init__(
        self,
        checkpoint: Callable[[], Callable[[], bool]],
        *,
        settling: Callable[[], frozenset[Hashable]],
        is_paused: Callable[[], bool],
        stats: Callable[[], Stats],
        timeout_seconds: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._checkpoint = checkpoint
        self._settling = settling
        self._is_paused = is_paused
        self._stats = stats
        self._timeout_seconds = timeout_seconds
        self._monotonic = monotonic
        self._lock = threading.RLock()
        self._pending: list[Flush] = []
        self._finished_at = -inf

    def __bool__(self) -> bool:
        return bool(self._pending)

    def begin(self, timeout_seconds: float = 0.0) -> FlushFuture:
        """Returns the future of a new flush, which may take longer than usual. Never raises.

        If the buffer can't be read, that is the future's exception.
        """
        ends_at = self._monotonic() + max(timeout_seconds, self._timeout_seconds)
        future = FlushFuture(lambda: ends_at - self._monotonic(), self._end)
        try:
            flush = Flush(self._checkpoint(), future, ends_at)
        except Exception as error:
            future.set_exception(error)
            return future
        with self._lock:
            self._pending.append(flush)
        return future

    def seconds_left(self) -> float:
        """Returns the seconds until a flush is done whatever was tried; infinity without any."""
        with self._lock:
            ends_at = min((flush.ends_at for flush in self._pending), default=inf)
        return max(0.0, ends_at - self._monotonic())

    def note_settled(self, *, has_more: bool) -> None:
        """One more entry is settled. While others are staged, not every one is worth a look."""
        if not has_more or self._monotonic() - self._finished_at >= _LOOK_SECONDS:
            self.finish()

    def finish(self) -> None:
        """Resolve the flushes that are done. Raises what the buffer raises."""
        self._finished_at = self._monotonic()
        self.end_late()
        with self._lock:
            unseen = [flush for flush in self._pending if flush.uncounted is None]
        for flush in unseen:
            if flush.is_tried():
                # What the buffer knows may still be on its way into the counters.
                flush.uncounted = self._settling()
        settling = self._settling()
        self._end_if(lambda flush: flush.is_counted(settling))

    def end_late(self) -> None:
        """Resolve the flushes whose bound is reached; while sending pauses, all. Never raises."""
        is_paused, now = self._is_paused(), self._monotonic()
        self._end_if(lambda flush: is_paused or flush.ends_at <= now)

    def end_all(self) -> None:
        """Resolve all flushes with the counters of now, whatever was tried."""
        self._end_if(lambda flush: True)

    def _end(self, future: FlushFuture) -> None:
        self._end_if(lambda flush: flush.future is future)

    def _end_if(self, is_over: Callable[[Flush], bool]) -> None:
        with self._lock:
            over = [flush for flush in self._pending if is_over(flush)]
            self._pending = [flush for flush in self._pending if flush not in over]
        for flush in over:
            flush.future.set_result(self._stats())
