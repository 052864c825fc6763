"""close() keeps one deadline for everything, slow and hanging hooks included."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

import pytest
from support.engines import (
    LONG,
    Bench,
    Gate,
    UnstartableThread,
    is_lawful,
    wait_for_end_of_senders,
)

from amplitude_moloco.engine.facts import Dropped, Fact
from amplitude_moloco.engine.runtime import Runtime

MakeBench = Callable[..., Bench]


@pytest.fixture(params=[False, True], ids=["threads", "loop"])
def make_bench(request: pytest.FixtureRequest) -> MakeBench:
    """Makes a bench whose transport has a thread for each request, or one for all."""
    return partial(Bench, is_concurrent=request.param)


@pytest.mark.parametrize("new_thread", [threading.Thread, UnstartableThread])
@pytest.mark.parametrize("is_hung", [False, True], ids=["works", "hangs"])
def test_slow_hooks_do_not_hold_up_the_end(
    make_bench: MakeBench,
    is_hung: bool,
    new_thread: Callable[..., threading.Thread],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With 2,000 events and a hook of 50 ms close() ends in time, and counts what it can't tell."""

    def slow(fact: Fact) -> None:
        threading.Event().wait(0.05)

    gate = Gate()
    if is_hung and new_thread is threading.Thread:
        gate.open.clear()
    bench = make_bench(gate, hook=slow, runtime=Runtime(new_thread=new_thread), connections=2)
    bench.put(*map(str, range(2_000)))
    started = time.monotonic()
    bench.engine.close(0.3)
    assert time.monotonic() - started < LONG / 2  # the hooks alone would take 100 seconds
    gate.open.set()
    stats = bench.engine.stats()
    assert stats.dropped["shutdown"] + stats.delivered == 2_000
    assert stats.untold > 0
    assert f"Hooks are too slow: {stats.untold} facts were counted, but not told" in caplog.text
    assert is_lawful(stats)
    wait_for_end_of_senders()


def test_a_hook_that_hangs_does_not_hold_up_the_end(make_bench: MakeBench) -> None:
    """Even a hook that never returns can't keep close() beyond its deadline."""
    go_on = threading.Event()

    def hang(fact: Fact) -> None:
        if isinstance(fact, Dropped):
            go_on.wait(2 * LONG)

    gate = Gate()
    gate.open.clear()
    bench = make_bench(gate, hook=hang)
    bench.put("a", "b", "c")
    started = time.monotonic()
    bench.engine.close(0.1)
    assert time.monotonic() - started < LONG
    assert bench.engine.stats().untold in (1, 2)  # one or two threads hang in the hook
    for event in (go_on, gate.open):
        event.set()
    wait_for_end_of_senders()


def test_what_is_lost_is_told_to_quick_hooks(make_bench: MakeBench) -> None:
    """With the time all used up by a server that hangs, quick hooks still get all that is lost."""
    gate = Gate()
    gate.open.clear()
    bench = make_bench(gate)
    bench.put(*map(str, range(50)))
    bench.engine.close(0.05)
    assert len(bench.facts_of(Dropped)) + bench.engine.stats().untold == 50
    assert bench.facts_of(Dropped)
    gate.open.set()
    wait_for_end_of_senders()
