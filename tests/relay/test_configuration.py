"""The settings of a relay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.relays import write_settings

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.relay.configuration import read_configuration

URL = "http://127.0.0.1:9"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "moloco.json"


def errors_of(path: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(path)
    return caught.value.errors


def test_a_file_of_an_app_will_do(path: Path) -> None:
    """A relay delivers whatever ``deliver`` says, and knows the names of the syncs."""
    configuration = read_configuration(write_settings(path, URL, deliver=False))
    assert configuration.settings.delivers()
    assert [sync.name for sync in configuration.syncs] == ["HOME"]


def test_syncs_may_be_missing(path: Path) -> None:
    """Events are converted already: a relay needs no sync."""
    write_settings(path, URL)
    settings = json.loads(path.read_text())
    del settings["syncs"]
    path.write_text(json.dumps(settings))
    assert read_configuration(path).syncs == ()


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("?stream=s&stage=sqlite:////no/folder.db&max_events=5", "?stream=s&max_events=5"),
        ("?stage=sqlite:///s.db", ""),
        ("", ""),
    ],
)
def test_a_relay_has_no_stage(path: Path, query: str, left: str) -> None:
    """The file in which the app's new events wait for Redis need not be where a relay runs."""
    settings = read_configuration(write_settings(path, URL, buffer=f"redis://h/0{query}")).settings
    assert settings.buffer == f"redis://h/0{left}"


def test_a_buffer_in_memory_is_refused(path: Path) -> None:
    """What waits in memory belongs to its process alone."""
    (error,) = errors_of(write_settings(path, URL, buffer="memory://"))
    assert error == (
        "buffer: a relay needs a durable buffer, which several processes share; found 'memory://'; "
        "use one such as 'sqlite:////var/lib/app/events.db'"
    )


def test_a_transport_that_sends_nothing_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is switched off for tests would throw all events away."""
    write_settings(path, URL)
    monkeypatch.setenv("MOLOCO_TRANSPORT", "none")
    (error,) = errors_of(path)
    assert error.startswith("transport: 'none' would lose all events; ")


def test_mistakes_have_their_places(path: Path) -> None:
    """All mistakes are found at once, each with its place."""
    write_settings(path, URL, max_requests_per_second=-1, connection=5)
    errors = errors_of(path)
    assert [error.partition(":")[0] for error in errors] == [
        "connection",
        "max_requests_per_second",
    ]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({}, []),
        ({"max_requests_per_second": 5}, []),
        ({"syncs": [{"event_type": "HOME", "events": ["Start"]}]}, []),
        ({"deliver": False, "flush_queue_size": 5}, []),
        ({"api_key": "another", "timeout_seconds": 5}, ["api_key", "timeout_seconds"]),
        ({"retry": {"max_attempts": 3}}, ["retry"]),
        ({"breaker": {"failures": 3}}, ["breaker"]),
    ],
)
def test_changes_that_need_a_restart_have_names(
    path: Path, change: dict[str, Any], names: list[str]
) -> None:
    """What a relay uses from its start on, and has changed, is named; the pace is not among it."""
    before = read_configuration(write_settings(path, URL))
    after = read_configuration(write_settings(path, URL, **change))
    assert [*after.changes_from(before)] == names


@pytest.mark.parametrize("settings", [{"app_token": "abc123def456"}, {"token": "t"}])
def test_settings_of_another_partner_are_refused(path: Path, settings: dict[str, Any]) -> None:
    """A relay delivers to MCM, and says so where it gets settings for Adjust or Adbrix."""
    path.write_text(json.dumps({**settings, "events": []}))
    (error,) = errors_of(path)
    assert error.startswith("events: these settings are for Adjust or Adbrix")
