"""Metrics of several processes that share one page, under PROMETHEUS_MULTIPROC_DIR."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.metrics import Values, is_lawful, series_of, value, values_in

from amplitude_moloco.convert.problem import ProblemReason
from amplitude_moloco.reasons import DropReason
from amplitude_moloco.sandbox import Sandbox

pytestmark = pytest.mark.timeout(200)
PRELUDE = """
import gc, logging, multiprocessing, os, shutil, struct, sys, threading
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from support.metrics import home, make, search, value, values_in
from amplitude_moloco.metrics.prometheus import register, unregister

url = sys.argv[1]
logging.getLogger("amplitude_moloco").addHandler(logging.NullHandler())
HELD_BACK = {"flush_queue_size": 1000, "flush_interval_millis": 600_000}
context = multiprocessing.get_context("fork")

def page():
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return generate_latest(registry).decode()

def values():
    while True:
        try:
            return values_in(page())
        except struct.error:  # the client library has met a file that is being created
            pass

def await_that(condition):
    for _ in range(6000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError(page())

def in_forked_worker(work, *args):
    worker = context.Process(target=work, args=args, daemon=True)
    worker.start()
    return worker

def end(workers):
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * len(workers)
"""


def run(folder: Path, script: str, url: str, *, is_quiet: bool = True) -> Values:
    """Runs a script, and returns the values on the page of metrics that it prints at its end."""
    # The client library closes none of its files.
    strictly = ["-W", "error", "-W", "ignore::ResourceWarning"]
    # From Python 3.12 on, a fork beside threads warns, as here on purpose.
    strictly += ["-W", "ignore:This process:DeprecationWarning"]
    done = subprocess.run(
        [sys.executable, *strictly, "-c", PRELUDE + script, url],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env={
            **os.environ,
            "PROMETHEUS_MULTIPROC_DIR": str(folder),
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
    )
    assert done.returncode == 0, done.stderr
    assert ("Metrics can't be written: FileNotFoundError" in done.stderr) != is_quiet
    assert done.stderr == "" or not is_quiet
    return values_in(done.stdout)


def test_the_counters_of_all_workers_add_up(tmp_path: Path, sandbox: Sandbox) -> None:
    """What each forked worker and their parent have done is on the page, once."""
    script = """
destination = make(url)
register(destination)

def work(number):
    for event in range(5):
        destination.execute(home(f"{number}-{event}"))
    destination.execute(search())
    destination.close()

destination.execute(home("parent"))
destination.flush(60).result()
end([in_forked_worker(work, number) for number in range(3)])
destination.close()
print(page())
"""
    values = run(tmp_path, script, sandbox.url)
    assert is_lawful(values)
    assert value(values, "events_accepted_total") == 3 * 6 + 1
    assert value(values, "events_delivered_total", sync="HOME") == 3 * 5 + 1
    assert value(values, "events_invalid_total", reason="missing") == 3
    assert value(values, "attempts_total", outcome="success") == 16
    assert value(values, "request_duration_seconds_count") == 16
    assert value(values, "delivery_delay_seconds_bucket", le="+Inf") == 16
    assert value(values, "delivery_delay_seconds_sum") > 0
    assert value(values, "last_success_timestamp_seconds") > 1e9
    assert len(sandbox.moloco_events) == 16


def test_every_series_is_there_from_the_start(tmp_path: Path, sandbox: Sandbox) -> None:
    """Once a destination is registered, each known reason is on the page, at 0."""
    values = run(tmp_path, "register(make(url)); print(page())", sandbox.url)
    assert series_of(values, "events_invalid_total") == [0] * len(ProblemReason)
    assert series_of(values, "events_dropped_total") == [0] * len(DropReason)
    assert value(values, "events_delivered_total", sync="SEARCH") == 0
    assert value(values, "delivery_delay_seconds_count") == 0
    assert series_of(values, "build_info") == [1]


def test_a_living_worker_writes_every_few_seconds(tmp_path: Path, sandbox: Sandbox) -> None:
    """The page shows what living workers hold; a dead one keeps its counters alone."""
    script = """
destination = make(url, **HELD_BACK)
register(destination, refresh_seconds=0.01)

def work(is_over):
    destination.execute(home("1"))
    destination.execute(home("2"))
    is_over.wait()
    os._exit(0)

is_over = context.Event()
workers = [in_forked_worker(work, is_over) for _ in range(2)]
await_that(lambda: value(values(), "buffered_events") == 4)
assert value(values(), "buffer_events") == 2  # the highest: each has a buffer of its own
assert value(values(), "oldest_event_age_seconds") > 0
is_over.set()
end(workers)
for worker in workers:
    mark_process_dead(worker.pid)
destination.close()
print(page())
"""
    values = run(tmp_path, script, sandbox.url)
    assert value(values, "events_accepted_total") == 4
    assert value(values, "buffered_events") == value(values, "buffer_events") == 0


def test_a_child_that_tracks_nothing_changes_no_gauge(tmp_path: Path, sandbox: Sandbox) -> None:
    """A child that only uses the app's own metrics adds nothing to those of the destination."""
    script = """
own = Counter("own", "The app's.")
destination = make(url)
register(destination, refresh_seconds=0.01)
in_use = value(values(), "buffer_max_events")
end([in_forked_worker(own.inc)])
assert value(values(), "buffer_max_events") == in_use
assert value(values(), "oldest_event_age_seconds") == 0
print(page())
"""
    values = run(tmp_path, script, sandbox.url)
    assert values["own_total", ()] == 1


def test_close_ends_the_gauges(tmp_path: Path, sandbox: Sandbox) -> None:
    """A destination that was closed while its process goes on has no say in any gauge."""
    script = """
first, second = make(url), make(url)
register(first)
first.execute(home("1"))
first.close()
assert value(values(), "buffer_max_events") == value(values(), "sender_threads") == 0
register(second)
second.execute(home("2"))
second.close()
second.close()
print(page())
"""
    values = run(tmp_path, script, sandbox.url)
    assert value(values, "events_delivered_total", sync="HOME") == 2
    assert value(values, "buffer_max_events") == 0
    assert value(values, "last_success_timestamp_seconds") > 1e9


def test_what_is_unregistered_or_gone_has_no_gauges(tmp_path: Path, sandbox: Sandbox) -> None:
    """The gauges end when a destination is unregistered, or when the app lets go of it."""
    script = """
first, second = make(url), make(url)
register(first, name="first", refresh_seconds=0.01)
register(first, name="first", refresh_seconds=0.01)
register(second, name="second", refresh_seconds=0.01)

def bounds(name):
    return value(values(), "buffer_max_events", destination=name)

assert bounds("first") == bounds("second") == 100_000
unregister(first)
await_that(lambda: bounds("first") == 0)
del second
gc.collect()
await_that(lambda: bounds("second") == 0)
first.execute(home("1"))
first.close()
assert value(values(), "events_accepted_total", destination="first") == 0
print(page())
"""
    run(tmp_path, script, sandbox.url)


def test_a_fork_may_come_at_any_time(tmp_path: Path, sandbox: Sandbox) -> None:
    """No child that is forked while values are written waits for a lock without end."""
    script = """
own = Counter("own", "The app's.")
destination = make(url)
register(destination, refresh_seconds=0.000_001)

def work(number):
    own.inc()
    destination.execute(home(str(number)))
    destination.close()

for number in range(40):
    end([in_forked_worker(work, number)])
destination.close()
print(page())
"""
    values = run(tmp_path, script, sandbox.url)
    assert values["own_total", ()] == 40
    assert value(values, "events_accepted_total") == 40


def test_a_folder_that_is_gone_costs_the_metrics_alone(tmp_path: Path, sandbox: Sandbox) -> None:
    """Where values can't be written, that is logged once, and events are sent."""
    script = """
logging.basicConfig(level=logging.WARNING)
folder = os.environ["PROMETHEUS_MULTIPROC_DIR"]
shutil.rmtree(folder)
destination = make(url)
register(destination, refresh_seconds=0.01)
destination.execute(home("1"))
destination.close()
assert destination.stats().delivered == 1
"""
    folder = tmp_path / "folder"
    folder.mkdir()
    assert run(folder, script, sandbox.url, is_quiet=False) == {}
    assert len(sandbox.moloco_events) == 1
