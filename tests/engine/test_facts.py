"""What happened to an event, and who is told of it."""

from __future__ import annotations

import dataclasses
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from amplitude_moloco.convert.problem import Problem
from amplitude_moloco.engine.facts import (
    Buried,
    Degraded,
    Delivered,
    Dropped,
    Fact,
    Hooks,
    LogHook,
    Paused,
    Rejected,
    Resumed,
    Retrying,
    ThrottledIdentifier,
)

LONG = 10.0
"""Seconds after which a wait in a test has failed."""
BODY = b'{"user_id":"me@example.com"}'
PROBLEM = Problem("search_query", "missing", "nothing", "use a text")
OTHER = Problem("items[1].price", "wrong_type", "a text", "use a number")
DELIVERED = Delivered("HOME", "id-1", 2, 202)
RETRYING = Retrying("HOME", "id-1", 3, 19.6, "503")
REJECTED = Rejected("SEARCH", "id-1", "Products Searched", (PROBLEM, OTHER))
BURIED = Buried("HOME", "id-1", 1, "rejected", 400, "missing page_id")
EXPIRED = Buried("HOME", "id-1", 9, "expired", None, "ReadTimeout")
DROPPED = Dropped("HOME", "id-1", "full", BODY)
OUTAGE = Paused("outage", 503, "try later")
MISCONFIGURED = Paused("misconfigured", 401, "")
DEGRADED = Degraded("the file is not there")
THROTTLED = ThrottledIdentifier("5d41402a")
FACTS: list[Fact] = [
    DELIVERED,
    RETRYING,
    REJECTED,
    BURIED,
    EXPIRED,
    DROPPED,
    OUTAGE,
    MISCONFIGURED,
    Resumed(),
    DEGRADED,
    THROTTLED,
]


def kind_of(value: object) -> str | None:
    """The name of a fact in a test's name."""
    return None if isinstance(value, (str, int)) else type(value).__name__


# -- telling -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fact", FACTS, ids=kind_of)
def test_every_hook_gets_every_fact(fact: Fact) -> None:
    """Every hook is called with every fact, in the order of the hooks."""
    told: list[tuple[str, Fact]] = []
    hooks = Hooks([lambda fact: told.append(("a", fact)), lambda fact: told.append(("b", fact))])
    hooks.tell(fact)
    assert told == [("a", fact), ("b", fact)]


def test_the_log_comes_first(caplog: pytest.LogCaptureFixture) -> None:
    """A fact is in the log before any hook is called."""
    logged: list[int] = []
    Hooks([lambda fact: logged.append(len(caplog.records))]).tell(DROPPED)
    assert logged == [1]


def test_a_hook_that_raises_is_logged_and_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After a hook that raises the others are called, and the error is logged."""
    error = ValueError("of a broken hook")

    def fail(fact: Fact) -> None:
        raise error

    told: list[Fact] = []
    hooks = Hooks([fail, told.append, fail])
    hooks.tell(DELIVERED)
    hooks.tell(DROPPED)
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
    hooks = Hooks(given)
    given.clear()
    hooks.tell(DELIVERED)
    assert told == [DELIVERED]


# -- posting -------------------------------------------------------------------------------------


def test_what_is_posted_is_told_later_and_in_order(caplog: pytest.LogCaptureFixture) -> None:
    """A posted fact is told, and logged, by whoever comes to tell it, and only once."""
    told: list[Fact] = []
    hooks = Hooks([told.append])
    hooks.post(DROPPED)
    hooks.post(REJECTED)
    assert (told, caplog.records) == ([], [])
    hooks.tell_posted()
    assert told == [DROPPED, REJECTED]
    hooks.tell_posted()
    assert told == [DROPPED, REJECTED]


def test_ten_thousand_posted_facts_are_kept() -> None:
    """Of too many posted facts the oldest go."""
    told: list[Fact] = []
    hooks = Hooks([told.append])
    facts = [Dropped("HOME", f"id-{number}", "full", BODY) for number in range(10_003)]
    for fact in facts:
        hooks.post(fact)
    hooks.tell_posted()
    assert told == facts[3:]


def test_a_hook_may_post_and_tell() -> None:
    """What a hook posts while it is told something is told too, each fact once."""
    told: list[Fact] = []

    def hook(fact: Fact) -> None:
        told.append(fact)
        if fact is DROPPED:
            hooks.post(DELIVERED)
            hooks.tell_posted()

    hooks = Hooks([hook])
    hooks.post(DROPPED)
    hooks.post(REJECTED)
    hooks.tell_posted()
    assert told == [DROPPED, REJECTED, DELIVERED]


def test_threads_tell_each_posted_fact_once() -> None:
    """With four threads posting and telling, every fact is told exactly once."""
    told: list[str] = []
    hooks = Hooks([lambda fact: told.append(getattr(fact, "id", ""))])
    all_ready = threading.Barrier(4)

    def work(thread: int) -> None:
        all_ready.wait(LONG)
        for number in range(250):
            hooks.post(Retrying("HOME", f"{thread}-{number}", 1, 5, "503"))
            hooks.tell_posted()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert len(told) == len(set(told)) == 1000


# -- the log -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fact", "level", "text"),
    [
        (DELIVERED, "DEBUG", "Delivered id-1 to MCM (sync HOME)"),
        (
            RETRYING,
            "DEBUG",
            "MCM did not take id-1 (sync HOME, 503), attempt 3; again in 20 s",
        ),
        (
            REJECTED,
            "WARNING",
            (
                "Sync SEARCH: 'Products Searched' can't be sent to MCM: search_query: found "
                "nothing; use a text; items[1].price: found a text; use a number"
            ),
        ),
        (
            BURIED,
            "WARNING",
            "Sync HOME: id-1 became a dead letter, rejected: 400 missing page_id",
        ),
        (EXPIRED, "WARNING", "Sync HOME: id-1 became a dead letter, expired: ReadTimeout"),
        (DROPPED, "WARNING", "Sync HOME: id-1 was dropped, full"),
        (
            OUTAGE,
            "ERROR",
            "MCM fails (503 try later). Events are kept, and sent when it works again.",
        ),
        (
            MISCONFIGURED,
            "ERROR",
            (
                "MCM refuses all events (401): the API key, the platform id or the address is "
                "wrong. Events are kept, and sent when that is mended."
            ),
        ),
        (
            Paused("outage", None, "ConnectionError"),
            "ERROR",
            "MCM fails (ConnectionError). Events are kept, and sent when it works again.",
        ),
        (Resumed(), "WARNING", "MCM takes events again; what was kept is being sent"),
        (
            DEGRADED,
            "ERROR",
            "Events wait in memory, since there is no other buffer: the file is not there",
        ),
        (
            THROTTLED,
            "WARNING",
            (
                "MCM throttles one identifier while others pass (5d41402a, hashed): do many "
                "shoppers share it?"
            ),
        ),
    ],
    ids=kind_of,
)
def test_a_fact_has_its_line_in_the_log(
    caplog: pytest.LogCaptureFixture, fact: Fact, level: str, text: str
) -> None:
    """Each kind of fact is one line, at the level that an operator needs."""
    caplog.set_level(logging.DEBUG, "amplitude_moloco")
    LogHook()(fact)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("amplitude_moloco", level)
    assert record.getMessage() == text


@pytest.mark.parametrize("fact", [REJECTED, BURIED, DROPPED], ids=kind_of)
def test_a_loss_is_a_warning_only_the_first_time(
    caplog: pytest.LogCaptureFixture, fact: Rejected | Buried | Dropped
) -> None:
    """A reason is a warning when it first turns up in a sync, and info from then on."""
    caplog.set_level(logging.DEBUG, "amplitude_moloco")
    log = LogHook()
    in_another_sync = dataclasses.replace(fact, sync="OTHER")
    for each in (fact, dataclasses.replace(fact, id="id-2"), in_another_sync, fact):
        log(each)
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "INFO", "WARNING", "INFO"]


def test_each_reason_is_a_warning_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """In one sync each reason is warned of, whatever was lost before for another one."""
    log = LogHook()
    log(Dropped("HOME", "id-1", "full", BODY))
    log(Dropped("HOME", "id-2", "closed", BODY))
    log(Buried("HOME", "id-3", 1, "rejected", 400, ""))
    log(Buried("HOME", "id-4", 1, "exhausted", 503, ""))
    log(Rejected("HOME", None, "Home", (PROBLEM,)))
    log(Rejected("HOME", None, "Home", (OTHER, PROBLEM)))
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 6


@pytest.mark.parametrize("fact", [REJECTED, BURIED, DROPPED], ids=kind_of)
def test_a_loss_can_be_counted_from_the_log(
    caplog: pytest.LogCaptureFixture, fact: Rejected | Buried | Dropped
) -> None:
    """A record of a loss has the id, the sync and the reason as fields of their own."""
    LogHook()(fact)
    (record,) = caplog.records
    fields = [getattr(record, f"moloco_{name}") for name in ("id", "sync", "reason")]
    assert fields == [fact.id, fact.sync, fact.reason]


def test_the_messages_are_constant(caplog: pytest.LogCaptureFixture) -> None:
    """All records of one kind have one message, and what differs in their arguments."""
    caplog.set_level(logging.DEBUG, "amplitude_moloco")
    log = LogHook()
    for fact in FACTS:
        log(fact)
        if isinstance(fact, (Delivered, Retrying, Rejected, Buried, Dropped)):
            log(dataclasses.replace(fact, id="id-2", sync="OTHER"))
    messages = {record.msg for record in caplog.records}
    assert len(messages) == 10  # of nine kinds of facts; a pause has two
    assert not any(char in message for message in messages for char in "{}")
    assert not any("id-" in message or "HOME" in message for message in messages)


def test_no_record_holds_a_body(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the message nor any field of a record holds what is in an event."""
    caplog.set_level(logging.DEBUG, "amplitude_moloco")
    log = LogHook()
    for fact in FACTS:
        log(fact)
    assert len(caplog.records) == len(FACTS)
    for record in caplog.records:
        held = [
            record.getMessage(),
            *map(repr, vars(record).values()),
            *map(str, record.args or ()),
        ]
        assert not any("me@example.com" in each for each in held)


# -- facts ---------------------------------------------------------------------------------------


def test_a_dropped_event_hides_its_body() -> None:
    """The body of a dropped event is handed over, but never shown."""
    assert DROPPED.body == BODY
    assert repr(DROPPED) == "Dropped(sync='HOME', id='id-1', reason='full')"
    assert str(DROPPED) == repr(DROPPED)


def test_a_rejection_is_counted_under_its_first_problem() -> None:
    """The reason of a rejection is the code of its first problem, without the place in a list."""
    assert REJECTED.reason == "search_query missing"
    assert Rejected("HOME", None, "", (OTHER, PROBLEM)).reason == "items.price wrong_type"


@pytest.mark.parametrize("fact", FACTS, ids=kind_of)
def test_facts_are_values(fact: Fact) -> None:
    """A fact is equal to its copy, can be kept in a set, and never changes."""
    assert fact == dataclasses.replace(fact)
    assert len({fact, dataclasses.replace(fact)}) == 1
    for field in dataclasses.fields(fact):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(fact, field.name, None)
