"""Events in the form in which apps track them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from amplitude_moloco.history.place import Unreadable
from amplitude_moloco.history.tracked import event_of_any


def test_an_exported_record_is_read_as_such() -> None:
    """A record with a time of Amplitude's is an exported one."""
    record = {
        "event_type": "Viewed",
        "event_time": "2026-01-31 18:00:00.000000",
        "$insert_id": "i-1",
        "city": "Seoul",
        "event_id": 7,
    }
    event = event_of_any(record, keep_event_id=True)
    assert (event.insert_id, event.city, event.event_id) == ("i-1", "Seoul", 7)
    assert event.time == 1_769_882_400_000


def test_a_tracked_event_keeps_its_attributes() -> None:
    """The keys are those of BaseEvent, or of Amplitude's HTTP API; null counts as absent."""
    event = event_of_any(
        {
            "event_type": "Viewed",
            "time": 5,
            "insert_id": "i-1",
            "productId": "p-1",
            "revenueType": "sale",
            "country": None,
            "event_properties": {"a": [1, {"b": 2}]},
        }
    )
    assert (event.time, event.insert_id) == (5, "i-1")
    assert (event.product_id, event.revenue_type) == ("p-1", "sale")
    assert event.event_properties == {"a": [1, {"b": 2}]}


def test_what_track_adds_is_added() -> None:
    """An event without a time happens now, and one without an id gets a new one."""
    before = int(time.time() * 1000)
    one, other = (event_of_any({"event_type": "Viewed"}) for _ in range(2))
    assert before <= one.time <= int(time.time() * 1000)
    assert one.insert_id != other.insert_id


def test_properties_have_the_checks_of_the_sdk() -> None:
    """What the SDK empties in an app is empty here, too."""
    event = event_of_any({"event_type": "Viewed", "event_properties": {"a": [[1]]}})
    assert not event.event_properties


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"user_ID": "u"}, "'user_ID': no attribute of an event; did you mean 'user_id'?"),
        ({"§": "u"}, "'§': no attribute of an event; use attributes of BaseEvent"),
        ({"user_id": 3}, "user_id: found int, which Amplitude's SDK drops"),
        ({"plan": "gold"}, "plan: found str, which Amplitude's SDK drops"),
    ],
)
def test_what_is_no_attribute_is_refused(record: dict[str, Any], problem: str) -> None:
    """A key that is none, and a value that the SDK drops, are named."""
    with pytest.raises(Unreadable) as caught:
        event_of_any({"event_type": "Viewed", **record})
    assert str(caught.value) == problem
