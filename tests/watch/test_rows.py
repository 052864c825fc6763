from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco import (
    DeadLettered,
    DeadLetterReason,
    Degraded,
    Delivered,
    Dropped,
    DropReason,
    Fact,
    Invalid,
    Lost,
    Paused,
    PauseReason,
    Problem,
    RepeatedId,
    Resumed,
    Retrying,
    SentTwice,
    ThrottledIdentifier,
    Trimmed,
    Unselected,
    Untold,
)
from amplitude_moloco.convert.problem import ProblemReason
from amplitude_moloco.watch.rows import FactRows

ID = "alice@example.com-0001"
BODY = b'{"user_id":"alice"}'
PROBLEM = Problem("items[0].price", ProblemReason.WRONG_TYPE, "text", "use a number")
SHOWN = [{"place": "items[0].price", "message": "found text; use a number"}]
FACTS: list[tuple[Fact, dict[str, Any]]] = [
    (
        Delivered("PURCHASE", ID, 2, 200),
        {"outcome": "delivered", "type": "PURCHASE", "status": 200, "attempts": 2},
    ),
    (
        Retrying("PURCHASE", ID, 1, 5.0, "503", "", 503),
        {"outcome": "failing", "status": 503, "message": "503; next attempt in 5 s"},
    ),
    (
        Retrying("PURCHASE", ID, 1, 5.0, "timeout", "no answer from mcm.example"),
        {"status": None, "message": "no answer from mcm.example; next attempt in 5 s"},
    ),
    (
        Invalid("PURCHASE", None, "Order", (PROBLEM,)),
        {"outcome": "invalid", "id": "", "message": "Order: items.price wrong_type"},
    ),
    (Invalid("PURCHASE", ID, "Order", (PROBLEM,) * 20), {"problems": SHOWN * 10}),
    (Trimmed("PURCHASE", ID, "Order", (PROBLEM,)), {"outcome": "note", "problems": SHOWN}),
    (
        DeadLettered("PURCHASE", ID, 1, DeadLetterReason.REJECTED, 400, "missing revenue"),
        {"outcome": "refused", "status": 400, "message": "dead letter, rejected: missing revenue"},
    ),
    (
        Dropped("PURCHASE", ID, DropReason.FULL, BODY),
        {"outcome": "lost", "message": "full"},
    ),
    (Paused(PauseReason.OUTAGE, 503, "busy"), {"type": "Paused", "message": "503 busy"}),
    (Paused(PauseReason.OUTAGE, None, "timeout", "no answer"), {"message": "no answer"}),
    (Resumed(), {"type": "Resumed", "message": "events are accepted again"}),
    (Degraded("the disk is full"), {"type": "Degraded", "message": "the disk is full"}),
    (Lost(3, "a file was removed"), {"type": "Lost", "message": "a file was removed"}),
    (Unselected("Song"), {"type": "Unselected", "message": "no sync selects 'Song'"}),
    (SentTwice("Order", ID, "two syncs"), {"message": "'Order' is sent by two syncs"}),
    (RepeatedId("HOME", ID), {"message": "events of two users have one id (sync HOME)"}),
    (ThrottledIdentifier("ab12"), {"message": "fingerprint ab12"}),
    (Untold(7), {"message": "7 facts are counted, but not shown"}),
]


@pytest.mark.parametrize(("fact", "shown"), FACTS)
def test_each_fact(fact: Fact, shown: dict[str, Any]) -> None:
    """Each fact is shown with what it says, and without any whole id or body."""
    row = FactRows().row_of(fact)

    assert row.items() >= shown.items()
    assert row["side"] == "partner"
    assert "alice@" not in json.dumps(row)
    assert "user_id" not in json.dumps(row)


def test_facts_of_a_later_release() -> None:
    """A fact that is not known here is shown by its name."""

    class New:
        pass

    row = FactRows().row_of(New())  # type: ignore[arg-type]  # what the test is about
    assert (row["type"], row["outcome"], row["message"]) == ("New", "note", "")


def test_ids() -> None:
    """An id is its beginning and a fingerprint; the number of a second sync stays at the end."""
    rows = FactRows()
    shown = rows.shortened("order-123456")

    assert shown.startswith("orde…")
    assert "123456" not in shown
    assert rows.shortened("order-123456-2") == f"{shown}-2"
    assert rows.shortened("order-654321") != shown
    assert FactRows().shortened("order-123456") != shown
    assert rows.shortened("") == ""


@given(st.text(st.characters(), max_size=600))
def test_any_id(id: str) -> None:
    """Whatever an id holds, a row can be encoded, and is short."""
    row = FactRows().row_of(Delivered(id, id, 1, 200))
    assert len(json.dumps(row)) < 5_000
