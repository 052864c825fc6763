"""Settings for Adjust as plain data: a dict, a JSON file, a TOML file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from amplitude import BaseEvent

from amplitude_moloco import BreakerPolicy, ConfigurationError, RetrySchedule
from amplitude_moloco.adjust import AdjustDestination, AdjustEvent, AdjustSettings
from amplitude_moloco.adjust.file import SHAPE
from amplitude_moloco.files.loading import keys_in

IDFV = "8C6CBCB5-39B3-4D3C-A9F5-1D2F0C1F7D3E"
EVENT: dict[str, Any] = {"event": "Order Completed", "token": "buyt0k"}
SETTINGS: dict[str, Any] = {
    "app_token": "abc123def456",
    "environment": "sandbox",
    "events": [EVENT],
}
# Every setting that a file can hold.
EVERYTHING: dict[str, Any] = {
    "app_token": {"ios": "abc123def456", "android": "ghi789jkl012"},
    "environment": "production",
    "token": "s3cret",
    "base_url": "https://eu.adjust.test",
    "on_ambiguous": "drop",
    "default_currency": "USD",
    "identifiers": {"adid": "user_properties.adjust_id"},
    "consent": {"att_status": "user_properties.att_status"},
    "buffer": "memory://?max_events=10",
    "flush_queue_size": 4,
    "flush_interval_millis": 50,
    "connections": 2,
    "timeout_seconds": 2.5,
    "ca_bundle": "/etc/ca.pem",
    "transport": "requests",
    "inspector": "127.0.0.1:0",
    "shutdown_timeout_seconds": 1,
    "flush_timeout_seconds": 2,
    "max_requests_per_second": 30,
    "retry": {
        "delays_seconds": [6, 7.5],
        "then_seconds": 100,
        "max_attempts": 3,
        "max_age_seconds": 1000,
        "jitter": 0,
    },
    "breaker": {"failures": 6, "probe_delays_seconds": [5], "then_seconds": 60},
    "events": [
        {
            "event": "Order *",
            "token": "buyt0k",
            "revenue": "event_properties.total",
            "currency": "event_properties.currency",
            "where": "event_properties.total > `10`",
            "partner_params": {"item_id": "event_properties.ids"},
            "callback_params": {"order": "event_properties.order_id"},
            "leaves_out_revenue": True,
        }
    ],
}
TOML = """
app_token = "abc123def456"
environment = "sandbox"
token = "${ADJUST_TOKEN}"

[identifiers]
adid = "user_properties.adjust_id"

[[events]]
event = "Product Added"
token = "addt0k"
revenue = false

[[events]]
event = "Order Completed"
token = "buyt0k"
partner_params = { item_id = "event_properties.ids" }
"""


def errors_of(settings: Any, **more: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        AdjustSettings.from_dict(settings, **more)
    return caught.value.errors


def test_everything_that_plain_data_can_hold() -> None:
    """Each setting can stand in a file, and means the same as in Python."""
    keys = keys_in(AdjustSettings, SHAPE)
    assert {*keys[""]} == EVERYTHING.keys()
    assert {*keys["events"]} == EVERYTHING["events"][0].keys()
    settings = AdjustSettings.from_dict(EVERYTHING)
    assert settings.retry == RetrySchedule((6, 7.5), 100, 3, 1000, 0)
    assert settings.breaker == BreakerPolicy(6, (5,), 60)
    assert settings.connections == 2
    (sync,) = settings.converter().syncs
    assert (sync.event, sync.token, sync.leaves_out_revenue) == ("Order *", "buyt0k", True)
    bought = BaseEvent("Order 7", time=1_700_000_000_000, idfv=IDFV, platform="iOS")
    bought.event_properties = {"total": 20, "currency": "USD", "ids": ["1"], "order_id": "o"}
    (conversion,) = settings.converter().convert(bought, 1_700_000_000_000)
    shown = {name: conversion.payload[name] for name in ("app_token", "revenue", "currency")}
    assert shown == {"app_token": "abc123def456", "revenue": "20", "currency": "USD"}


def test_a_toml_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file makes a destination; a variable stands for the token, and no repr shows it."""
    monkeypatch.setenv("ADJUST_TOKEN", "s3cret")
    path = tmp_path / "adjust.toml"
    path.write_text(TOML, encoding="utf-8")
    destination = AdjustDestination.from_file(path, buffer="memory://?max_events=3")
    (conversion,) = destination.preview(
        BaseEvent("Product Added", idfv=IDFV, revenue=2.5, currency="USD")
    )
    assert "revenue" not in conversion.payload
    settings = AdjustSettings.from_file(path)
    assert settings.endpoint().headers["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(settings) + repr(vars(settings))
    destination.close()


def test_a_json_file(tmp_path: Path) -> None:
    """JSON has the same names."""
    path = tmp_path / "adjust.json"
    path.write_text(json.dumps(SETTINGS), encoding="utf-8")
    assert AdjustSettings.from_file(path).environment == "sandbox"
    destination = AdjustDestination.from_dict(SETTINGS)
    assert destination.explain(BaseEvent("Order Completed", idfv=IDFV)).is_sent
    destination.close()


def test_what_a_file_lacks_can_be_given_beside_it() -> None:
    """Required settings may be given beside the data, and replace those of the data."""
    facts: list[Any] = []
    events = [AdjustEvent("Other", "othert0k")]
    found = AdjustSettings.from_dict(
        {"environment": "sandbox"}, app_token="abc123def456", events=events, hooks=[facts.append]
    )
    assert [each.name for each in found.converter().syncs] == ["Other (othert0k)"]
    replaced = AdjustSettings.from_dict(SETTINGS, environment="production")
    assert replaced.environment == "production"


@pytest.mark.parametrize(
    ("settings", "errors"),
    [
        (
            {},
            (
                "app_token: found nothing; this setting is required",
                "environment: found nothing; this setting is required",
                "events: found nothing; this setting is required",
            ),
        ),
        (
            {**SETTINGS, "events": "Order Completed"},
            ("events: found text; use a list of events (in TOML, [[events]])",),
        ),
        (
            {**SETTINGS, "events": [{"event": "Order Completed"}]},
            ("events[0].token: found nothing; this setting is required",),
        ),
        (
            {**SETTINGS, "evnts": [EVENT], "hooks": []},
            (
                "evnts: no such setting; did you mean 'events'?",
                "hooks: no such setting; no file can hold hooks; use from_file(…, hooks=[…])",
            ),
        ),
        (
            {**SETTINGS, "partner_params": {"a": "b"}},
            (
                (
                    "partner_params: no such setting; it belongs to an event: in TOML, write it "
                    "under [[events]], before [events.partner_params]"
                ),
            ),
        ),
        (
            {**SETTINGS, "events": [{**EVENT, "environment": "sandbox"}]},
            (
                (
                    "events[0].environment: no such setting; it belongs to the destination: in "
                    "TOML, write it above the first [section] or [[events]]"
                ),
            ),
        ),
        (
            {**SETTINGS, "app_token": "short", "events": [{**EVENT, "where": "a["}]},
            (
                "app_token: found 'short'; use the app's token of 12 letters and digits",
                "events[0].where: ",
            ),
        ),
        (5, ("settings: found int; use a dict with the constructor's names",)),
    ],
    ids=str,
)
def test_all_mistakes_are_found_at_once(settings: Any, errors: tuple[str, ...]) -> None:
    """Each mistake is named with its place, and what to use instead."""
    found = errors_of(settings)
    assert len(found) == len(errors)
    assert all(text.startswith(start) for text, start in zip(found, errors, strict=True))


def test_mistakes_name_the_file(tmp_path: Path) -> None:
    """What can't be read or can't work is told with the path."""
    path = tmp_path / "adjust.toml"
    path.write_text('app_token = "short"\n', encoding="utf-8")
    for load in (AdjustSettings.from_file, AdjustDestination.from_file):
        with pytest.raises(ConfigurationError, match=r"adjust\.toml: app_token: found 'short'"):
            load(path)
    with pytest.raises(ConfigurationError, match=r"can't be read"):
        AdjustSettings.from_file(tmp_path / "missing.toml")
    with pytest.raises(ConfigurationError, match=r"^path: found int; use the path"):
        AdjustSettings.from_file(5)  # type: ignore[arg-type]  # what is tested


def test_a_buffer_that_can_not_be_opened_names_the_file(tmp_path: Path) -> None:
    """The path is also there where a destination can't open its buffer."""
    path = tmp_path / "adjust.json"
    folder = tmp_path / "folder.db"
    folder.mkdir()
    path.write_text(json.dumps({**SETTINGS, "buffer": f"sqlite:///{folder}"}), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"adjust\.json: buffer: "):
        AdjustDestination.from_file(path)
