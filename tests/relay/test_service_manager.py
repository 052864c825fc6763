"""What systemd is told, on a real datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from math import inf
from pathlib import Path

import pytest

from amplitude_moloco.relay.service_manager import ServiceManager, status


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(20)
        yield listener


@pytest.mark.parametrize("is_abstract", [False, True], ids=["path", "abstract"])
def test_a_message_is_a_datagram(
    listener: socket.socket, tmp_path: Path, *, is_abstract: bool
) -> None:
    """Assignments arrive in one datagram, at a path or at an abstract address."""
    name = f"@relay-test-{os.urandom(8).hex()}" if is_abstract else str(tmp_path / "notify")
    listener.bind(f"\0{name[1:]}" if is_abstract else name)
    manager = ServiceManager({"NOTIFY_SOCKET": name})
    manager.tell("READY=1", status("Delivering"))
    assert listener.recv(1000) == b"READY=1\nSTATUS=Delivering"
    manager.close()


def test_without_an_address_nothing_is_told() -> None:
    """A program that no service manager has started tells nothing."""
    manager = ServiceManager({})
    manager.tell("READY=1")
    manager.close()
    assert manager.watchdog_seconds == inf


@pytest.mark.parametrize("name", ["/nowhere/notify", "vsock:2:1234", "relative"])
def test_an_address_that_cannot_be_reached_harms_nothing(name: str) -> None:
    """What can't be told is left out."""
    manager = ServiceManager({"NOTIFY_SOCKET": name})
    manager.tell("READY=1")
    manager.close()
    manager.tell("STOPPING=1")


def test_a_listener_that_hangs_holds_up_nothing(listener: socket.socket, tmp_path: Path) -> None:
    """Messages that find no room are left out; no call waits."""
    name = str(tmp_path / "notify")
    listener.bind(name)
    manager = ServiceManager({"NOTIFY_SOCKET": name})
    for _ in range(10_000):
        manager.tell("WATCHDOG=1")
    assert listener.recv(1000) == b"WATCHDOG=1"
    manager.close()


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, inf),
        ({"WATCHDOG_USEC": "0"}, inf),
        ({"WATCHDOG_USEC": "soon"}, inf),
        ({"WATCHDOG_USEC": "٣"}, inf),
        ({}, inf),
    ],
)
def test_the_watchdog_is_that_of_this_process(environment: dict[str, str], seconds: float) -> None:
    """How often to show life is read from the environment, if it is meant for this process."""
    assert ServiceManager(environment).watchdog_seconds == seconds


def test_a_status_is_one_short_line() -> None:
    """A status has no second line, which would be another assignment."""
    assert status("a\nREADY=1") == "STATUS=a READY=1"
    assert len(status("x" * 10_000)) < 300
