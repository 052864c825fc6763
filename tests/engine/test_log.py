"""What the log says."""

from __future__ import annotations

import dataclasses
import json
import logging
import threading

import pytest
from support.facts import (
    BODY,
    DEGRADED,
    DELIVERED,
    DROPPED,
    EXPIRED,
    FACTS,
    INVALID,
    LOST,
    MISCONFIGURED,
    OTHER,
    OUTAGE,
    PROBLEM,
    REJECTED,
    REPEATED,
    RETRYING,
    THROTTLED,
    TRIMMED,
    UNSELECTED,
    UNTOLD,
    kind_of,
)

from amplitude_moloco.convert.problem import Line
from amplitude_moloco.engine.facts import (
    DeadLettered,
    Delivered,
    Dropped,
    Fact,
    Invalid,
    Paused,
    Resumed,
    Retrying,
    Unselected,
)
from amplitude_moloco.engine.ledger import Ledger
from amplitude_moloco.engine.log import LogHook
from amplitude_moloco.engine.log_fields import FIELDS
from amplitude_moloco.reasons import DeadLetterReason, DropReason, PauseReason


@pytest.mark.parametrize(
    ("fact", "level", "text"),
    [
        (DELIVERED, "DEBUG", "Delivered id-1 to MCM (sync HOME)"),
        (
            RETRYING,
            "DEBUG",
            "Attempt 3 of id-1 failed (sync HOME, 503); next attempt in 20 s",
        ),
        (
            TRIMMED,
            "WARNING",
            (
                "Sync HOME: 'Home Viewed' is sent without a part: items[1].price: found a text; "
                "use a number"
            ),
        ),
        (
            REPEATED,
            "WARNING",
            (
                "Sync HOME: events of different users have the same id, id-1; MCM may keep only "
                "one of them. Use a new event object for each event, and ids that are unique "
                "among all users."
            ),
        ),
        (
            INVALID,
            "WARNING",
            (
                "Sync SEARCH: 'Products Searched' is invalid: search_query: found "
                "nothing; use a text; items[1].price: found a text; use a number"
            ),
        ),
        (
            REJECTED,
            "WARNING",
            "Sync HOME: id-1 is a dead letter, rejected: 400 missing page_id",
        ),
        (EXPIRED, "WARNING", "Sync HOME: id-1 is a dead letter, expired: ReadTimeout"),
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
                "MCM refuses all events (401): the key is wrong. Events are kept, and sent once "
                "that is corrected."
            ),
        ),
        (
            Paused(PauseReason.OUTAGE, None, "ConnectionError"),
            "ERROR",
            (
                "MCM can't be reached (ConnectionError). Events are kept, and sent when it works "
                "again."
            ),
        ),
        (
            Paused(PauseReason.OUTAGE, None, "SSLError", "shop.example:443 does not speak TLS"),
            "ERROR",
            (
                "MCM can't be reached (shop.example:443 does not speak TLS). Events are kept, and "
                "sent when it works again."
            ),
        ),
        (Resumed(), "WARNING", "MCM accepts events again. Sending what was kept."),
        (
            DEGRADED,
            "ERROR",
            "Degraded: the file is not there",
        ),
        (LOST, "ERROR", "Stored events are lost (1, number 7): a stored event was damaged"),
        (
            THROTTLED,
            "WARNING",
            (
                "MCM throttles one identifier while others pass (fingerprint 5d41402a). Do many "
                "shoppers share it?"
            ),
        ),
        (UNTOLD, "WARNING", "Hooks are too slow: 7 facts were counted, but not told"),
    ],
    ids=kind_of,
)
def test_a_fact_has_its_line_in_the_log(
    caplog: pytest.LogCaptureFixture, fact: Fact, level: str, text: str
) -> None:
    """Each kind of fact is one line, at the level that an operator needs."""
    caplog.set_level(logging.DEBUG, "amplitude_moloco")
    LogHook("MCM", "the key")(fact)
    record = caplog.records[0]
    assert len(caplog.records) == 1 + isinstance(fact, Retrying)  # a first failure is a warning too
    assert (record.name, record.levelname) == ("amplitude_moloco.engine.log", level)
    assert record.getMessage() == text


@pytest.mark.parametrize("fact", [INVALID, REJECTED, DROPPED], ids=kind_of)
def test_a_loss_is_a_warning_only_the_first_time(
    caplog: pytest.LogCaptureFixture, fact: Invalid | DeadLettered | Dropped
) -> None:
    """A reason is a warning when it first turns up in a sync, and debug from then on."""
    caplog.set_level(logging.DEBUG, "amplitude_moloco")
    log = LogHook("MCM", "the key")
    in_another_sync = dataclasses.replace(fact, sync="OTHER")
    for each in (fact, dataclasses.replace(fact, id="id-2"), in_another_sync, fact):
        log(each)
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "DEBUG", "WARNING", "DEBUG"]


def test_each_reason_is_a_warning_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """In one sync each reason is warned of, whatever was lost before for another one."""
    log = LogHook("MCM", "the key")
    log(Dropped("HOME", "id-1", DropReason.FULL, BODY))
    log(Dropped("HOME", "id-2", DropReason.CLOSED, BODY))
    log(DeadLettered("HOME", "id-3", 1, DeadLetterReason.REJECTED, 400, ""))
    log(DeadLettered("HOME", "id-4", 1, DeadLetterReason.EXHAUSTED, 503, ""))
    log(Invalid("HOME", None, "Home", (PROBLEM,)))
    log(Invalid("HOME", None, "Home", (OTHER, PROBLEM)))
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 6


@pytest.mark.parametrize("fact", [INVALID, REJECTED, DROPPED], ids=kind_of)
def test_a_loss_can_be_counted_from_the_log(
    caplog: pytest.LogCaptureFixture, fact: Invalid | DeadLettered | Dropped
) -> None:
    """A record of a loss has the id, the sync and the reason as fields of their own."""
    LogHook("MCM", "the key")(fact)
    (record,) = caplog.records
    fields = [getattr(record, name) for name in ("event_id", "sync", "reason")]
    assert fields == [fact.id, fact.sync, fact.reason]


class JsonFormatter(logging.Formatter):
    """Writes as JSON what a record has beyond logging's own, as structlog and others do."""

    own = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

    def format(self, record: logging.LogRecord) -> str:
        more = {name: value for name, value in vars(record).items() if name not in self.own}
        return json.dumps({"text": record.getMessage(), **more})


@pytest.mark.parametrize("fact", FACTS, ids=kind_of)
def test_each_record_has_its_data_in_fields(caplog: pytest.LogCaptureFixture, fact: Fact) -> None:
    """Formatters that write JSON find the same fields in every record, and no value of an event."""
    caplog.set_level(logging.DEBUG, "amplitude_moloco")
    log = LogHook("MCM", "the key", near_name=lambda name: "")
    log(fact)
    log(fact)
    assert caplog.records
    for record in caplog.records:
        written = json.loads(JsonFormatter().format(record))
        assert written.keys() - {"text", "event_name"} == set(FIELDS)
        assert written["event_id"] == getattr(fact, "id", None)
        assert written["sync"] == getattr(fact, "sync", None)
        assert written["status"] == getattr(fact, "status", None)
        assert written["attempts"] == getattr(fact, "attempts", None)
        if hasattr(fact, "reason"):
            assert written["reason"] == fact.reason
        assert "me@example.com" not in json.dumps(written)


def test_no_field_has_a_name_of_loggings_own() -> None:
    """A record can hold all fields: logging refuses those with names that it uses itself."""
    names = {*FIELDS, "event_name", "count", *vars(Ledger().stats())}
    assert not names & JsonFormatter.own


def test_a_name_that_is_nearly_configured_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """An event that no sync selects since its case differs is a warning; any other is debug."""
    caplog.set_level(logging.DEBUG, "amplitude_moloco")
    near = {"order completed": "Order Completed"}
    log = LogHook("MCM", "the key", near_name=lambda name: near.get(name, ""))
    log(UNSELECTED)
    log(Unselected("Page Closed"))
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        (
            "WARNING",
            "No sync selects 'order completed'; did you mean 'Order Completed'?",
        ),
        ("DEBUG", "No sync selects 'Page Closed'"),
    ]
    assert vars(caplog.records[0])["event_name"] == "order completed"


def test_failures_of_several_threads_begin_one_row(caplog: pytest.LogCaptureFixture) -> None:
    """If several requests fail at one time, one of them is told at once."""
    log = LogHook("MCM", "the key")
    start = threading.Barrier(8)

    def fail() -> None:
        start.wait()
        log(RETRYING)

    threads = [threading.Thread(target=fail) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(record.levelno == logging.WARNING for record in caplog.records) == 1


def test_the_messages_are_constant(caplog: pytest.LogCaptureFixture) -> None:
    """All records of one kind have one message, and what differs in their arguments."""
    caplog.set_level(logging.DEBUG, "amplitude_moloco")
    log = LogHook("MCM", "the key")
    for fact in FACTS:
        log(fact)
        if isinstance(fact, (Delivered, Retrying, Invalid, DeadLettered, Dropped)):
            log(dataclasses.replace(fact, id="id-2", sync="OTHER"))
    messages = {record.msg for record in caplog.records}
    assert len(messages) == 17  # of fifteen kinds of facts; a pause and a failed attempt have two
    assert not any(char in message for message in messages for char in "{}")
    assert not any("id-" in message or "HOME" in message for message in messages)


def test_no_record_holds_a_body(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the message nor any field of a record holds what is in an event."""
    caplog.set_level(logging.DEBUG, "amplitude_moloco")
    log = LogHook("MCM", "the key")
    for fact in FACTS:
        log(fact)
    assert len(caplog.records) == len(FACTS) + 1  # the first failed attempt has two
    for record in caplog.records:
        held = [
            record.getMessage(),
            *map(repr, vars(record).values()),
            *map(str, record.args or ()),
        ]
        assert not any("me@example.com" in each for each in held)


def test_a_part_left_out_is_a_warning_once(caplog: pytest.LogCaptureFixture) -> None:
    """The first part of a kind that is left out in a sync is a warning, the next are debug."""
    hook = LogHook("MCM", "the key")
    with caplog.at_level(logging.DEBUG, "amplitude_moloco"):
        for _ in range(2):
            hook(TRIMMED)
        hook(dataclasses.replace(TRIMMED, sync="LAND"))
    assert [record.levelname for record in caplog.records] == ["WARNING", "DEBUG", "WARNING"]


def failing(reason: str = "503", cause: str = "503 try later") -> Retrying:
    return Retrying("HOME", "id-1", 1, 5.0, reason, cause)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    caplog.clear()
    return found


def test_the_first_failure_is_a_warning_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    """The first failed attempt after a success, or at the start, says at once why it failed."""
    log = LogHook("MCM", "the key")
    for _ in range(2):
        log(failing("ConnectionError", "shop.example:443 refuses the connection; check the port"))
        assert warnings(caplog) == [
            (
                "Sending to MCM failed: shop.example:443 refuses the connection; check the port. "
                "The event is kept, and sent again in 5 s."
            )
        ]
        log(failing())
        assert warnings(caplog) == []
        log(DELIVERED)


@pytest.mark.parametrize(
    ("fact", "text"),
    [
        (
            Retrying("HOME", "id-1", 1, 5.0, "503", "503 try later", 503),
            "Sending to MCM at shop.example failed: 503 try later. ",
        ),
        (
            Retrying("HOME", "id-1", 1, 5.0, "Timeout", "shop.example:443 has not answered"),
            "Sending to MCM failed: shop.example:443 has not answered. ",
        ),
        (OUTAGE, "MCM at shop.example fails (503 try later). "),
        (MISCONFIGURED, "MCM at shop.example refuses all events (401): "),
        (Paused(PauseReason.OUTAGE, None, "TLS", "no TLS"), "MCM can't be reached (no TLS). "),
    ],
    ids=repr,
)
def test_a_failure_names_the_host_once(
    caplog: pytest.LogCaptureFixture, fact: Fact, text: str
) -> None:
    """An answer is logged with its host; the cause of a network fault has it already."""
    LogHook("MCM", "the key", host="shop.example")(fact)
    (record,) = caplog.records
    assert record.getMessage().startswith(text)


def test_a_failure_without_a_cause_is_named_by_its_kind(caplog: pytest.LogCaptureFixture) -> None:
    """A transport that gives no cause is quoted with the kind of its fault."""
    LogHook("MCM", "the key")(failing("Broken", ""))
    assert warnings(caplog)[0].startswith("Sending to MCM failed: Broken. ")


@pytest.mark.parametrize("paused", [OUTAGE, MISCONFIGURED], ids=kind_of)
def test_a_failure_that_paused_sending_is_logged_once(
    caplog: pytest.LogCaptureFixture, paused: Paused
) -> None:
    """What an error has said already is not repeated as a warning."""
    log = LogHook("MCM", "the key")
    log(paused)
    log(failing())
    assert warnings(caplog) == []


def test_a_server_that_fails_every_other_time_does_not_flood_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At most five first failures a minute are warnings."""
    now = [0.0]
    log = LogHook("MCM", "the key", lambda: now[0])
    for _ in range(100):
        log(failing())
        log(DELIVERED)
    assert len(warnings(caplog)) == 5
    now[0] = 60.0
    log(failing())
    assert len(warnings(caplog)) == 1


def test_lines_that_raised_are_logged_once_at_debug_level(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The first problem of a kind that a callable raised shows its lines, at debug level."""
    hook = LogHook("MCM", "the key")
    lines = (Line("/app/shop.py", 7, "items"), Line("/app/price\n.py", 9, "price"))
    problem = dataclasses.replace(PROBLEM, trace=lines)
    fact = Invalid("SEARCH", "id-1", "Searched", (problem,))
    trimmed = dataclasses.replace(TRIMMED, omissions=(problem,))
    with caplog.at_level(logging.DEBUG, "amplitude_moloco"):
        for each in (fact, fact, trimmed, trimmed):
            hook(each)
    traced = [record for record in caplog.records if record.exc_text]
    assert [record.levelname for record in traced] == ["DEBUG", "DEBUG"]
    assert traced[0].exc_text == (
        "Traceback (most recent call last):\n"
        '  File "/app/shop.py", line 7, in items\n'
        '  File "/app/price\\n.py", line 9, in price'
    )
    assert "trace" not in vars(traced[0])
