"""What is left out of an event, and what refuses it."""

from __future__ import annotations

from typing import Any

import pytest
from support.wire import build_parts, payload, problem, problems, trimmed

from amplitude_moloco.moloco.wire.vocabulary import EventType


def test_a_landing_without_referrer_is_sent() -> None:
    """MCM recommends the referrer of a LAND, so without one it is sent, and told."""
    left_out = trimmed(EventType.LAND, referrer_page_id=None)
    assert left_out.code == "referrer_page_id missing"


@pytest.mark.parametrize(
    ("event_type", "field"),
    [(EventType.PAGE_VIEW, "page_id"), (EventType.LAND, "referrer_page_id")],
)
def test_a_long_page_is_sent_whole_where_it_matters(event_type: EventType, field: str) -> None:
    """A page over 128 characters is sent whole where the type is about it, else left out."""
    assert payload(event_type, **{field: "x" * 179})[field] == "x" * 179
    assert trimmed(EventType.HOME, **{field: "x" * 179}).code == f"{field} too_long"


def test_an_item_without_id_is_left_out_beside_others() -> None:
    """An item without any id is left out while others remain, and refuses the event alone."""
    result, refused, omitted = build_parts(EventType.ADD_TO_CART, items=[{}, {"id": "a"}, 7])
    assert result["items"] == [{"id": "a"}]
    assert refused == []
    assert [each.field for each in omitted] == ["items[0]", "items[2]"]
    _, refused, omitted = build_parts(EventType.ADD_TO_CART, items=[{}])
    assert [each.field for each in refused] == ["items[0]"]
    assert omitted == []


def test_an_item_that_raises_is_left_out() -> None:
    """An item that raises when it is read is left out."""

    class Raising(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            raise RuntimeError(key)

    result, refused, (omitted,) = build_parts(EventType.PURCHASE, items=[Raising(), {"id": "a"}])
    assert (result["items"], refused, omitted.code) == ([{"id": "a"}], [], "items unreadable")


@pytest.mark.parametrize("field", ["user_id", "timestamp", "os_version", "revenue_amount"])
def test_a_value_that_raises_costs_its_field(field: str) -> None:
    """A value that raises when it is read is a problem of its field alone."""

    class Raising:
        @property
        def shape(self) -> object:
            raise RuntimeError

    found = problems(EventType.PURCHASE, **{field: Raising()})
    assert found == [(field, "unreadable")]


def test_a_mode_that_cannot_be_read_refuses() -> None:
    """A shopper may have asked for ID_LESS: an unreadable mode refuses the event."""
    _, refused, omitted = build_parts(personalization_mode="id-less?")
    assert [each.code for each in refused] == ["personalization_mode unknown_value"]
    assert omitted == []


@pytest.mark.parametrize(
    ("os", "sent"),
    [
        ("iPadOS", "iOS"),
        ("iPhone OS", "iOS"),
        ("tvOS 17", "iOS"),
        ("Fire OS", "Android"),
        ("iOS 17", "iOS 17"),
    ],
)
def test_the_systems_of_apps_are_known(os: str, sent: str) -> None:
    """Names of Apple's and Android's systems mean iOS and Android."""
    assert payload(platform="APP", os_name=os)["device"]["os"] == sent
    assert payload(platform="SITE", os_name=os)["device"]["os"] == os


def test_the_platform_implies_the_os() -> None:
    """The platform's os completes an app's event, and replaces another, which is reported."""
    ios = {"platform": "APP", "platform_os": lambda: "iOS"}
    assert payload(**ios)["device"] == {"os": "iOS"}
    assert trimmed(**ios, os_name="Windows").code == "os_name unknown_value"
    assert problem(platform="APP", platform_os=lambda: None).code == "os_name app_os"


def test_id_less_sends_nothing_that_identifies_unless_asked() -> None:
    """With ID_LESS, IP, advertising id and user properties are sent only if asked for."""
    private = {"ip_address": "192.0.2.1", "advertising_id": "a", "user_properties": {"tier": 1}}
    result = payload(personalization_mode="ID_LESS", user_id=None, **private)
    assert "device" not in result
    assert "user_properties" not in result
    result = payload(
        personalization_mode="ID_LESS", user_id=None, id_less_fields=set(private), **private
    )
    assert result["device"] == {"ip": "192.0.2.1", "advertising_id": "a"}
    assert result["user_properties"] == {"tier": 1}


@pytest.mark.parametrize(
    "word",
    [
        *("None", "nan", "<NA>", "NaT", "[object Object]", "guest", "Anonymous", "0" * 16, "0x0"),
        *("00000000-0000-0000-0000-000000000000", "{00000000-0000-0000-0000-000000000000}"),
    ],
)
def test_nobody_is_no_shopper(word: str) -> None:
    """Words for nothing or for everybody, and all zeros, identify no one."""
    for field in ("user_id", "device_persistent_id", "custom_id"):
        assert problem(**{"user_id": None, field: word}).code == "user_id no_identifier"
    assert problem(user_id=None, device_persistent_id="0").code == "user_id no_identifier"


def test_bad_properties_go_and_good_ones_stay() -> None:
    """User properties are cleaned value by value."""
    several = {"a": float("nan"), "b": [1, "\ud800"], "c": [0] * 12_000, "d": {"e": 2, 3: 4}}
    result, refused, omitted = build_parts(user_properties=several)
    assert result["user_properties"] == {"b": [1], "d": {"e": 2}}
    assert refused == []
    assert {each.reason for each in omitted} == {"not_json", "not_unicode", "too_big"}


def test_too_many_properties_are_read_no_further() -> None:
    """The first properties are kept, and reading ends at the limits."""
    many = {str(number): 1 for number in range(12_000)}
    result, _, omitted = build_parts(user_properties=many)
    assert 9_000 < len(result["user_properties"]) < 10_000
    assert [each.code for each in omitted] == ["user_properties too_big"]
