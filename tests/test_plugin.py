"""The life of a destination that the SDK does not know of: interrupted, half-built."""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import pytest
from amplitude import BaseEvent

from amplitude_moloco import Fact, MolocoDestination, SendResult, Sync, open_buffer
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
    assert shown == ["Mine(not constructed)"]


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


@pytest.mark.parametrize("seconds", [math.inf, 1e12, 10**20, -1, math.nan])
def test_any_time_may_be_given(seconds: float) -> None:
    """A flush and a close take any number of seconds, and end once everything is delivered."""
    gate = Gate()
    destination = make(gate)
    destination.execute(home())
    assert destination.flush(seconds).result(LONG).accepted == 1
    destination.close(seconds)
    assert gate.closed.is_set()
