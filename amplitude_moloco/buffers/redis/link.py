"""The connection to Redis: runs the scripts, and checks what it is connected to."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from amplitude_moloco.buffers.redis.address import RedisAddress
from amplitude_moloco.buffers.redis.faults import RedisAway, away
from amplitude_moloco.buffers.redis.layout import MICROSECONDS

logger = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 1.0
_LEAST_VERSION = (6, 2)
_RELEASE = re.compile(r"(\d+)\.(\d+)")
Argument = str | bytes | int
Clock = Callable[[], float]


def connect(address: RedisAddress, timeout_seconds: float = _TIMEOUT_SECONDS) -> redis.Redis:
    """Returns a client. It connects when it is first used.

    It tries nothing again: a command whose answer was lost may have been carried out.
    """
    never = Retry(NoBackoff(), 0)
    settings: dict[str, Any] = {
        "db": address.database,
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        "retry": never,
        "health_check_interval": 0,
        "protocol": 2,
        **address.login,
    }
    if address.is_encrypted:
        settings |= {"ssl": True, "ssl_cert_reqs": "required", "ssl_check_hostname": True}
        settings |= address.files
    if address.socket:
        return redis.Redis(unix_socket_path=address.socket, **settings)
    if not address.service:
        host, port = address.hosts[0]
        return redis.Redis(host=host, port=port, **settings)
    network = {"socket_timeout", "socket_connect_timeout", "retry"}
    own = {name: value for name, value in settings.items() if name in network or "ssl" in name}
    open_sentinel: Any = Sentinel  # it has no types
    sentinel = open_sentinel(list(address.hosts), sentinel_kwargs=own, **settings)
    master: redis.Redis = sentinel.master_for(address.service)
    return master


class Link:
    """One connection, for one thread at a time. All methods raise RedisAway, and nothing else.

    Args:
        client: See ``connect``.
        clock: The time for the scripts, in Unix seconds; None: Redis's own.
    """

    def __init__(
        self, client: redis.Redis, address: RedisAddress, clock: Clock | None = None
    ) -> None:
        self._client = client
        self._layout = address.layout
        self._keys = [*address.layout.keys]
        self._clock = clock
        self._scripts: dict[str, Any] = {}
        # The client connects again without a word, and it may be to another server.
        client.connection_pool.connection_kwargs["redis_connect_func"] = self._greet
        self.connections = 0
        """How often it has connected."""
        self.is_checked = False
        """Whether the server was looked at since it was last away, or connected to."""
        self.warnings: list[str] = []
        """What was found wrong with it, though it can be used. The reader clears them."""

    def run(self, script: str, arguments: Iterable[Argument] = (), *, producer: str = "") -> Any:
        """Run a script with the keys of the buffer, and the producer's if it has a name."""
        if not self.is_checked:
            self.check()
        keys = [*self._keys, self._layout.producer(producer)] if producer else self._keys
        registered = self._scripts.get(script)
        if registered is None:
            registered = self._scripts[script] = self._client.register_script(script)
        return self._call(lambda: registered(keys, [self._now(), *arguments]))

    def check(self) -> None:
        """Look at the server: refuse one that can't be used, and warn of one that loses events."""
        try:
            found = self._call(self._client.info)
        except RedisAway as error:
            if "permission" not in str(error):
                raise
            self.warnings.append("its user may not run INFO, so its settings can't be checked")
            found = {}
        refuse(found)
        self.warnings += warnings_about(found)
        self.is_checked = True

    def close(self) -> None:
        self._client.close()

    def _greet(self, connection: Any) -> None:
        connection.on_connect()
        self.connections += 1
        self.is_checked = False

    def _now(self) -> str:
        return "" if self._clock is None else str(round(self._clock() * MICROSECONDS))

    def _call(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except (redis.RedisError, OSError, ValueError, RuntimeError) as error:
            fault = away(error)
            self.is_checked = self.is_checked and fault.is_full
            raise fault from None


def refuse(found: dict[str, Any]) -> None:
    """Raise RedisAway if the server that INFO describes can't be used."""
    if found.get("role") in ("slave", "replica"):
        raise RedisAway("it is a replica; use the address of the master, or Sentinel")
    version = str(found.get("redis_version", ""))
    release = _RELEASE.match(version)
    if release and (int(release[1]), int(release[2])) < _LEAST_VERSION:
        raise RedisAway(f"it is version {version}; use 6.2 or later")


def warnings_about(found: dict[str, Any]) -> list[str]:
    """Returns what in INFO's answer means that events can be lost, and what to set."""
    warnings = []
    if found.get("aof_enabled") == 0:
        warnings.append(
            "it keeps no append-only file, so a crash of it loses what waits; set 'appendonly yes'"
        )
    policy = found.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        warnings.append(
            f"its maxmemory-policy is {policy}, so it may delete all events when its memory is "
            f"full; set 'maxmemory-policy noeviction'"
        )
    return warnings
