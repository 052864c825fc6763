"""One record of what happens: each fact is counted once, and told to every hook."""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from amplitude_moloco.engine.facts import (
    DeadLettered,
    Delivered,
    Dropped,
    Fact,
    Hook,
    Invalid,
    Retrying,
    Untold,
)

logger = logging.getLogger(__name__)

_MAX_POSTED = 10_000
_MAX_POSTED_BYTES = 16 * 1024 * 1024


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


class Ledger:
    """Counts what happens to events, and tells it to the hooks. Safe from any thread.

    Every method leaves the law of :class:`Stats` true. A signal handler may call any of them in
    the middle of another, which it may see half done.
    """

    def __init__(self, hooks: Sequence[Hook] = ()) -> None:
        self._hooks = tuple(hooks)
        self._lock = threading.RLock()  # guards the counters; never held while a hook runs
        self._accepted = self._delivered = self._buffered = self._retried = self._untold = 0
        self._handed_on = self._taken_over = 0
        self._invalid: Counter[str] = Counter()
        self._dead_lettered: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._posted: deque[Fact] = deque()
        self._posted_bytes = 0
        self._newly_untold = 0

    def accept(self) -> None:
        """An event was selected, or a dead letter is about to be resent. This process holds it."""
        with self._lock:
            self._accepted += 1
            self._buffered += 1

    def retract(self) -> None:
        """What was accepted last turned out not to be there."""
        with self._lock:
            self._accepted -= 1
            self._buffered -= 1

    def hand_on(self) -> None:
        """An event that this process held is in a durable buffer, for any process to send."""
        with self._lock:
            self._buffered -= 1
            self._handed_on += 1

    def take_over(self, events: int) -> None:
        """This process holds events that it has claimed from a durable buffer."""
        with self._lock:
            self._buffered += events
            self._taken_over += events

    def record(self, fact: Fact) -> None:
        """Count a fact and tell it now. Not for an app's thread: hooks run. Never raises."""
        self._count(fact)
        self._tell(fact)

    def post(self, fact: Fact) -> None:
        """Count a fact, and leave it for ``tell_posted``. Calls no hook and never waits."""
        self._count(fact)
        with self._lock:
            size = len(fact.body) if isinstance(fact, Dropped) else 0
            if len(self._posted) < _MAX_POSTED and self._posted_bytes + size <= _MAX_POSTED_BYTES:
                self._posted.append(fact)
                self._posted_bytes += size
            else:
                self._newly_untold += 1
                self._untold += 1

    def tell_posted(self) -> None:
        """Tell what was posted, and how many facts found no room. Never raises."""
        while fact := self._next_posted():
            self._tell(fact)

    def _next_posted(self) -> Fact | None:
        with self._lock:
            if self._posted:
                fact = self._posted.popleft()
                self._posted_bytes -= len(fact.body) if isinstance(fact, Dropped) else 0
                return fact
            untold, self._newly_untold = self._newly_untold, 0
            return Untold(untold) if untold else None

    def stats(self) -> Stats:
        """Returns the counters of this moment."""
        with self._lock:
            return Stats(
                accepted=self._accepted,
                invalid=dict(self._invalid),
                dropped=dict(self._dropped),
                delivered=self._delivered,
                dead_lettered=dict(self._dead_lettered),
                buffered=self._buffered,
                handed_on=self._handed_on,
                taken_over=self._taken_over,
                retried=self._retried,
                untold=self._untold,
            )

    def _count(self, fact: Fact) -> None:
        with self._lock:
            if isinstance(fact, Delivered):
                self._delivered += 1
                self._buffered -= 1
            elif isinstance(fact, Retrying):
                self._retried += 1
            elif isinstance(fact, DeadLettered):
                self._dead_lettered[fact.reason] += 1
                self._buffered -= 1
            elif isinstance(fact, Dropped):
                self._dropped[fact.reason] += 1
                self._buffered -= 1
            elif isinstance(fact, Invalid):
                self._invalid[fact.reason] += 1
                self._buffered -= 1

    def _tell(self, fact: Fact) -> None:
        for hook in self._hooks:
            try:
                hook(fact)
            except BaseException as error:
                # sys.exit() in a hook would end a sender, and with it what that has on its way.
                # In the main thread it is the app's own: Ctrl-C while close() waits, for example.
                is_apps = threading.current_thread() is threading.main_thread()
                if is_apps and not isinstance(error, Exception):
                    raise
                logger.exception("A hook raised on %s", type(fact).__name__)
