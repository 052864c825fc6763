"""What a process can say of a buffer in Redis: from the last reading, and what it knows itself."""

from __future__ import annotations

from collections.abc import Callable

from amplitude_moloco.buffers.base import BufferState, Storage
from amplitude_moloco.buffers.redis.courier import Courier
from amplitude_moloco.buffers.redis.desk import Desk
from amplitude_moloco.buffers.redis.layout import MICROSECONDS
from amplitude_moloco.buffers.redis.writer import Writer


class Outlook:
    """Safe from any thread. Waits for no network; raises what the stage raises."""

    def __init__(
        self,
        stage: Storage,
        writer: Writer,
        desk: Desk,
        courier: Courier,
        monotonic: Callable[[], float],
    ) -> None:
        self._stage = stage
        self._writer = writer
        self._desk = desk
        self._courier = courier
        self._monotonic = monotonic

    def state(self) -> BufferState:
        """Returns what lies in Redis, of all processes, and in the stage of this one."""
        desk, staged = self._desk, self._stage.state()
        with desk.lock:
            reading = desk.reading
            unknown = desk.outcomes(desk.unsettled)
            ended = sum(each.is_end for each in unknown)
            buried = sum(each.is_burial for each in unknown)
            claimed = max(desk.held, reading.claimed - desk.ready - desk.unsettled)
            waiting = reading.events - claimed - ended + staged.waiting + staged.claimed
            return BufferState(max(0, waiting), claimed, reading.dead + buried)

    def oldest_age_seconds(self) -> float | None:
        """Returns the age of the oldest entry in Redis and in the stage; None for none."""
        reading, read_at = self._desk.reading, self._desk.read_at
        ages = [self._stage.oldest_age_seconds()]
        if reading.oldest_age >= 0:
            ages.append(reading.oldest_age / MICROSECONDS + self._monotonic() - read_at)
        return max((age for age in ages if age is not None), default=None)

    def checkpoint(
        self, is_over: Callable[[], bool], refresh: Callable[[], object]
    ) -> Callable[[], bool]:
        """As ``Buffer.checkpoint``. The function calls ``refresh`` to have another reading made."""
        is_written = self._stage.checkpoint()
        born = self._courier.born
        last = self._writer.last if is_written() else None

        def is_reached() -> bool:
            nonlocal last
            if is_over():
                return True
            if last is None and is_written():
                last = self._writer.last
            reading = self._desk.reading
            refresh()
            if last is None:
                return False
            if born and reading.born not in (b"", born):  # what it was about is no longer there
                return True
            is_new_enough = reading.last >= last
            return is_new_enough and not 0 <= reading.untried <= last

        return is_reached
