"""The pulse of the delivery loop, over a clock that the test moves."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.clock import Clock

from amplitude_moloco.relay.pulse import Pulse
from amplitude_moloco.relay.service_manager import ServiceManager

MakeBench = Callable[..., "Bench"]


class Bench:
    """A pulse, and the messages that it has sent."""

    def __init__(self, listener: socket.socket, clock: Clock, manager: ServiceManager) -> None:
        self.listener = listener
        self.clock = clock
        self.words = "delivering"
        self.pulse = Pulse(manager, lambda: self.words, clock.monotonic)

    def beat_for(self, seconds: float) -> list[str]:
        """Beat as often as a loop does, and return what was told."""
        for _ in range(round(seconds / self.pulse.seconds)):
            self.clock.advance(self.pulse.seconds)
            self.pulse.beat()
        return self.told()

    def told(self) -> list[str]:
        found = []
        while True:
            try:
                found.append(self.listener.recv(1000).decode())
            except BlockingIOError:
                return found


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        yield listener


@pytest.fixture
def make_bench(listener: socket.socket, clock: Clock) -> Iterator[MakeBench]:
    with ExitStack() as stack:

        def make_bench(**environment: str) -> Bench:
            name = {"NOTIFY_SOCKET": listener.getsockname()}
            manager = ServiceManager({**name, **environment})
            stack.callback(manager.close)
            return Bench(listener, clock, manager)

        yield make_bench


@pytest.mark.parametrize("watchdog_seconds", [0.2, 2.0, 3.0, 30.0, 100.0])
def test_the_watchdog_hears_at_half_of_its_time(
    make_bench: MakeBench, clock: Clock, watchdog_seconds: float
) -> None:
    """While the loop turns, no two signs of life are further apart than half of the time."""
    bench = make_bench(WATCHDOG_USEC=str(int(watchdog_seconds * 1e6)))
    silences, silent_since = [], clock.monotonic()
    for _ in range(200):
        if any(each == "WATCHDOG=1" for each in bench.beat_for(bench.pulse.seconds)):
            silences.append(clock.monotonic() - silent_since)
            silent_since = clock.monotonic()
    assert silences
    assert max(silences) <= watchdog_seconds / 2 + 1e-6
    assert min(silences) > watchdog_seconds / 5 - bench.pulse.seconds


def test_a_loop_that_hangs_shows_no_life(make_bench: MakeBench, clock: Clock) -> None:
    """No thread but the loop's shows life: without a beat there is nothing."""
    bench = make_bench(WATCHDOG_USEC="4000000")
    assert "WATCHDOG=1" in bench.beat_for(4)
    clock.advance(100)
    assert bench.told() == []
    assert bench.pulse.silence_seconds() == 100


def test_without_a_watchdog_only_changes_are_told(make_bench: MakeBench) -> None:
    """The status is told every few seconds, if it is another one."""
    bench = make_bench()
    assert bench.beat_for(20) == ["STATUS=delivering"]
    bench.words = "paused"
    assert bench.beat_for(20) == ["STATUS=paused"]
