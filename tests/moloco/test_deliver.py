"""The setting ``deliver``: a process that stores events, for another one to send."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from amplitude import Amplitude, BaseEvent, Config
from support.engines import is_lawful
from support.events import NOW

from amplitude_moloco import ConfigurationError, MolocoDestination, MolocoSettings, Sync
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.sandbox import Sandbox
from amplitude_moloco.transports.absent import AbsentTransport

LONG = 30.0
NEEDS = (
    "deliver: False needs a durable buffer, which several processes share; found {}; use one such "
    "as 'sqlite:////var/lib/app/events.db'"
)


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MOLOCO_API_KEY", "MOLOCO_DELIVER", "MOLOCO_TRANSPORT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "buffer.db"


@pytest.fixture
def base(path: Path) -> dict[str, Any]:
    """The settings of an app that only stores events."""
    return {
        "platform_id": "SHOP",
        "base_url": "http://127.0.0.1:9",
        "channel_type": "SITE",
        "syncs": [Sync("HOME", "Home")],
        "buffer": f"sqlite:///{path}",
        "deliver": False,
    }


@pytest.fixture
def destination(base: dict[str, Any]) -> Iterator[MolocoDestination]:
    destination = MolocoDestination(**base)
    yield destination
    destination.close()


def home(id: str) -> BaseEvent:
    return BaseEvent("Home", user_id="user-1", insert_id=id, time=NOW)


def ids_in(path: Path) -> list[str]:
    """The ids that another process finds."""
    buffer = SqliteBuffer(path, target="http://127.0.0.1:9/rmp/event/v1/platforms/SHOP/userevents")
    ids = [entry.id for entry in buffer.claim(1000).entries]
    buffer.close()
    return ids


def test_events_are_stored_and_nothing_is_sent(
    base: dict[str, Any], path: Path, sandbox: Sandbox
) -> None:
    """A client of the SDK tracks, a flush ends, and the events wait for another process."""
    base["base_url"] = sandbox.url
    config = Config(server_url=sandbox.amplitude_url)
    client = Amplitude("key", config)
    destination = MolocoDestination(**base)
    client.add(destination)
    for number in range(3):
        client.track(home(str(number)))
    stats = destination.flush(LONG).result(0)
    assert (stats.accepted, stats.handed_on, stats.buffered) == (3, 3, 0)
    assert destination.buffer_state().waiting == 3
    client.shutdown()
    assert is_lawful(destination.stats())
    assert sandbox.moloco_events == []
    assert destination.buffer_state().waiting == 3


def test_no_socket_is_opened_and_no_sender_starts(
    destination: MolocoDestination, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that stores events opens no socket and starts no thread that sends."""
    opened: list[object] = []

    class Noted(socket.socket):
        def __init__(self, *args: Any, **more: Any) -> None:
            opened.append(args)
            super().__init__(*args, **more)

    monkeypatch.setattr(socket, "socket", Noted)
    destination.execute(home("a"))
    destination.flush(LONG).result(0)
    names = [thread.name for thread in threading.enumerate()]
    assert "MCM-storer" in names
    assert "MCM-sender" not in names
    assert opened == []


def test_the_end_of_a_process_leaves_all_to_others(base: dict[str, Any], path: Path) -> None:
    """close() needs no flush before: another process finds all events."""
    destination = MolocoDestination(**base)
    destination.execute(home("a"))
    destination.execute(home("b"))
    destination.close()
    assert sorted(ids_in(path)) == ["a", "b"]
    assert destination.status().is_closed


def test_no_key_is_needed(base: dict[str, Any]) -> None:
    """A web server that does not send needs no key, and there is none in its headers."""
    endpoint = MolocoSettings(**base).endpoint()
    assert "x-api-key" not in endpoint.headers
    assert endpoint.secret == ""


@pytest.mark.parametrize("api_key", ["", "with blanks", 5])
def test_a_key_that_is_given_is_checked(base: dict[str, Any], api_key: Any) -> None:
    """A key that no request could have is refused, although none would have it."""
    with pytest.raises(ConfigurationError, match=r"^api_key: "):
        MolocoSettings(**base, api_key=api_key)


def test_a_key_from_the_environment_is_used(
    base: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that is there is in the headers, and is checked."""
    monkeypatch.setenv("MOLOCO_API_KEY", "the-key")
    assert MolocoSettings(**base).endpoint().headers["x-api-key"] == "the-key"
    monkeypatch.setenv("MOLOCO_API_KEY", "with blanks")
    with pytest.raises(ConfigurationError, match=r"^api_key: "):
        MolocoSettings(**base)


def test_who_sends_needs_a_key(base: dict[str, Any]) -> None:
    """The process that delivers needs the key."""
    with pytest.raises(ConfigurationError, match=r"^api_key: "):
        MolocoSettings(**{**base, "deliver": True})


@pytest.mark.parametrize("buffer", ["memory://", "memory://?max_events=5", "memory:"])
def test_a_buffer_in_memory_is_refused(base: dict[str, Any], buffer: str) -> None:
    """No other process finds what waits in memory: the error says what to use."""
    with pytest.raises(ConfigurationError) as caught:
        MolocoSettings(**{**base, "buffer": buffer})
    assert caught.value.errors == (NEEDS.format("'memory://'"),)


def test_an_apps_own_buffer_must_be_durable(base: dict[str, Any], path: Path) -> None:
    """A buffer of the app's is looked at once it is open, and closed if it is not durable."""
    opened: list[MemoryBuffer] = []

    def in_memory() -> MemoryBuffer:
        opened.append(MemoryBuffer())
        return opened[-1]

    with pytest.raises(ConfigurationError) as caught:
        MolocoDestination(**{**base, "buffer": in_memory})
    assert caught.value.errors == (NEEDS.format("MemoryBuffer"),)
    assert opened[0].put("a", "HOME", b"a") == "closed"
    own = SqliteBuffer(path, target="t")
    destination = MolocoDestination(**{**base, "buffer": lambda: own})
    destination.execute(home("a"))
    assert destination.flush(LONG).result(0).handed_on == 1
    destination.close()


@pytest.mark.parametrize("deliver", ["false", 0, 1, "${MOLOCO_DELIVER}"])
def test_it_is_true_or_false(base: dict[str, Any], deliver: Any) -> None:
    """Anything but True, False and None is refused."""
    with pytest.raises(ConfigurationError, match=r"^deliver: found .*; use True or False$"):
        MolocoSettings(**{**base, "deliver": deliver})


@pytest.mark.parametrize(
    ("value", "setting", "expected"),
    [
        ("false", None, False),
        (" FALSE ", None, False),
        ("true", None, True),
        ("", None, True),
        ("false", True, True),
        ("true", False, False),
    ],
)
def test_the_environment_decides_unless_the_setting_does(
    base: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    value: str,
    setting: bool | None,
    expected: bool,
) -> None:
    """MOLOCO_DELIVER is the default of the setting; without both, a process sends."""
    monkeypatch.setenv("MOLOCO_DELIVER", value)
    settings = MolocoSettings(**{**base, "deliver": setting}, api_key="key")
    assert settings.delivers() is expected


def test_the_environment_is_checked(base: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Another value of MOLOCO_DELIVER is one error, which says what to use."""
    monkeypatch.setenv("MOLOCO_DELIVER", "no")
    with pytest.raises(ConfigurationError) as caught:
        MolocoSettings(**{**base, "deliver": None})
    assert caught.value.errors == (
        "MOLOCO_DELIVER: found 'no'; use 'true' or 'false', or unset the variable",
    )


def test_it_shows_what_it_does(destination: MolocoDestination) -> None:
    """The repr, the kinds, the status and an explanation say that another process sends."""
    assert repr(destination).endswith("buffer.db', deliver=False)")
    assert destination.kinds == ("sqlite", "absent")
    assert not destination.status().delivers
    notes = destination.explain(home("a")).notes
    assert notes == ("deliver=False: events are stored, and another process sends them.",)


def test_the_transport_is_checked_and_not_opened(base: dict[str, Any]) -> None:
    """A transport that is no transport is refused, and one that works is not opened."""
    with pytest.raises(ConfigurationError, match=r"^transport: "):
        MolocoSettings(**{**base, "transport": "carrier pigeon"})

    def fail(endpoint: object) -> Any:
        raise AssertionError

    MolocoDestination(**{**base, "transport": fail}).close()


def test_what_stands_in_place_of_a_transport_refuses() -> None:
    """A request would be a mistake of this library, so it is an exception."""
    transport = AbsentTransport()
    with pytest.raises(RuntimeError, match="sends none"):
        transport.send(b"body")
    transport.close()


class TestFile:
    """The setting in a file, which apps and relays can share."""

    @pytest.fixture
    def plain(self, base: dict[str, Any]) -> dict[str, Any]:
        return {
            **base,
            "syncs": [{"event_type": "HOME", "events": ["Home"]}],
            "api_key": "${MOLOCO_API_KEY}",
        }

    def test_a_key_that_is_not_set_is_not_missed(self, plain: dict[str, Any]) -> None:
        """Where another process sends, the variable of the key may be unset."""
        assert not MolocoSettings.from_dict(plain).delivers()

    def test_a_process_that_sends_needs_it(self, plain: dict[str, Any]) -> None:
        """The same file, read to send, names the variable that is not set."""
        with pytest.raises(ConfigurationError) as caught:
            MolocoSettings.from_dict(plain, deliver=True)
        (error,) = caught.value.errors
        assert error.startswith("api_key: the environment variable MOLOCO_API_KEY is not set")

    def test_the_environment_decides_for_a_file_that_does_not(
        self, plain: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """MOLOCO_DELIVER=false stands for the setting, also for the key."""
        del plain["deliver"]
        monkeypatch.setenv("MOLOCO_DELIVER", "false")
        assert not MolocoSettings.from_dict(plain).delivers()

    def test_a_key_that_is_set_is_used(
        self, plain: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A key that is there is in the headers."""
        monkeypatch.setenv("MOLOCO_API_KEY", "the-key")
        settings = MolocoSettings.from_dict(plain)
        assert settings.endpoint().headers["x-api-key"] == "the-key"

    @pytest.mark.parametrize("deliver", ["false", 0, "no"])
    def test_it_is_a_flag(self, plain: dict[str, Any], deliver: Any) -> None:
        """In a file it is true or false, without quotes."""
        with pytest.raises(ConfigurationError, match=r"deliver: found .*; use true or false"):
            MolocoSettings.from_dict({**plain, "deliver": deliver})
