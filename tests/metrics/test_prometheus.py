"""Metrics that are read when Prometheus scrapes."""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest
import requests
from amplitude import Amplitude, BaseEvent, Config
from prometheus_client import CollectorRegistry, Counter, start_http_server
from support.metrics import (
    agree,
    home,
    is_lawful,
    make,
    scrape,
    search,
    series_of,
    value,
    values_in,
)

from amplitude_moloco import (
    AttemptOutcome,
    BreakerPolicy,
    ConfigurationError,
    DeadLetterReason,
    DropReason,
    Fact,
    MolocoDestination,
    PauseReason,
    Sync,
)
from amplitude_moloco.buffers.base import BufferState
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.convert.problem import ProblemReason
from amplitude_moloco.metrics.catalogue import METRICS, Kind
from amplitude_moloco.metrics.prometheus import register, unregister
from amplitude_moloco.sandbox import Sandbox

LONG = 60.0
GAUGES = {metric.name for metric in METRICS if metric.kind is Kind.GAUGE}


class Make(Protocol):
    """Makes a destination with these settings."""

    def __call__(self, **settings: Any) -> MolocoDestination: ...


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry(auto_describe=True)


@pytest.fixture(params=["requests", "curl"])
def open_one(sandbox: Sandbox, request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes destinations over each transport. All are closed after the test."""
    with ExitStack() as stack:

        def open_it(**settings: Any) -> MolocoDestination:
            destination = make(sandbox.url, **{"transport": request.param, **settings})
            stack.callback(destination.close, 0)
            return destination

        yield open_it


def track(destination: MolocoDestination, *events: BaseEvent) -> None:
    """Hand events to a destination, and wait until each was tried."""
    for event in events:
        destination.execute(event)
    destination.flush(LONG).result()


def names(values: object) -> set[str]:
    assert isinstance(values, dict)
    return {name for name, _ in values}


def test_every_series_is_there_from_the_start(open_one: Make, registry: CollectorRegistry) -> None:
    """A destination that was never added to a client has each series, at 0."""
    register(open_one(), registry=registry)
    values = scrape(registry)
    for metric in METRICS:
        suffix = "_count" if metric.kind is Kind.HISTOGRAM else ""
        assert series_of(values, metric.name.removeprefix("amplitude_moloco_") + suffix)
    for name, label, known in (
        ("events_invalid_total", "reason", ProblemReason),
        ("event_parts_trimmed_total", "reason", ProblemReason),
        ("events_dead_lettered_total", "reason", DeadLetterReason),
        ("events_dropped_total", "reason", DropReason),
        ("paused", "reason", PauseReason),
        ("attempts_total", "outcome", AttemptOutcome),
    ):
        assert [value(values, name, **{label: str(each)}) for each in known] == [0] * len(known)
        assert len(series_of(values, name)) == len(known)
    for sync in ("HOME", "SEARCH"):
        assert value(values, "events_delivered_total", sync=sync) == 0
        assert value(values, "events_filtered_total", sync=sync) == 0
    is_known = {"buffer_max_events", "build_info", "rate_limit"}
    assert {name for (name, _), number in values.items() if number} == is_known


def test_what_happens_is_counted(
    open_one: Make, registry: CollectorRegistry, sandbox: Sandbox
) -> None:
    """A scrape shows the counters of this moment, by reason, sync and outcome."""
    destination = open_one(flush_queue_size=1, connections=1)
    register(destination, registry=registry)
    track(destination, home("1"), home("2"))
    track(destination, search())
    track(
        destination,
        search(is_real=False),
        BaseEvent("Other", user_id="user-1"),
    )
    sandbox.fail_next(400)
    track(destination, home("3"))
    sandbox.fail_next(503)
    track(destination, home("4"))
    values = scrape(registry)
    assert is_lawful(values)
    assert agree(values, destination.stats())
    for expected, name, labels in (
        (5, "events_accepted_total", {}),
        (2, "events_delivered_total", {"sync": "HOME"}),
        (1, "events_invalid_total", {"reason": "missing"}),
        (1, "events_dead_lettered_total", {"reason": "rejected"}),
        (1, "events_filtered_total", {"sync": "SEARCH"}),
        (2, "events_unselected_total", {}),
        (2, "attempts_total", {"outcome": "success"}),
        (1, "attempts_total", {"outcome": "4xx"}),
        (1, "attempts_total", {"outcome": "5xx"}),
        (1, "retries_total", {}),
        (4, "request_duration_seconds_count", {}),
        (2, "delivery_delay_seconds_count", {}),
        (1, "buffered_events", {}),
        (1, "buffer_events", {}),
        (1, "dead_letters", {}),
        (0, "in_flight_events", {}),
    ):
        assert value(values, name, **labels) == expected, name
    assert value(values, "last_success_timestamp_seconds") > 1e9
    assert value(values, "last_failure_timestamp_seconds") > 1e9
    assert value(values, "oldest_event_age_seconds") > 0


def test_a_pause_shows_its_reason(
    open_one: Make, registry: CollectorRegistry, sandbox: Sandbox
) -> None:
    """While sending pauses, the gauge of its reason is 1, and the other one 0."""
    destination = open_one(breaker=BreakerPolicy(failures=1))
    register(destination, registry=registry)
    sandbox.fail_next(401)
    track(destination, home("1"))
    values = scrape(registry)
    assert value(values, "paused", reason="misconfigured") == 1
    assert value(values, "paused", reason="outage") == 0


def test_a_page_can_be_fetched(open_one: Make, registry: CollectorRegistry) -> None:
    """The client library serves the metrics at its own address."""
    destination = open_one()
    register(destination, registry=registry)
    track(destination, home("1"))
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        page = requests.get(f"http://127.0.0.1:{server.server_port}/metrics", timeout=LONG)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(LONG)
    assert value(values_in(page.text), "events_delivered_total", sync="HOME") == 1


def test_two_destinations_have_two_names(open_one: Make, registry: CollectorRegistry) -> None:
    """The label ``destination`` tells two destinations apart, and each family is there once."""
    for name, count in (("eu", 1), ("us", 2)):
        destination = open_one()
        register(destination, name=name, registry=registry)
        track(destination, *(home(f"{name}-{number}") for number in range(count)))
    values = scrape(registry)
    for name, count in (("eu", 1), ("us", 2)):
        assert value(values, "events_accepted_total", destination=name) == count


def test_a_name_is_one_destinations(open_one: Make, registry: CollectorRegistry) -> None:
    """A second destination under one name is refused, and the error says what to use."""
    first = open_one()
    register(first, registry=registry)
    with pytest.raises(ConfigurationError, match=r"registered as 'moloco'; use name='…'"):
        register(open_one(), registry=registry)
    register(first, registry=registry)
    assert value(scrape(registry), "events_accepted_total") == 0


def test_another_name_takes_the_place_of_the_first(
    open_one: Make, registry: CollectorRegistry
) -> None:
    """A destination that is registered again has only its new name."""
    destination = open_one()
    register(destination, registry=registry)
    register(destination, name="eu", registry=registry)
    assert {dict(labels)["destination"] for _, labels in scrape(registry)} == {"eu"}


def test_what_can_not_work_is_refused(open_one: Make, registry: CollectorRegistry) -> None:
    """No destination, no name, and an interval that is no number are refused by name."""
    anything: Any = object()
    with pytest.raises(ConfigurationError, match=r"^destination: found object"):
        register(anything, registry=registry)
    for name in ("", None, 7):
        with pytest.raises(ConfigurationError, match=r"^name: "):
            register(open_one(), name=name, registry=registry)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"^refresh_seconds: "):
        register(open_one(), registry=registry, refresh_seconds=0)


def test_no_name_takes_the_page_down(
    open_one: Make, registry: CollectorRegistry, sandbox: Sandbox
) -> None:
    """Whatever text is a name, of a destination or of a sync, the page can be read."""
    names = ['a"b', "a\\b", "a\nb", "a{b}", "상점", "\ud800", " "]
    for number, name in enumerate(names):
        sync = f"{number} {name}".replace("\ud800", "?")
        syncs = [Sync("HOME", events=["Home"], name=sync)]
        destination = open_one(syncs=syncs)
        register(destination, name=f"{number} {name}", registry=registry)
        track(destination, home(str(number)))
    values = scrape(registry)
    for number, name in enumerate(names):
        text = f"{number} {name}".replace("\ud800", "?")
        labels = {"destination": text, "sync": text}
        assert value(values, "events_delivered_total", **labels) == 1


def test_names_of_the_app_are_left_alone(open_one: Make, registry: CollectorRegistry) -> None:
    """If the app has a metric of the same name, the registry refuses, and nothing is shown."""
    Counter("amplitude_moloco_retries", "The app's own.", registry=registry)
    with pytest.raises(ValueError, match="amplitude_moloco_retries"):
        register(open_one(), registry=registry)
    assert names(scrape(registry)) == {"retries_total", "retries_created"}


def test_after_close_no_gauge_is_stale(open_one: Make, registry: CollectorRegistry) -> None:
    """close() ends the gauges, and the counters keep what it has lost."""
    destination = open_one(flush_queue_size=1000, flush_interval_millis=60_000)
    register(destination, registry=registry)
    destination.execute(home("1"))
    assert "paused" in names(scrape(registry))
    destination.close(0.001)
    values = scrape(registry)
    assert not {f"amplitude_moloco_{name}" for name in names(values)} & GAUGES
    assert value(values, "events_accepted_total") == 1
    assert sum(series_of(values, "events_dropped_total")) + sum(
        series_of(values, "events_delivered_total")
    ) == pytest.approx(1)


def test_a_new_destination_takes_over_the_name_of_a_closed_one(
    open_one: Make, registry: CollectorRegistry
) -> None:
    """Once a destination is closed, its name is free."""
    old = open_one()
    register(old, registry=registry)
    track(old, home("1"))
    old.close()
    register(open_one(), registry=registry)
    assert value(scrape(registry), "events_accepted_total") == 0


def test_metrics_keep_no_destination_alive(sandbox: Sandbox, registry: CollectorRegistry) -> None:
    """A destination that the app has let go of is freed, and its series are gone."""
    destination = make(sandbox.url)
    register(destination, registry=registry)
    track(destination, home("1"))
    destination.close()
    reference = weakref.ref(destination)
    del destination
    gc.collect()
    assert reference() is None
    assert scrape(registry) == {}


def test_a_destination_can_be_unregistered(open_one: Make, registry: CollectorRegistry) -> None:
    """A destination that is unregistered has no series, while another one keeps its own."""
    first, second = open_one(), open_one()
    unregister(first, registry=registry)
    register(first, registry=registry)
    register(second, name="other", registry=registry)
    unregister(first, registry=registry)
    assert {dict(labels)["destination"] for _, labels in scrape(registry)} == {"other"}
    register(first, registry=registry)
    assert value(scrape(registry), "events_accepted_total") == 0


def test_a_hook_that_raises_changes_no_metric(open_one: Make, registry: CollectorRegistry) -> None:
    """All events are counted, whatever hooks raise."""

    def raise_it(fact: Fact) -> None:
        raise RuntimeError("a hook")

    destination = open_one(hooks=[raise_it])
    register(destination, registry=registry)
    track(destination, home("1"), search())
    values = scrape(registry)
    assert is_lawful(values)
    assert value(values, "events_delivered_total", sync="HOME") == 1
    assert value(values, "events_invalid_total", reason="missing") == 1
    assert value(values, "delivery_delay_seconds_count") == 1


class Unreadable(MemoryBuffer):
    """A buffer that can't say what it holds."""

    def state(self) -> BufferState:
        raise OSError("disk")


def test_a_buffer_that_raises_takes_no_page_down(
    open_one: Make, registry: CollectorRegistry
) -> None:
    """Where a buffer can't be read, the gauges are missing, and the counters are right."""
    destination = open_one(buffer=Unreadable)
    register(destination, registry=registry)
    track(destination, home("1"))
    values = scrape(registry)
    assert value(values, "events_delivered_total", sync="HOME") == 1
    assert "buffer_events" not in names(values)


def test_what_is_not_known_is_no_number(
    tmp_path: Path, open_one: Make, registry: CollectorRegistry
) -> None:
    """What a durable buffer holds is not a number until it was read, and right from then on."""
    destination = open_one(buffer=f"sqlite:///{tmp_path}/moloco.db")
    register(destination, registry=registry)
    values = scrape(registry)
    for name in ("buffer_events", "dead_letters", "oldest_event_age_seconds"):
        assert value(values, name) != value(values, name)  # NaN
    client = Amplitude("key", Config(min_id_length=1))
    client.configuration.opt_out = True
    destination.setup(client)
    values = scrape(registry)
    assert value(values, "buffer_events") == value(values, "oldest_event_age_seconds") == 0
    assert value(values, "buffer_max_events") == 1_000_000
    track(destination, home("1"))
    values = scrape(registry)
    assert is_lawful(values)
    assert value(values, "events_handed_on_total") == 1


def test_the_law_holds_in_every_scrape(open_one: Make, registry: CollectorRegistry) -> None:
    """While 64 threads track, each scrape adds up, and no counter ever goes back."""
    destination = open_one(flush_queue_size=1)
    register(destination, registry=registry)
    begin = threading.Barrier(65)

    def work(number: int) -> None:
        begin.wait(LONG)
        for event in range(10):
            destination.execute(home(f"{number}-{event}"))
            destination.execute(search())

    threads = [threading.Thread(target=work, args=[number]) for number in range(64)]
    for thread in threads:
        thread.start()
    begin.wait(LONG)
    earlier = scrape(registry)
    while any(thread.is_alive() for thread in threads):
        values = scrape(registry)
        assert is_lawful(values)
        for key in earlier:
            if key[0].endswith(("_total", "_bucket", "_count", "_sum")):
                assert values[key] >= earlier[key], key
        earlier = values
    for thread in threads:
        thread.join(LONG)
    destination.flush(LONG).result()
    values = scrape(registry)
    assert is_lawful(values)
    assert value(values, "events_delivered_total", sync="HOME") == 640
    assert value(values, "events_invalid_total", reason="missing") == 640


def _in_child(results: Any, registry: CollectorRegistry, destination: MolocoDestination) -> None:
    before = value(scrape(registry), "events_accepted_total")
    track(destination, home("child"))
    values = scrape(registry)
    results.send((before, value(values, "events_accepted_total"), is_lawful(values)))
    destination.close()
    results.close()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_counts_from_0(open_one: Make, registry: CollectorRegistry) -> None:
    """A forked child shows what it has done itself, and its parent's figures stay as they are."""
    destination = open_one()
    register(destination, registry=registry)
    track(destination, home("1"), home("2"))
    assert value(scrape(registry), "events_accepted_total") == 2
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_in_child, args=[theirs, registry, destination])
    child.start()
    theirs.close()
    assert ours.poll(LONG)
    assert ours.recv() == (0, 1, True)
    child.join(LONG)
    assert value(scrape(registry), "events_accepted_total") == 2


def test_without_its_extra_the_error_names_it() -> None:
    """Where the client library is missing, the import says what to install."""
    program = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "from amplitude_moloco import ConfigurationError\n"
        "try: import amplitude_moloco.metrics.prometheus\n"
        "except ConfigurationError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=LONG,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "pip install 'amplitude-moloco[prometheus]'" in done.stdout
