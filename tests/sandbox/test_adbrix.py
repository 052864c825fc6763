"""Adbrix's S2S Event API, as the sandbox plays it."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest
import requests
from amplitude import Amplitude, BaseEvent, Config
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco import BreakerPolicy, RetrySchedule
from amplitude_moloco.cli.request_lines import RequestLines
from amplitude_moloco.experimental.adbrix import (
    AdbrixDestination,
    AdbrixSettings,
    adbrix_commerce_events,
)
from amplitude_moloco.sandbox import Sandbox
from amplitude_moloco.sandbox.adbrix import adbrix

LONG = 60.0
NOW = 1_700_000_000_000
HEADERS = {"authorization": "Bearer token"}
ITEM = {"product_id": "sku-1", "price": 12.5, "quantity": 2}
ATTRIBUTES: dict[str, Any] = {
    "event_id": "0166a71c-caf4-462d-8201-9c30c40f2354",
    "event_name": "purchase",
    "event_datetime": NOW,
}


def answer(
    attributes: Any = ATTRIBUTES, user: Any = None, headers: Any = HEADERS
) -> tuple[int, int]:
    """Returns the status and the code of the answer to an event."""
    event = {
        "event_attributes": attributes,
        "user_attributes": {"user_id": "shopper"} if user is None else user,
    }
    found = adbrix(json.dumps(event).encode(), headers=headers, known_token="token")
    return found.status, found.body["code"]


def test_an_event_as_documented_is_accepted() -> None:
    """An event with what is required, and with all that is optional, gets a 200 with 2000."""
    full = {
        **ATTRIBUTES,
        "order_id": "1",
        "order_sales": 4000.5,
        "payment_method": "card",
        "discount": 1,
        "items": [{**ITEM, "product_name": "Shoe", "category5": "c", "coupon_id": "x"}],
    }
    assert answer() == answer(full) == (200, 2000)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"event_id": None}, 4002),
        ({"event_id": "no uuid"}, 4002),
        ({"event_id": 7}, 4002),
        ({"event_name": " "}, 4002),
        ({"event_name": None}, 4002),
        ({"event_datetime": "1700000000000"}, 4002),
        ({"event_datetime": 1_700_000_000}, 4002),
        ({"event_datetime": True}, 4002),
        ({"order_id": 1}, 4007),
        ({"order_sales": "4000"}, 4007),
        ({"currency": "USD"}, 4007),
        ({"items": ITEM}, 4007),
        ({"items": [ITEM, "sku-2"]}, 4007),
        ({"items": [{"quantity": 1.5}]}, 4007),
        ({"items": [{"colour": "red"}]}, 4007),
    ],
    ids=str,
)
def test_each_rule_has_its_code(more: dict[str, Any], code: int) -> None:
    """What is required and wrong is a format error; an optional attribute that is, a property's."""
    assert answer({**ATTRIBUTES, **more}) == (400, code)


@pytest.mark.parametrize("user", [{}, {"user_id": ""}, {"user_id": 7}, "shopper"])
def test_an_event_needs_a_user(user: Any) -> None:
    """Without a user_id an event is refused."""
    assert answer(user=user) == (400, 4002)


def test_what_is_no_event() -> None:
    """What is no JSON, or no object, is a format error."""
    assert answer(attributes=None) == (400, 4002)
    for raw in (b"", b"[1]", b"{", b"5"):
        assert adbrix(raw, headers=HEADERS, known_token=None).body["code"] == 4002


@pytest.mark.parametrize("value", ["Bearer other", "Bearer ", "Basic token", "token", ""])
def test_a_wrong_token(value: str) -> None:
    """Without the right token, an event is refused by its code."""
    assert answer(headers={"authorization": value}) == (400, 4001)
    assert answer(headers={}) == (400, 4001)


PROPERTIES = st.dictionaries(
    st.sampled_from(
        ["order_id", "total", "payment_method", "discount", "products", "product_id", "price"]
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([*ITEM, "name", "sku", "coupon"]), inner)
        ),
        max_leaves=8,
    ),
)


@given(PROPERTIES, st.text(), st.sampled_from(["Order Completed", "Product Added", "Signed In"]))
def test_what_the_destination_sends_is_accepted(
    properties: dict[str, Any], user_id: str, name: str
) -> None:
    """Whatever the properties are, what is sent of an event has Adbrix's fields and types."""
    converter = AdbrixSettings("token", adbrix_commerce_events()).converter()
    event = BaseEvent(name, user_id="u", insert_id="i", time=NOW)
    vars(event).update(event_properties=properties, user_id=user_id)
    (conversion,) = converter.convert(event, NOW)
    if not conversion.problems:
        found = adbrix(conversion.body, headers=HEADERS, known_token=None)
        assert (found.status, found.message) == (200, None)


def test_the_whole_road(sandbox: Sandbox) -> None:
    """An event is tracked once, and Amplitude and Adbrix get it, after a failure as well."""
    client = Amplitude("key", Config(server_url=sandbox.amplitude_url))
    destination = AdbrixDestination(
        "token",
        adbrix_commerce_events(),
        base_url=sandbox.url,
        retry=RetrySchedule(delays_seconds=(0.01,), then_seconds=0.01),
        breaker=BreakerPolicy(failures=1000),
        shutdown_timeout_seconds=LONG,
    )
    client.add(destination)
    sandbox.fail_next(503, target="adbrix")
    bought = {"order_id": "o-1", "products": [ITEM]}
    client.track(BaseEvent("Order Completed", user_id="shopper", event_properties=bought))
    client.shutdown()
    (event,) = sandbox.adbrix_events
    assert event["event_attributes"]["items"] == [{**ITEM, "quantity": 2}]
    assert [each["event_type"] for each in sandbox.amplitude_events] == ["Order Completed"]
    lines = [line.text for line in RequestLines(sandbox).new() if line.request.target == "adbrix"]
    assert [line.split()[1:4] for line in lines] == [
        ["Adbrix", "503", "abx:purchase"],
        ["Adbrix", "200", "abx:purchase"],
    ]


def test_a_wrong_token_pauses_sending() -> None:
    """The destination keeps its events while the sandbox knows another token."""
    with Sandbox(adbrix_token="right") as sandbox:
        events = adbrix_commerce_events()
        with closing(AdbrixDestination("wrong", events, base_url=sandbox.url)) as destination:
            tracked = BaseEvent("Order Completed", user_id="u", insert_id="i", time=NOW)
            destination.execute(tracked)
            assert destination.flush(LONG).result(LONG).buffered == 1
            destination.close(0)
        assert sandbox.adbrix_events == []
        assert sandbox.requests[0].message == "4001 Invalid API Token Error."


def test_faults(sandbox: Sandbox) -> None:
    """Faults have the documented codes, and a body that is too large is refused."""
    url = f"{sandbox.url}/api/v1/events"
    for status, code in [(429, 4006), (403, 4003), (400, 4002), (500, 500)]:
        sandbox.fail_next(status, target="adbrix", retry_after=3)
        found = requests.post(url, b"{}", headers=HEADERS, timeout=LONG)
        assert (found.status_code, found.json()["code"]) == (status, code)
        assert found.headers["retry-after"] == "3"
    assert requests.post(url, b"x" * (1024**2 + 1), timeout=LONG).status_code == 413
    requests.post(url, b"[]", headers=HEADERS, timeout=LONG)
    requests.post(url, b'{"event_attributes": 5}', headers=HEADERS, timeout=LONG)
    assert [line.text.split()[1:] for line in RequestLines(sandbox).new()][-2:] == [
        ["Adbrix", "400", "4002", "Invalid", "request", "format:", "event_attributes"]
    ] * 2
