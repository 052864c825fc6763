"""A fleet of relays, an outage and the way back, in simulated time.

Real: the dispatchers with their circuit, pace and retries, as each relay has them, and what they
agree on. Simulated: the clock, the shared buffer, the server, and who calls whom when. A relay is
called as its threads would be: when it has asked to be, or is woken.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count
from math import inf

from support.fleets import Board

from amplitude_moloco.buffers.base import BufferState, Claim, DeadLetter, Entry
from amplitude_moloco.engine.breaker import BreakerPolicy
from amplitude_moloco.engine.delivery import Delivery
from amplitude_moloco.engine.dispatcher import Dispatcher, Send, Wait
from amplitude_moloco.engine.fleet import Fleet
from amplitude_moloco.engine.ledger import Ledger
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.engine.runtime import Runtime
from amplitude_moloco.engine.tending import Tending
from amplitude_moloco.engine.verdict import Verdict
from amplitude_moloco.engine.window import Window
from amplitude_moloco.reasons import DeadLetterReason, DropReason
from amplitude_moloco.transports.base import SendResult

CHANCE = random.Random(1)  # noqa: S311  # no secret
_STEP_SECONDS = 0.005
"""The pause between two steps of a buffer's thread."""
_NOTICE_SECONDS = 0.5
"""How long a relay that waits for events takes to notice one."""
_LOOK_SECONDS = 5.0
_LATE_SECONDS = 5.0
"""An event that was put earlier than this belongs to the backlog."""


@dataclass(frozen=True)
class Plan:
    """What happens. Times are seconds."""

    producers: int = 200
    events_per_second: float = 200.0
    """All producers together."""
    relays: int = 20
    pace: float = 500.0
    before: float = 600.0
    """How long all goes well in the beginning."""
    outage: float = 4 * 3600.0
    answer_seconds: float = 0.05
    connections: int = 64


@dataclass
class Course:
    """What has happened."""

    accepted: int = 0
    delivered: Counter[Hashable] = field(default_factory=Counter)
    delivered_at: float = 0.0
    """When the last one was."""
    dead: int = 0
    requests: Counter[int] = field(default_factory=Counter)
    """How many there were in each second."""
    waiting: dict[int, int] = field(default_factory=dict)
    """How many events wait, each minute."""
    probes: list[float] = field(default_factory=list)
    most_probes_at_once: int = 0
    ended_at: float = 0.0
    recovered_at: float = 0.0
    """When the first probe has succeeded."""
    backlog: int = 0
    """How many events waited then."""
    drained_at: float = 0.0
    """When all that had waited was delivered. The producers stop then."""


class World:
    """Has the clock, and calls what is due."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = count()

    def monotonic(self) -> float:
        return self.now

    def call_in(self, seconds: float, call: Callable[[], object]) -> None:
        heappush(self._due, (self.now + seconds, next(self._numbers), call))

    def run_until(self, is_over: Callable[[], bool]) -> None:
        while not is_over():
            self.now, _, call = heappop(self._due)
            call()


class SharedBuffer:
    """What lies in the buffer of all relays. Each event is an entry with the number of its put."""

    is_durable = True

    def __init__(self, world: World) -> None:
        self._world = world
        self._new: deque[tuple[int, float]] = deque()
        self._later: list[tuple[float, int, Entry]] = []
        self.claimed: dict[Hashable, float] = {}
        self._numbers = count()
        self.dead = 0

    def __len__(self) -> int:
        return len(self._new) + len(self._later) + len(self.claimed)

    @property
    def oldest_at(self) -> float:
        """When the event was put that was put first, of those that were never claimed."""
        return self._new[0][1] if self._new else inf

    def put(self, id: str, sync: str, body: bytes, lane: str = "") -> DropReason | None:
        self._new.append((next(self._numbers), self._world.now))
        return None

    def claim(self, limit: int, newest: int = 0) -> Claim:
        now, entries = self._world.now, list[Entry]()
        while self._later and self._later[0][0] <= now and len(entries) < limit:
            _, _, entry = heappop(self._later)
            entries.append(entry._replace(age_seconds=now - entry.accepted_at))
        while self._new and len(entries) < limit:
            is_newest = limit - len(entries) <= newest
            number, at = self._new.pop() if is_newest else self._new.popleft()
            entries.append(Entry(number, str(number), "HOME", b"", at, now - at, 0, 0))
        for entry in entries:
            self.claimed[entry.key] = entry.accepted_at
        if self._new:
            return Claim(entries, 0.0)
        return Claim(entries, max(0.0, self._later[0][0] - now) if self._later else None)

    def ack(self, entry: Entry) -> bool:
        del self.claimed[entry.key]
        return True

    def retry(self, entry: Entry, delay_seconds: float, *, attempts: int, strikes: int = 0) -> bool:
        del self.claimed[entry.key]
        entry = entry._replace(attempts=attempts, strikes=strikes)
        heappush(self._later, (self._world.now + delay_seconds, next(self._numbers), entry))
        return True

    def bury(
        self, entry: Entry, reason: DeadLetterReason, *, status: int | None, message: str
    ) -> bool:
        self.dead += 1
        return self.ack(entry)

    def checkpoint(self) -> Callable[[], bool]:
        return lambda: True

    def state(self) -> BufferState:
        return BufferState(len(self) - len(self.claimed), len(self.claimed), self.dead)

    def oldest_age_seconds(self) -> float | None:
        return None

    def dead_letters(self) -> list[DeadLetter]:
        return []

    def resend(self, letter: DeadLetter) -> bool:
        return False

    def close(self) -> list[Entry]:
        return []


class Relay:
    """One process: a dispatcher whose sender is the world."""

    def __init__(
        self, number: int, plan: Plan, world: World, buffer: SharedBuffer, server: Server
    ) -> None:
        self._world = world
        self._server = server
        runtime = Runtime(monotonic=world.monotonic)
        policy, monotonic = BreakerPolicy(), world.monotonic
        self.fleet = Fleet(
            *(policy, plan.pace, monotonic), wake=self.wake, claim=self.claim_now, id=str(number)
        )
        self.fleet.call = self._meet_soon
        ledger = Ledger((), monotonic)
        delivery = Delivery(
            buffer,
            classify=lambda result: Verdict.DELIVERED if result.status == 200 else Verdict.RETRY,
            breaker=self.fleet.circuit,
            rate=self.fleet.pace,
            retry=RetrySchedule(),
            ledger=ledger,
            monotonic=monotonic,
        )
        self._dispatcher = Dispatcher(
            buffer,
            delivery,
            breaker=self.fleet.circuit,
            rate=self.fleet.pace,
            ledger=ledger,
            tending=Tending(buffer, ledger, monotonic),
            window=Window(plan.connections, monotonic),
            delivers=True,
            flush_queue_size=16,
            flush_interval_seconds=0.2,
            flush_timeout_seconds=5.0,
            wake=self.wake,
            runtime=runtime,
        )
        self._is_woken = False
        self._asks_at = self._meets_at = inf

    def claim_now(self) -> None:
        self._dispatcher.claim_within(0.0)

    def wake(self) -> None:
        if not self._is_woken:
            self._is_woken = True
            self._world.call_in(0.0, self._work)

    def _work(self) -> None:
        """Do all that can be done now, as a sender that never waits for an answer."""
        self._is_woken = False
        while isinstance(work := self._dispatcher.next_work(), Send):
            self._server.request(work, self._settle)
        if isinstance(work, Wait) and work.seconds is not None:
            at = self._world.now + work.seconds
            if at < self._asks_at:
                self._asks_at = at
                self._world.call_in(work.seconds, self._ask_again)

    def _ask_again(self) -> None:
        if self._world.now >= self._asks_at:
            self._asks_at = inf
            self._work()

    def _settle(self, work: Send, result: SendResult, seconds: float) -> None:
        self._dispatcher.settle(work, result, seconds)
        self._work()

    # -- the buffer's thread -----------------------------------------------------------------

    def _meet_soon(self) -> None:
        self._meet_in(_STEP_SECONDS)

    def _meet_in(self, seconds: float) -> None:
        at = self._world.now + seconds
        if at < self._meets_at:
            self._meets_at = at
            self._world.call_in(seconds, self._meet)

    def _meet(self) -> None:
        if self._world.now < self._meets_at:  # it was done sooner
            return
        self._meets_at = inf
        if self.fleet.due_in() == 0:
            self.fleet.meet(self._server.board.exchange)
        seconds = self.fleet.due_in()
        if seconds != inf:
            self._meet_in(max(_STEP_SECONDS, seconds))


class Server:
    """Answers after a while; during the outage, with an error."""

    def __init__(self, plan: Plan, world: World, course: Course, board: Board) -> None:
        self._plan = plan
        self._world = world
        self._course = course
        self.board = board
        self._probes = 0

    @property
    def is_down(self) -> bool:
        since = self._world.now - self._plan.before
        return 0 <= since < self._plan.outage

    def request(self, work: Send, settle: Callable[[Send, SendResult, float], object]) -> None:
        course, sent_at = self._course, self._world.now
        course.requests[int(sent_at)] += 1
        if work.is_probe:
            course.probes.append(sent_at)
            self._probes += 1
            course.most_probes_at_once = max(course.most_probes_at_once, self._probes)

        def answer() -> None:
            self._probes -= work.is_probe
            if not self.is_down:
                course.delivered[work.entry.key] += 1
                course.delivered_at = self._world.now
            status = 503 if self.is_down else 200
            settle(work, SendResult(status), self._world.now - sent_at)

        self._world.call_in(self._plan.answer_seconds * CHANCE.uniform(0.5, 1.5), answer)


class _Simulation:
    """All of it."""

    def __init__(self, plan: Plan) -> None:
        self.world, self.course = World(), Course()
        self._buffer = SharedBuffer(self.world)
        self._server = Server(plan, self.world, self.course, Board(self.world))
        for number in range(plan.relays):
            relay = Relay(number, plan, self.world, self._buffer, self._server)
            self.world.call_in(CHANCE.uniform(0, _NOTICE_SECONDS), partial(self._notice, relay))
        for _ in range(plan.producers):
            self.world.call_in(0.0, self._put_soon)
        self._mean_seconds = plan.producers / plan.events_per_second
        self._recovers_at = plan.before + plan.outage
        self._look()

    @property
    def is_over(self) -> bool:
        return bool(self.course.drained_at) and not self._buffer

    @property
    def dead(self) -> int:
        return self._buffer.dead

    def _put_soon(self) -> None:
        self.world.call_in(CHANCE.expovariate(1 / self._mean_seconds), self._put)

    def _put(self) -> None:
        if not self.course.drained_at:
            self._buffer.put("", "HOME", b"")
            self.course.accepted += 1
            self._put_soon()

    def _notice(self, relay: Relay) -> None:
        """As a buffer's thread that finds something, while senders wait."""
        if self._buffer and not relay.fleet.circuit.is_open:
            relay.claim_now()
        self.world.call_in(_NOTICE_SECONDS, partial(self._notice, relay))

    def _look(self) -> None:
        course, now = self.course, self.world.now
        course.waiting[int(now)] = len(self._buffer)
        if now > self._recovers_at and course.delivered_at >= self._recovers_at:
            if not course.recovered_at:
                course.recovered_at, course.backlog = course.probes[-1], len(self._buffer)
            if not course.drained_at and self._buffer.oldest_at > now - _LATE_SECONDS:
                course.drained_at = now
        self.world.call_in(_LOOK_SECONDS, self._look)


def simulate(plan: Plan) -> Course:
    """Returns the course of an outage, until all events are delivered."""
    simulation = _Simulation(plan)
    simulation.world.run_until(lambda: simulation.is_over)
    simulation.course.ended_at = simulation.world.now
    simulation.course.dead = simulation.dead
    return simulation.course
