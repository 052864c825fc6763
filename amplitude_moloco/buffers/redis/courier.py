"""Carries entries between this process and Redis: in one thread, so that no other one waits."""

from __future__ import annotations

import logging
import threading
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from math import inf
from typing import Any

from amplitude_moloco.buffers.base import Degraded, Lost, News
from amplitude_moloco.buffers.redis.appetite import Demand
from amplitude_moloco.buffers.redis.bell import LISTEN_SECONDS, Bell
from amplitude_moloco.buffers.redis.board import Board
from amplitude_moloco.buffers.redis.desk import Desk
from amplitude_moloco.buffers.redis.faults import RedisAway
from amplitude_moloco.buffers.redis.layout import MICROSECONDS, VERSION
from amplitude_moloco.buffers.redis.link import Argument, Link
from amplitude_moloco.buffers.redis.record import Reading, Record, records_from
from amplitude_moloco.buffers.redis.scripts import (
    CLAIM,
    LOOK,
    PREPARE,
    RENEW,
    SWEEP,
    TAKE_OVER,
)
from amplitude_moloco.buffers.redis.settler import Settler
from amplitude_moloco.buffers.redis.writer import Writer
from amplitude_moloco.text import one_line

logger = logging.getLogger(__name__)

_AGAIN_SECONDS = 1.0
"""The pause after Redis could not be used."""
_LEAST_SECONDS, _IDLE_SECONDS = 0.05, 2.0
"""While senders wait, Redis is asked for more after such pauses, which double each time. Then the
bell rings when there is something."""
_SOON_SECONDS = 0.5
_BATCH = 100
_BATCHES = 50
_SWEEP_SECONDS = 600.0
_UNSEEN_MILLIS = 24 * 3600 * 1000
_WELL_SECONDS = 5.0
"""A trouble is over when it was not there for this long: what comes and goes is told once."""


class Courier:
    """Does what is due, step by step. Safe from any thread: one at a time has the connection.

    Args:
        place: Names the server in messages.
        target: Where the events go.
        consumer: Names the claims of this process.
        lease_seconds: A claim that is not renewed for this time can be taken over.
        horizon_seconds: A retry that is due even later is due now.
        monotonic: The clock, in seconds.
    """

    def __init__(
        self,
        parts: tuple[Link, Writer, Desk, Board, Bell],
        *,
        place: str,
        target: str,
        consumer: str,
        lease_seconds: float,
        horizon_seconds: float,
        monotonic: Callable[[], float],
    ) -> None:
        self.link, self._writer, self._desk, self.board, self._bell = parts
        self._settler = Settler(self.link, self._desk, consumer)
        self._place = place
        self._target = target
        self._consumer = consumer
        self._lease_seconds = lease_seconds
        self._horizon = round(horizon_seconds * MICROSECONDS)
        self._monotonic = monotonic
        self.lock = threading.RLock()
        """Held while Redis is used."""
        self._news: deque[News] = deque()
        self.away = ""
        """Why Redis can't be used now; empty if it can."""
        self.is_asked = False
        """Whether somebody waits for a new reading."""
        self._has_found = False
        self.born = b""
        """Names the data in Redis; empty before it was seen."""
        self._prepared_for = -1  # the connection; none yet
        self._again_at = self._full_until = 0.0
        self._poll_seconds = _LEAST_SECONDS
        self._renew_at = self._take_over_at = self._sweep_at = 0.0
        self._told: set[str] = set()
        self._warned: set[str] = set()
        self._well_at = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to write, to settle, to keep or to wait for."""
        desk = self._desk
        is_done = self._writer.is_empty and not desk.unsettled and self.board.due_in() == inf
        return is_done and not (desk.ready or desk.held or desk.is_waiting or self.is_asked)

    def step(self, *, is_last: bool = False) -> float:
        """Do what is due. Returns the seconds until more is. Never raises.

        The last step tries a server again that was away just now.
        """
        with self.lock:
            now = self._monotonic()
            if now < self._again_at and not is_last:
                return self._again_at - now
            try:
                pause_seconds = self._work(now)
            except OSError as error:  # RedisAway, or the stage's
                self._note_away(error, now)
                return _AGAIN_SECONDS
            self._note_well(now)
            return min(pause_seconds, self.board.due_in())

    def _work(self, now: float) -> float:
        self.prepare()
        self.board.step()
        self._settler.settle()
        self._news.extend(self._settler.take_news())
        has_more = self._write(now)
        if now >= self._renew_at:
            self._renew_at = now + self._lease_seconds / 3
            self._renew()
        self._desk.return_stale()
        is_asked, self.is_asked = self.is_asked, False
        seen = self._desk.readings
        found = self._fetch(now)
        if is_asked and self._desk.readings == seen:
            self.look()
        if now >= self._sweep_at:
            self._sweep_at = now + _SWEEP_SECONDS
            self.link.run(SWEEP, ["", _UNSEEN_MILLIS])
        if has_more or self._desk.unsettled:
            return 0.0
        if not self._desk.is_waiting:
            # What was fetched goes stale, and what found no room is tried again.
            is_soon = self._desk.ready or not self._writer.is_empty
            return _SOON_SECONDS if is_soon else max(0.0, self._renew_at - now)
        return self._pause(found=found)

    def _pause(self, *, found: bool) -> float:
        """Returns how long to wait before Redis is asked for entries again."""
        self._poll_seconds = _LEAST_SECONDS if found else min(2 * self._poll_seconds, _IDLE_SECONDS)
        is_idle = self._poll_seconds == _IDLE_SECONDS
        seconds = LISTEN_SECONDS if is_idle and self._bell.listen() else self._poll_seconds
        due_seconds = self._desk.next_seconds()
        return seconds if due_seconds is None else min(seconds, max(due_seconds, _LEAST_SECONDS))

    def _write(self, now: float) -> bool:
        """Write what is staged. Returns whether there is more that can be written at once."""
        if now < self._full_until:
            return False
        try:
            return all(self._writer.write(self._note_data) for _ in range(_BATCHES))
        except RedisAway as error:
            if not error.is_full:
                raise
            self._full_until = now + _AGAIN_SECONDS
            self._tell_once(one_line(error), now)
            return False

    def run(self, script: str, arguments: Sequence[Argument]) -> Any:
        """Run a script now, in the calling thread. Raises RedisAway."""
        with self.lock:
            self.prepare()
            return self.link.run(script, arguments)

    def finish(self) -> bool:
        """Do what is left, and leave. Returns whether nothing is left."""
        with self.lock:
            has_more = self.step(is_last=True) == 0
            if has_more or self.away or not self._writer.is_empty or self._desk.unsettled:
                return False
            with suppress(RedisAway):
                self.link.run(SWEEP, [self._consumer, _UNSEEN_MILLIS])
            return True

    def take_news(self) -> list[News]:
        """Returns what has happened since the last call."""
        news = []
        with suppress(IndexError):
            while True:
                news.append(self._news.popleft())
        return news

    def take_found(self) -> bool:
        """Returns whether entries were fetched since the last call, or there is news."""
        has_found, self._has_found = self._has_found, False
        return has_found or bool(self._news)

    def close(self) -> None:
        """Close the connections."""
        self._bell.close()
        self.link.close()

    def prepare(self) -> None:
        """Make sure that the buffer is there, and is this one. Raises RedisAway."""
        if self._prepared_for == self.link.connections and self.link.is_checked:
            return
        marks = self.link.run(PREPARE, [self._target, uuid.uuid4().hex])
        warnings, self.link.warnings = self.link.warnings, []
        for warning in warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                self._news.append(Degraded(f"{self._place}: {warning}"))
        born, target, layout = marks
        if layout != str(VERSION).encode():
            raise RedisAway(
                f"its layout is {one_line(layout.decode())}, this release uses {VERSION}"
            )
        if target != self._target.encode():
            raise RedisAway(
                f"its stream holds events for {one_line(target.decode())}; use another stream"
            )
        self._prepared_for = self.link.connections
        self._note_born(born)

    def look(self) -> None:
        """Learn what lies in Redis. Raises RedisAway."""
        self._note(Reading(*self.link.run(LOOK)))

    # -- claims ------------------------------------------------------------------------------

    def _fetch(self, now: float) -> bool:
        """Claim what senders want. Returns whether there was anything."""
        demand = self._desk.demand()
        if demand.limit <= 0:
            return False
        found = 0
        if now >= self._take_over_at:
            found = self._take_over(demand.limit)
            if found < demand.limit:  # otherwise there may be more
                self._take_over_at = now + self._lease_seconds / 3
        limit = demand.limit - found
        newest = min(demand.newest, limit)
        arguments: list[Argument] = [self._consumer, limit, newest, self._horizon]
        taken, reading = self.link.run(CLAIM, arguments)
        self._note(Reading(*reading))
        found += self._add(self._records(taken), demand._replace(newest=newest))
        return found > 0

    def _add(self, records: list[Record], demand: Demand | None = None) -> int:
        added = self._desk.add(records, demand)
        self._has_found = self._has_found or added > 0
        return added

    def _take_over(self, limit: int) -> int:
        lease = max(1, round(self._lease_seconds * 1000))
        taken, lost = self.link.run(TAKE_OVER, [self._consumer, lease, limit])
        if lost:
            self._news.append(Lost(lost, f"{self._place}: claimed events were deleted"))
        return self._add(self._records(taken))

    def _records(self, answer: bytes) -> list[Record]:
        """Returns the entries of an answer. What is not one is removed, and counted."""
        records = records_from(answer)
        for record in records:
            if record.number < 0:
                self._desk.remove(record)
                self._news.append(Lost(1, f"{self._place}: an entry can't be read"))
        return [record for record in records if record.number >= 0]

    def _renew(self) -> None:
        records = iter(self._desk.records())
        while batch := list(islice(records, _BATCH)):
            arguments: list[Argument] = [self._consumer]
            for each in batch:
                arguments += [each.stream, each.place]
            kept = self.link.run(RENEW, arguments)
            self._desk.forget(
                each for each, is_ours in zip(batch, kept, strict=True) if not is_ours
            )

    def _note(self, reading: Reading) -> None:
        self._note_data(reading.born, reading.last)
        self._desk.note(reading)
        self._writer.learn(reading.last, reading.events, reading.bytes)

    # -- what is told ------------------------------------------------------------------------

    def _note_data(self, born: bytes, last: int) -> None:
        """Learn which data is there, and its last number. A lower one than before is a loss."""
        self._note_born(born)
        lost = self._writer.last - last
        if lost > 0:
            what = f"{self._place}: the newest events are missing, as after a failover"
            self._news.append(Lost(lost, what))
            self._writer.last = last

    def _note_born(self, born: bytes) -> None:
        """Learn which data is there: other data if all was deleted, or by another server."""
        desk, is_other = self._desk, self.born not in (b"", born)
        self.born = born
        if is_other:
            lost = max(0, desk.reading.events - desk.held - desk.ready)
            what = f"{self._place}: its data was deleted, or is another server's"
            self._news.append(Lost(lost, what))
            self._writer.last = 0

    def _note_away(self, error: Exception, now: float) -> None:
        self._again_at = now + _AGAIN_SECONDS
        self._prepared_for = -1
        self.away = one_line(error) or type(error).__name__
        self._tell_once(self.away, now)

    def _tell_once(self, why: str, now: float) -> None:
        self._well_at = now + _WELL_SECONDS
        if why not in self._told:
            self._told.add(why)
            self._news.append(Degraded(f"{self._place} can't be used: {why}"))

    def _note_well(self, now: float) -> None:
        self.away = ""
        if self._told and now >= self._well_at:
            self._told.clear()
            logger.warning("%s can be used again", self._place)
