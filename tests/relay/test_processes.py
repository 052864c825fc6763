"""Apps and relays in processes of their own, which are killed, and which share a file."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
import requests
from support.app_process import ids, run
from support.relays import LONG, ended, left_in, process, put, read_until, until, write_settings

from amplitude_moloco.sandbox import Sandbox

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")

# Tracks with the SDK, says when all is stored, and ends when it is told to.
APP = """
import sys
from amplitude import Amplitude, BaseEvent, Config
from amplitude_moloco import MolocoDestination

file, amplitude_url, name, count = sys.argv[1:]
destination = MolocoDestination.from_file(file)
client = Amplitude("key", Config(server_url=amplitude_url, flush_interval_millis=50))
client.add(destination)
for number in range(int(count)):
    id = f"{name}-{number}"
    client.track(BaseEvent("Home", user_id="user-1", insert_id=id, time=1_700_000_000_000))
stats = destination.flush(60).result()
print(stats.accepted, stats.handed_on, flush=True)
sys.stdin.readline()
client.shutdown()
"""


def start_app(config: Path, sandbox: Sandbox, name: str, count: int) -> subprocess.Popen[str]:
    """An app that has ``deliver = false`` in its settings, and no key."""
    environment = {**os.environ, "MOLOCO_DELIVER": "false"}
    environment.pop("MOLOCO_API_KEY", None)
    return subprocess.Popen(
        [sys.executable, "-c", APP, str(config), sandbox.amplitude_url, name, str(count)],
        cwd=config.parent,
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for(sandbox: Sandbox, count: int) -> None:
    """Wait until the server has accepted so many events."""
    until(lambda: len(sandbox.moloco_events) >= count)


def with_variable(folder: Path, sandbox: Sandbox) -> Path:
    """Settings that an app and a relay share: the key is in the relay's environment alone."""
    return write_settings(folder / "moloco.json", sandbox.url, api_key="${MOLOCO_API_KEY}")


def test_an_app_stores_and_a_relay_delivers(tmp_path: Path) -> None:
    """An app without the key tracks, and a relay in another process delivers, while both live."""
    names = sorted(f"app-{number}" for number in range(100))
    with (
        Sandbox(api_key="key") as sandbox,
        process(with_variable(tmp_path, sandbox), MOLOCO_API_KEY="key") as relay,
        start_app(tmp_path / "moloco.json", sandbox, "app", 100) as app,
    ):
        assert app.stdout is not None
        assert app.stdin is not None
        assert app.stdout.readline() == "100 100\n"
        wait_for(sandbox, 100)
        app.stdin.write("\n")
        app.stdin.close()
        assert app.wait(LONG) == 0
        relay.send_signal(signal.SIGTERM)
        code, log = ended(relay)
        assert code == 0
        assert "Stopped. Delivered by this process: 100" in log
    assert ids(sandbox) == names


def test_forked_workers_store_for_the_relay(tmp_path: Path, sandbox: Sandbox) -> None:
    """Workers of a preloaded app, and the app at its exit, leave all their events to the relay."""
    script = """
    destination = make(deliver=False, buffer="sqlite:///buffer.db")
    client = make_client(destination)
    client.track(home("parent"))

    def work(number):
        client.track(home(f"child-{number}"))
        client.shutdown()

    in_forked_workers(work)
    """
    done = run(tmp_path, dedent(script), sandbox.url, sandbox.amplitude_url)
    assert done[0] == 0, done[2]
    assert sandbox.moloco_events == []
    config = write_settings(tmp_path / "moloco.json", sandbox.url)
    assert sorted(left_in(config)) == ["child-0", "child-1", "child-2", "parent"]


def test_an_app_that_is_killed_loses_nothing(tmp_path: Path, sandbox: Sandbox) -> None:
    """A relay takes over what an app had stored when it was killed."""
    config = with_variable(tmp_path, sandbox)
    with process(config, MOLOCO_API_KEY="key") as relay:
        read_until(relay, "The relay delivers")
        with start_app(config, sandbox, "app", 300) as app:
            assert app.stdout is not None
            app.stdout.readline()
            app.kill()
        wait_for(sandbox, 300)
    assert ids(sandbox) == sorted(f"app-{number}" for number in range(300))


def test_a_relay_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    """The next relay takes over at once what a killed one had claimed, with the same ids."""
    with Sandbox(delay_seconds=0.2) as sandbox:
        config = write_settings(tmp_path / "moloco.json", sandbox.url)
        names = [f"event-{number}" for number in range(150)]
        put(config, *names)
        with process(config, "--connections", "4") as first:
            wait_for(sandbox, 10)
            first.kill()
            first.wait(LONG)
        assert len(sandbox.moloco_events) < 150
        with process(config, "--connections", "64") as second:
            until(lambda: {*ids(sandbox)} == {*names})
            second.send_signal(signal.SIGTERM)
            assert ended(second)[0] == 0
        assert {*ids(sandbox)} == {*names}
        # What was on its way is sent once more, with the same id; nothing else is.
        assert len(ids(sandbox)) <= 150 + 2 * 16
    assert left_in(config) == []


def test_two_relays_share_the_work(tmp_path: Path) -> None:
    """Two relays on one file deliver each event once, and both deliver."""
    with Sandbox(delay_seconds=0.05) as sandbox:
        config = write_settings(tmp_path / "moloco.json", sandbox.url)
        names = [f"event-{number}" for number in range(600)]
        delivered = []
        slow = "--connections", "8"
        with process(config, *slow) as one, process(config, *slow) as two:
            for relay in (one, two):
                read_until(relay, "The relay delivers")
            put(config, *names)
            wait_for(sandbox, 600)
            for relay in (one, two):
                relay.send_signal(signal.SIGTERM)
                code, log = ended(relay)
                assert code == 0
                delivered += re.findall(r"Stopped\. Delivered by this process: (\d+)", log)
        assert ids(sandbox) == sorted(names)
        assert sum(map(int, delivered)) == 600
        assert "0" not in delivered


def test_sigterm_finishes_what_is_on_its_way(tmp_path: Path) -> None:
    """With requests under way it ends with 0: they are delivered, and the rest is in the buffer."""
    with Sandbox(delay_seconds=1) as sandbox:
        config = write_settings(tmp_path / "moloco.json", sandbox.url)
        names = [f"event-{number}" for number in range(300)]
        put(config, *names)
        with process(config, "--connections", "3", "--deadline", "60") as relay:
            until(lambda: bool(sandbox.requests))
            relay.send_signal(signal.SIGTERM)
            code, log = ended(relay)
        assert code == 0
        assert "Stopping. What is on its way has 60 seconds" in log
        sent = ids(sandbox)
        assert 0 < len(sent) < 300
        assert sorted([*sent, *left_in(config)]) == sorted(names)


def test_a_second_signal_ends_the_process_at_once(tmp_path: Path) -> None:
    """It ends with 130, long before the deadline, and nothing is lost."""
    with Sandbox(delay_seconds=1000) as sandbox:
        config = write_settings(tmp_path / "moloco.json", sandbox.url, timeout_seconds=1000)
        put(config, "a", "b")
        with process(config, "--deadline", "1000") as relay:
            until(lambda: bool(sandbox.requests))
            relay.send_signal(signal.SIGTERM)
            read_until(relay, "Stopping.")
            relay.send_signal(signal.SIGTERM)
            code, log = ended(relay)
        assert code == 130
        assert "Ended at once, with 2 on their way" in log
    assert sorted(left_in(config)) == ["a", "b"]


def test_sighup_changes_the_pace(tmp_path: Path, sandbox: Sandbox) -> None:
    """What would have taken hours goes out at once after the limit was lifted in the file."""
    config = write_settings(tmp_path / "moloco.json", sandbox.url, max_requests_per_second=0.1)
    put(config, *map(str, range(30)))
    with process(config, "--log-format", "json", "--listen", "127.0.0.1:0") as relay:
        line = json.loads(read_until(relay, "Its pages"))
        url = line["message"].partition("/livez")[0].removeprefix("Its pages: ")
        wait_for(sandbox, 1)
        config.write_text("{}")
        relay.send_signal(signal.SIGHUP)
        line = json.loads(read_until(relay, "Not reloaded"))
        assert line["level"] == "error"
        assert requests.get(f"{url}/readyz", timeout=LONG).status_code == 200
        write_settings(config, sandbox.url)
        relay.send_signal(signal.SIGHUP)
        read_until(relay, "Reloaded: as fast as the server allows")
        wait_for(sandbox, 30)
        relay.send_signal(signal.SIGTERM)
        assert ended(relay)[0] == 0


def test_every_line_of_the_log_is_an_object(tmp_path: Path) -> None:
    """A refused key is a line with its status; no line holds the key or a value of an event."""
    with Sandbox(api_key="right") as sandbox:
        config = write_settings(tmp_path / "moloco.json", sandbox.url, api_key="wrong-key-123")
        put(config, "a")
        with process(config, "--log-format", "json") as relay:
            refusal = read_until(relay, "refuses all events")
            relay.send_signal(signal.SIGTERM)
            code, rest = ended(relay)
    assert code == 0
    lines = [json.loads(line) for line in [refusal, *rest.splitlines()]]
    assert (lines[0]["level"], lines[0]["status"]) == ("error", 401)
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    assert "wrong-key-123" not in refusal + rest
    assert "user-1" not in refusal + rest


def test_a_file_that_stays_locked_is_told(tmp_path: Path, sandbox: Sandbox) -> None:
    """A relay that starts while the file is locked says so, with exit code 2."""
    config = write_settings(tmp_path / "moloco.json", sandbox.url)
    put(config, "a")
    other = sqlite3.connect(tmp_path / "buffer.db", isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with process(config) as relay:
        code, log = ended(relay)
    assert code == 2
    assert "is kept locked by another process" in log
    other.close()


def test_systemd_hears_from_the_process(tmp_path: Path, sandbox: Sandbox) -> None:
    """A relay in a process of its own tells the socket in its environment."""
    config = write_settings(tmp_path / "moloco.json", sandbox.url)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(LONG)
        listener.bind(str(tmp_path / "notify"))
        variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
        with process(config, **variables) as relay:
            told: list[str] = []
            while not {"READY=1", "WATCHDOG=1"} <= {*told}:
                told.append(listener.recv(1000).decode())
            relay.send_signal(signal.SIGTERM)
            while not told[-1].startswith("STOPPING=1"):
                told.append(listener.recv(1000).decode())
            assert ended(relay)[0] == 0
