"""Events that no sync selects leave a trace."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from amplitude import Amplitude, BaseEvent, EventOptions, Identify

from amplitude_moloco import (
    Conversion,
    Delivered,
    Fact,
    MolocoDestination,
    SendResult,
    Sync,
    Unselected,
    ecommerce_syncs,
)
from amplitude_moloco.moloco.converter import Converter

LONG = 30.0
KEY = "the-key-itself"


class Accepting:
    """A transport that takes everything."""

    def send(self, body: bytes) -> SendResult:
        return SendResult(200)

    def close(self) -> None: ...


class Shop:
    """A client with a destination, and what the hooks get."""

    def __init__(self, *syncs: Sync) -> None:
        self.facts: list[Fact] = []
        self.destination = MolocoDestination(
            KEY,
            "SHOP",
            syncs or ecommerce_syncs(),
            base_url="https://shop.example",
            channel_type="SITE",
            transport=lambda endpoint: Accepting(),
            hooks=self.facts.append,
        )
        self.client = Amplitude("amplitude-key")
        self.client.add(self.destination)

    def track(self, *names: str, **properties: Any) -> None:
        for name in names:
            self.destination.execute(
                BaseEvent(name, user_id="u-1", time=1, insert_id=name, event_properties=properties)
            )

    def close(self) -> None:
        self.destination.close(LONG)


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    shop.close()
    shop.client.shutdown()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if "No sync selects" in each.msg]


def test_a_name_in_another_case_is_logged_once(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """A name that differs in case or blanks is a warning, once, by a background thread."""
    shop.track(*["order completed"] * 3, "Order  Completed", "Page Closed")
    shop.close()
    assert warnings(caplog) == [
        f"No sync selects {name!r}; did you mean 'Order Completed'?"
        for name in ("order completed", "Order  Completed")
    ]
    assert {each.threadName for each in caplog.records} == {"MCM-sender"}
    assert shop.destination.stats().unselected == {
        "order completed": 3,
        "Order  Completed": 1,
        "Page Closed": 1,
    }
    names = [fact.event_name for fact in shop.facts if isinstance(fact, Unselected)]
    assert names == ["order completed", "Order  Completed", "Page Closed"]


def test_identify_events_are_counted_and_are_near_to_nothing(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """What describes users is selected by no sync, and no warning says that it should be."""
    identify = Identify()
    identify.set("plan", "gold")
    shop.client.identify(identify, EventOptions(user_id="u-1"))
    shop.close()
    assert shop.destination.stats().unselected == {"$identify": 1}
    assert warnings(caplog) == []


def test_a_filter_on_a_misspelt_property_shows_in_the_counters() -> None:
    """What a filter leaves out is counted by sync, and the event as selected by none."""
    shop = Shop(Sync("HOME", ["Home"], where="event_properties.totl > `0`"))
    shop.track("Home", "Home", total=5)
    shop.close()
    stats = shop.destination.stats()
    assert (stats.filtered, stats.unselected, stats.accepted) == ({"HOME": 2}, {"Home": 2}, 0)
    shop.client.shutdown()


def test_what_one_sync_selects_is_not_unselected() -> None:
    """An event that one filter leaves out and another sync sends is counted for the filter."""
    shop = Shop(Sync("HOME", ["Home"]), Sync("LAND", ["Home"], where="user_properties.new"))
    shop.track("Home")
    shop.close()
    stats = shop.destination.stats()
    assert (stats.filtered, stats.unselected, stats.accepted) == ({"LAND": 1}, {}, 1)
    shop.client.shutdown()


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("home viewed", "Home Viewed"),
        ("Home Viewed", ""),
        ("HOME", ""),
        ("$Identify", ""),
        ("product_added", "Product *"),
        ("Product Added", ""),
    ],
)
def test_only_a_name_that_is_not_configured_is_near(name: str, near: str) -> None:
    """A sync that selects all names, or by a callable, hides no mistake in the name of another."""
    converter = Converter(
        [
            Sync("HOME", ["Home Viewed"]),
            Sync("LAND", ["Product *"]),
            Sync("PAGE_VIEW", "*", where="user_id"),
            Sync("SEARCH", lambda event: False),
        ]
    )
    assert converter.near_name(name) == near


def test_a_converter_needs_no_watch() -> None:
    """Without anything that counts, the conversions are the same."""
    converter = Converter([Sync("HOME", ["Home"], where="user_properties")])
    found: list[Conversion] = converter.convert(BaseEvent("Home"), 1)
    assert found == converter.convert(BaseEvent("Other"), 1) == []


def test_a_health_check_needs_one_call(shop: Shop) -> None:
    """The status is JSON, names the last success, and never holds the key."""
    shop.destination.execute(
        BaseEvent("Home Viewed", user_id="u-1", time=1_700_000_000_000, insert_id="i")
    )
    shop.destination.flush(LONG).result()
    assert any(isinstance(fact, Delivered) for fact in shop.facts)
    status = shop.destination.status()
    assert status.last_success_at is not None
    assert (status.circuit, status.waiting, status.is_closed) == ("closed", 0, False)
    assert KEY not in json.dumps(dataclasses.asdict(status))
    shop.close()
    assert shop.destination.status().is_closed


def test_no_line_of_the_log_holds_a_value_of_an_event(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is logged of what is not sent, no value of the event is in it."""
    caplog.set_level(logging.DEBUG, "amplitude_moloco")
    shop = Shop(Sync("HOME", ["Home"], where="event_properties.plan == 'gold'"))
    shop.track("Home", "home", "Other", plan="a-secret-plan")
    event = BaseEvent("Home", event_properties={"plan": "a-secret-plan"})
    assert "a-secret-plan" in str(shop.destination.explain(event))
    shop.close()
    shop.client.shutdown()
    assert "a-secret-plan" not in repr([vars(record) for record in caplog.records])
    assert KEY not in repr([vars(record) for record in caplog.records])
