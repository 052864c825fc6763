"""A real redis-server, in a process and a folder of its own."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import redis
import trustme

LONG = 30.0
"""Seconds after which a wait in a test has failed."""
PROGRAM = shutil.which("redis-server")
NEEDS_SERVER = "redis-server is not installed: apt-get install redis-server"


class RedisServer:
    """Listens on a free port of 127.0.0.1. It can be stopped and started again with its data.

    Args:
        folder: For its data and its socket.
        settings: Lines of its configuration, by their names.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.socket = folder / "redis.sock"
        self.settings = {
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "enable-debug-command": "local",
            **{name.replace("_", "-"): value for name, value in settings.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def url(self, stream: str = "", **options: object) -> str:
        """The URL of a buffer in it, in a stream that no other test uses."""
        given = {"stream": stream or uuid.uuid4().hex, **options}
        query = "&".join(f"{name}={value}" for name, value in given.items())
        return f"redis://127.0.0.1:{self.port}/0?{query}"

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, password=self.settings.get("requirepass"))

    def start(self) -> None:
        """Start it, and wait until it answers."""
        assert PROGRAM is not None
        lines = [
            part
            for name, value in {
                **self.settings,
                "port": str(self.port),
                "bind": "127.0.0.1",
                "dir": str(self.folder),
                "unixsocket": str(self.socket),
                "logfile": str(self.folder / "log"),
            }.items()
            for part in (f"--{name}", value)
        ]
        self._process = subprocess.Popen([PROGRAM, *lines], stdout=subprocess.DEVNULL)
        with self.client() as client:
            wait_for_answer(client)

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(how)
            process.wait(LONG)

    def freeze(self) -> None:
        """Let it answer nothing, until ``thaw``."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


class StartRedis(Protocol):
    """The fixture start_redis."""

    def __call__(self, **settings: str) -> RedisServer: ...


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[RedisServer]:
    """Start a server, and end it afterwards."""
    server = RedisServer(folder, **settings)
    try:
        server.start()
        yield server
    finally:
        server.end()


def wait_for_answer(client: redis.Redis) -> None:
    """Wait until a server answers, if only that it wants a password."""
    pause = threading.Event()
    ends_at = time.monotonic() + LONG
    while time.monotonic() < ends_at:
        try:
            client.ping()
        except redis.exceptions.AuthenticationError:
            return
        except redis.exceptions.ConnectionError:  # or it is still loading its data
            pause.wait(0.01)
        else:
            return
    raise AssertionError("Redis did not start")


def tls_settings(folder: Path, authority: trustme.CA) -> dict[str, str]:
    """Returns the settings of a server that listens with TLS, too, at ``tls_port``."""
    folder.mkdir()
    key, chain = folder / "key.pem", folder / "chain.pem"
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(str(key))
    certificate.cert_chain_pems[0].write_to_path(str(chain))
    return {
        "tls_port": str(free_port()),
        "tls_cert_file": str(chain),
        "tls_key_file": str(key),
        "tls_ca_cert_file": str(chain),
        "tls_auth_clients": "no",
    }


def free_port() -> int:
    """Returns a port of 127.0.0.1 that nothing uses now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
