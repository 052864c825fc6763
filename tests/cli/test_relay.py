"""``amplitude-moloco relay``: the command line."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

import pytest
from support.cli import run
from support.relays import LONG, left_in, put, until, write_settings

from amplitude_moloco.sandbox import Sandbox


@pytest.fixture
def config(tmp_path: Path, sandbox: Sandbox) -> Path:
    return write_settings(tmp_path / "moloco.json", sandbox.url)


def end_after(sandbox: Sandbox, count: int, *numbers: int) -> threading.Thread:
    """Sends signals to this process once the server has so many requests."""

    def wait() -> None:
        until(lambda: len(sandbox.requests) >= count)
        for number in numbers:
            os.kill(os.getpid(), number)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_it_delivers_until_it_is_stopped(config: Path, sandbox: Sandbox) -> None:
    """It delivers what is there, and ends with 0 after SIGTERM."""
    put(config, "a", "b")
    ending = end_after(sandbox, 2, signal.SIGTERM)
    done = run("relay", config, "--listen", "off", "--rate", 1000, "--connections", 2)
    ending.join(LONG)
    assert done.code == 0
    assert "2 requests at a time, 1000 a second at most" in done.err
    assert "Stopped. Delivered by this process: 2" in done.err
    assert left_in(config) == []


def test_a_second_signal_is_130(tmp_path: Path) -> None:
    """Ended at once, its exit code says so."""
    with Sandbox(delay_seconds=1000) as hanging:
        config = write_settings(tmp_path / "moloco.json", hanging.url, timeout_seconds=1000)
        put(config, "a")
        ending = end_after(hanging, 1, signal.SIGINT, signal.SIGTERM)
        done = run("relay", config, "--listen", "off", "--deadline", 1)
        ending.join(LONG)
    assert done.code == 130
    assert "Ended at once, with 1 on their way" in done.err


def test_an_address_in_use_is_1(config: Path) -> None:
    """The address is named, and why it can't be listened on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = run("relay", config, "--listen", f"127.0.0.1:{port}")
    assert done.code == 1
    assert f"amplitude-moloco: the relay can't listen on 127.0.0.1, port {port}: " in done.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--listen", "8767"], "--listen: found '8767'; use an address with a port"),
        (["--deadline", "0"], "--deadline: found 0.0; use a number above 0"),
        (["--deadline", "nan"], "--deadline: found nan; use a number above 0"),
        (["--rate", "0"], "--rate"),
        (["--rate", "nan"], "--rate"),
        (["--connections", "0"], "--connections"),
        (["--log-format", "xml"], "--log-format"),
    ],
)
def test_a_command_line_that_cannot_work_is_2(config: Path, options: list[str], said: str) -> None:
    """Each option that can't work is named."""
    done = run("relay", config, *options)
    assert done.code == 2
    assert said in done.err


def test_settings_that_cannot_work_are_2(config: Path) -> None:
    """Each mistake is a line, as for all commands."""
    write_settings(config, "http://127.0.0.1:9", buffer="memory://")
    done = run("relay", config)
    assert done.code == 2
    assert "amplitude-moloco: buffer: a relay needs a durable buffer" in done.err


class TestOthers:
    """Commands that send do so whatever ``deliver`` says."""

    def test_ping_reaches_the_server(self, config: Path, sandbox: Sandbox) -> None:
        """A ping is a request, with the key."""
        write_settings(config, sandbox.url, deliver=False)
        assert run("ping", config).code == 0

    def test_a_ping_needs_the_key(self, config: Path, sandbox: Sandbox) -> None:
        """Without a key there is nothing to find out."""
        write_settings(config, sandbox.url, deliver=False, api_key="${MOLOCO_API_KEY}")
        done = run("ping", config, MOLOCO_API_KEY=None)
        assert done.code == 2
        assert "MOLOCO_API_KEY is not set" in done.err

    def test_check_misses_no_key(self, config: Path, sandbox: Sandbox) -> None:
        """An app that only stores events needs no key, so none is missed."""
        write_settings(config, sandbox.url, deliver=False, api_key="${MOLOCO_API_KEY}")
        done = run("check", config, MOLOCO_API_KEY=None)
        assert done.code == 0
        assert "api_key" not in done.out + done.err
