"""One record of what happens: each fact is counted once, and told to every hook."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from sys import getsizeof
from typing import Protocol

from amplitude_moloco.engine.facts import (
    DeadLettered,
    Delivered,
    Dropped,
    Fact,
    Hook,
    Invalid,
    Lost,
    Retrying,
    Trimmed,
    Untold,
)
from amplitude_moloco.engine.reports import report
from amplitude_moloco.engine.selection import SelectionCounts
from amplitude_moloco.engine.tally import Tally
from amplitude_moloco.host.interruption import raise_if_apps
from amplitude_moloco.host.locks import release_fully
from amplitude_moloco.text import keep_record_on_one_line

logger = logging.getLogger(__name__)
logger.addFilter(keep_record_on_one_line)  # what a hook raised may hold an id

_MAX_POSTED = 10_000
_MAX_POSTED_BYTES = 16 * 1024 * 1024
_PROBLEM_BYTES = 512


@dataclass(frozen=True)
class Stats:
    """The counters of this process at one moment.

    At every moment::

        accepted + taken_over
            = delivered + invalid + dead_lettered + dropped + buffered + handed_on

    where ``invalid``, ``dead_lettered`` and ``dropped`` are the sums over their reasons.
    ``taken_over`` and ``handed_on`` are 0 with a buffer in memory.
    """

    accepted: int
    """Events that a sync selected, and dead letters that were resent. An event that two syncs
    select counts twice."""
    invalid: Mapping[str, int]
    """Never sent, by the code of the first problem: ``search_query missing``."""
    dropped: Mapping[str, int]
    """Lost, by :class:`DropReason`."""
    delivered: int
    dead_lettered: Mapping[str, int]
    """Undeliverable, by :class:`DeadLetterReason`."""
    buffered: int
    """Held by this process: waiting in memory, or on their way."""
    handed_on: int
    """Given to a durable buffer, which keeps them for any process: stored there, or returned for
    another attempt."""
    taken_over: int
    """Claimed from a durable buffer, whichever process stored them."""
    retried: int
    """Failed attempts that are followed by another one."""
    untold: int
    """Facts that were counted but not told to hooks, since these were too slow."""
    trimmed: Mapping[str, int] = field(default_factory=dict)
    """Parts left out of events that were sent, by code: ``user_properties not_json``."""
    lost: int = 0
    """Events that a durable buffer had, of any process, and that can't be read any more. Not in the
    law: these were handed on."""
    unselected: Mapping[str, int] = field(default_factory=dict)
    """Events that no sync selected, by name: the first hundred names, and the sum of the others.
    They are not accepted, and in no other counter but ``filtered``."""
    filtered: Mapping[str, int] = field(default_factory=dict)
    """Events that have the name but were left out by the filter, or the callable, of a sync: by
    sync."""
    delivered_by_sync: Mapping[str, int] = field(default_factory=dict)
    """The delivered events, by the sync that selected them."""


class Chore(Protocol):
    """Work for a sender, from time to time. It may take a while, log and wait for the disk."""

    def run(self) -> None:
        """Do what is due. Never raises."""
        ...

    def due_seconds(self) -> float:
        """Returns the seconds until something is due; infinity if nothing is."""
        ...


class Ledger:
    """Counts what happens to events, and tells it to the hooks. Safe from any thread.

    Every method leaves the law of :class:`Stats` true, wherever an exception from outside strikes.
    A signal handler may call any of them in the middle of another, which it may see half done.
    ``accept``, ``hand_on``, ``post`` and ``recover`` wait for no lock: by way of a signal handler,
    a thread may call them that holds the buffer's, for which others wait.

    Args:
        hooks: Each gets every fact.
        monotonic: The clock of ``tell_until``, in seconds.
        chores: Done whenever posted facts are told, after them.
        selection: Counts what no sync selects.
    """

    # Each change is one assignment at a time, and ``buffered`` is computed: there is no moment at
    # which an interruption would leave two counters that contradict each other.

    def __init__(
        self,
        hooks: Sequence[Hook] = (),
        monotonic: Callable[[], float] = time.monotonic,
        chores: Sequence[Chore] = (),
        selection: SelectionCounts | None = None,
    ) -> None:
        self._hooks = tuple(hooks)
        self._chores = tuple(chores)
        self._selection = selection or SelectionCounts()
        self.is_closing = False
        """Whether no chore is due any more."""
        self._monotonic = monotonic
        self._tell_until = inf
        self._lock = threading.RLock()  # guards the counters; never held while a hook runs
        self._accepted, self._handed_on = Tally(), Tally()
        self._retracted = self._retried = self._untold = self._taken_over = self._lost = 0
        self._delivered: Counter[str] = Counter()
        self._invalid: Counter[str] = Counter()
        self._dead_lettered: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._trimmed: Counter[str] = Counter()
        self._inbox: deque[tuple[Fact, bool]] = deque()  # posted, and not counted yet
        self._booking_thread = 0  # the one that counts them: it holds the lock
        self._posted: deque[Fact] = deque()
        self._posted_bytes = 0
        self._is_askew = False  # whether these bytes may be wrong
        self._newly_untold = 0
        self._telling = 0  # posted facts that hooks are getting now
        self._told = threading.Condition(self._lock)

    def accept(self, *, is_handed_on: bool = False) -> None:
        """An event is stored, or a dead letter is about to be resent. This process holds it.

        Or a durable buffer does, if it ``is_handed_on`` already.
        """
        if is_handed_on:
            self._handed_on.add()
        self._accepted.add()

    def retract(self) -> None:
        """What was accepted last turned out not to be there."""
        with self._lock:
            self._retracted += 1

    def hand_on(self) -> None:
        """An event that this process held is in a durable buffer, for any process to send."""
        self._handed_on.add()

    def take_over(self, events: int) -> None:
        """This process holds events that it has claimed from a durable buffer."""
        with self._lock:
            self._taken_over += events

    def record(self, fact: Fact) -> None:
        """Count a fact and tell it now. Not for an app's thread: hooks run. Never raises."""
        with self._lock:
            self._count(fact)
        self._tell(fact)

    def post(self, fact: Fact, *, is_new: bool = False) -> None:
        """Count a fact, and leave it for ``tell_posted``. Calls no hook and never waits.

        ``is_new``: its event was not accepted before, and now is.
        """
        self._inbox.append((fact, is_new))
        self._book_if_free()

    def post_all(self, facts: Iterable[Fact]) -> None:
        """Post facts, however many: their events were in memory before, with their bodies."""
        with self._lock:
            self._book()
            for fact in facts:
                self._count(fact)
                self._posted_bytes += _size(fact)
                self._posted.append(fact)

    @property
    def has_posted(self) -> bool:
        """Whether there is something to tell."""
        return bool(self._inbox or self._posted or self._newly_untold)

    @property
    def is_telling(self) -> bool:
        """Whether hooks are getting something that was posted."""
        return self._telling > 0

    def tell_until(self, ends_at: float) -> None:
        """Let ``tell_posted`` call no hook after this time of the monotonic clock."""
        self._tell_until = ends_at

    def give_up_posted(self) -> int:
        """Forget what was posted. Returns how many facts stay untold; they are counted."""
        with self._lock:
            self._book()
            untold = len(self._posted)
            self._posted.clear()
            self._posted_bytes = 0
            self._untold += untold
            return untold

    def recover(self) -> None:
        """Call it after an exception that may have struck anywhere inside a method."""
        release_fully(self._lock)
        if self._booking_thread == threading.get_ident():
            self._booking_thread = 0
        self._is_askew = True
        self._book_if_free()

    def tell_posted(self) -> None:
        """Tell what was posted, and how many facts found no room. Never raises."""
        while self._monotonic() < self._tell_until and (fact := self._next_posted()):
            try:
                self._tell(fact)
            finally:
                self._end_telling()
        if self._monotonic() < self._tell_until:
            for chore in self._chores:
                chore.run()

    def tell_all(self) -> None:
        """As ``tell_posted``, but also waits for what other threads are telling."""
        self.tell_posted()
        with self._told:
            self._told.wait_for(lambda: not self._telling)

    def due_in(self) -> float:
        """Returns the seconds until a chore is due; infinity if none is, or this process closes."""
        if self.is_closing:
            return inf
        return min((chore.due_seconds() for chore in self._chores), default=inf)

    def begin_closing(self) -> None:
        """Let no chore be due any more: nothing must wait for one."""
        self.is_closing = True

    def _book_if_free(self) -> None:
        """Count what was posted. If another thread has the lock, the next one that gets it does."""
        if self._lock.acquire(blocking=False):
            try:
                self._book()
            finally:
                with suppress(RuntimeError):  # recover() was called in the midst
                    self._lock.release()

    def _book(self) -> None:
        """Count what was posted, and queue it for the hooks. The caller holds the lock."""
        if self._booking_thread == threading.get_ident():
            return  # this is called in the midst of itself, and goes on there
        try:
            self._booking_thread = threading.get_ident()
            if self._is_askew:
                self._is_askew, self._posted_bytes = False, sum(map(_size, self._posted))
            while self._inbox:
                fact, is_new = self._inbox.popleft()
                self._count(fact)
                if is_new:
                    self._accepted.add()
                self._queue(fact)
        finally:
            self._booking_thread = 0

    def _queue(self, fact: Fact) -> None:
        size = _size(fact)
        if len(self._posted) < _MAX_POSTED and self._posted_bytes + size <= _MAX_POSTED_BYTES:
            self._posted_bytes += size
            self._posted.append(fact)
        else:
            self._newly_untold += 1
            self._untold += 1

    def _next_posted(self) -> Fact | None:
        with self._lock:
            self._book()
            if self._posted:
                fact = self._posted.popleft()
                self._posted_bytes -= _size(fact)
                self._telling += 1
                return fact
            untold, self._newly_untold = self._newly_untold, 0
            self._telling += bool(untold)
            return Untold(untold) if untold else None

    def _end_telling(self) -> None:
        with self._told:
            self._telling -= 1
            self._told.notify_all()

    def stats(self) -> Stats:
        """Returns the counters of this moment."""
        unselected, filtered = self._selection.totals()
        with self._lock:
            self._book()
            accepted = self._accepted.value - self._retracted  # first: puts go on meanwhile
            handed_on = self._handed_on.value
            delivered = sum(self._delivered.values())
            ends = delivered + sum(
                sum(reasons.values())
                for reasons in (self._invalid, self._dropped, self._dead_lettered)
            )
            # A sender may deliver an event before the thread that stored it has counted it.
            accepted = max(accepted, ends + handed_on - self._taken_over)
            return Stats(
                accepted=accepted,
                invalid=dict(self._invalid),
                dropped=dict(self._dropped),
                delivered=delivered,
                dead_lettered=dict(self._dead_lettered),
                buffered=accepted + self._taken_over - ends - handed_on,
                handed_on=handed_on,
                taken_over=self._taken_over,
                retried=self._retried,
                trimmed=dict(self._trimmed),
                untold=self._untold,
                lost=self._lost,
                unselected=unselected,
                filtered=filtered,
                delivered_by_sync=dict(self._delivered),
            )

    def _count(self, fact: Fact) -> None:
        """The caller holds the lock."""
        if isinstance(fact, Delivered):
            self._delivered[fact.sync] += 1
        elif isinstance(fact, Retrying):
            self._retried += 1
        elif isinstance(fact, Trimmed):
            self._trimmed.update(each.code for each in fact.omissions)
        elif isinstance(fact, DeadLettered):
            self._dead_lettered[fact.reason] += 1
        elif isinstance(fact, Dropped):
            self._dropped[fact.reason] += 1
        elif isinstance(fact, Invalid):
            self._invalid[fact.reason] += 1
        elif isinstance(fact, Lost):
            self._lost += fact.events

    def _tell(self, fact: Fact) -> None:
        for hook in self._hooks:
            try:
                hook(fact)
            except BaseException as error:
                # sys.exit() in a hook would end a sender, and with it what that has on its way.
                raise_if_apps(error)
                kind = type(fact).__name__
                report(logger, logging.ERROR, "A hook raised on %s", kind, error=error)


def _size(fact: Fact) -> int:
    """Returns about how many bytes of an event a fact holds."""
    if isinstance(fact, Dropped):
        return len(fact.body)
    size = getsizeof(getattr(fact, "id", "")) + getsizeof(getattr(fact, "event_name", ""))
    if isinstance(fact, Invalid):
        size += _PROBLEM_BYTES * len(fact.problems)
    elif isinstance(fact, Trimmed):
        size += _PROBLEM_BYTES * len(fact.omissions)
    return size
