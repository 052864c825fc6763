"""Relays: in this process with signals that a test sends, and in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import requests

from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.relay.configuration import read_configuration
from amplitude_moloco.relay.relay import Relay
from amplitude_moloco.relay.signals import WOKEN, Signals

LONG = 60.0
"""Seconds after which a wait in a test has failed."""


def until(is_so: Callable[[], bool]) -> None:
    """Asks until it is so. The timeout of the test is the bound."""
    never = threading.Event()
    while not is_so():
        never.wait(0.01)


class Script(Signals):
    """Signals that a test sends, in any thread."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers: Queue[int] = Queue()

    def send(self, number: int) -> None:
        self._numbers.put(number)

    def wait(self) -> int:
        return self._numbers.get(timeout=LONG)

    def wake(self) -> None:
        self.send(WOKEN)


class Running:
    """A relay that runs in a thread of this process."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.signals = Script()
        self.is_done: bool | None = None
        """What ``run`` has returned."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.is_done = self.relay.run(self.signals)

    def join(self) -> bool | None:
        self._thread.join(LONG)
        assert not self._thread.is_alive()
        return self.is_done

    def get(self, page: str) -> tuple[int, str]:
        """The status and the text of a page."""
        answer = requests.get(f"{self.relay.url}/{page}", timeout=LONG)
        return answer.status_code, answer.text


def write_settings(path: Path, url: str, **more: Any) -> Path:
    """Writes a settings file beside its buffer, and returns its path."""
    settings = {
        "api_key": "key",
        "platform_id": "SHOP",
        "base_url": url,
        "channel_type": "SITE",
        "buffer": f"sqlite:///{path.with_name('buffer.db')}",
        "syncs": [{"event_type": "HOME", "events": ["Home"]}],
        **more,
    }
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path


def put(config: Path, *ids: str) -> None:
    """Store events as an app does that has ended since."""
    configuration = read_configuration(config)
    buffer = configuration.settings.engine_settings().open_buffer()
    for id in ids:
        body = {"id": id, "event_type": "HOME", "channel_type": "SITE", "user_id": "user-1"}
        body["timestamp"] = "1700000000000"
        assert buffer.put(id, "HOME", json.dumps(body).encode()) is None
    buffer.close()


def left_in(config: Path) -> list[str]:
    """The ids of what waits in the buffer, once no process uses it. Leaves it there."""
    buffer = read_configuration(config).settings.engine_settings().open_buffer()
    assert isinstance(buffer, SqliteBuffer)
    ids = [entry.id for entry in buffer.claim(100_000).entries]
    buffer.close()
    return ids


@contextmanager
def process(config: Path, *options: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A relay in a process of its own, killed at the end if it has not ended."""
    command = [sys.executable, "-m", "amplitude_moloco", "relay", str(config)]
    if "--listen" not in options:
        options = (*options, "--listen", "off")
    child = subprocess.Popen(
        [*command, *options],
        cwd=config.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        with child:
            child.kill()


def read_until(child: subprocess.Popen[str], text: str) -> str:
    """Reads the log of a relay until a line has this text. Returns the line."""
    assert child.stderr is not None
    lines = []
    for line in child.stderr:
        lines.append(line)
        if text in line:
            return line
    raise AssertionError("".join(lines))


def ended(child: subprocess.Popen[str]) -> tuple[int, str]:
    """Waits for the end of a relay. Returns its exit code, and the rest of its log."""
    assert child.stderr is not None
    rest = child.stderr.read()
    return child.wait(LONG), rest
