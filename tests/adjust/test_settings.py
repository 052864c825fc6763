"""Settings of a destination for Adjust: what they build, and what they refuse."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from amplitude_moloco.adjust import AdjustDestination, AdjustEvent, AdjustSettings
from amplitude_moloco.errors import ConfigurationError

APP = "abc123def456"
EVENT = AdjustEvent("Order Completed", "tok1")


def make(app_token: Any = APP, events: Any = EVENT, **more: Any) -> AdjustSettings:
    return AdjustSettings(app_token, events, **{"environment": "sandbox", **more})


def test_requests_go_to_adjust_with_the_token() -> None:
    """Requests go to Adjust's address for events, with the token, and as a form."""
    address = make(token="s3cret").endpoint()
    assert address.url == "https://s2s.adjust.com/event"
    assert address.headers == {
        "Content-Type": "application/x-www-form-urlencoded",
        "Authorization": "Bearer s3cret",
    }
    assert "s3cret" not in repr(address) + repr(make(token="s3cret"))


def test_the_token_may_be_missing() -> None:
    """Without a token there is no header for it: Adjust may not check it."""
    assert "Authorization" not in make().endpoint().headers


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://s2s.eu.adjust.com/", "https://s2s.eu.adjust.com/event"),
        ("http://localhost:8080", "http://localhost:8080/event"),
        ("http://[::1]:8080", "http://[::1]:8080/event"),
    ],
)
def test_the_host_is_a_setting(base_url: str, url: str) -> None:
    """Another host may stand in place of Adjust's own; a loopback one without encryption."""
    assert make(base_url=base_url).endpoint().url == url


@pytest.mark.parametrize(
    "base_url",
    [
        "ftp://x.test",
        "https://",
        "https://x.test/event",
        "https://x.test?a=b",
        "https://x.test#a",
        "https://user@x.test",
        "https://x y.test",
        "https://x.test:port",
        "http://x.test",
        "http://192.0.2.1",
        5,
    ],
)
def test_a_wrong_address_is_refused(base_url: Any) -> None:
    """An address with a path, a query, a user, or without encryption is refused."""
    with pytest.raises(ConfigurationError, match=r"^base_url: "):
        make(base_url=base_url)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("app_token", "short"),
        ("app_token", {"ios": APP, "android": None}),
        ("app_token", {}),
        ("events", []),
        ("events", ["Order Completed"]),
        ("events", "Order Completed"),
        ("environment", "test"),
        ("environment", None),
        ("token", "with blank "),
        ("token", ""),
        ("token", "${ADJUST_TOKEN}"),
        ("token", 5),
        ("on_ambiguous", "ask"),
        ("default_currency", "dollars"),
        ("identifiers", ["adid"]),
        ("identifiers", {"phone": "user_id"}),
        ("identifiers", {"adid": "user_properties.["}),
        ("consent", {"gdpr": "user_id"}),
        ("consent", "att_status"),
        ("consent", {"att_status": "a["}),
        ("buffer", 5),
        ("buffer", "redis://127.0.0.1/0"),
        ("buffer", "unix:///run/redis.sock"),
        ("timeout_seconds", 0),
        ("ca_bundle", ""),
        ("inspector", "$HOST"),
    ],
)
def test_what_can_not_work_is_refused(setting: str, value: Any) -> None:
    """A setting that can't work is refused at construction, by its name."""
    with pytest.raises(ConfigurationError, match=f"^{setting}"):
        make(**{setting: value})


def test_a_password_of_redis_is_not_repeated() -> None:
    """Redis is refused as a buffer without its password being shown."""
    with pytest.raises(ConfigurationError) as raised:
        make(buffer="redis://shop:secret@127.0.0.1/0")
    assert "secret" not in str(raised.value)
    assert "sqlite:///adjust.db" in str(raised.value)


def test_all_mistakes_are_told_at_once() -> None:
    """One error names every setting that can't work."""
    with pytest.raises(ConfigurationError) as raised:
        make("x", [], environment="x", base_url="x", on_ambiguous="x")
    places = {each.partition(":")[0] for each in raised.value.errors}
    assert places == {"app_token", "events", "environment", "base_url", "on_ambiguous"}


@pytest.mark.parametrize(
    ("event", "token", "more", "place"),
    [
        ("", "a", {}, "event"),
        (5, "a", {}, "event"),
        ("$groupidentify", "a", {}, "event"),
        ("A", "", {}, "token"),
        ("A", "a b", {}, "token"),
        ("A", 5, {}, "token"),
        ("A", "a", {"revenue": "price *"}, "revenue"),
        ("A", "a", {"currency": 5}, "currency"),
        ("A", "a", {"where": "nothing"}, "where"),
        ("A", "a", {"partner_params": ["x"]}, "partner_params"),
        ("A", "a", {"callback_params": {5: "user_id"}}, "callback_params"),
        ("A", "a", {"callback_params": {"x": "[["}}, r"callback_params\.x"),
    ],
)
def test_an_event_that_can_not_work_is_refused(
    event: Any, token: Any, more: dict[str, Any], place: str
) -> None:
    """An AdjustEvent is checked at construction: its name, token, expressions and parameters."""
    with pytest.raises(ConfigurationError, match=f"^{place}: "):
        AdjustEvent(event, token, **more)


def test_none_is_no_parameter() -> None:
    """A parameter without an expression is not sent."""
    assert AdjustEvent("A", "a", partner_params={"x": None}).partner_params == {}  # type: ignore[dict-item]  # as a file may have it
    assert repr(EVENT) == "AdjustEvent('Order Completed', 'tok1')"
    settings = make(identifiers={"adid": None})
    assert settings.converter().near_name("Order  completed") == "Order Completed"


def test_a_destination_has_a_repr_at_any_time() -> None:
    """A destination shows where it sends to; and one that could not be made shows that."""
    destination = AdjustDestination(APP, EVENT, environment="sandbox", transport="none")
    assert repr(destination) == (
        "AdjustDestination('https://s2s.adjust.com/event', 1 events, buffer='memory://', "
        "transport='none')"
    )
    destination.close()
    assert "not constructed" in repr(AdjustDestination.__new__(AdjustDestination))


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"identifiers": ["idfa"]}, "identifiers: found ['idfa']; use a dict"),
        ({"identifiers": {"gaid": "user_id"}}, "identifiers: found 'gaid'; use a dict"),
        ({"consent": 7}, "consent: found 7; use a dict"),
        ({"events": 7}, "events: found 7; use AdjustEvent("),
        ({"events": []}, "events: found []; use AdjustEvent("),
        ({"events": [EVENT, "Home"]}, "events: found 'Home'; use AdjustEvent("),
    ],
)
def test_what_is_refused_is_shown(settings: dict[str, Any], found: str) -> None:
    """The error says what was found, and what to use instead."""
    with pytest.raises(ConfigurationError) as caught:
        make(**settings)
    assert found in str(caught.value)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", ["app_token", "timeout_seconds", "ca_bundle", "environment"])
def test_an_endless_iterator_is_refused(name: str) -> None:
    """Only what may be a list is read to its end."""
    with pytest.raises(ConfigurationError, match=name):
        make(**{name: count()})


def test_events_may_come_from_an_iterator() -> None:
    """An iterator of events is read once, and kept."""
    kept = make(events=iter([EVENT]), hooks=iter([print]))
    assert [each.token for each in kept.converter().syncs] == ["tok1"]
    assert kept.engine_settings().hooks == (print,)
