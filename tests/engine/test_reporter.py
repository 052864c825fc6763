"""The lines that sum up what repeats."""

from __future__ import annotations

import dataclasses
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.facts import DROPPED, INVALID, REJECTED, RETRYING, TRIMMED

from amplitude_moloco.engine.facts import Retrying
from amplitude_moloco.engine.ledger import Ledger, Stats
from amplitude_moloco.engine.log import LogHook
from amplitude_moloco.engine.log_fields import FIELDS
from amplitude_moloco.engine.reporter import Reporter
from amplitude_moloco.engine.summary import Repeated, Summary

NOTHING = Ledger().stats()
REPORTER = "amplitude_moloco.engine.reporter"


class Log:
    """A hook and a reporter over a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.summary = Summary(lambda: self.now)
        self.hook = LogHook("MCM", "the key", lambda: self.now, summary=self.summary)
        self.reporter = Reporter("MCM", self.summary)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Log:
    caplog.set_level(logging.INFO, "amplitude_moloco")
    return Log()


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """The level and the text of each line that the reporter wrote."""
    found = [
        (each.levelname, each.getMessage()) for each in caplog.records if each.name == REPORTER
    ]
    caplog.clear()
    return found


def test_many_events_of_a_kind_are_one_line(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    """The first is a warning of its own, and the others one line after five minutes."""
    for number in range(524):
        log.hook(dataclasses.replace(INVALID, sync="PURCHASE", id=str(number)))
    assert len(caplog.records) == 1
    log.now = 299.0
    log.reporter.run()
    assert lines(caplog) == []
    log.now = 300.0
    log.reporter.run()
    text = "523 PURCHASE events invalid: search_query missing (in 5 minutes)"
    assert lines(caplog) == [("WARNING", text)]
    log.now = 1_000.0
    log.reporter.run()
    assert lines(caplog) == []


@pytest.mark.parametrize(
    ("fact", "level", "text"),
    [
        (INVALID, "WARNING", "1 SEARCH event invalid: search_query missing (in 1 second)"),
        (
            REJECTED,
            "WARNING",
            "1 HOME event dead-lettered: rejected, 400 missing page_id (in 1 second)",
        ),
        (DROPPED, "WARNING", "1 HOME event dropped: full (in 1 second)"),
        (
            TRIMMED,
            "INFO",
            "1 HOME event sent without a part: items.price wrong_type (in 1 second)",
        ),
        (RETRYING, "WARNING", "1 more attempt failed: 503 (in 1 second)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_kind_of_loss_has_its_line(
    log: Log, caplog: pytest.LogCaptureFixture, fact: Retrying, level: str, text: str
) -> None:
    """What repeated is summed up at the level that its loss deserves."""
    log.hook(fact)
    log.hook(fact)
    caplog.clear()
    log.reporter.write_last(NOTHING)
    assert lines(caplog) == [(level, text)]


def test_a_failing_server_is_never_silent(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    """What failed since the first failure is a line every five minutes, with the latest cause."""
    for number in range(1, 4):
        for _ in range(10):
            log.hook(Retrying("HOME", "id-1", 1, 5.0, "503", f"503 try later {number}", 503))
        log.now += 300.0
        log.reporter.run()
    assert [text for _, text in lines(caplog)] == [
        "9 more attempts failed: 503 try later 1 (in 5 minutes)",
        "10 more attempts failed: 503 try later 2 (in 5 minutes)",
        "10 more attempts failed: 503 try later 3 (in 5 minutes)",
    ]


def test_a_summary_has_a_bounded_number_of_lines(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    """The twenty most frequent kinds have a line each, and all others one."""
    for number in range(25):
        for _ in range(number + 1):
            log.summary.add(Repeated("dropped", f"S{number}", "full"))
    log.now = 90.0
    log.reporter.write_last(NOTHING)
    found = [text for _, text in lines(caplog)]
    assert found[0] == "25 S24 events dropped: full (in 90 seconds)"
    assert found[20:] == ["15 more of 5 other kinds (in 90 seconds)"]


def test_the_last_line_has_the_totals(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    """At the end, the log has all counters that are not 0, and each in a field of its own."""
    stats = dataclasses.replace(
        NOTHING,
        delivered=1_234,
        invalid={"a": 1, "b": 2},
        unselected={"order completed": 14},
        filtered={"PURCHASE": 5},
    )
    log.reporter.write_last(stats)
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == (
        "INFO",
        (
            "Events of this process for MCM: 1,234 delivered, 3 invalid, 5 left out by filters, "
            "14 selected by no sync"
        ),
    )
    assert [vars(record)[name] for name in ("delivered", "dropped", *FIELDS)] == [
        *(1_234, 0),
        *[None] * 5,
    ]


@pytest.mark.parametrize("stats", [NOTHING, dataclasses.replace(NOTHING, delivered=3)])
def test_where_all_is_well_the_end_is_quiet(
    log: Log, caplog: pytest.LogCaptureFixture, stats: Stats
) -> None:
    """Deliveries alone are debug, and an engine that did nothing writes nothing."""
    log.reporter.write_last(stats)
    assert lines(caplog) == []
    caplog.set_level(logging.DEBUG, "amplitude_moloco")
    log.reporter.write_last(stats)
    assert len(lines(caplog)) == bool(stats.delivered)


def test_a_sum_can_be_read_by_machines(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    """A summary's record has the sync, the reason, the latest status and the count as fields."""
    log.hook(REJECTED)
    log.hook(REJECTED)
    caplog.clear()
    log.reporter.write_last(NOTHING)
    (record,) = caplog.records
    found = {name: vars(record)[name] for name in (*FIELDS, "count")}
    assert found == {
        "event_id": None,
        "sync": "HOME",
        "reason": "rejected",
        "status": 400,
        "attempts": None,
        "count": 1,
    }


@given(st.floats(0, 1e9), st.floats(0, 1e-6))
def test_no_rounding_of_the_clock_leaves_a_summary_due(start: float, early: float) -> None:
    """A summary that is due in less than the clock can tell is written, whatever the clock says."""
    log = Log()
    log.now = start
    log.summary.add(Repeated("dropped", "HOME", "full"))
    log.now += 300.0 - early
    log.reporter.run()
    assert log.reporter.due_seconds() == float("inf")


def test_a_process_that_does_not_deliver_says_what_it_stored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its totals begin with what it handed on, and are info if anything went wrong."""
    caplog.set_level(logging.INFO, "amplitude_moloco")
    reporter = Reporter("MCM", Summary(lambda: 0.0), delivers=False)
    reporter.write_last(dataclasses.replace(NOTHING, handed_on=1234))
    assert lines(caplog) == []
    stats = dataclasses.replace(NOTHING, handed_on=1234, invalid={"page_id missing": 2})
    reporter.write_last(stats)
    text = "Events of this process for MCM: 1,234 handed on, 2 invalid"
    assert lines(caplog) == [("INFO", text)]
