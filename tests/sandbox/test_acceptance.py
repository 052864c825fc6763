from __future__ import annotations

import hashlib
import json
import time
from typing import Any

import pytest

from amplitude_moloco.sandbox import ReceivedRequest
from amplitude_moloco.sandbox.acceptance import Acceptance, report_of

USER, DEVICE = (hashlib.sha256(text).hexdigest() for text in (b"user", b"device"))
ITEMS = [{"id": "sku-1"}]
TICKED: list[tuple[dict[str, Any], set[str]]] = [
    ({"event_type": "HOME"}, {"Open the home page"}),
    ({"event_type": "PAGE_VIEW", "page_id": "sale"}, {"Open any other page"}),
    ({"event_type": "ITEM_PAGE_VIEW", "items": ITEMS}, {"Open an item from a list"}),
    (
        {"event_type": "ITEM_PAGE_VIEW", "items": ITEMS, "referrer_page_id": "search"},
        {"Open an item from a list", "Open an item from a search"},
    ),
    ({"event_type": "ADD_TO_CART", "items": ITEMS}, {"Put an item into the cart"}),
    ({"event_type": "ADD_TO_WISHLIST", "items": ITEMS}, {"Put an item on the wishlist"}),
    ({"event_type": "SEARCH", "search_query": "shoes"}, {"Search from the main box"}),
    (
        {"event_type": "SEARCH", "search_query": "shoes", "page_id": "men"},
        {"Search from the main box", "Search from a category page"},
    ),
    (
        {
            "event_type": "PURCHASE",
            "items": ITEMS,
            "revenue": {"currency": "USD", "amount": 1},
        },
        {"Buy"},
    ),
    ({"event_type": "LAND"}, set()),
]


def received(status: int = 200, message: str | None = None, **fields: Any) -> ReceivedRequest:
    """Returns a request to MCM. A field of None is left out."""
    event = {
        "event_type": "HOME",
        "channel_type": "SITE",
        "timestamp": str(int(time.time() * 1000)),
        "id": "event-1",
        "user_id": USER,
        "device": {"persistent_id": DEVICE},
        **fields,
    }
    body = {name: value for name, value in event.items() if value is not None}
    return ReceivedRequest(
        "moloco", "SHOP", status, message, json.dumps(body).encode(), time.time()
    )


def after(*requests: ReceivedRequest) -> Acceptance:
    """Returns the matrix after these requests."""
    acceptance = Acceptance()
    for each in requests:
        acceptance.add(each)
    return acceptance


def met(acceptance: Acceptance) -> set[str]:
    """Returns the cases that are ticked off."""
    return {case["action"] for case in acceptance.as_json()["cases"] if case["state"] == "met"}


def rules(acceptance: Acceptance) -> dict[str, tuple[str, str]]:
    """Returns the state of each rule, and what was found."""
    return {each["rule"]: (each["state"], each["found"]) for each in acceptance.as_json()["rules"]}


@pytest.mark.parametrize(("fields", "ticked"), TICKED)
def test_each_case(fields: dict[str, Any], ticked: set[str]) -> None:
    """An accepted event ticks off the cases that it meets, and no other."""
    assert met(after(received(**fields))) == ticked


def test_all_cases() -> None:
    """The events of a whole visit tick off the whole matrix."""
    acceptance = after(*(received(**fields) for fields, _ in TICKED))
    shown = acceptance.as_json()

    assert {case["state"] for case in shown["cases"]} == {"met"}
    assert {rule["state"] for rule in shown["rules"]} == {"met"}
    assert {case["action"]: case["events"] for case in shown["cases"]}[
        "Open an item from a list"
    ] == 2


def test_nothing_yet() -> None:
    """Before the first event everything is open."""
    shown = after().as_json()
    assert {each["state"] for each in (*shown["cases"], *shown["rules"])} == {"open"}


@pytest.mark.parametrize(
    "request_",
    [
        received(400, "missing channel_type", channel_type=None),
        received(503, "a fault was requested"),
        received(400, "a fault was requested"),
        ReceivedRequest("amplitude", None, 200, None, b'{"events":[]}', time.time()),
    ],
)
def test_what_ticks_nothing(request_: ReceivedRequest) -> None:
    """A refused event, a fault on demand and another API's request tick nothing off."""
    assert met(after(request_)) == set()


def test_validation_errors() -> None:
    """An event that MCM would refuse breaks the first rule; a fault on demand does not."""
    fault = received(400, "a fault was requested")
    refused = received(400, "missing channel_type", channel_type=None)

    assert rules(after(received(), fault))["No validation error"] == ("met", "none of 1 refused")
    assert rules(after(received(), refused))["No validation error"] == (
        "broken",
        "1 refused; the last: missing channel_type",
    )


@pytest.mark.parametrize(
    ("value", "state"),
    [
        (hashlib.sha256(b"u").hexdigest(), "met"),
        (hashlib.sha1(b"u", usedforsecurity=False).hexdigest(), "met"),
        (hashlib.sha512(b"u").hexdigest(), "met"),
        ("k" * 43 + "=", "met"),
        (hashlib.md5(b"u", usedforsecurity=False).hexdigest(), "broken"),
        ("shopper@example.com", "broken"),
        (None, "broken"),
    ],
)
def test_hashed(value: str | None, state: str) -> None:
    """A user_id counts as hashed if it looks like a digest that is longer than MD5's."""
    assert rules(after(received(user_id=value)))["user_id hashed"][0] == state


def test_persistent_id() -> None:
    """An event without a persistent_id breaks a rule, which says in how many."""
    found = rules(after(received(), received(device=None), received(device=None)))
    assert found["device.persistent_id sent"] == ("broken", "missing in 2 of 3 events")


def test_shared_identifiers() -> None:
    """One device of many users, or one user of many devices, breaks the rule of uniqueness."""
    one_device = [received(user_id=f"{number:064}") for number in range(7)]
    one_user = [received(device={"persistent_id": f"{number:064}"}) for number in range(7)]

    found = rules(after(*one_device))
    assert found["device.persistent_id unique to a device"] == (
        "broken",
        "1 with 5 or more shoppers each",
    )
    assert found["user_id unique to a shopper"] == ("met", "different values: 7")
    assert rules(after(*one_user))["user_id unique to a shopper"][0] == "broken"


def test_identifiers_are_bounded() -> None:
    """No more than ten thousand identifiers of a kind are remembered."""
    acceptance = Acceptance()
    for number in range(10_010):
        acceptance.add(received(user_id=f"{number:064}"))
    assert rules(acceptance)["user_id unique to a shopper"][1] == "different values: 10000"


def test_report() -> None:
    """The report is a Markdown table, in which a text from outside stays text."""
    report = report_of(after(received(id="|`<b>\n# x"), received(400, "missing id")))

    assert "| ☑ | Open the home page | HOME | 1 | `/'<b># x at 20" in report
    assert "| ☐ | Buy | PURCHASE | 0 |  |" in report
    assert "| ☑ | No validation error | `none of 1 refused` |" in report
