"""The plugin in the real SDK: its life, its promises to the app, and what it leaves as it is."""

from __future__ import annotations

import copy
import gc
import json
import logging
import os
import pickle
import signal
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from amplitude import Amplitude, BaseEvent, Config, EventOptions, EventPlugin, Identify, Revenue
from amplitude.constants import PluginType
from freezegun import freeze_time
from support.engines import is_lawful
from support.measuring import is_coverage_interrupted

from amplitude_moloco import (
    ConfigurationError,
    Fact,
    Invalid,
    MolocoDestination,
    RetrySchedule,
    SentTwice,
    Stats,
    Sync,
    ecommerce_syncs,
)
from amplitude_moloco.sandbox import Sandbox
from amplitude_moloco.transports.base import SendResult

HOME = Sync("HOME", events=["Home"])
SEARCH = Sync("SEARCH", events=["Searched"], mapping={"search_query": "event_properties.query"})


class Accepting:
    """A transport that takes everything, and remembers it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.is_closed = False

    def send(self, body: bytes) -> SendResult:
        self.bodies.append(body)
        return SendResult(200)

    def close(self) -> None:
        self.is_closed = True

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.bodies]


@pytest.fixture
def transport() -> Accepting:
    """Takes everything, and sends nothing."""
    return Accepting()


def make(transport: Accepting | None = None, *syncs: Sync, **settings: Any) -> MolocoDestination:
    """A destination that sends nothing, unless a test lets it."""
    if transport is not None:
        settings["transport"] = lambda endpoint: transport
    if "base_url" not in settings:
        settings["platform_name"] = "shop"
    settings = {"channel_type": "SITE", "api_key": "key", **settings}
    return MolocoDestination(platform_id="SHOP", syncs=syncs or (HOME, SEARCH), **settings)


def home(**attributes: Any) -> BaseEvent:
    """An event that becomes a HOME."""
    attributes = {"user_id": "u-1", "time": 1_700_000_000_000, "insert_id": "i-1", **attributes}
    return BaseEvent("Home", **attributes)


def flush(destination: MolocoDestination) -> Stats:
    """Have everything tried once."""
    return destination.flush(10).result()


# -- in the SDK ----------------------------------------------------------------------------------


class Recording:
    """A callback of Amplitude's that remembers its arguments."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def __call__(self, event: BaseEvent, code: int, message: str | None = None) -> None:
        self.calls.append((event.insert_id, code))


def test_amplitudes_side_is_unchanged_and_moloco_gets_the_event_too(sandbox: Sandbox) -> None:
    """Amplitude gets the same uploads, and calls the same callbacks, as without the plugin."""
    uploads = []
    for with_moloco in (False, True):
        sandbox.clear()
        config = Config(server_url=sandbox.amplitude_url, callback=(callback := Recording()))
        client = Amplitude("amplitude-key", config)
        destination = make(base_url=sandbox.url)
        if with_moloco:
            client.add(destination)
        client.track(home(event_properties={"a": [1, {"b": "c"}]}, user_properties={"d": 1.5}))
        futures = client.flush()
        for future in futures:
            future.result(timeout=10)
        client.shutdown()
        uploads.append((sandbox.amplitude_events, callback.calls))
        assert len(futures) == 1 + with_moloco
    assert uploads[0] == uploads[1]
    assert [event["id"] for event in sandbox.moloco_events] == ["i-1"]


def test_a_flush_waits_no_longer_than_it_is_told_to() -> None:
    """flush(timeout) gives a future that is done if the events were; it waits no longer."""
    go_on = threading.Event()

    class Held(Accepting):
        def send(self, body: bytes) -> SendResult:
            assert go_on.wait(20)
            return super().send(body)

    destination = make(Held())
    destination.execute(home())
    started = time.monotonic()
    assert not destination.flush(0.2).done()
    assert 0.2 <= time.monotonic() - started < 10
    go_on.set()
    future = destination.flush(20)
    assert future.done()
    assert future.result().delivered == 1
    destination.shutdown()


def test_flush_of_the_client_gives_our_future_after_amplitudes(transport: Accepting) -> None:
    """client.flush() keeps its shape: one entry for each destination, ours a Future of Stats."""
    client = Amplitude("amplitude-key", Config(server_url="http://127.0.0.1:9/"))
    client.add(make(transport))
    amplitudes, ours = client.flush()
    assert amplitudes is None
    assert isinstance(ours, Future)
    assert ours.result(timeout=10) == Stats(0, {}, {}, 0, {}, 0, 0, 0, 0, 0)
    client.shutdown()


def test_shutdown_twice_is_harmless(transport: Accepting) -> None:
    """client.shutdown() runs twice in every process that calls it; the second does nothing."""
    client = Amplitude("amplitude-key", Config(server_url="http://127.0.0.1:9/"))
    client.add(destination := make(transport))
    destination.execute(home())
    client.shutdown()
    client.shutdown()
    assert destination.stats().delivered == 1
    assert transport.is_closed


def test_shutdown_three_times_from_four_threads_drains_once(transport: Accepting) -> None:
    """However often and from wherever shutdown() is called, each call returns, and one drains."""
    destination = make(transport, flush_queue_size=1000, flush_interval_millis=60_000)
    for number in range(100):
        destination.execute(home(insert_id=str(number)))
    all_ready = threading.Barrier(4)

    def shut_down(thread: int) -> int:
        all_ready.wait(10)
        for _ in range(3):
            destination.shutdown()
        return destination.stats().delivered

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(shut_down, range(4))) == [100] * 4
    assert sorted(event["id"] for event in transport.events) == sorted(map(str, range(100)))
    assert destination.stats().dropped == {}


def test_shutdown_keeps_the_timeout_that_it_is_given() -> None:
    """A shutdown with a timeout ends in time, whatever the server does."""
    released = threading.Event()

    class Hanging(Accepting):
        def send(self, body: bytes) -> SendResult:
            released.wait(30)
            return super().send(body)

    destination = make(Hanging())
    destination.execute(home())
    started = time.monotonic()
    destination.shutdown(0.3)
    assert 0.3 <= time.monotonic() - started < 10
    assert destination.stats().dropped == {"shutdown": 1}
    released.set()


def test_an_event_before_setup_is_taken(transport: Accepting) -> None:
    """An event that comes between add() and setup() is delivered like any other."""
    destination = make(transport)
    destination.add(Adding("note", "x"))
    destination.execute(home())
    assert flush(destination).delivered == 1
    destination.shutdown()


def test_setup_may_be_called_again(transport: Accepting) -> None:
    """A destination that is added to its client twice sends each event twice, and ends once."""
    client = Amplitude("amplitude-key", Config(server_url="http://127.0.0.1:9/"))
    client.add(destination := make(transport))
    client.add(destination)
    client.track(home())
    client.shutdown()
    assert destination.stats().delivered == 2


def test_an_event_after_shutdown_is_refused(transport: Accepting) -> None:
    """An event after shutdown is dropped as closed, without an exception."""
    destination = make(transport)
    destination.shutdown()
    destination.execute(home())
    assert destination.stats().dropped == {"closed": 1}


def test_opting_out_does_not_stop_what_is_buffered(sandbox: Sandbox) -> None:
    """An event tracked before the app opts out is still delivered."""
    client = Amplitude("amplitude-key", Config(server_url=sandbox.amplitude_url))
    client.add(
        destination := make(base_url=sandbox.url, flush_queue_size=99, flush_interval_millis=60_000)
    )
    client.track(home())
    client.configuration.opt_out = True
    client.track(home(insert_id="i-2"))
    client.shutdown()
    assert [event["id"] for event in sandbox.moloco_events] == ["i-1"]
    assert destination.stats().accepted == 1


class Adding(EventPlugin):  # type: ignore[misc]  # the SDK has no types
    """An enrichment plugin that sets one user property."""

    def __init__(self, name: str, value: Any, kind: PluginType = PluginType.ENRICHMENT) -> None:
        super().__init__(kind)
        self.name, self.value = name, value

    def track(self, event: BaseEvent) -> BaseEvent:
        event.user_properties = {**(event.user_properties or {}), self.name: self.value}
        return event


class Dropping(EventPlugin):  # type: ignore[misc]  # the SDK has no types
    """A before plugin that drops every event."""

    def __init__(self) -> None:
        super().__init__(PluginType.BEFORE)

    def execute(self, event: BaseEvent) -> None:
        return None


class Raising(EventPlugin):  # type: ignore[misc]  # the SDK has no types
    """A plugin that raises, on an event of which the SDK's own log line raises as well."""

    def __init__(self) -> None:
        super().__init__(PluginType.BEFORE)

    def execute(self, event: BaseEvent) -> BaseEvent:
        event.user_id = object()
        raise ValueError("of a plugin")


def test_plugins_inside_change_what_moloco_gets_and_nothing_else(sandbox: Sandbox) -> None:
    """Before and enrichment plugins added to the destination change its events, not Amplitude's."""
    client = Amplitude("amplitude-key", Config(server_url=sandbox.amplitude_url))
    destination = make(base_url=sandbox.url)
    client.add(destination)
    assert destination.add(Adding("first", 1, PluginType.BEFORE)) is destination
    destination.add(Adding("second", 2))
    client.track(home())
    flush(destination)
    client.shutdown()
    (event,) = sandbox.moloco_events
    assert event["user_properties"] == {"first": 1, "second": 2}
    assert "user_properties" not in sandbox.amplitude_events[0]


def test_a_plugin_inside_may_drop_an_event(transport: Accepting) -> None:
    """A plugin inside that returns None drops the event for Moloco: it is not even counted."""
    destination = make(transport)
    destination.add(Dropping())
    destination.execute(home())
    assert destination.stats().accepted == 0
    assert destination.preview(home()) == []
    destination.shutdown()


def test_a_plugin_inside_that_raises_is_told_as_rejected(transport: Accepting) -> None:
    """When a plugin inside fails so badly that the SDK's log line raises, the app sees nothing."""
    destination = make(transport)
    destination.add(Raising())
    destination.execute(home())
    assert destination.stats().invalid == {"event failed": 1}
    destination.shutdown()


def test_what_describes_a_user_is_never_sent(sandbox: Sandbox) -> None:
    """Identify events of users and groups are not sent, even where a sync names everything."""
    client = Amplitude("amplitude-key", Config(server_url=sandbox.amplitude_url))
    client.add(destination := make(None, Sync("HOME", events=["*", "$*"]), base_url=sandbox.url))
    client.identify(Identify().set("a", 1), EventOptions(user_id="u-1"))
    client.group_identify("company", "moloco", Identify().set("a", 1))
    client.set_group("company", "moloco", EventOptions(user_id="u-1"))
    assert destination.stats().accepted == 0
    client.shutdown()


def test_client_revenue_is_a_purchase(sandbox: Sandbox) -> None:
    """client.revenue() events are named revenue_amount, and give price times quantity."""
    syncs = Sync(
        "PURCHASE",
        events=["revenue_amount"],
        mapping={"items": '[{id: event_properties."$productId"}]'},
    )
    client = Amplitude("amplitude-key", Config(server_url=sandbox.amplitude_url))
    client.add(destination := make(None, syncs, base_url=sandbox.url, default_currency="EUR"))
    client.revenue(Revenue(10.1, quantity=3, product_id="p"), EventOptions(user_id="u-1"))
    flush(destination)
    client.shutdown()
    assert sandbox.moloco_events[0]["revenue"] == {"currency": "EUR", "amount": 30.3}


# -- the promises to the app ---------------------------------------------------------------------


class Hostile:
    """An object that raises whenever it is looked at."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("hostile")

    def __bool__(self) -> bool:
        raise RuntimeError("hostile")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("hostile")

    __hash__ = None  # type: ignore[assignment]  # unhashable on purpose


def cyclic() -> list[Any]:
    """A list that holds itself."""
    ring: list[Any] = []
    ring.append({"ring": ring})
    return ring


HORRORS: dict[str, Any] = {
    "hostile": Hostile(),
    "cycle": cyclic(),
    "set": {1, 2},
    "bytes": b"\xff",
    "lock": threading.Lock(),
    "lone surrogate": "\ud800",
    "datetime": datetime(2026, 1, 1, tzinfo=timezone.utc),
    "decimal NaN": Decimal("sNaN"),
    "infinite": float("inf"),
    "NaN": float("nan"),
    "emoji": "😀",
    "huge number": 10**5000,
    "huge text": "x" * 3_000_000,
    "generator": (i for i in range(3)),
    "class": Hostile,
    "nested": [[[[[[]]]]]],
    "non-text key": {1: 2, None: 3},
}
ATTRIBUTES = sorted(vars(BaseEvent("x")))


@pytest.mark.parametrize("horror", HORRORS)
def test_nothing_that_an_event_holds_gets_into_the_app(
    horror: str, transport: Accepting, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever an attribute holds, execute neither raises nor logs, and each event is accounted."""
    value = HORRORS[horror]
    destination = make(transport, *ecommerce_syncs(), hooks=[lambda fact: None])
    mine = threading.current_thread().name
    for attribute in ATTRIBUTES:
        for place in (value, {"query": value, "products": value}, [value]):
            event = BaseEvent("Products Searched", user_id="u")
            setattr(event, attribute, place)
            destination.execute(event)
    assert [record for record in caplog.records if record.threadName == mine] == []
    stats = flush(destination)
    destination.shutdown()
    assert stats.accepted == stats.delivered + sum(stats.invalid.values())


def test_execute_takes_no_event_for_none(transport: Accepting) -> None:
    """None in place of an event is nothing to send."""
    destination = make(transport)
    destination.execute(None)
    assert destination.stats().accepted == 0


def test_execute_leaves_the_event_as_it_is(transport: Accepting) -> None:
    """The event that execute and preview are given is the same afterwards."""
    destination = make(transport, *ecommerce_syncs())
    event = BaseEvent(
        "Order Completed", user_id="u", event_properties={"products": [{"id": 1, "price": 2}]}
    )
    before = copy.deepcopy(vars(event))
    destination.preview(event)
    destination.execute(event)
    assert vars(event) == before
    destination.shutdown()


def test_execute_calls_no_hook_and_logs_nothing_itself(
    transport: Accepting, caplog: pytest.LogCaptureFixture
) -> None:
    """Hooks and the log hear of an event in another thread."""
    names: list[str] = []
    told = threading.Event()

    def hook(fact: Fact) -> None:
        names.append(threading.current_thread().name)
        told.set()

    destination = make(transport, hooks=[hook])
    destination.execute(BaseEvent("Searched", user_id="u"))
    assert told.wait(10)
    destination.shutdown()
    assert names == ["MCM-sender"]
    assert {record.threadName for record in caplog.records} == {"MCM-sender"}


@pytest.fixture(params=["memory://", "sqlite:moloco.db"])
def buffer(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of each buffer."""
    url: str = request.param
    return url.replace("sqlite:", f"sqlite:///{tmp_path}/")


def test_hooks_callbacks_and_log_handlers_may_track(sandbox: Sandbox, buffer: str) -> None:
    """A hook that tracks waits for nothing, whichever thread runs it."""
    config = Config(server_url=sandbox.amplitude_url, flush_interval_millis=10)
    client = Amplitude("amplitude-key", config)
    told = {name: threading.Event() for name in ("hook", "callback", "handler")}

    begun = set()

    def track_once(name: str) -> None:
        if name not in begun:
            begun.add(name)
            client.track(home(insert_id=f"of the {name}"))
            told[name].set()

    class Tracking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            track_once("handler")

    logger = logging.getLogger("amplitude_moloco")
    logger.addHandler(handler := Tracking())
    try:
        client.configuration.callback = lambda *_: track_once("callback")
        client.add(
            destination := make(
                base_url=sandbox.url, buffer=buffer, hooks=[lambda fact: track_once("hook")]
            )
        )
        client.track(BaseEvent("Searched", user_id="u"))  # it lacks a query, which is logged
        client.track(home())
        client.flush()
        assert all(event.wait(5) for event in told.values())
        flush(destination)
        client.shutdown()
    finally:
        logger.removeHandler(handler)
    wanted = ["i-1", "of the callback", "of the handler", "of the hook"]
    assert sorted(event["id"] for event in sandbox.moloco_events) == wanted
    assert is_lawful(destination.stats())


def test_what_interrupts_execute_may_call_it(transport: Accepting, buffer: str) -> None:
    """A signal handler or finalizer that runs in the middle of execute() waits for nothing."""
    destination = make(transport, buffer=buffer)
    destination.execute(home(insert_id="first"))
    flush(destination)
    count = iter(range(10**9))
    collected = iter(range(10**9))
    depth = 0

    class Garbage:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            if not is_coverage_interrupted():
                destination.execute(home(insert_id=f"garbage {next(collected)}"))

    def interrupt(*_: object) -> None:
        nonlocal depth
        if depth < 3 and not is_coverage_interrupted():
            depth += 1
            Garbage()
            destination.execute(home(insert_id=f"signal {next(count)}"))
            depth -= 1

    def send_signals() -> None:
        # To the main thread: a timer's signal may reach any thread, and would not wake this one.
        while not is_over.wait(0.001):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGPROF)

    is_over = threading.Event()
    sender = threading.Thread(target=send_signals)
    thresholds = gc.get_threshold()
    before = signal.signal(signal.SIGPROF, interrupt)
    try:
        gc.set_threshold(5)
        sender.start()
        deadline = time.monotonic() + 0.5
        rounds = 0
        while time.monotonic() < deadline:
            destination.execute(home(insert_id=f"own {rounds}"))
            rounds += 1
    finally:
        is_over.set()
        sender.join()
        signal.signal(signal.SIGPROF, before)
        gc.set_threshold(*thresholds)
    gc.collect()
    flush(destination)
    destination.shutdown()
    stats = destination.stats()
    signals, finalizers = next(count), next(collected)
    assert min(signals, finalizers) > 0
    assert stats.accepted == 1 + rounds + signals + finalizers
    assert is_lawful(stats)
    assert len(transport.bodies) == stats.delivered > 0


def test_a_callable_that_raises_costs_only_its_own_event(transport: Accepting) -> None:
    """A filter, a mapping and a hook that raise are told or logged, and other syncs go on."""

    def fail(anything: Any) -> Any:
        raise KeyError("of the app")

    facts: list[Fact] = []
    destination = make(
        transport,
        Sync("HOME", events=["Home"], name="filtered", where=fail),
        Sync("HOME", events=["Home"], name="mapped", mapping={"user_id": fail}),
        Sync("HOME", events=fail, name="named"),
        HOME,
        hooks=[fail, facts.append],
    )
    destination.execute(home())
    stats = flush(destination)
    destination.shutdown()
    assert stats.delivered == 1
    assert {fact.sync: fact.problems[0].field for fact in facts if isinstance(fact, Invalid)} == {
        "filtered": "where",
        "mapped": "user_id",
        "named": "where",
    }


def test_an_event_of_two_syncs_has_two_ids(transport: Accepting) -> None:
    """When an event feeds two syncs, the second one's id is another, and the same every time."""
    destination = make(transport, HOME, Sync("PAGE_VIEW", ["Home"], mapping={"page_id": "'/'"}))
    destination.execute(home())
    destination.execute(home())
    flush(destination)
    destination.shutdown()
    assert sorted(event["id"] for event in transport.events) == ["i-1", "i-1", "i-1-2", "i-1-2"]


def test_a_sync_is_switched_off_and_on_while_running(transport: Accepting) -> None:
    """``enabled`` is Amplitude's toggle: it may be flipped at any time."""
    destination = make(transport, Sync("HOME", events=["Home"], enabled=False))
    destination.execute(home())
    destination.syncs[0].enabled = True
    destination.execute(home())
    destination.syncs[0].enabled = False
    destination.execute(home())
    assert destination.stats().accepted == 1
    destination.shutdown()


def test_the_defaults_let_a_lone_event_leave_within_a_second(transport: Accepting) -> None:
    """Without any setting, an event that comes alone is delivered within a second."""
    delivered = threading.Event()
    destination = make(transport, hooks=[lambda fact: delivered.set()])
    destination.execute(home())
    assert delivered.wait(1)
    destination.shutdown()


def test_a_forked_child_sends_its_own_events_and_not_its_parents(transport: Accepting) -> None:
    """A forked child delivers what it tracks, counts from zero and leaves the parent's alone."""
    destination = make(transport, flush_queue_size=99, flush_interval_millis=60_000)
    destination.execute(home(insert_id="parent"))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            destination.execute(home(insert_id="child"))
            destination.shutdown()
            ids = [event["id"] for event in transport.events]
            os.write(writing, json.dumps([ids, destination.stats().accepted]).encode())
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert json.loads(os.read(reading, 1000)) == [["child"], 1]
    os.close(reading)
    os.close(writing)
    assert transport.events == []
    assert flush(destination).delivered == 1
    assert [event["id"] for event in transport.events] == ["parent"]
    destination.shutdown()


def test_a_child_that_tracks_nothing_closes_nothing(transport: Accepting) -> None:
    """The inherited shutdown of a child that has tracked nothing does nothing at all."""
    destination = make(transport, flush_queue_size=99, flush_interval_millis=60_000)
    destination.execute(home())
    child = os.fork()
    if child == 0:
        destination.shutdown()
        os._exit(len(transport.bodies) + transport.is_closed)
    assert os.waitpid(child, 0)[1] == 0
    assert flush(destination).delivered == 1
    destination.shutdown()


# -- preview -------------------------------------------------------------------------------------


def test_preview_shows_each_sync_and_sends_nothing(transport: Accepting) -> None:
    """preview() gives payload or problems, sync by sync; nothing is sent, started or counted."""
    destination = make(transport, SEARCH, Sync("HOME", events=["Search*"]), HOME)
    first, second = destination.preview(BaseEvent("Searched", user_id="u"))
    assert (first.sync, [problem.field for problem in first.problems]) == (
        "SEARCH",
        ["search_query"],
    )
    assert str(first).startswith("SEARCH can't be sent:\n- search_query: found nothing; map")
    assert (second.sync, second.problems, second.payload["event_type"]) == ("HOME", (), "HOME")
    assert str(second) == f"HOME is sent as {second.body.decode()}"
    assert json.loads(second.body) == second.payload
    assert destination.stats().accepted == 0
    destination.shutdown()
    assert transport.bodies == []


@freeze_time("2026-11-24 10:00:00")
def test_preview_adds_what_track_would_add() -> None:
    """An event without time and insert_id is shown with the present time and some id."""
    (shown,) = make().preview(BaseEvent("Home", user_id="u"))
    assert shown.payload["timestamp"] == "1795514400000"
    assert shown.id


@pytest.mark.parametrize(
    ("ahead_millis", "timestamp"),
    [(-1, "1795514399999"), (0, "1795514400000"), (1, "1795514400000"), (300_000, "1795514400000")],
)
@freeze_time("2026-11-24 10:00:00")
def test_a_clock_that_is_a_little_ahead_is_clamped(ahead_millis: int, timestamp: str) -> None:
    """Up to five minutes ahead count as clock skew, and become now; the past stays as it is."""
    (shown,) = make().preview(home(time=1_795_514_400_000 + ahead_millis))
    assert shown.payload["timestamp"] == timestamp


@freeze_time("2026-11-24 10:00:00")
def test_a_clock_that_is_far_ahead_is_a_problem() -> None:
    """One millisecond beyond five minutes ahead is a problem."""
    (shown,) = make().preview(home(time=1_795_514_400_000 + 300_001))
    assert [(problem.field, problem.reason) for problem in shown.problems] == [
        ("timestamp", "in_future")
    ]


def test_emptied_properties_are_explained() -> None:
    """Where the SDK has emptied the properties, the problem names that as the likely cause."""
    event = BaseEvent(
        "Searched", user_id="u", event_properties={"query": "a", "at": datetime.now(timezone.utc)}
    )
    assert event.event_properties is None
    (shown,) = make().preview(event)
    assert "SDK silently empties them when one value is a datetime" in str(shown)


# -- configuration -------------------------------------------------------------------------------


async def _async_hook(fact: Fact) -> None:
    """Would never run."""


@pytest.mark.parametrize(
    ("hook", "found"),
    [
        (lambda: None, "a callable that does not take one argument"),
        (_async_hook, "an async function or a generator"),
    ],
    ids=["no argument", "async"],
)
def test_a_hook_that_cannot_work_is_refused(hook: Any, found: str) -> None:
    """A hook that would raise for every fact, or would never run, is refused."""
    with pytest.raises(ConfigurationError) as raised:
        make(hooks=[print, hook])
    assert str(raised.value).startswith(f"hooks[1]: found {found}")
    with pytest.raises(ConfigurationError) as raised:
        make(hooks=hook)
    assert str(raised.value).startswith(f"hooks: found {found}")


def test_all_errors_are_raised_at_once() -> None:
    """Several settings that can't work are one ConfigurationError with a line for each."""
    with pytest.raises(ConfigurationError) as raised:
        MolocoDestination(
            "${KEY}",
            "SHOP",
            [],
            platform_name="shop",
            default_currency="usd",
            hooks=5,  # type: ignore[arg-type]  # what is tested
            retry=3,  # type: ignore[arg-type]  # as above
            connections=0,
            timeout_seconds=0,
        )
    places = [line.partition(":")[0] for line in str(raised.value).splitlines()]
    assert places == (
        "api_key syncs default_currency retry hooks connections timeout_seconds".split()
    )


def test_one_sync_and_one_hook_need_no_list(transport: Accepting) -> None:
    """A single Sync, and a single hook, are accepted in place of a list."""
    facts: list[Fact] = []
    destination = MolocoDestination(
        "key",
        "SHOP",
        HOME,
        platform_name="shop",
        channel_type="SITE",
        hooks=facts.append,
        transport=lambda endpoint: transport,
    )
    destination.execute(home())
    flush(destination)
    destination.close()
    assert destination.syncs == (HOME,)
    assert [type(fact).__name__ for fact in facts] == ["Delivered"]


def test_a_destination_that_is_added_twice_is_noticed_once(
    transport: Accepting, caplog: pytest.LogCaptureFixture
) -> None:
    """A destination that a client has twice gets each event twice, which is logged once."""
    client = Amplitude("amplitude-key")
    destination = make(transport)
    client.add(destination)
    assert caplog.messages == []
    client.add(destination)
    client.add(destination)
    said = [line for line in caplog.messages if "added to a client twice" in line]
    assert said == [f"{destination!r} was added to a client twice: each event is sent twice"]
    destination.close()
    client.shutdown()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"api_key": ""}, "api_key: empty"),
        ({"api_key": "a\r\nb"}, "api_key: empty, or with blanks, line ends"),
        ({"platform_id": " "}, "platform_id: empty"),
        ({"platform_id": "a\nb"}, "platform_id: 'a\\nb' can't be in an address"),
        ({"platform_name": None}, "platform_name: missing; give it"),
        ({"platform_name": "a.b/c"}, "platform_name: 'a.b/c' can't be part of a host's name"),
        ({"base_url": "http://example.com"}, "base_url: plain http to example.com"),
        ({"base_url": "ftp://example.com"}, "base_url: no http(s) URL"),
        ({"base_url": "https://u:p@example.com"}, "base_url: holds a user"),
        (
            {"channel_type": "TV"},
            "channel_type: 'TV' is not one of MCM's channel types; use one of APP, SITE",
        ),
        (
            {"default_currency": "usd"},
            "default_currency: 'usd' is not one of MCM's currencies; use one of AED",
        ),
        ({"syncs": []}, "syncs: without a Sync nothing would be sent"),
        ({"syncs": ["HOME"]}, "syncs[0]: found str; use Sync(…)"),
        ({"include_user_properties": "plan"}, "include_user_properties: use True, False, or"),
        ({"include_user_properties": [1]}, "include_user_properties: use True, False, or"),
        ({"hash_identifiers": "sha256"}, 'hash_identifiers: use True, or {"salt"'),
        ({"hash_identifiers": {"salt": ""}}, 'hash_identifiers: use True, or {"salt"'),
        ({"hash_identifiers": {"pepper": "x"}}, 'hash_identifiers: use True, or {"salt"'),
        ({"buffer": "amqp://x"}, "buffer: 'amqp://x' does not name a buffer"),
        ({"buffer": None}, "buffer: found NoneType; use a URL such as 'memory://', or a callable"),
        ({"transport": None}, "transport: found NoneType; use 'auto', 'requests', 'curl', or"),
        ({"flush_queue_size": 0}, "flush_queue_size: found 0; use a whole number above 0"),
        ({"flush_interval_millis": True}, "flush_interval_millis: found True"),
        ({"connections": -1}, "connections: found -1"),
        ({"flush_queue_size": 1.5}, "flush_queue_size: found 1.5; use a whole number"),
        ({"timeout_seconds": "3"}, "timeout_seconds: found '3'"),
        ({"shutdown_timeout_seconds": float("nan")}, "shutdown_timeout_seconds: found nan"),
        ({"api_key": "${MOLOCO_API_KEY}"}, "api_key: looks like a placeholder"),
        ({"base_url": "https://a.example"}, "platform_name: given beside base_url"),
        ({"syncs": None}, "syncs: found NoneType; use a list of Sync(…), or ecommerce_syncs()"),
        ({"syncs": 5}, "syncs: found int"),
        ({"default_currency": ["USD"]}, "default_currency: ['USD'] is not one of MCM's"),
        ({"hooks": None}, "hooks: found NoneType; use a list of callables"),
        ({"hooks": "print"}, "hooks: found str"),
        ({"hooks": [print, "print"]}, "hooks[1]: found str; use a callable"),
        ({"hooks": {len: 1, min: 2, 5: 3}}, "hooks[2]: found int; use a callable"),
        ({"buffer": None}, "buffer: found NoneType; use a URL"),
        ({"retry": {"max_attempts": 3}}, "retry: found dict; use RetrySchedule(…)"),
        ({"retry": RetrySchedule}, "retry: found type; use RetrySchedule(…)"),
        ({"breaker": 5}, "breaker: found int; use BreakerPolicy(…)"),
        ({"transport": None}, "transport: found NoneType"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_setting_that_cannot_work_raises_at_construction(
    settings: dict[str, Any], text: str
) -> None:
    """A wrong setting is a ConfigurationError that names it and says what to do instead."""
    arguments = {
        "api_key": "key",
        "platform_id": "SHOP",
        "platform_name": "shop",
        "syncs": [HOME],
        **settings,
    }
    with pytest.raises(ConfigurationError) as raised:
        MolocoDestination(**arguments)
    assert str(raised.value).startswith(text)


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without api_key, MOLOCO_API_KEY is used; without either, construction says so."""
    monkeypatch.delenv("MOLOCO_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="MOLOCO_API_KEY"):
        make(api_key=None)
    monkeypatch.setenv("MOLOCO_API_KEY", "from the environment")
    with pytest.raises(ConfigurationError, match="blanks"):
        make(api_key=None)
    monkeypatch.setenv("MOLOCO_API_KEY", "good")
    make(api_key=None).shutdown()


def test_user_properties_are_sent_as_allowed(transport: Accepting) -> None:
    """All user properties go along, or none, or those that are named."""
    properties = {"plan": "gold", "email": "a@b.c"}
    for include, sent in ((True, properties), (False, None), (["plan"], {"plan": "gold"})):
        destination = make(include_user_properties=include)
        (shown,) = destination.preview(home(user_properties=properties))
        assert shown.payload.get("user_properties") == sent


def test_a_file_configures_a_destination(tmp_path: Path, transport: Accepting) -> None:
    """from_file reads the same settings from JSON, and takes hooks beside it."""
    path = tmp_path / "moloco.json"
    path.write_text(
        json.dumps(
            {
                "api_key": "key",
                "platform_id": "SHOP",
                "platform_name": "shop",
                "channel_type": "SITE",
                "syncs": [{"event_type": "home", "events": ["Home"]}],
            }
        )
    )
    facts: list[Fact] = []
    destination = MolocoDestination.from_file(
        path, hooks=[facts.append], transport=lambda endpoint: transport
    )
    destination.execute(home())
    assert flush(destination).delivered == 1
    destination.shutdown()
    assert len(facts) == 1


# -- the key -------------------------------------------------------------------------------------


def test_the_key_is_shown_nowhere(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    """No repr, fact, statistic, preview or log record holds the key, not even at debug."""
    key = "a-secret-key-4711"
    facts: list[Fact] = []
    with caplog.at_level(logging.DEBUG):
        destination = make(
            base_url=sandbox.url, api_key=key, hooks=[facts.append], shutdown_timeout_seconds=0.3
        )
        sandbox.fail_next(401)
        sandbox.fail_next(400)
        for number in range(4):
            destination.execute(home(insert_id=str(number)))
        flush(destination)
        shown = [destination, destination.stats(), destination.dead_letters(), facts]
        shown += destination.preview(home())
        destination.shutdown()
    assert facts
    assert key not in repr(shown)
    assert key not in repr([vars(record) for record in caplog.records])


def test_an_exception_does_not_hold_the_key() -> None:
    """The error about a bad key does not quote it, in no part of its chain."""
    with pytest.raises(ConfigurationError) as raised:
        make(api_key="secret key")
    error: BaseException | None = raised.value
    while error is not None:
        assert "secret" not in repr(error)
        error = error.__cause__ or error.__context__


def test_a_destination_cannot_be_pickled_with_its_key() -> None:
    """Pickling a destination fails instead of writing the key somewhere."""
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickle.dumps(make())


def test_importing_prints_and_configures_nothing() -> None:
    """The library's logger has neither level nor handler of its own."""
    logger = logging.getLogger("amplitude_moloco")
    assert logger.level == logging.NOTSET
    assert logger.handlers == []
    assert "amplitude_moloco" in sys.modules


def test_parts_left_out_are_told_and_counted(transport: Accepting) -> None:
    """An event that is sent without a part is delivered, and told as Trimmed."""
    facts: list[Fact] = []
    destination = make(transport, hooks=[facts.append])
    destination.execute(home(user_properties={"a": 1, "b": float("nan")}))
    destination.shutdown()
    stats = destination.stats()
    assert (stats.delivered, dict(stats.trimmed)) == (1, {"user_properties not_json": 1})
    assert [type(fact).__name__ for fact in facts].count("Trimmed") == 1


def test_an_event_tracked_for_two_users_is_told(transport: Accepting) -> None:
    """One event object that is tracked for several users is reported once."""
    facts: list[Fact] = []
    destination = make(transport, hooks=[facts.append])
    made = home()
    for user in "abc":
        made.user_id = user
        destination.execute(made)
    destination.shutdown()
    assert [type(fact).__name__ for fact in facts].count("RepeatedId") == 1


def test_an_event_that_two_syncs_send_is_told_once_for_each_two(transport: Accepting) -> None:
    """Two syncs of one type that select the same event count it twice, which is reported once."""
    facts: list[Fact] = []
    everything = Sync("HOME", lambda event: True, name="everything")
    other = Sync("LAND", lambda event: True)
    destination = make(transport, HOME, other, everything, hooks=[facts.append])
    for number in range(3):
        destination.execute(home(insert_id=f"id-{number}"))
    destination.shutdown()
    told = [fact for fact in facts if isinstance(fact, SentTwice)]
    assert told == [SentTwice("Home", "id-0-3", "the syncs 'HOME' and 'everything'")]
    assert destination.stats().delivered == 9


def test_an_event_that_only_one_of_two_syncs_can_send_is_sent_once(transport: Accepting) -> None:
    """A sync whose event is invalid sends nothing, and so nothing twice."""
    facts: list[Fact] = []
    failing = Sync("HOME", "Home", mapping={"event_id": lambda event: 1 / 0})
    destination = make(transport, failing, HOME, failing, hooks=[facts.append])
    destination.execute(home())
    destination.shutdown()
    assert {type(fact).__name__ for fact in facts} == {"Delivered", "Invalid"}


def test_an_event_that_two_destinations_send_is_told_once(transport: Accepting) -> None:
    """Two destinations of one address that get the same event tell so once."""
    facts: list[Fact] = []
    first, second = (make(transport, hooks=[facts.append]) for _ in range(2))
    clients = [Amplitude("amplitude-key"), Amplitude("amplitude-key")]
    for client, destination in zip(clients, (first, second), strict=True):
        client.add(destination)
    for number in range(3):
        for destination in (first, second):
            destination.execute(home(insert_id=f"both-{number}"))
    for client in clients:
        client.shutdown()
    told = [fact for fact in facts if isinstance(fact, SentTwice)]
    assert told == [SentTwice("Home", "both-0", "two destinations")]


@pytest.mark.parametrize("filtered", [False, True])
def test_two_destinations_of_one_client_that_may_send_the_same_are_noticed(
    transport: Accepting, caplog: pytest.LogCaptureFixture, filtered: bool
) -> None:
    """A second destination of the same address in a client is noticed when it is added."""
    client = Amplitude("amplitude-key")
    where = "event_properties.a" if filtered else None
    same = Sync("HOME", "Home", where=where)
    syncs = [Sync("LAND", "Landed"), same]
    first, second, other = (
        make(transport, *each) for each in (syncs, [same], [Sync("SEARCH", "Searched")])
    )
    client.add(first)
    client.add(other)
    assert caplog.messages == []
    client.add(second)
    (said,) = caplog.messages
    assert (
        said
        == f"{second!r} and {first!r} of one client may both send an event as HOME: use one of them"
    )
    for each in (first, second, other):
        each.close()
    client.shutdown()


def test_destinations_of_different_addresses_may_send_the_same(
    transport: Accepting, caplog: pytest.LogCaptureFixture
) -> None:
    """An event may go to two platforms."""
    client = Amplitude("amplitude-key")
    first, second = make(transport), make(transport, base_url="http://127.0.0.1:9")
    client.add(first)
    client.add(second)
    for destination in (first, second):
        destination.execute(home())
        destination.close()
    assert caplog.messages == []
    client.shutdown()


@pytest.mark.parametrize(
    "setting",
    [
        {"absent_identifiers": "kiosk"},
        {"absent_identifiers": [7]},
        {"id_less_fields": ["user_id"]},
        {"library_as_user_agent": "no"},
    ],
    ids=str,
)
def test_a_wrong_setting_of_events_is_refused(
    transport: Accepting, setting: dict[str, Any]
) -> None:
    """A setting of a wrong kind is refused at construction, by its name."""
    with pytest.raises(ConfigurationError, match=next(iter(setting))):
        make(transport, **setting)


def test_settings_of_identity_reach_the_events(transport: Accepting) -> None:
    """Words of one's own count as absent, and a server's library can stay away."""
    destination = make(transport, absent_identifiers=["Kiosk "], library_as_user_agent=False)
    made = home(user_id="kiosk", device_id="d")
    made.library = "amplitude-python/1.3.0"
    (conversion,) = destination.preview(made)
    assert conversion.payload["device"] == {"persistent_id": "d"}
    assert "user_id" not in conversion.payload
