"""The counters, the law that they obey, and what the hooks get."""

from __future__ import annotations

import dataclasses
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.engines import is_lawful
from support.facts import BODY, DELIVERED, DROPPED, FACTS, INVALID, kind_of

from amplitude_moloco.convert.problem import Problem, ProblemReason
from amplitude_moloco.engine.facts import (
    DeadLettered,
    Dropped,
    Fact,
    Invalid,
    Paused,
    Resumed,
    Retrying,
    SentTwice,
    ThrottledIdentifier,
    Trimmed,
    Untold,
)
from amplitude_moloco.engine.ledger import Ledger, Stats
from amplitude_moloco.reasons import DeadLetterReason, DropReason, PauseReason

LONG = 60.0
"""Seconds after which a wait in a test has failed."""
PROBLEM = Problem("page_id", ProblemReason.MISSING, "nothing", "map page_id")
NOTHING = Stats(
    accepted=0,
    invalid={},
    dropped={},
    delivered=0,
    dead_lettered={},
    buffered=0,
    handed_on=0,
    taken_over=0,
    retried=0,
    untold=0,
)


def retrying() -> Retrying:
    return Retrying("HOME", "id", 1, 5, "503")


def dead_lettered(reason: DeadLetterReason = DeadLetterReason.REJECTED) -> DeadLettered:
    return DeadLettered("HOME", "id", 1, reason, 400, "")


def dropped(reason: DropReason = DropReason.FULL) -> Dropped:
    return Dropped("HOME", "id", reason, b"body")


def invalid(field: str = "page_id") -> Invalid:
    return Invalid("HOME", "id", "Home", (Problem(field, ProblemReason.MISSING, "", ""),))


# -- counting ------------------------------------------------------------------------------------


def test_at_first_nothing_is_counted() -> None:
    """A new ledger counts from zero."""
    assert Ledger().stats() == NOTHING


def test_every_end_has_its_counter() -> None:
    """Each event is counted once when it is accepted and once at its end, by the reason."""
    ledger = Ledger()
    for _ in range(11):
        ledger.accept()
    for fact in (
        invalid(),
        invalid("items[3].price"),
        invalid("items[4].price"),
        dropped(DropReason.FULL),
        DELIVERED,
        DELIVERED,
        retrying(),
        retrying(),
        retrying(),
        dead_lettered(DeadLetterReason.REJECTED),
        dead_lettered(DeadLetterReason.EXPIRED),
        dead_lettered(DeadLetterReason.EXPIRED),
        dropped(DropReason.SHUTDOWN),
    ):
        ledger.record(fact)
    assert ledger.stats() == dataclasses.replace(
        NOTHING,
        accepted=11,
        delivered=2,
        delivered_by_sync={"HOME": 2},
        invalid={"page_id missing": 1, "items.price missing": 2},
        dead_lettered={"rejected": 1, "expired": 2},
        dropped={"full": 1, "shutdown": 1},
        buffered=1,
        retried=3,
    )


def test_what_a_durable_buffer_keeps_is_counted_apart() -> None:
    """An event that is handed on is no longer buffered here, until one is taken over."""
    ledger = Ledger()
    ledger.accept()
    ledger.hand_on()
    assert ledger.stats() == dataclasses.replace(NOTHING, accepted=1, handed_on=1)
    ledger.take_over(3)
    ledger.record(DELIVERED)
    assert ledger.stats() == dataclasses.replace(
        NOTHING,
        accepted=1,
        handed_on=1,
        taken_over=3,
        delivered=1,
        buffered=2,
        delivered_by_sync={"HOME": 1},
    )


def test_what_was_not_there_is_taken_back() -> None:
    """A dead letter that another process has resent meanwhile is not counted as accepted."""
    ledger = Ledger()
    ledger.accept()
    ledger.retract()
    assert ledger.stats() == NOTHING


@pytest.mark.parametrize(
    "fact",
    [
        Paused(PauseReason.OUTAGE, 503, ""),
        Resumed(),
        ThrottledIdentifier("5d41402a"),
        Untold(3),
    ],
    ids=kind_of,
)
def test_what_is_no_events_end_is_not_counted(fact: Fact) -> None:
    """What concerns the server as a whole is no event's end, and no event's attempt."""
    ledger = Ledger()
    ledger.accept()
    before = ledger.stats()
    ledger.record(fact)
    assert ledger.stats() == before


fields = st.sampled_from(["page_id", "items[0].price", "search_query"])
facts = (
    st.just(DELIVERED)
    | st.builds(retrying)
    | st.builds(invalid, fields)
    | st.builds(dead_lettered, st.sampled_from(DeadLetterReason))
    | st.builds(dropped, st.sampled_from(DropReason))
)
Call = Callable[[Ledger], None]


def record(fact: Fact) -> Call:
    return lambda ledger: ledger.record(fact)


def post(fact: Fact) -> Call:
    return lambda ledger: ledger.post(fact)


def take_over(events: int) -> Call:
    return lambda ledger: ledger.take_over(events)


calls = (
    st.sampled_from([Ledger.accept, Ledger.retract, Ledger.hand_on])
    | st.builds(take_over, st.integers(0, 50))
    | st.builds(record, facts)
    | st.builds(post, facts)
)


@given(st.lists(calls))
def test_the_law_holds_after_every_call(calls: list[Call]) -> None:
    """Whatever is called, in whatever order, no event is counted twice or forgotten."""
    ledger = Ledger()
    ledger.take_over(1_000)  # so that every call has an event to speak of
    for call in calls:
        call(ledger)
        assert is_lawful(ledger.stats())


def test_a_snapshot_stays_as_it_is() -> None:
    """A snapshot shows one moment: what is counted later does not change it."""
    ledger = Ledger()
    ledger.accept()
    ledger.record(dropped())
    snapshot = ledger.stats()
    ledger.record(dropped())
    assert snapshot == dataclasses.replace(NOTHING, accepted=1, dropped={"full": 1})
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.accepted = 7  # type: ignore[misc]


def test_a_snapshot_changes_no_counter() -> None:
    """Changing a snapshot's figures does not change what is counted."""
    ledger = Ledger()
    for fact in (dropped(), invalid(), dead_lettered()):
        ledger.accept()
        ledger.record(fact)
    before, handed_out = ledger.stats(), ledger.stats()
    for reasons in (handed_out.dropped, handed_out.invalid, handed_out.dead_lettered):
        assert isinstance(reasons, dict)
        reasons.clear()
    assert ledger.stats() == before


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
            ledger.accept()
            ledger.record(retrying())
            ledger.record(DELIVERED)
            ledger.accept()
            ledger.record(invalid())
            lawful &= is_lawful(ledger.stats())
        return lawful

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert ledger.stats() == dataclasses.replace(
        NOTHING,
        accepted=3200,
        delivered=1600,
        delivered_by_sync={"HOME": 1600},
        invalid={"page_id missing": 1600},
        retried=1600,
    )


def test_counting_may_be_interrupted_by_counting() -> None:
    """A signal handler that counts or reads in the middle of a call is not held up."""
    ledger = Ledger()
    for _ in range(2):
        ledger.accept()

    class Interrupted(Invalid):
        @property
        def reason(self) -> str:
            ledger.record(dropped())
            ledger.stats()
            return "interrupted"

    ledger.record(Interrupted("HOME", None, "", ()))
    assert ledger.stats() == dataclasses.replace(
        NOTHING, accepted=2, invalid={"interrupted": 1}, dropped={"full": 1}
    )


# -- telling -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fact", FACTS, ids=kind_of)
def test_every_hook_gets_every_fact(fact: Fact) -> None:
    """Every hook is called with every fact, in the order of the hooks."""
    told: list[tuple[str, Fact]] = []
    ledger = Ledger([lambda fact: told.append(("a", fact)), lambda fact: told.append(("b", fact))])
    ledger.record(fact)
    assert told == [("a", fact), ("b", fact)]


def test_a_hook_that_raises_is_logged_and_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After a hook that raises the others are called, and the error is logged."""
    error = ValueError("of a broken hook")

    def fail(fact: Fact) -> None:
        raise error

    told: list[Fact] = []
    ledger = Ledger([fail, told.append, fail])
    ledger.record(DELIVERED)
    ledger.record(DROPPED)
    assert told == [DELIVERED, DROPPED]
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in errors] == [
        "A hook raised on Delivered",
        "A hook raised on Delivered",
        "A hook raised on Dropped",
        "A hook raised on Dropped",
    ]
    assert all(record.exc_info and record.exc_info[1] is error for record in errors)
    assert "me@example.com" not in caplog.text


def test_hooks_are_those_of_the_beginning() -> None:
    """A list that is changed later changes no hooks."""
    told: list[Fact] = []
    given = [told.append]
    ledger = Ledger(given)
    given.clear()
    ledger.record(DELIVERED)
    assert told == [DELIVERED]


# -- posting -------------------------------------------------------------------------------------


def test_what_is_posted_is_told_later_and_in_order(caplog: pytest.LogCaptureFixture) -> None:
    """The first thread that reports posted facts reports and logs each of them, once."""
    told: list[Fact] = []
    ledger = Ledger([told.append])
    ledger.post(DROPPED)
    ledger.post(INVALID)
    assert (told, caplog.records) == ([], [])
    ledger.tell_posted()
    assert told == [DROPPED, INVALID]
    ledger.tell_posted()
    assert told == [DROPPED, INVALID]


def test_what_finds_no_room_is_counted_and_told_as_a_number() -> None:
    """Of 14,999 facts posted in a row, each is either told or counted in an Untold fact."""
    told: list[Fact] = []
    ledger = Ledger([told.append])
    for number in range(14_999):
        ledger.accept()
        ledger.post(Dropped("HOME", f"id-{number}", DropReason.FULL, BODY))
    assert ledger.stats().dropped == {"full": 14_999}
    ledger.tell_posted()
    *dropped, untold = told
    assert all(isinstance(fact, Dropped) for fact in dropped)
    assert untold == Untold(14_999 - len(dropped))
    assert ledger.stats().untold == untold.facts > 0


def test_bodies_that_wait_for_hooks_are_bounded_in_bytes() -> None:
    """Dropped events that wait to be told hold no more than 16 MiB of bodies."""
    told: list[Fact] = []
    ledger = Ledger([told.append])
    for _ in range(40):
        ledger.accept()
        ledger.post(Dropped("HOME", "id", DropReason.FULL, bytes(1024 * 1024)))
    ledger.tell_posted()
    assert (len(told), told[-1]) == (17, Untold(24))
    ledger.accept()
    ledger.post(Dropped("HOME", "id", DropReason.FULL, bytes(1024 * 1024)))
    ledger.tell_posted()
    assert isinstance(told[-1], Dropped)


@pytest.mark.parametrize(
    "make",
    [
        lambda number: Invalid("HOME", None, f"{number}".zfill(100_000), (PROBLEM,)),
        lambda number: Invalid("HOME", f"{number}".zfill(100_000), "Home", (PROBLEM,)),
        lambda number: Invalid("HOME", "id", "Home", (PROBLEM,) * 200),
        lambda number: Trimmed("HOME", "id", f"{number}".zfill(100_000), (PROBLEM,)),
        lambda number: Trimmed("HOME", "id", "Home", (PROBLEM,) * 200),
        lambda number: SentTwice(f"{number}".zfill(100_000), "id", "two destinations"),
    ],
)
def test_whatever_waits_for_hooks_is_bounded_in_bytes(make: Callable[[int], Fact]) -> None:
    """However long an event's name or id is, what waits to be told holds about 16 MiB of it."""
    told: list[Fact] = []
    ledger = Ledger([told.append])
    for number in range(400):
        ledger.post(make(number), is_new=True)
    ledger.tell_posted()
    *others, untold = told
    assert untold == Untold(400 - len(others))
    assert 100 < len(others) < 200


def test_a_hook_may_post_and_tell() -> None:
    """What a hook posts while it runs is reported too, each fact once."""
    told: list[Fact] = []

    def hook(fact: Fact) -> None:
        told.append(fact)
        if fact is DROPPED:
            ledger.post(DELIVERED)
            ledger.tell_posted()

    ledger = Ledger([hook])
    ledger.post(DROPPED)
    ledger.post(INVALID)
    ledger.tell_posted()
    assert told == [DROPPED, INVALID, DELIVERED]


@dataclasses.dataclass(frozen=True)
class Calling:
    """A part left out of an event, which does something when its code is counted."""

    do: Callable[[], object]

    @property
    def code(self) -> str:
        self.do()
        return "code"


def trimmed_and(do: Callable[[], object]) -> Trimmed:
    return Trimmed("HOME", "id", "Home", (Calling(do),))  # type: ignore[arg-type]


def test_what_interrupts_the_counting_may_post() -> None:
    """A fact that a signal handler posts while another one is counted is counted after it."""
    told: list[Fact] = []
    ledger = Ledger([told.append])
    outer = trimmed_and(lambda: ledger.post(dropped(), is_new=True))
    ledger.post(outer)
    stats = ledger.stats()
    assert (stats.accepted, stats.dropped, stats.trimmed) == (1, {"full": 1}, {"code": 1})
    ledger.tell_posted()
    assert told == [outer, dropped()]


def test_what_interrupts_the_counting_may_recover() -> None:
    """A handler that was itself interrupted leaves the counting as it should be."""
    told: list[Fact] = []
    ledger = Ledger([told.append])
    outer = trimmed_and(ledger.recover)
    ledger.post(outer)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(ledger.post, dropped(), is_new=True).result(LONG)
        assert pool.submit(ledger.stats).result(LONG).trimmed == {"code": 1}
    ledger.tell_posted()
    assert told == [outer, dropped()]


def test_threads_tell_each_posted_fact_once() -> None:
    """With four threads posting and telling, every fact is reported exactly once."""
    told: list[str] = []
    ledger = Ledger([lambda fact: told.append(getattr(fact, "id", ""))])
    all_ready = threading.Barrier(4)

    def work(thread: int) -> None:
        all_ready.wait(LONG)
        for number in range(250):
            ledger.post(Retrying("HOME", f"{thread}-{number}", 1, 5, "503"))
            ledger.tell_posted()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert len(told) == len(set(told)) == 1000


class Leave(BaseException):
    """What sys.exit() and the like raise: no Exception."""


def test_the_end_waits_for_what_another_thread_is_telling() -> None:
    """To tell all includes what a hook of another thread has not finished with."""
    is_inside, go_on = threading.Event(), threading.Event()
    told: list[Fact] = []

    def wait_and_note(fact: Fact) -> None:
        is_inside.set()
        assert go_on.wait(10)
        told.append(fact)

    ledger = Ledger([wait_and_note])
    ledger.post(DROPPED)
    with ThreadPoolExecutor() as pool:
        sender = pool.submit(ledger.tell_posted)
        assert is_inside.wait(10)
        assert (ledger.has_posted, ledger.is_telling) == (False, True)
        end = pool.submit(ledger.tell_all)
        assert not wait([end], timeout=0.05).done
        go_on.set()
        end.result(10)
        sender.result(10)
    assert told == [DROPPED]
    assert not ledger.is_telling


def test_whatever_a_hook_raises_in_a_background_thread_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """sys.exit() in a hook ends no sender: it is logged, and the other hooks are called."""

    def leave(fact: Fact) -> None:
        raise Leave

    told: list[Fact] = []
    ledger = Ledger([leave, told.append])
    with ThreadPoolExecutor(1) as pool:
        pool.submit(ledger.record, DELIVERED).result(LONG)
    assert told == [DELIVERED]
    assert caplog.messages == ["A hook raised on Delivered"]


def test_an_interruption_of_the_apps_own_thread_reaches_the_app() -> None:
    """Ctrl-C while close() calls a hook in the main thread is the app's to handle."""

    def interrupt(fact: Fact) -> None:
        raise Leave

    with pytest.raises(Leave):
        Ledger([interrupt]).record(DELIVERED)


# -- chores ----------------------------------------------------------------------------------------


class Chore:
    """A chore that counts how often it was done."""

    def __init__(self, due_seconds: float) -> None:
        self.seconds = due_seconds
        self.runs = 0

    def run(self) -> None:
        self.runs += 1

    def due_seconds(self) -> float:
        return self.seconds


def test_chores_are_done_after_what_was_posted_is_told() -> None:
    """Whenever posted facts are told, the chores follow; none is due once it closes."""
    chores = Chore(5.0), Chore(3.0)
    ledger = Ledger(chores=chores)
    assert ledger.due_in() == 3.0
    ledger.tell_posted()
    assert [each.runs for each in chores] == [1, 1]
    ledger.begin_closing()
    assert ledger.due_in() == float("inf")


def test_a_ledger_without_chores_has_nothing_due() -> None:
    """Nothing is due where there is nothing to do."""
    assert Ledger().due_in() == float("inf")


def test_no_chore_is_done_after_the_deadline() -> None:
    """A chore takes time, which is over once the deadline of close() is."""
    chore = Chore(0.0)
    ledger = Ledger(monotonic=lambda: 7.0, chores=[chore])
    ledger.tell_until(7.0)
    ledger.tell_posted()
    assert chore.runs == 0
