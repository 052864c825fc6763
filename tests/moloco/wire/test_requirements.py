"""The fields that MCM requires of each event type."""

from __future__ import annotations

from typing import Any

import pytest
from support.wire import REQUIRED, payload, problem, problems

from amplitude_moloco.moloco.wire.vocabulary import EventType

ALL_TYPES = pytest.mark.parametrize("event_type", EventType, ids=lambda each: each.value)


@ALL_TYPES
def test_what_a_type_requires_is_enough(event_type: EventType) -> None:
    """An event with the fields that its type requires has no problems."""
    assert payload(event_type)["event_type"] == event_type.value


@pytest.mark.parametrize(
    ("event_type", "field"),
    [(each, field) for each, needed in REQUIRED.items() for field in needed if "curr" not in field],
    ids=lambda value: str(getattr(value, "value", value)),
)
def test_what_a_type_requires_must_be_there(event_type: EventType, field: str) -> None:
    """A required field that is missing or blank is a problem that says how to fill it."""
    fields: dict[str, Any] = {"revenue_currency": None} if field == "revenue_amount" else {}
    for absent in (None, [] if field == "items" else " "):
        reported = problem(event_type, **fields, **{field: absent})
        assert (reported.field, reported.reason, reported.found) == (field, "missing", "nothing")
        assert field in reported.fix or "map it" in reported.fix


@ALL_TYPES
@pytest.mark.parametrize("field", ["event_id", "timestamp", "platform"])
def test_what_every_type_requires_must_be_there(event_type: EventType, field: str) -> None:
    """An event of any type needs an id, a time and a channel."""
    for absent in (None, ""):
        reported = problem(event_type, **{field: absent})
        assert (reported.field, reported.reason, reported.found) == (field, "missing", "nothing")


@pytest.mark.parametrize(
    ("field", "fix"),
    [
        ("event_id", "set the event's insert_id or event_id, or map event_id"),
        ("timestamp", "set the event's time, or map timestamp"),
        (
            "platform",
            (
                "set the event's platform (iOS, Android, Web), or a channel_type (APP, SITE, "
                "DESKTOP_SITE, MOBILE_SITE) on the sync or the destination"
            ),
        ),
    ],
)
def test_a_missing_field_is_reported_with_ways_to_fill_it(field: str, fix: str) -> None:
    """The problem of a field that every event needs lists the ways to fill it."""
    assert problem(**{field: None}).fix == fix


def test_zero_is_revenue() -> None:
    """A revenue of 0 is enough for PURCHASE."""
    assert payload(EventType.PURCHASE, revenue_amount=0)["revenue"] == {
        "currency": "USD",
        "amount": 0,
    }


def test_unusable_values_are_not_missing_too() -> None:
    """A required value that can't be used is reported once, and not as missing too."""
    assert problems(EventType.PURCHASE, revenue_currency=None) == [
        ("revenue_currency", "half_money")
    ]
    assert problems(EventType.PURCHASE, items=[7]) == [("items[0]", "wrong_type")]
    assert problems(EventType.PURCHASE, items="SKU-1") == [("items", "wrong_type")]
    assert problems(timestamp="now") == [("timestamp", "not_a_number")]
    assert problems(platform="Windows") == [("platform", "unknown_value")]


@pytest.mark.parametrize("os", ["iOS", "ios 17", "Android", "ANDROID 14", "Apple iOS", "android"])
def test_the_app_channel_requires_an_app_os(os: str) -> None:
    """Channel APP accepts any os that contains ios or android, in any case."""
    assert payload(platform="APP", os_name=os)["device"]["os"] == os


@pytest.mark.parametrize("os", [None, "", "Windows", "i OS", "Chrome"])
def test_the_app_channel_refuses_another_os(os: str | None) -> None:
    """Channel APP with another os, or none, is a problem that says how to set one."""
    reported = problem(platform="APP", os_name=os)
    assert (reported.field, reported.reason) == ("os_name", "app_os")
    assert reported.found == (f"text of {len(os)} characters" if os else "nothing")
    assert reported.fix == (
        "for channel APP the os_name must contain ios or android: set the event's os_name, or map "
        "it, as in \"'ios'\""
    )


@pytest.mark.parametrize("channel", ["SITE", "DESKTOP_SITE", "MOBILE_SITE"])
def test_a_site_needs_no_os(channel: str) -> None:
    """The other channels accept any os, and none."""
    assert payload(platform=channel)["channel_type"] == channel
    assert payload(platform=channel, os_name="Windows")["device"] == {"os": "Windows"}


APPLES = (
    "iPadOS,iPad OS,iPadOS 17.1, iPadOS ,Apple iPadOS,iPhone OS,iPhoneOS,iPhone,iPod touch,tvOS,"
    "Apple TV,AppleTV,watchOS,visionOS,xrOS,IPADOS"
).split(",")
ANDROIDS = "Fire OS,FireOS,Amazon Fire OS 8,Fire TV,Google TV,Wear OS,WearOS".split(",")


@pytest.mark.parametrize(
    ("name", "os"), [*((each, "iOS") for each in APPLES), *((each, "Android") for each in ANDROIDS)]
)
def test_a_system_of_apple_or_android_is_sent_as_mcm_knows_it(name: str, os: str) -> None:
    """However a device spells its system, MCM gets one of the two that it knows."""
    sent = payload(EventType.HOME, platform="APP", os_name=name)
    assert sent["device"]["os"] == os


@pytest.mark.parametrize(
    "name", ["iOS", "ios 17", "Android 14", "Android TV", "IOS", "android-x86"]
)
def test_a_name_that_mcm_accepts_is_sent_unchanged(name: str) -> None:
    """A system that has ios or android in its name is sent as it is."""
    assert payload(EventType.HOME, platform="APP", os_name=name)["device"]["os"] == name


@pytest.mark.parametrize(
    "name", ["macOS", "Mac OS X", "Mac Catalyst", "Windows", "HarmonyOS", "Tizen", "webOS", "Linux"]
)
def test_other_systems_have_no_apps_that_mcm_knows(name: str) -> None:
    """MCM knows apps on two systems: an app on any other is refused, unless the os is mapped."""
    reported = problem(EventType.HOME, platform="APP", os_name=name)
    assert (reported.field, reported.reason) == ("os_name", "app_os")
