"""An app that is interrupted inside ``track()``, and one that makes a client for each request."""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from amplitude import Amplitude, BaseEvent, Config
from support.app_process import run
from support.engines import is_lawful

from amplitude_moloco import MolocoDestination, Sync
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.host.interruption import is_interruption
from amplitude_moloco.sandbox import Sandbox
from amplitude_moloco.transports.base import SendResult

LONG = 30.0


class Accepting:
    """A transport that accepts everything."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def send(self, body: bytes) -> SendResult:
        self.bodies.append(body)
        return SendResult(200)

    def close(self) -> None: ...


class TimeLimit(Exception):
    """What Celery's soft time limit raises: an ordinary Exception."""


def home(id: str) -> BaseEvent:
    return BaseEvent("Home", user_id="u-1", insert_id=id, time=1_700_000_000_000)


def make(transport: object, *syncs: Sync, **settings: Any) -> MolocoDestination:
    defaults: dict[str, Any] = {
        "channel_type": "SITE",
        "platform_name": "shop",
        "transport": lambda endpoint: transport,
        "flush_queue_size": 1,
        "flush_timeout_seconds": LONG,
    }
    return MolocoDestination(
        "key", "SHOP", syncs or [Sync("HOME", events=["Home"])], **{**defaults, **settings}
    )


def interrupted_at(destination: MolocoDestination, at: int) -> bool:
    """Execute an event, and raise at one line of the library. Returns False if it has fewer."""
    left = at

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if left < 0 or "amplitude_moloco" not in frame.f_code.co_filename:
            return None
        if event == "line":
            left -= 1
            if left < 0:
                raise TimeLimit
        return trace

    before = sys.gettrace()  # that of coverage
    try:
        sys.settrace(trace)
        try:
            destination.execute(home(f"struck {at}"))
        finally:
            sys.settrace(before)
    except TimeLimit:
        return True
    return False


def test_whatever_line_execute_is_interrupted_at_the_app_sees_it_and_goes_on() -> None:
    """A time limit that strikes anywhere in execute reaches the app and costs one event at most."""
    transport = Accepting()
    destination = make(transport)
    at, wanted = 0, []
    while interrupted_at(destination, at):
        wanted.append(f"after {at}".encode())
        destination.execute(home(f"after {at}"))
        assert is_lawful(destination.stats())
        at += 1
    assert at > 50
    stats = destination.flush(LONG).result()
    assert (stats.buffered, stats.invalid) == (0, {})
    sent = b"\n".join(transport.bodies)
    assert all(id + b'"' in sent for id in wanted)
    destination.close()


def test_a_signal_that_strikes_in_the_apps_own_callable_reaches_the_app() -> None:
    """A filter that is interrupted is no filter that failed."""

    def strike(signum: int, frame: FrameType | None) -> None:
        raise TimeLimit

    def slow(event: BaseEvent) -> bool:
        signal.raise_signal(signal.SIGINT)
        return True

    before = signal.signal(signal.SIGINT, strike)
    destination = make(Accepting(), Sync("HOME", events=["Home"], where=slow))
    try:
        with pytest.raises(TimeLimit):
            destination.execute(home("1"))
    finally:
        signal.signal(signal.SIGINT, before)
    assert destination.stats().accepted == 0
    destination.close()


def test_an_error_of_the_apps_code_is_no_interruption() -> None:
    """What a function raises is distinguished from what a handler raises into it."""

    def fail(*values: object) -> None:
        raise KeyError(*values)

    for error in (caught(fail, 1, (2, 3)), caught(int, "x"), caught(lambda: fail(None))):
        assert not is_interruption(error)
    assert not is_interruption(KeyError())


def caught(call: Any, *arguments: object) -> Exception:
    try:
        call(*arguments)
    except Exception as error:
        return error
    raise AssertionError


def test_the_age_of_a_stored_event_does_not_follow_the_wall_clock(tmp_path: Path) -> None:
    """If the wall clock steps 30 days forward, a first 503 makes nothing expire."""
    now = [1_700_000_000.0]
    answers = [SendResult(503)]

    class Failing(Accepting):
        def send(self, body: bytes) -> SendResult:
            return answers[0]

    destination = make(
        Failing(),
        buffer=lambda: SqliteBuffer(tmp_path / "b.db", target="t", wall=lambda: now[0]),
        flush_queue_size=100,
        flush_interval_millis=1e9,
    )
    destination.execute(home("1"))
    now[0] += 30 * 24 * 3600
    stats = destination.flush(LONG).result()
    assert (stats.retried, stats.dead_lettered) == (1, {})
    destination.close()


# -- clients for each request --------------------------------------------------------------------


def test_many_open_destinations_are_said_once(tmp_path: Path, sandbox: Sandbox) -> None:
    """An app that makes a client for each request, and closes none, is warned once."""
    script = """
for number in range(60):
    make_client(make())
os._exit(0)
"""
    code, _, errors = run(tmp_path, script, sandbox.url, sandbox.amplitude_url)
    assert code == 0
    assert errors.count("50 destinations are open in this process") == 1


def test_closed_clients_leave_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Clients that are shut down leave no exit hook of ours, and no warning."""
    caplog.set_level(logging.WARNING)
    hooks = getattr(threading, "_threading_atexits")  # noqa: B009  # private to mypy
    before = len(hooks)
    for _ in range(60):
        client = Amplitude("key", Config(server_url="http://127.0.0.1:9"))
        destination = make(Accepting())
        client.add(destination)
        destination.execute(home("1"))
        destination.close()
        client.remove(destination)
    gc.collect()
    assert len(hooks) - before <= 60  # the SDK's own
    assert not [hook for hook in hooks if "amplitude_moloco" in repr(hook)]
    assert "destinations are open" not in caplog.text


# -- memory --------------------------------------------------------------------------------------

MEASURE = """
import logging
logging.disable()
megabytes = 10
destination = make(
    buffer=f"memory://?max_bytes={megabytes * 1024 ** 2}",
    base_url="http://127.0.0.1:9", hooks=[lambda fact: None],
)

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

destination.execute(home("first"))
before = resident()
for number in range(38_000):
    event = home(f"{number}")
    event.time = 1_700_000_000_000
    event.user_properties = {"text": "x" * 300}
    destination.execute(event)
grown = resident() - before
assert destination.stats().dropped, "the buffer has never been full"
print(grown / (megabytes * 1024 ** 2), flush=True)
os._exit(0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_bound_of_bytes_is_one_of_resident_memory(tmp_path: Path, sandbox: Sandbox) -> None:
    """A full buffer, with what waits for hooks, takes little more memory than max_bytes."""
    code, output, errors = run(tmp_path, MEASURE, sandbox.url, sandbox.amplitude_url)
    assert (code, errors) == (0, "")
    assert float(output) < 3  # with the 10 MiB of dropped events that wait to be told
