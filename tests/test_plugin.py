"""The life of a destination that the SDK does not know of: dropped, interrupted, half-built."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType

import pytest
from amplitude import BaseEvent

from amplitude_moloco import Dropped, Fact, MolocoDestination, SendResult, Sync, open_buffer
from amplitude_moloco.buffers.base import Storage
from amplitude_moloco.errors import ConfigurationError

LONG = 30.0
"""Seconds after which a wait in a test has failed."""
URL = "https://shop.example"


class TimeLimit(Exception):
    """What a signal handler raises."""


class Gate:
    """A transport that answers once it may, and says when it is closed."""

    def __init__(self) -> None:
        self.may_answer, self.closed = threading.Event(), threading.Event()
        self.may_answer.set()
        self.sent: list[bytes] = []

    def send(self, body: bytes) -> SendResult:
        self.sent.append(body)
        self.may_answer.wait(LONG)
        return SendResult(200)

    def close(self) -> None:
        self.closed.set()


def home(insert_id: str = "i-1") -> BaseEvent:
    return BaseEvent("Home", user_id="u-1", time=1_700_000_000_000, insert_id=insert_id)


def make(gate: Gate, **settings: object) -> MolocoDestination:
    settings = {
        "base_url": URL,
        "channel_type": "SITE",
        "transport": lambda endpoint: gate,
        "flush_interval_millis": 1,
        "syncs": Sync("HOME", events=["Home"]),
        **settings,
    }
    return MolocoDestination("key", "SHOP", **settings)  # type: ignore[arg-type]


@pytest.fixture(params=["memory://", "sqlite:///{}/moloco.db"], ids=["memory", "sqlite"])
def buffer(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a buffer of each kind in turn."""
    return str(request.param).format(tmp_path)


def wait_for_end_of_threads(before: set[threading.Thread]) -> None:
    """Join every thread that was not there before."""
    for thread in set(threading.enumerate()) - before:
        thread.join(LONG)
    assert set(threading.enumerate()) <= before


def open_files() -> set[str]:
    """The buffer's files that this process has open."""
    names = set()
    for each in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):  # it was the descriptor of the listing
            names.add(each.readlink().name)
    return {name for name in names if "moloco.db" in name}


# -- dropped without being closed ----------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's list of open files")
def test_dropped_destinations_leave_no_thread_and_no_file(buffer: str) -> None:
    """What an app drops is sent, then its threads and files go, as if it had been closed."""
    before = set(threading.enumerate())
    gates = [Gate() for _ in range(20)]
    for number, gate in enumerate(gates):
        make(gate, buffer=buffer).execute(home(str(number)))
    gc.collect()
    for gate in gates:
        assert gate.closed.wait(LONG)
    wait_for_end_of_threads(before)
    assert open_files() == set()
    if buffer.startswith("memory"):
        assert [len(gate.sent) for gate in gates] == [1] * 20


def test_what_a_dropped_destination_could_not_send_is_told() -> None:
    """If the server does not answer in time, what a dropped destination holds is handed over."""
    before = set(threading.enumerate())
    gate, told, facts = Gate(), threading.Event(), list[Fact]()

    def hear(fact: Fact) -> None:
        facts.append(fact)
        if isinstance(fact, Dropped):
            told.set()

    gate.may_answer.clear()
    make(gate, connections=1, shutdown_timeout_seconds=0.1, hooks=hear).execute(home())
    gc.collect()
    assert told.wait(LONG)
    gate.may_answer.set()
    wait_for_end_of_threads(before)


def test_a_destination_that_was_never_used_is_dropped_without_a_thread() -> None:
    """One that was made for its preview alone starts nothing, not even at its end."""
    before, gate = set(threading.enumerate()), Gate()
    make(gate).preview(home())
    gc.collect()
    assert set(threading.enumerate()) <= before
    assert not gate.closed.is_set()


def test_a_closed_destination_that_is_dropped_is_closed_once(buffer: str) -> None:
    """The end of a destination that was closed starts no thread."""
    before, gate = set(threading.enumerate()), Gate()
    destination = make(gate, buffer=buffer)
    destination.execute(home())
    destination.close(LONG)
    wait_for_end_of_threads(before)
    gate.closed.clear()
    del destination
    gc.collect()
    assert set(threading.enumerate()) <= before
    assert not gate.closed.is_set()


# -- half-built ------------------------------------------------------------------------------------


def test_a_destination_that_is_not_constructed_has_a_repr_and_an_end() -> None:
    """If the constructor raises, debuggers can show what is left, and it goes without a word."""
    half = MolocoDestination.__new__(MolocoDestination)
    assert repr(half) == "MolocoDestination(not constructed)"
    shown: list[str] = []

    class Mine(MolocoDestination):
        def __init__(self) -> None:
            try:
                super().__init__("key", "SHOP", [], base_url=URL)
            finally:
                shown.append(repr(self))

    with pytest.raises(ConfigurationError):
        Mine()
    assert shown == ["MolocoDestination(not constructed)"]


# -- interrupted -----------------------------------------------------------------------------------


@pytest.fixture
def signals_raise() -> Iterator[None]:
    """SIGUSR1 raises TimeLimit."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise TimeLimit

    before = signal.signal(signal.SIGUSR1, handle)
    yield
    signal.signal(signal.SIGUSR1, before)


def test_what_a_signal_handler_raises_while_an_event_is_converted_reaches_the_app(
    signals_raise: None,
) -> None:
    """It is not taken for a mistake of the sync's filter; the next event is sent."""
    signals = [signal.SIGUSR1]

    def interrupted(event: BaseEvent) -> bool:
        while signals:
            signal.raise_signal(signals.pop())
        return True

    destination = make(Gate(), syncs=Sync("HOME", events=["Home"], where=interrupted))
    with pytest.raises(TimeLimit):
        destination.execute(home())
    destination.execute(home())
    destination.close(LONG)
    stats = destination.stats()
    assert (stats.delivered, stats.invalid) == (1, {})


def in_child(work: Callable[[], object]) -> None:
    """Do this in a forked child, and pass if it does not raise."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(int(LONG))
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_what_a_signal_handler_raises_while_a_child_opens_its_buffer_reaches_the_app(
    signals_raise: None,
) -> None:
    """The child tries again with its next event, and does not fall back to another buffer."""
    opened: list[int] = []

    def open_it() -> Storage:
        opened.append(1)
        if len(opened) == 2:  # the first one of the child
            signal.raise_signal(signal.SIGUSR1)
        return open_buffer("memory://", target=URL)

    facts: list[Fact] = []
    destination = make(Gate(), buffer=open_it, hooks=facts.append)

    def track() -> None:
        with pytest.raises(TimeLimit):
            destination.execute(home())
        destination.execute(home())
        destination.close(LONG)
        assert [type(fact).__name__ for fact in facts] == ["Delivered"]

    in_child(track)
    destination.close()
