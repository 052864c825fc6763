"""Long outages, in simulated time: the whole engine but its threads, with a clock that is moved.

Each test ends with the law: what was accepted was delivered, became a dead letter or was dropped,
or lies in the buffer.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.clock import Clock
from support.engines import UnstartableThread, is_lawful

from amplitude_moloco.buffers.base import Storage
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.engine.engine import EngineSettings, Partner, build_engine
from amplitude_moloco.engine.facts import DeadLettered, Delivered, Fact, Paused, Resumed
from amplitude_moloco.engine.ledger import Stats
from amplitude_moloco.engine.retry import RetrySchedule
from amplitude_moloco.engine.runtime import Awaited, Runtime
from amplitude_moloco.moloco.answers import classify
from amplitude_moloco.transports.base import SendResult

HOUR = 3600.0
DAY = 24 * HOUR


class Time(Clock):
    """The clocks of a world, in which waiting is what moves them."""

    def wait(self, awaited: Awaited, seconds: float | None) -> None:
        assert seconds is not None
        self.advance(seconds)


class SeldomTended(SqliteBuffer):
    """Looks at its files every ten minutes: a week has 600,000 seconds."""

    tend_seconds = 600.0


MakeBuffer = Callable[[Time], Storage]


class World:
    """An engine, MCM, and the time."""

    def __init__(
        self,
        make_buffer: MakeBuffer,
        answer: Callable[[float], int | SendResult],
        retry: RetrySchedule | None = None,
    ) -> None:
        self.time = Time()
        self.start = self.time.monotonic()
        self.answer = answer
        self.requests: list[tuple[float, bytes]] = []
        self.facts: list[Fact] = []
        self.buffer = make_buffer(self.time)
        self.engine = build_engine(
            EngineSettings(
                partner=Partner("MCM", "the key", classify),
                open_buffer=lambda: self.buffer,
                open_transport=lambda: self,
                hooks=(self.facts.append,),
                retry=retry or RetrySchedule(),
                flush_queue_size=1,
                flush_interval_millis=1000,
            ),
            Runtime(self.time.monotonic, self.time.wait, UnstartableThread),
        )

    def send(self, body: bytes) -> SendResult:
        self.requests.append((self.elapsed, body))
        self.time.advance(0.01)
        answer = self.answer(self.elapsed)
        return SendResult(answer) if isinstance(answer, int) else answer

    def close(self) -> None: ...

    def put(self, *ids: str) -> None:
        for id in ids:
            self.engine.put(id, "HOME", id.encode())

    def pass_time(self, seconds: float, step: float = 1.0) -> None:
        """Send what is due, and skip to when more is; but look at least once a step."""
        end = self.time.monotonic() + seconds
        while (left := end - self.time.monotonic()) > 0:
            wait_seconds = self.engine.work_here(end)
            self.time.advance(min(step, left, max(wait_seconds, 0.001)))

    @property
    def elapsed(self) -> float:
        """Seconds since the world began."""
        return self.time.monotonic() - self.start

    def told(self, kind: type[Fact]) -> list[Fact]:
        return [fact for fact in self.facts if isinstance(fact, kind)]

    @property
    def delivered(self) -> int:
        return self.engine.stats().delivered

    def judge(self) -> Stats:
        """A fresh event gets through, nothing has vanished, and each copy has the same bytes."""
        self.put("fresh")
        self.pass_time(1)
        assert self.told(Delivered)[-1] == Delivered("HOME", "fresh", 1, 200)
        stats, state = self.engine.stats(), self.buffer.state()
        assert is_lawful(stats)
        kept = stats.handed_on - stats.taken_over if self.buffer.is_durable else 0
        assert stats.buffered + kept == state.waiting + state.claimed
        assert sum(stats.dead_lettered.values()) == len(self.told(DeadLettered))
        assert state.dead == len(list(self.buffer.dead_letters()))
        delivered = [fact.id for fact in self.told(Delivered) if isinstance(fact, Delivered)]
        assert len(delivered) == len(set(delivered)) == stats.delivered
        assert set(delivered) <= {body.decode() for _, body in self.requests}
        self.buffer.close()
        return stats


@pytest.fixture(params=["memory", "sqlite"])
def make_buffer(request: pytest.FixtureRequest, tmp_path: Path) -> MakeBuffer:
    """Opens a buffer of each kind, with the clocks of a world."""
    if request.param == "memory":
        return lambda time: MemoryBuffer(wall=time.wall, monotonic=time.monotonic)
    path = tmp_path / "moloco.db"
    return lambda time: SeldomTended(path, target="t", wall=time.wall, monotonic=time.monotonic)


def test_72_hours_of_outage_cost_time_and_no_event(make_buffer: MakeBuffer) -> None:
    """After three days of 503 every event arrives, and MCM was asked hardly more than by probes."""
    world = World(make_buffer, lambda at: 503 if at < 72 * HOUR else 200)
    old = [f"old {number:03}" for number in range(300)]
    world.put(*old)
    world.pass_time(72 * HOUR, step=20)
    probes = 5 + 72 * 4
    assert len(world.requests) <= 6 + probes + 1
    assert (world.told(Delivered), world.told(DeadLettered)) == ([], [])
    world.put("new")
    world.pass_time(0.5 * HOUR)
    assert world.delivered == 301
    assert len(world.told(Paused)) == len(world.told(Resumed)) == 1
    # Its own share of each batch: the new one does not wait for the whole backlog.
    delivered = [fact.id for fact in world.told(Delivered) if isinstance(fact, Delivered)]
    assert delivered.index("new") < 20
    # The oldest first, but for the share of the new ones.
    firsts = [id for id in delivered if id != "new"][:100]
    assert sum(id < "old 120" for id in firsts) >= 70
    # With a ramp: ten a second at first.
    back = next(at for at, _ in world.requests if at > 72 * HOUR)
    assert sum(back <= at < back + 1 for at, _ in world.requests) <= 40
    world.judge()


def test_a_wrong_key_for_a_week_costs_no_event(make_buffer: MakeBuffer) -> None:
    """However long the key is wrong nothing is given up, and few requests are made."""
    world = World(
        make_buffer,
        lambda at: 401 if at < 168 * HOUR else 200,
        RetrySchedule(max_attempts=1, max_age_seconds=HOUR),
    )
    world.put(*map(str, range(50)))
    world.pass_time(168 * HOUR, step=30)
    assert len(world.requests) <= 1 + 5 + 168 * 4 + 1
    world.pass_time(HOUR)
    assert world.delivered == 50
    world.judge()


def test_too_old_an_event_expires_when_it_fails(make_buffer: MakeBuffer) -> None:
    """What is older than seven days when it fails again is a dead letter, and can be resent."""
    world = World(make_buffer, lambda at: 503 if at < 200 * HOUR else 200)
    world.put("a")
    world.pass_time(200 * HOUR, step=60)
    (buried,) = world.told(DeadLettered)
    assert isinstance(buried, DeadLettered)
    assert buried.reason == "expired"
    assert world.engine.resend() == 1
    world.pass_time(HOUR)
    assert world.delivered == 1
    world.judge()


def test_a_server_that_flaps_gets_everything(make_buffer: MakeBuffer) -> None:
    """A server that fails every other minute gets every event, though the circuit opens often."""

    def answer(at: float) -> int:
        return 500 if int(at) // 60 % 2 else 200

    world = World(make_buffer, answer)
    for number in range(200):
        world.put(str(number))
        world.pass_time(5)
    world.pass_time(5 * HOUR)
    assert world.delivered == 200
    assert world.told(DeadLettered) == []
    while answer(world.elapsed) == 500:  # judged in a minute in which the server works
        world.pass_time(1)
    world.judge()


def test_one_failure_in_a_hundred_pauses_nothing(make_buffer: MakeBuffer) -> None:
    """With 1 % of random 500s at load the circuit never opens, and every event arrives."""
    count = iter(range(10**9))
    world = World(make_buffer, lambda at: 500 if next(count) % 100 == 7 else 200)
    for number in range(2000):
        world.put(str(number))
    world.pass_time(HOUR)
    assert world.delivered == 2000
    assert world.told(Paused) == []
    world.judge()


def test_one_poisoned_event_is_exhausted_while_the_others_pass(make_buffer: MakeBuffer) -> None:
    """An event that always fails is given up after ten failures; the others are not held up."""
    world = World(make_buffer, lambda at: 500 if world.requests[-1][1] == b"poison" else 200)
    world.put("poison")
    for number in range(2000):
        world.put(str(number))
        world.pass_time(6)
    assert world.delivered == 2000
    assert world.engine.stats().dead_lettered == {"exhausted": 1}
    assert world.told(Paused) == []
    world.judge()


@pytest.mark.parametrize(
    ("asked_seconds", "waited_seconds"), [(0, 5), (60, 60), (1200, 1200), (1e9, HOUR)]
)
def test_nothing_is_sent_again_before_mcm_wants_it(
    make_buffer: MakeBuffer, asked_seconds: float, waited_seconds: float
) -> None:
    """An event comes again no sooner than MCM asks for, a tenth later at most, and in an hour."""
    answers = iter([SendResult(429, retry_after_seconds=asked_seconds)])
    world = World(make_buffer, lambda at: next(answers, 200), RetrySchedule())
    world.put("a")
    world.pass_time(2 * HOUR)
    (first, _), (second, _) = world.requests
    assert waited_seconds <= second - first <= waited_seconds * 1.1 + 2
    world.judge()


@pytest.mark.parametrize("step", [-DAY, DAY], ids=["back", "ahead"])
def test_a_clock_that_is_set_costs_no_event_and_little_time(
    make_buffer: MakeBuffer, step: float
) -> None:
    """When the clock is set by a day, nothing expires, and nothing waits for longer than usual."""
    world = World(make_buffer, lambda at: 503 if at < 2 * HOUR else 200)
    world.put(*map(str, range(50)))
    world.pass_time(1.9 * HOUR, step=20)
    world.time.set_wall(world.time.wall() + step)
    world.pass_time(HOUR)
    assert world.told(DeadLettered) == []
    assert len(world.told(Delivered)) == 50
    world.judge()
