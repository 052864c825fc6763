"""What senders measure: outcomes of attempts, durations of requests, ages of what is delivered."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import Clock
from support.engines import LONG, Bench, Gate, closing

from amplitude_moloco.engine.facts import DeadLettered, Delivered, Retrying
from amplitude_moloco.engine.measures import (
    DELAY_BOUNDS_SECONDS,
    REQUEST_BOUNDS_SECONDS,
    AttemptOutcome,
    Measures,
)
from amplitude_moloco.engine.runtime import Runtime
from amplitude_moloco.transports.base import SendResult


@pytest.mark.parametrize(
    ("result", "is_success", "outcome"),
    [
        (SendResult(200), True, "success"),
        (SendResult(204), True, "success"),
        (SendResult(message="ReadTimeout"), False, "timeout"),
        (SendResult(message="ConnectTimeout"), False, "timeout"),
        (SendResult(message="ConnectionError"), False, "no_answer"),
        (SendResult(message="CurlError"), False, "no_answer"),
        (SendResult(), False, "no_answer"),
        (SendResult(429), False, "429"),
        (SendResult(400), False, "4xx"),
        (SendResult(499), False, "4xx"),
        (SendResult(500), False, "5xx"),
        (SendResult(599), False, "5xx"),
        (SendResult(302), False, "other"),
        (SendResult(101), False, "other"),
        (SendResult(600), False, "other"),
        (SendResult(200), False, "other"),
    ],
    ids=repr,
)
def test_each_attempt_has_one_outcome(result: SendResult, is_success: bool, outcome: str) -> None:
    """An attempt counts under what came of it, and under nothing else."""
    measures = Measures()
    if is_success:
        measures.succeeded(0.1, None)
    else:
        measures.failed(result, 0.1)
    attempts = measures.measurements().attempts
    assert attempts == {**dict.fromkeys(map(str, AttemptOutcome), 0), outcome: 1}


@given(st.lists(st.floats(min_value=0, max_value=1e9)))
def test_each_value_is_in_the_bucket_up_to_its_bound(values: list[float]) -> None:
    """A bucket holds the values up to its bound, and the last one all that are greater."""
    measures = Measures()
    for value in values:
        measures.succeeded(value, value)
    found = measures.measurements()
    for seconds, bounds in (
        (found.delay_seconds, DELAY_BOUNDS_SECONDS),
        (found.request_seconds, REQUEST_BOUNDS_SECONDS),
    ):
        assert seconds.bounds == bounds
        for index, bound in enumerate(bounds):
            assert sum(seconds.counts[: index + 1]) == sum(value <= bound for value in values)
        assert sum(seconds.counts) == len(values)
        assert seconds.total == pytest.approx(sum(values))


def test_bounds_ascend() -> None:
    """Each bucket is wider than the one before."""
    for bounds in (DELAY_BOUNDS_SECONDS, REQUEST_BOUNDS_SECONDS):
        assert list(bounds) == sorted(set(bounds))


def test_no_measurement_is_lost_between_threads() -> None:
    """What many threads measure at the same time is all counted."""
    measures = Measures()

    def measure() -> None:
        for _ in range(500):
            measures.succeeded(1.0, 1.0)

    threads = [threading.Thread(target=measure) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    found = measures.measurements()
    assert found.attempts["success"] == 4000
    assert found.request_seconds.total == found.delay_seconds.total == 4000.0


@pytest.mark.parametrize("is_concurrent", [False, True], ids=["threads", "loop"])
def test_an_engine_measures_what_it_sends(is_concurrent: bool) -> None:
    """The time of each request, and the age of each delivered event, are those of the clock."""
    clock = Clock()

    def answer(body: bytes) -> SendResult:
        clock.advance(2.0)
        return SendResult({b"ok": 200, b"bad": 400, b"busy": 503}[body])

    bench = Bench(
        Gate(answer),
        is_concurrent=is_concurrent,
        connections=1,
        runtime=Runtime(monotonic=clock.monotonic),
    )
    with closing(bench):
        for id, kind in (("ok", Delivered), ("bad", DeadLettered), ("busy", Retrying)):
            bench.put(id)
            bench.wait_for_fact(kind)
        found = bench.engine.measurements()
        assert {each: n for each, n in found.attempts.items() if n} == {
            "success": 1,
            "4xx": 1,
            "5xx": 1,
        }
        assert found.request_seconds.total == pytest.approx(6.0)
        (delivered,) = bench.facts_of(Delivered)
        assert isinstance(delivered, Delivered)
        assert delivered.delay_seconds == pytest.approx(found.delay_seconds.total)
        assert sum(found.delay_seconds.counts) == 1
