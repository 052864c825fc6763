"""The whole road, from an event to a server that fails: over a real wire, with each buffer.

Each test ends with the law: what was accepted was delivered, invalid, a dead letter or dropped, or
lies in the buffer. And with it: each event has one end, each copy of it the same bytes, and a fresh
event gets through.
"""

from __future__ import annotations

import json
import random
import ssl
import threading
import time
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import ExitStack
from typing import Any, Protocol

import pytest
import trustme
from amplitude import BaseEvent
from support.buffers import MakeBuffer
from support.engines import is_lawful
from support.faulty_server import Exchange, FaultyServer, Received, StartServer, Step
from support.tls import Tls

from amplitude_moloco import (
    BreakerPolicy,
    DeadLettered,
    Delivered,
    Dropped,
    Fact,
    MolocoDestination,
    Paused,
    Resumed,
    RetrySchedule,
    Stats,
    Sync,
)
from amplitude_moloco.buffers.base import Storage
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.sandbox import Sandbox

LONG = 60.0
"""Seconds after which a wait in a test has failed."""
SHORT = 3.0
"""The timeout of a request that has to run into it, in seconds."""
NEVER_OPEN = BreakerPolicy(failures=1_000_000)


def home(id: str) -> BaseEvent:
    """An event that becomes a HOME."""
    return BaseEvent("Home", user_id="shopper-1", insert_id=id, time=1_700_000_000_000)


def id_of(request: Received) -> str:
    id: str = json.loads(request.body)["id"]
    return id


class Road:
    """A destination, all that it tells, and what was tracked."""

    def __init__(self, buffer: Storage, url: str, **settings: Any) -> None:
        self.tracked: list[str] = []
        self.facts: list[Fact] = []
        self._told = threading.Condition()
        settings = {
            "timeout_seconds": LONG,
            "retry": RetrySchedule(delays_seconds=(0.01,), then_seconds=0.01),
            "breaker": BreakerPolicy(probe_delays_seconds=(), then_seconds=0.02),
            "flush_interval_millis": 5,
            "connections": 4,
            **settings,
        }
        self.destination = MolocoDestination(
            "key",
            "SHOP",
            [Sync("HOME", events=["Home"])],
            base_url=url,
            channel_type="SITE",
            buffer=lambda: buffer,
            hooks=[self._hear],
            **settings,
        )

    def track(self, *ids: str) -> None:
        for id in ids:
            self.tracked.append(id)
            self.destination.execute(home(id))

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait for facts that make it so."""
        with self._told:
            assert self._told.wait_for(condition, LONG)

    def told(self, *kinds: type[Fact]) -> list[Any]:
        return [fact for fact in list(self.facts) if isinstance(fact, kinds)]

    def ends(self) -> list[str]:
        """The ids of the events that have come to their ends."""
        return [fact.id for fact in self.told(Delivered, DeadLettered, Dropped)]

    def wait_for_ends(self) -> None:
        self.wait_until(lambda: len(self.ends()) >= len(self.tracked))

    def judge(self, *servers: FaultyServer) -> Stats:
        """A fresh event gets through; then nothing has vanished, and nothing was made up."""
        self.track("fresh")
        self.wait_until(lambda: "fresh" in [fact.id for fact in self.told(Delivered)])
        self.wait_for_ends()
        letters = self.destination.dead_letters()
        self.destination.shutdown()
        assert Counter(self.ends()) == Counter(self.tracked)
        stats = self.destination.stats()
        assert stats.accepted == len(self.tracked)
        assert is_lawful(stats)
        assert stats.delivered == len(self.told(Delivered))
        assert sum(stats.dead_lettered.values()) == len(self.told(DeadLettered)) == len(letters)
        copies = defaultdict(set)
        for server in servers:
            for request in server.requests:
                copies[id_of(request)].add(request.body)
        assert copies.keys() <= set(self.tracked)
        assert {len(bodies) for bodies in copies.values()} <= {1}
        if servers:
            assert {fact.id for fact in self.told(Delivered)} <= copies.keys()
        return stats

    def _hear(self, fact: Fact) -> None:
        with self._told:
            self.facts.append(fact)
            self._told.notify_all()


class MakeRoad(Protocol):
    """The fixture make_road."""

    def __call__(self, url: str, **settings: Any) -> Road: ...


@pytest.fixture
def make_road(make_buffer: MakeBuffer) -> Iterator[MakeRoad]:
    """Makes a road over each kind of buffer in turn; its threads have ended after the test."""
    with ExitStack() as stack:

        def make_one(url: str, *, max_events: int = 10_000, **settings: Any) -> Road:
            road = Road(make_buffer(max_events=max_events), url, **settings)
            stack.callback(road.destination.close)
            return road

        yield make_one


# -- the wire ------------------------------------------------------------------------------------

HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
FAULTS: dict[str, tuple[Step, ...]] = {
    "reset in the request": (
        lambda exchange: exchange.read_head(),
        lambda exchange: exchange.reset(),
    ),
    "close before the answer": (
        lambda exchange: exchange.read(),
        lambda exchange: exchange.close(),
    ),
    "black hole": (lambda exchange: exchange.read(), lambda exchange: exchange.hang()),
    "slow drip": (lambda exchange: exchange.read(), lambda exchange: exchange.drip(WHOLE, 0.1)),
    "nothing after 100": (
        lambda exchange: exchange.read(),
        b"HTTP/1.1 100 Continue\r\n\r\n",
        lambda exchange: exchange.hang(),
    ),
    "another protocol": (lambda exchange: exchange.read(), b"SSH-2.0-OpenSSH_9.6\r\n"),
}


def answer_for_ever(exchange: Exchange) -> None:
    """An answer without an end."""
    exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        exchange.send(b"1000\r\n%b\r\n" % (b"a" * 0x1000))


@pytest.mark.parametrize("transport", ["requests", "curl"])
@pytest.mark.parametrize(
    "step",
    [
        lambda exchange: exchange.hang(),
        lambda exchange: exchange.drip(WHOLE, 1),
        answer_for_ever,
    ],
    ids=["black hole", "a byte a second", "endless"],
)
def test_flush_and_shutdown_take_no_longer_than_they_may(
    server: FaultyServer, step: Step, transport: str
) -> None:
    """Whatever the server does, flush and shutdown are back in time, and every event has an end."""
    for _ in range(4):
        server.will(step)
    road = Road(MemoryBuffer(), server.url, transport=transport)
    road.track(*map(str, range(8)))
    for wait in (road.destination.flush, road.destination.shutdown):
        started = time.monotonic()
        wait(0.3)
        assert time.monotonic() - started < LONG / 2
    road.wait_for_ends()
    stats = road.destination.stats()
    assert stats.accepted == 8 == stats.delivered + sum(stats.dropped.values())
    assert Counter(road.ends()) == Counter(road.tracked)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_network_costs_an_attempt_and_no_event(
    make_road: MakeRoad, server: FaultyServer, fault: str
) -> None:
    """Whatever becomes of three requests, each of their events is sent again, and none is lost."""
    for _ in range(3):
        server.will_unread(*FAULTS[fault])
    road = make_road(server.url, timeout_seconds=SHORT)
    road.track(*map(str, range(8)))
    road.wait_for_ends()
    stats = road.judge(server)
    assert (stats.delivered, stats.retried) == (9, 3)
    assert road.told(Paused) == []


@pytest.mark.parametrize("end", [Exchange.reset, Exchange.close], ids=["reset", "close"])
def test_the_head_of_a_success_is_the_answer(
    make_road: MakeRoad, server: FaultyServer, end: Step
) -> None:
    """A 200 whose body breaks off has accepted its event, which is not sent again."""
    for _ in range(3):
        server.will(HALF, end)
    road = make_road(server.url)
    road.track(*map(str, range(8)))
    road.wait_for_ends()
    stats = road.judge(server)
    assert (stats.delivered, stats.retried) == (9, 0)


def test_a_refused_connection_costs_no_event(make_road: MakeRoad) -> None:
    """While no server listens, everything is kept; it is sent once one does."""
    sandbox = Sandbox()
    with sandbox:
        url = sandbox.url
    road = make_road(url)
    road.track(*map(str, range(8)))
    road.wait_until(lambda: road.told(Paused))
    with sandbox:
        road.wait_for_ends()
        assert road.judge().delivered == 9
        received = Counter(event["id"] for event in sandbox.moloco_events)
    assert received == Counter(road.tracked)


def test_a_certificate_that_is_not_trusted_costs_no_event(
    make_road: MakeRoad, start_server: StartServer, tls: Tls
) -> None:
    """While a stranger answers for MCM, it gets no event; then everything is sent to MCM."""
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(stranger)
    server = start_server(stranger)
    road = make_road(server.url, ca_bundle=str(tls.ca_bundle))
    road.track(*map(str, range(20)))
    road.wait_until(lambda: road.told(Paused))
    assert server.requests == []
    # From now on it shows the right certificate.
    stranger.sni_callback = lambda connection, *_: setattr(connection, "context", tls.context)
    road.wait_for_ends()
    assert road.judge(server).delivered == 21


# -- the answers ---------------------------------------------------------------------------------


def test_a_page_in_place_of_an_answer_costs_no_event(
    make_road: MakeRoad, server: FaultyServer
) -> None:
    """A 200 that holds a web page is not MCM's: its event is sent again."""
    server.answer(200, b"<html>hello</html>", Content_Type="text/html")
    road = make_road(server.url)
    road.track("a", "b")
    road.wait_for_ends()
    stats = road.judge(server)
    assert (stats.delivered, stats.retried) == (3, 1)


def documented_end(status: int) -> list[str]:
    """The facts about an event whose first answer is this status, and whose second one is 200."""
    if status < 300:
        return [f"Delivered 1 {status}"]
    if status < 400 or status in (401, 403, 404):
        return [
            f"Paused misconfigured {status}",
            f"Retrying {status}",
            "Resumed",
            "Delivered 2 200",
        ]
    if status in (407, 408, 421, 425, 426, 429) or status >= 500:
        return [f"Retrying {status}", "Delivered 2 200"]
    return [f"DeadLettered rejected {status}"]


def in_words(fact: Any) -> str:
    values = {
        "Delivered": ("attempts", "status"),
        "DeadLettered": ("reason", "status"),
        "Paused": ("reason", "status"),
        "Retrying": ("reason",),
        "Resumed": (),
    }
    name = type(fact).__name__
    return " ".join([name, *(str(getattr(fact, value)) for value in values[name])])


def test_each_status_has_its_documented_end(server: FaultyServer) -> None:
    """Of each status from 200 to 599, an event meets exactly what the table of answers says."""
    soon = 0.001
    road = Road(
        MemoryBuffer(),
        server.url,
        connections=1,
        flush_queue_size=1,
        retry=RetrySchedule(delays_seconds=(soon,), then_seconds=soon),
        breaker=BreakerPolicy(probe_delays_seconds=(), then_seconds=soon),
    )
    documented = {status: documented_end(status) for status in range(200, 600)}
    found = {}
    # What pauses everything comes last, since what follows it is sent slowly at first.
    for status in sorted(documented, key=lambda status: len(documented[status])):
        before = len(road.facts)
        server.answer(status)
        road.track(str(status))
        road.wait_for_ends()
        found[status] = [in_words(fact) for fact in road.facts[before:]]
    assert found == documented
    stats = road.judge(server)
    assert len(server.requests) == stats.delivered + stats.retried + sum(
        stats.dead_lettered.values()
    )


def test_a_poisoned_event_holds_no_other_up(make_road: MakeRoad, server: FaultyServer) -> None:
    """What MCM refuses is a dead letter with all there is to know; the rest arrives at once."""
    poison = ["7", "107", "207"]
    answer = b'{"code": 3, "message": "missing page_id"}'
    server.decide = lambda request: (
        server.reply(400, answer) if id_of(request) in poison else server.reply(200)
    )
    road = make_road(server.url)
    road.track(*map(str, range(300)))
    stats = road.destination.flush(LONG).result()
    assert (stats.delivered, stats.dead_lettered, stats.retried) == (297, {"rejected": 3}, 0)
    letters = {letter.id: letter for letter in road.destination.dead_letters()}
    assert letters.keys() == set(poison)
    sent = {id_of(request): request.body for request in server.requests}
    for id, letter in letters.items():
        told = (letter.reason, letter.status, letter.message, letter.body)
        assert told == ("rejected", 400, "missing page_id", sent[id])
    road.judge(server)


def test_a_server_that_fails_every_other_time_gets_everything(
    make_road: MakeRoad, server: FaultyServer
) -> None:
    """With half of all requests failing at random, every event arrives."""
    dice = random.Random(50)  # noqa: S311  # no secret: the same faults in every run
    server.decide = lambda request: server.reply(dice.choice([200, 500]))
    road = make_road(server.url)
    road.track(*map(str, range(60)))
    road.wait_for_ends()
    server.decide = lambda request: server.reply(200)
    stats = road.judge(server)
    assert (stats.delivered, stats.dead_lettered) == (61, {})
    assert stats.retried > 20


def test_one_failure_in_a_hundred_at_load_pauses_nothing(
    make_road: MakeRoad, server: FaultyServer
) -> None:
    """With 1 % of the requests failing at random nothing is paused, and every event arrives."""
    dice = random.Random(100)  # noqa: S311  # no secret: the same faults in every run
    server.decide = lambda request: server.reply(500 if dice.random() < 0.01 else 200)
    road = make_road(server.url, connections=16)
    road.track(*map(str, range(1000)))
    road.wait_for_ends()
    stats = road.judge(server)
    assert stats.delivered == 1001
    assert stats.retried > 3
    assert road.told(Paused, Resumed) == []


# -- what waits meanwhile ------------------------------------------------------------------------


def test_a_full_buffer_counts_and_hands_over_each_event(
    make_road: MakeRoad, server: FaultyServer
) -> None:
    """Of a thousand events to a server that fails, those beyond the bound are dropped, in order."""
    server.decide = lambda request: server.reply(503)
    retry = RetrySchedule(delays_seconds=(0.2,), then_seconds=0.2)
    road = make_road(server.url, max_events=100, breaker=NEVER_OPEN, retry=retry)
    ids = [str(number) for number in range(1000)]
    road.track(*ids)
    road.wait_until(lambda: len(road.told(Dropped)) >= 900)
    assert road.destination.stats().dropped == {"full": 900}
    dropped = {fact.id: fact for fact in road.told(Dropped)}
    assert list(dropped) == ids[100:]
    assert all(json.loads(fact.body)["id"] == id for id, fact in dropped.items())
    assert {fact.reason for fact in dropped.values()} == {"full"}
    server.decide = lambda request: server.reply(200)
    road.wait_for_ends()
    assert road.judge(server).delivered == 101


def test_a_full_buffer_takes_no_more_memory(server: FaultyServer) -> None:
    """However many events are refused, nothing of them is kept."""
    server.decide = lambda request: server.reply(503)
    dropped = threading.Semaphore(0)
    destination = MolocoDestination(
        "key",
        "SHOP",
        [Sync("HOME", events=["Home"])],
        base_url=server.url,
        channel_type="SITE",
        buffer="memory://?max_events=100",
        hooks=[lambda fact: dropped.release() if isinstance(fact, Dropped) else None],
    )

    def track(events: int, refused: int) -> int:
        for number in range(events):
            destination.execute(home(str(number)))
        for _ in range(refused):
            assert dropped.acquire(timeout=LONG)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = track(1100, 1000)
        after = track(2000, 2000)
    finally:
        tracemalloc.stop()
    assert after - before < 200_000  # a hundred bytes for each, and it would be more
    destination.close(0.1)
    stats = destination.stats()
    assert stats.accepted == 3100 == sum(stats.dropped.values())


def test_a_flush_tells_the_truth(make_road: MakeRoad, server: FaultyServer) -> None:
    """Of delivered, refused and hung events the flush knows each, and is done with the last."""
    answered, hung = threading.Event(), threading.Semaphore(0)

    def hang(exchange: Exchange) -> None:
        hung.release()
        assert answered.wait(LONG)
        exchange.send(server.reply(200))

    def decide(request: Received) -> Step:
        number = int(id_of(request)) if id_of(request).isdecimal() else 0
        if number in (7, 77):
            return hang
        return server.reply(400 if number % 10 == 3 else 200)

    server.decide = decide
    road = make_road(server.url)
    road.track(*map(str, range(100)))
    future = road.destination.flush()
    for _ in range(2):
        assert hung.acquire(timeout=LONG)
    road.wait_until(lambda: len(road.ends()) == 98)
    with pytest.raises(futures.TimeoutError):
        future.result(0.1)
    assert road.destination.stats().buffered == 2
    answered.set()
    stats = future.result(LONG)
    assert (stats.accepted, stats.delivered, stats.buffered) == (100, 90, 0)
    assert stats.dead_lettered == {"rejected": 10}
    road.judge(server)
