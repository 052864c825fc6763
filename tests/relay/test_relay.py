"""A relay in this process: what it does on each signal, and what it says."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from support.engines import is_lawful
from support.metrics import home
from support.relays import LONG, Running, left_in, put, until, write_settings

from amplitude_moloco import MolocoDestination, Sync
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.relay.address import Address
from amplitude_moloco.relay.configuration import read_configuration
from amplitude_moloco.relay.relay import Relay
from amplitude_moloco.relay.service_manager import ServiceManager
from amplitude_moloco.sandbox import Sandbox

Start = Callable[..., Running]
LOGGER = "amplitude_moloco.relay.relay"


@pytest.fixture
def config(tmp_path: Path, sandbox: Sandbox) -> Path:
    return write_settings(tmp_path / "moloco.json", sandbox.url)


@pytest.fixture
def start(config: Path) -> Iterator[Start]:
    """Starts relays; all are ended after the test."""
    running = []

    def start(**more: Any) -> Running:
        address = Address("127.0.0.1", 0)
        read = partial(read_configuration, config)
        running.append(Running(Relay(read, **{"address": address, **more})))
        return running[-1]

    yield start
    for each in running:
        each.signals.send(signal.SIGTERM)
        each.signals.send(signal.SIGTERM)
        each.join()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Returns what the relay has logged since the last call."""
    caplog.set_level(logging.INFO, LOGGER)

    def take() -> list[str]:
        found = [each.getMessage() for each in caplog.records if each.name == LOGGER]
        caplog.clear()
        return found

    return take


def collected(log: Callable[[], list[str]], count: int) -> list[str]:
    """Returns so many lines of the log, once they are there."""
    found: list[str] = []

    def has_all() -> bool:
        found.extend(log())
        return len(found) >= count

    until(has_all)
    return found


def ids(sandbox: Sandbox) -> list[str]:
    return sorted(event["id"] for event in sandbox.moloco_events)


def test_what_an_app_has_stored_is_delivered(config: Path, start: Start, sandbox: Sandbox) -> None:
    """The events of a process that has ended are delivered, and counted as taken over."""
    put(config, "a", "b", "c")
    running = start()
    until(lambda: running.relay.stats().delivered == 3)
    assert ids(sandbox) == ["a", "b", "c"]
    running.signals.send(signal.SIGTERM)
    assert running.join()
    stats = running.relay.stats()
    assert (stats.accepted, stats.taken_over, stats.delivered) == (0, 3, 3)
    assert is_lawful(stats)
    assert running.relay.is_closed
    assert left_in(config) == []


def test_a_living_app_and_a_relay_work_together(
    config: Path, start: Start, sandbox: Sandbox, tmp_path: Path
) -> None:
    """What a process with deliver=False tracks reaches the server by way of a relay."""
    running = start()
    app = MolocoDestination(
        platform_id="SHOP",
        base_url=sandbox.url,
        channel_type="SITE",
        syncs=[Sync("HOME", "Home")],
        buffer=f"sqlite:///{tmp_path / 'buffer.db'}",
        deliver=False,
    )
    for id in ("a", "b", "c"):
        app.execute(home(id))
    until(lambda: running.relay.stats().delivered == 3)
    assert ids(sandbox) == ["a", "b", "c"]
    assert app.stats().handed_on == 3
    app.close()


def test_a_relay_may_come_first(config: Path, start: Start, tmp_path: Path) -> None:
    """Without a file the relay makes one, and waits for the first event."""
    assert not (tmp_path / "buffer.db").exists()
    running = start()
    assert (tmp_path / "buffer.db").exists()
    until(lambda: running.get("readyz") == (200, "delivering\n"))


def test_a_folder_that_is_missing_is_a_mistake(config: Path, tmp_path: Path) -> None:
    """No relay waits forever for a folder whose name was mistyped."""
    write_settings(config, "http://127.0.0.1:9", buffer=f"sqlite:///{tmp_path}/nowhere/buffer.db")
    with pytest.raises(ConfigurationError, match=r"nowhere/buffer\.db can't be used"):
        Relay(partial(read_configuration, config))


def test_the_pages_say_how_it_is(config: Path, start: Start) -> None:
    """The probes and the metrics are served while it runs, and no longer."""
    put(config, "a")
    running = start()
    until(lambda: running.relay.stats().delivered == 1)
    assert running.get("livez") == (200, "the delivery loop turns\n")
    assert running.get("readyz") == (200, "delivering\n")
    status, page = running.get("metrics")
    assert status == 200
    line = 'amplitude_moloco_events_delivered_total{destination="moloco",sync="HOME"} 1.0'
    assert line in page.splitlines()
    assert 'transport="' in page
    assert running.relay.measurements().attempts["success"] == 1
    running.signals.send(signal.SIGTERM)
    assert running.join()
    with pytest.raises(requests.ConnectionError):
        running.get("livez")


def test_without_an_address_there_is_no_page(start: Start) -> None:
    """Pages can be switched off."""
    running = start(address=None)
    assert running.relay.url is None
    running.signals.send(signal.SIGINT)
    assert running.join()


def test_an_address_in_use_leaves_nothing_behind(config: Path, start: Start) -> None:
    """A relay that can't serve its pages does not start, and leaves the buffer to others."""
    put(config, "a")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = Address("127.0.0.1", server.getsockname()[1])
        with pytest.raises(OSError, match="the relay can't listen"):
            Relay(partial(read_configuration, config), address=address)
    assert left_in(config) == ["a"]


def test_what_is_on_its_way_is_finished_and_the_rest_is_left(
    tmp_path: Path, log: Callable[[], list[str]]
) -> None:
    """After SIGTERM no event is claimed; what is on its way is delivered, the rest stays."""
    with Sandbox(delay_seconds=0.5) as slow:
        config = write_settings(tmp_path / "moloco.json", slow.url)
        put(config, *map(str, range(200)))
        running = Running(Relay(partial(read_configuration, config), connections=2))
        until(lambda: running.relay.status().on_their_way > 0)
        running.signals.send(signal.SIGTERM)
        running.signals.send(signal.SIGHUP)  # changes nothing any more
        assert running.join()
        sent = ids(slow)
        assert 0 < len(sent) < 100
        assert sorted([*sent, *left_in(config)]) == sorted(map(str, range(200)))
        stats = running.relay.stats()
        assert stats.delivered == len(sent)
        assert is_lawful(stats)
    assert log()[-2:] == [
        "Stopping. What is on its way has 20 seconds; all else stays in the buffer.",
        f"Stopped. Delivered by this process: {len(sent)}",
    ]


def test_it_is_not_ready_while_it_ends(tmp_path: Path) -> None:
    """While it waits for what is on its way its page answers 503, and it lives."""
    with Sandbox(delay_seconds=1000) as hanging:
        config = write_settings(tmp_path / "moloco.json", hanging.url, timeout_seconds=1000)
        put(config, "a")
        read = partial(read_configuration, config)
        running = Running(Relay(read, address=Address("127.0.0.1", 0), deadline_seconds=1000))
        until(lambda: running.relay.status().on_their_way > 0)
        running.signals.send(signal.SIGTERM)
        until(lambda: running.relay.is_closed)
        assert running.get("readyz") == (503, "draining: it is about to end\n")
        assert running.get("livez")[0] == 200
        running.signals.send(signal.SIGTERM)
        assert running.join() is False
    running.signals.wait()  # the connection is gone, and with it what was waited for


def test_the_deadline_ends_what_takes_too_long(tmp_path: Path) -> None:
    """What is not answered within the deadline goes back into the buffer."""
    with Sandbox(delay_seconds=100) as hanging:
        config = write_settings(tmp_path / "moloco.json", hanging.url, timeout_seconds=100)
        put(config, "a", "b")
        read = partial(read_configuration, config)
        running = Running(Relay(read, deadline_seconds=0.2))
        until(lambda: running.relay.status().on_their_way > 0)
        running.signals.send(signal.SIGTERM)
        assert running.join()
        assert sorted(left_in(config)) == ["a", "b"]
        assert is_lawful(running.relay.stats())


def test_a_second_signal_ends_it_at_once(tmp_path: Path, log: Callable[[], list[str]]) -> None:
    """A second signal does not wait for the deadline, and says what was on its way."""
    with Sandbox(delay_seconds=100) as hanging:
        config = write_settings(tmp_path / "moloco.json", hanging.url, timeout_seconds=100)
        put(config, "a")
        read = partial(read_configuration, config)
        relay = Relay(read, deadline_seconds=2, address=Address("127.0.0.1", 0))
        running = Running(relay)
        until(lambda: running.relay.status().on_their_way > 0)
        running.signals.send(signal.SIGTERM)
        running.signals.send(signal.SIGINT)
        assert running.join() is False
        assert log()[-1].startswith("Ended at once, with 1 on their way: ")
        running.signals.wait()  # in a process of its own, nothing of the end would go on


class TestReload:
    """SIGHUP reads the file again."""

    @pytest.fixture
    def running(self, start: Start, log: Callable[[], list[str]]) -> Running:
        running = start()
        collected(log, 2)
        return running

    def reload(self, running: Running, log: Callable[[], list[str]], lines: int) -> list[str]:
        """Send SIGHUP, and return so many lines of the log."""
        log()
        running.signals.send(signal.SIGHUP)
        return collected(log, lines)

    def test_the_pace_changes(
        self, running: Running, config: Path, sandbox: Sandbox, log: Callable[[], list[str]]
    ) -> None:
        """Another max_requests_per_second holds from then on, and so does none."""
        write_settings(config, sandbox.url, max_requests_per_second=7)
        assert self.reload(running, log, 1) == ["Reloaded: 7 a second at most"]
        assert running.relay.status().requests_per_second == 7
        assert self.reload(running, log, 1) == ["Reloaded: 7 a second at most, as before"]
        write_settings(config, sandbox.url)
        assert self.reload(running, log, 1) == ["Reloaded: as fast as the server allows"]
        assert running.relay.status().requests_per_second is None

    def test_the_syncs_change(
        self, running: Running, config: Path, sandbox: Sandbox, log: Callable[[], list[str]]
    ) -> None:
        """The metrics have the syncs that are in the file now, and none that is in a bad one."""
        line = 'amplitude_moloco_events_delivered_total{destination="moloco",sync="%s"} 0.0'
        assert line % "HOME" in running.get("metrics")[1]
        syncs = [{"event_type": "SEARCH", "events": ["Search"]}]
        write_settings(config, sandbox.url, syncs=syncs)
        self.reload(running, log, 1)
        page = running.get("metrics")[1]
        assert line % "SEARCH" in page
        assert line % "HOME" not in page
        write_settings(config, sandbox.url, colour="red")
        self.reload(running, log, 1)
        assert line % "SEARCH" in running.get("metrics")[1]

    def test_a_bad_file_changes_nothing(
        self, running: Running, config: Path, sandbox: Sandbox, log: Callable[[], list[str]]
    ) -> None:
        """Each mistake is logged with its place, and the settings stay as they are."""
        write_settings(config, sandbox.url, max_requests_per_second=0, colour="red")
        lines = self.reload(running, log, 2)
        start = "Not reloaded, all settings stay as they are: "
        assert [line.removeprefix(start).partition(":")[0] for line in lines] == [
            "colour",
            "max_requests_per_second",
        ]
        config.unlink()
        (line,) = self.reload(running, log, 1)
        assert line.endswith("moloco.json: can't be read (No such file or directory)")
        assert running.relay.status().requests_per_second is None
        assert running.get("readyz")[0] == 200

    def test_what_needs_a_restart_is_named(
        self, running: Running, config: Path, sandbox: Sandbox, log: Callable[[], list[str]]
    ) -> None:
        """Other changes are named, without their values, and hold from the next start on."""
        write_settings(config, sandbox.url, api_key="another", timeout_seconds=3)
        assert self.reload(running, log, 2) == [
            "Changed, and used from the next start on: api_key, timeout_seconds",
            "Reloaded: as fast as the server allows, as before",
        ]

    def test_the_command_line_goes_before_the_file(
        self, start: Start, config: Path, sandbox: Sandbox, log: Callable[[], list[str]]
    ) -> None:
        """A rate of the command line holds, whatever the file says later."""
        running = start(rate=3.0)
        collected(log, 2)
        write_settings(config, sandbox.url, max_requests_per_second=7)
        assert self.reload(running, log, 1) == [
            "Reloaded: --rate 3 goes before max_requests_per_second"
        ]
        assert running.relay.status().requests_per_second == 3


def test_a_wrong_key_is_told_and_waited_for(config: Path, start: Start) -> None:
    """A key that the server refuses pauses the relay, which is not ready, and loses nothing."""
    with Sandbox(api_key="right") as strict:
        write_settings(config, strict.url, api_key="wrong")
        put(config, "a")
        running = start()
        until(lambda: running.relay.status().pause_reason is not None)
        text = "misconfigured: all events are refused (401), and kept\n"
        assert running.get("readyz") == (503, text)
        assert running.get("livez")[0] == 200
        running.signals.send(signal.SIGTERM)
        assert running.join()
    assert left_in(config) == ["a"]


def test_the_service_manager_hears_of_each_step(
    config: Path, start: Start, tmp_path: Path, sandbox: Sandbox
) -> None:
    """Ready, alive, reloading and stopping are told as systemd expects it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(LONG)
        listener.bind(str(tmp_path / "notify"))
        told: list[str] = []

        def hear(text: str) -> str:
            while True:
                told.append(listener.recv(1000).decode())
                if text in told[-1]:
                    return told[-1]

        name = str(tmp_path / "notify")
        environment = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "400000"}
        running = start(manager=ServiceManager(environment), deadline_seconds=5)
        assert hear("READY=1") == "READY=1"
        assert hear("STATUS=").startswith("STATUS=delivering; 0 delivered")
        for _ in range(3):
            hear("WATCHDOG=1")
        running.signals.send(signal.SIGHUP)
        first, second = hear("RELOADING=1").split("\n")
        assert first == "RELOADING=1"
        assert second.removeprefix("MONOTONIC_USEC=").isdigit()
        hear("READY=1")
        running.signals.send(signal.SIGTERM)
        assert hear("STOPPING=1") == "STOPPING=1\nEXTEND_TIMEOUT_USEC=15000000"
        assert hear("STATUS=").startswith("STATUS=draining")
        assert running.join()


def test_what_it_says_at_the_start(
    config: Path, start: Start, sandbox: Sandbox, log: Callable[[], list[str]]
) -> None:
    """The first lines say from where to where it delivers, how fast, and where its pages are."""
    running = start(rate=2.5, connections=3)
    lines = collected(log, 2)
    url = f"{sandbox.url}/rmp/event/v1/platforms/SHOP/userevents"
    kind = running.relay.kinds[1]
    first, second = lines
    assert first == (
        f"The relay delivers from a sqlite buffer to {url} over {kind}: 3 requests at a time, "
        f"2.5 a second at most"
    )
    assert second == f"Its pages: {running.relay.url}/livez, /readyz and /metrics"
