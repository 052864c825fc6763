"""The counters, and the law that they obey."""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco.convert.problem import Problem
from amplitude_moloco.engine.facts import (
    Buried,
    Delivered,
    Dropped,
    Fact,
    Paused,
    Rejected,
    Resumed,
    Retrying,
    ThrottledIdentifier,
)
from amplitude_moloco.engine.ledger import Ledger, Stats

LONG = 10.0
"""Seconds after which a wait in a test has failed."""
Call = Callable[[Ledger], None]


def delivered() -> Delivered:
    return Delivered("HOME", "id", 1, 200)


def retrying() -> Retrying:
    return Retrying("HOME", "id", 1, 5, "503")


def buried(reason: str = "rejected") -> Buried:
    return Buried("HOME", "id", 1, reason, 400, "")


def dropped(reason: str = "full") -> Dropped:
    return Dropped("HOME", "id", reason, b"body")


def rejected(field: str = "page_id") -> Rejected:
    return Rejected("HOME", "id", "Home", (Problem(field, "missing", "", ""),))


def is_lawful(stats: Stats) -> bool:
    """Whether accepted = delivered + rejected + buried + dropped + buffered."""
    ends = [stats.delivered, stats.buffered]
    for reasons in (stats.rejected, stats.buried, stats.dropped):
        ends += reasons.values()
    return stats.accepted == sum(ends)


def test_at_first_nothing_is_counted() -> None:
    """A new ledger counts from zero."""
    assert Ledger().snapshot() == Stats(0, 0, {}, {}, {}, 0, 0)


def test_every_end_has_its_counter() -> None:
    """Each event is counted once when it is accepted and once at its end, by the reason."""
    ledger = Ledger()
    for _ in range(7):
        ledger.stored()
    ledger.refused(rejected())
    ledger.refused(rejected("items[3].price"))
    ledger.refused(rejected("items[4].price"))
    ledger.refused(dropped("full"))
    for fact in (
        delivered(),
        delivered(),
        retrying(),
        retrying(),
        retrying(),
        buried("rejected"),
        buried("expired"),
        buried("expired"),
        dropped("shutdown"),
    ):
        ledger.settled(fact)
    assert ledger.snapshot() == Stats(
        accepted=11,
        delivered=2,
        rejected={"page_id missing": 1, "items.price missing": 2},
        buried={"rejected": 1, "expired": 2},
        dropped={"full": 1, "shutdown": 1},
        buffered=1,
        retried=3,
    )


@pytest.mark.parametrize(
    "fact",
    [Paused("outage", 503, ""), Resumed(), ThrottledIdentifier("5d41402a")],
    ids=lambda fact: type(fact).__name__,
)
def test_what_is_no_events_is_not_counted(fact: Fact) -> None:
    """What happens to MCM as a whole is no event's end, and no event's attempt."""
    ledger = Ledger()
    ledger.stored()
    before = ledger.snapshot()
    ledger.settled(fact)
    assert ledger.snapshot() == before


reasons = st.sampled_from(["one", "two", "three"])
refusals = st.builds(rejected, reasons) | st.builds(dropped, reasons)
settlements = (
    st.builds(delivered)
    | st.builds(retrying)
    | st.builds(buried, reasons)
    | st.builds(dropped, reasons)
)


def stored() -> Call:
    return Ledger.stored


def refused(fact: Rejected | Dropped) -> Call:
    return lambda ledger: ledger.refused(fact)


def settled(fact: Fact) -> Call:
    return lambda ledger: ledger.settled(fact)


calls = st.builds(stored) | st.builds(refused, refusals) | st.builds(settled, settlements)


@given(st.lists(calls))
def test_the_law_holds_after_every_call(calls: list[Call]) -> None:
    """Whatever is called, accepted = delivered + rejected + buried + dropped + buffered."""
    ledger = Ledger()
    for call in calls:
        call(ledger)
        assert is_lawful(ledger.snapshot())


def test_a_snapshot_stays_as_it_is() -> None:
    """A snapshot shows one moment: what is counted later does not change it."""
    ledger = Ledger()
    ledger.refused(dropped())
    snapshot = ledger.snapshot()
    ledger.refused(dropped())
    assert snapshot == Stats(1, 0, {}, {}, {"full": 1}, 0, 0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.accepted = 7  # type: ignore[misc]


def test_a_snapshot_changes_no_counter() -> None:
    """Whoever gets a snapshot can't change what is counted."""
    ledger = Ledger()
    ledger.refused(dropped())
    ledger.refused(rejected())
    ledger.stored()
    ledger.settled(buried())
    before, handed_out = ledger.snapshot(), ledger.snapshot()
    for reasons in (handed_out.dropped, handed_out.rejected, handed_out.buried):
        assert isinstance(reasons, dict)
        reasons.clear()
    assert ledger.snapshot() == before


@pytest.fixture
def busy_threads() -> Iterator[None]:
    """Threads take turns a thousand times as often as usual."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("busy_threads")
def test_no_count_is_lost_between_threads() -> None:
    """With eight threads counting, every snapshot obeys the law, and nothing is lost."""
    ledger = Ledger()
    all_ready = threading.Barrier(8)

    def work(thread: int) -> bool:
        all_ready.wait(LONG)
        lawful = True
        for _ in range(200):
            ledger.stored()
            ledger.settled(retrying())
            ledger.settled(delivered())
            ledger.refused(rejected())
            lawful &= is_lawful(ledger.snapshot())
        return lawful

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert ledger.snapshot() == Stats(3200, 1600, {"page_id missing": 1600}, {}, {}, 0, 1600)


def test_counting_may_be_interrupted_by_counting() -> None:
    """What counts or reads in the middle of a call, as a signal's handler does, is not held up."""
    ledger = Ledger()

    class Interrupted(Rejected):
        @property
        def reason(self) -> str:
            ledger.refused(dropped())
            ledger.snapshot()
            return "interrupted"

    ledger.refused(Interrupted("HOME", None, "", ()))
    assert ledger.snapshot() == Stats(2, 0, {"interrupted": 1}, {}, {"full": 1}, 0, 0)
