"""What an engine sums up in the log while its senders have nothing else to do."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from support.engines import LONG, Bench, Gate, closing, senders
from support.facts import INVALID

from amplitude_moloco.buffers.base import BufferState
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.engine.facts import DeadLettered, Delivered, Invalid, Unselected
from amplitude_moloco.engine.runtime import Awaited, Runtime
from amplitude_moloco.transports.base import SendResult

MakeBench = Callable[..., Bench]
REPORTER = "amplitude_moloco.engine.reporter"


@pytest.fixture(params=[False, True], ids=["threads", "loop"])
def make_bench(request: pytest.FixtureRequest) -> MakeBench:
    """Makes a bench whose transport has a thread for each request, or one for all."""
    return partial(Bench, is_concurrent=request.param)


class FastForward:
    """A runtime in which every wait of a sender for over a second passes at once, on the clock."""

    def __init__(self) -> None:
        self.skipped = 0.0
        self.may_skip = threading.Event()
        self.runtime = Runtime(monotonic=self.monotonic, wait=self.wait)

    def monotonic(self) -> float:
        return time.monotonic() + self.skipped

    def wait(self, awaited: Awaited, seconds: float | None) -> None:
        if seconds is not None and seconds > 1 and self.may_skip.is_set():
            self.skipped += seconds
        else:
            awaited.wait(seconds if seconds is None else min(seconds, 0.01))


class Listening(logging.Handler):
    """Collects the lines of the reporter."""

    def __init__(self) -> None:
        super().__init__()
        self.has_heard = threading.Event()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self.has_heard.set()

    def first_line(self) -> str:
        assert self.has_heard.wait(LONG)
        return self.lines[0]


@pytest.fixture
def heard() -> Iterator[Listening]:
    handler = Listening()
    logging.getLogger(REPORTER).addHandler(handler)
    yield handler
    logging.getLogger(REPORTER).removeHandler(handler)


def test_a_summary_comes_though_nothing_else_happens(
    make_bench: MakeBench, heard: Listening
) -> None:
    """A burst that is followed by silence is summed up after five minutes, by a sender."""
    forward = FastForward()
    with closing(make_bench(Gate(), runtime=forward.runtime)) as bench:
        for number in range(10):
            bench.engine.invalid(dataclasses.replace(INVALID, id=str(number)))
        bench.wait_for_facts(10)
        assert heard.lines == []
        forward.may_skip.set()
        bench.engine.flush()
        text = "9 SEARCH events invalid: search_query missing (in 5 minutes)"
        assert heard.first_line() == text


def test_a_refusal_that_is_settled_last_is_summed_up_too(
    make_bench: MakeBench, heard: Listening
) -> None:
    """What a request's answer begins is summed up, though no event follows."""
    forward = FastForward()
    gate = Gate(lambda body: SendResult(400, "no page"))
    with closing(make_bench(gate, runtime=forward.runtime)) as bench:
        bench.put("a", "b")
        bench.wait_for_facts(2)
        forward.may_skip.set()
        bench.engine.flush()
        text = "1 HOME event dead-lettered: rejected, 400 no page (in 5 minutes)"
        assert heard.first_line() == text
        assert len(bench.facts_of(DeadLettered)) == 2


def test_closing_waits_for_no_summary_and_writes_it(
    make_bench: MakeBench, heard: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    """close() ends at once, and the last summary has all that was not summed up before."""
    caplog.set_level(logging.INFO, "amplitude_moloco")
    bench = make_bench(Gate())
    bench.put("sent")
    bench.wait_for_fact(Delivered)
    for _ in range(3):
        bench.engine.invalid(INVALID)
    begin = time.monotonic()
    bench.engine.close(1_000.0)
    assert time.monotonic() - begin < 250.0  # the summary is due after 300
    assert heard.lines[0].startswith("2 SEARCH events invalid: search_query missing (in ")
    assert heard.lines[1:] == ["Events of this process for The server: 1 delivered, 3 invalid"]
    bench.engine.invalid(INVALID)  # too late for a summary, and counted
    assert bench.engine.stats().invalid == {"search_query missing": 4}


def test_a_name_that_no_sync_selects_is_told_to_hooks_once(make_bench: MakeBench) -> None:
    """The first event of each name is a fact, which a sender tells, and each event is counted."""
    with closing(make_bench(Gate())) as bench:
        for name in ("a", "b", "a"):
            bench.engine.selection.unselected(name)
        bench.wait_for_facts(2)
        assert bench.facts == [Unselected("a"), Unselected("b")]
        assert bench.engine.stats().unselected == {"a": 2, "b": 1}
        assert bench.facts_of(Invalid) == []


class Durable(MemoryBuffer):
    """Looks like a durable buffer, and says when it is read."""

    is_durable = True

    def __init__(self) -> None:
        super().__init__()
        self.was_read_empty = threading.Event()

    def state(self) -> BufferState:
        state = super().state()
        if state.waiting == state.claimed == 0:
            self.was_read_empty.set()
        return state


def test_a_durable_buffer_is_read_again_once_its_events_are_delivered(
    make_bench: MakeBench,
) -> None:
    """The status does not go on showing what was delivered since a sender last read the buffer."""
    forward, buffer = FastForward(), Durable()
    with closing(make_bench(Gate(), buffer=buffer, runtime=forward.runtime)) as bench:
        bench.put("a")
        bench.wait_for_fact(Delivered)
        assert bench.engine.status().waiting == 1
        buffer.was_read_empty.clear()
        forward.may_skip.set()
        bench.engine.flush()
        assert buffer.was_read_empty.wait(LONG)
        bench.engine.close(LONG)
        assert bench.engine.status().waiting == 0
        assert senders() == []
