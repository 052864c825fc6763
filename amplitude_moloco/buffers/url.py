"""Opens a buffer by its URL."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from amplitude_moloco.buffers.base import Storage
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.buffers.redis.address import (
    RedisAddress,
    is_redis,
    parse_address,
    with_stage,
    without_login,
)
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.host.fork import can_follow_forks
from amplitude_moloco.text import shown

_DISTRIBUTION = __name__.partition(".")[0].replace("_", "-")
"""The name of this library for pip."""
_MOST = 2**63 - 1  # what SQLite can store
_MOST_DIGITS = 100  # leading zeros included
_CREDENTIALS = re.compile(r"//[^/]*@")  # of another service's URL, which must not be repeated
_HAS_SCHEME = re.compile(r"(?:sqlite|memory):|\w+://")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # urlsplit() would leave some of them out


class BufferUrl(str):
    """The URL of a buffer. Its repr holds neither user nor password."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(public_url(self))


def public_url(url: str) -> str:
    """Returns the URL without user and password."""
    return without_login(url) if is_redis(url) else str(url)


def open_buffer(url: str, *, target: str, longest_delay_seconds: float = 7200.0) -> Storage:
    """Open the buffer that ``url`` names.

    Args:
        url: ``memory://``, with the options ``max_events=100000`` and ``max_bytes=67108864``, or
            ``sqlite:///relative.db`` or ``sqlite:////absolute/path.db``, as in SQLAlchemy, with the
            options ``max_events``, ``max_bytes``, ``synchronous`` (``1s``: what a loss of power
            takes at most, the default; ``FULL``: nothing; ``OFF``: what the system has not written)
            and ``drain_at_exit=1``: the end of the process waits for what this process has stored.
            Options follow a ``?``, separated by ``&``. In a path, ``%``, ``?`` and ``#`` are
            percent-encoded. Its folder has to exist. ``sqlite:relative.db`` is understood, too; so
            are ``synchronous=NORMAL``, which is ``1s``, and ``wait_millis``, which has no effect:
            no put waits for another process.

            Or ``redis://host:6379/0?stream=NAME``, ``rediss://`` with TLS, ``unix:///redis.sock?db=0``
            or ``redis+sentinel://host1:26379,host2/MASTER/0`` (``rediss+sentinel://``), with the
            options ``stream``, ``max_events``, ``max_bytes``, ``lease_seconds=30`` and ``stage``:
            where new events wait for Redis. It is ``memory://`` or the URL of a file, as in
            ``stage=sqlite:////var/lib/app/stage.db``; in its own options, ``&`` is ``%26``. User
            and password are in the URL, percent-encoded, or in ``REDIS_USERNAME`` and
            ``REDIS_PASSWORD``. TLS has the options ``ssl_ca_certs``, ``ssl_certfile`` and
            ``ssl_keyfile``, each a path; certificates are always verified.
        target: Where the events go. A durable buffer accepts only events for the target that it
            was created for.
        longest_delay_seconds: The longest delay of a retry.

    Raises:
        ConfigurationError: The scheme or an option is unknown, or the file can't be used.
    """
    if is_redis(url):
        return _open_redis(
            redis_address(url), target=target, longest_delay_seconds=longest_delay_seconds
        )
    scheme, path, query = _parts(url)
    options = _options(scheme, query)
    if scheme == "memory":
        return MemoryBuffer(**options)
    return _open_sqlite(
        path,
        options,
        target=target,
        longest_delay_seconds=longest_delay_seconds,
    )


def absolute_url(url: str) -> str:
    """Returns the URL with absolute paths: the same files, whichever the current folder is.

    Raises ConfigurationError if it names no buffer, or has an option that can't be used.
    """
    if is_redis(url):
        stage = redis_address(url).stage
        absolute_stage = absolute_url(stage)
        return BufferUrl(url if absolute_stage == stage else with_stage(url, absolute_stage))
    scheme, path, query = _parts(url)
    _options(scheme, query)
    if scheme == "memory":
        return url
    try:
        absolute = Path(path).absolute()
    except OSError as error:  # the current folder was deleted
        raise ConfigurationError(
            f"buffer: the current folder can't be read ({error.strerror}); use an absolute path"
        ) from None
    return f"sqlite:///{quote(os.fsencode(absolute))}{query and '?'}{query}"


def file_of(buffer: str) -> Path:
    """Returns the file of a durable buffer, given as a URL or as a path.

    Raises ConfigurationError for a URL of another kind, and for an option that can't be used.
    """
    if not _HAS_SCHEME.match(buffer):
        return Path(buffer)
    scheme, path, query = _parts(buffer)
    _options(scheme, query)
    if scheme == "memory":
        raise ConfigurationError(
            "buffer: what waits in memory can be seen by its own process alone; use the path or "
            "the URL of a file, as in sqlite:///events.db"
        )
    return Path(path)


def _parts(url: str) -> tuple[str, str, str]:
    """Returns scheme, path and query of a buffer's URL. Raises ConfigurationError."""
    try:
        parts = urlsplit("" if _CONTROL.search(url) else url)
    except ValueError:
        raise _no_buffer(url) from None
    if not (parts.netloc or parts.fragment):
        if parts.scheme == "memory" and not parts.path:
            return "memory", "", parts.query
        if parts.scheme == "sqlite":
            has_authority = url.partition(":")[2].startswith("//")
            encoded = parts.path[1:] if has_authority else parts.path
            path = unquote(encoded, errors="surrogateescape")
            if _can_be_file(path):
                return "sqlite", path, parts.query
    raise _no_buffer(url)


def _can_be_file(path: str) -> bool:
    try:
        name = os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return name != b":memory:" and b"\0" not in name and not name.endswith(b"/") and name != b""


def _no_buffer(url: str) -> ConfigurationError:
    return ConfigurationError(
        f"buffer: {shown(_CREDENTIALS.sub('//', url))} does not name a buffer; use 'memory://', "
        f"'sqlite:///relative.db' or 'sqlite:////absolute/path.db' (four slashes), or "
        f"'redis://host:6379/0?stream=NAME'"
    )


def _open_sqlite(path: str, options: dict[str, Any], **settings: Any) -> Storage:
    try:  # imported only when used: not every system has fcntl, not every Python has sqlite3
        if not can_follow_forks():
            raise ImportError("forks can't be followed")
        from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
    except ImportError as error:
        raise ConfigurationError(
            f"buffer: 'sqlite:' can't be used here ({error}); it needs a POSIX system and a Python "
            f"with sqlite3; use 'memory://'"
        ) from error
    return SqliteBuffer(path, **options, **settings)


def redis_address(url: str) -> RedisAddress:
    """Returns what the URL of Redis says. Raises ConfigurationError."""
    if _CONTROL.search(url):
        raise _no_buffer(url)
    address = parse_address(url)
    if is_redis(address.stage):
        raise ConfigurationError(
            "buffer: the option stage can't be another Redis; use memory:// or sqlite:///path.db"
        )
    try:
        scheme, _, query = _parts(address.stage)
        _options(scheme, query)
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}; this is the option stage") from None
    return address


def redis_needed(address: RedisAddress, error: ImportError) -> ConfigurationError:
    """Returns what to raise where the client of Redis is not installed."""
    return ConfigurationError(
        f"buffer: {address} needs redis-py ({error}); pip install '{_DISTRIBUTION}[redis]'"
    )


def _open_redis(address: RedisAddress, **settings: Any) -> Storage:
    try:  # imported only when used: it belongs to an extra
        from amplitude_moloco.buffers.redis.buffer import RedisBuffer
    except ImportError as error:
        raise redis_needed(address, error) from error
    stage = open_buffer(address.stage, **settings)
    options: dict[str, Any] = {**address.numbers, **settings}
    return RedisBuffer(address, stage, **options)


def _options(scheme: str, query: str) -> dict[str, Any]:
    """Returns the options of a URL as the buffer's arguments. Raises ConfigurationError."""
    pairs = parse_qsl(query, keep_blank_values=True)
    options = dict(pairs)
    if len(options) < len(pairs):
        twice = next(name for name in options if sum(name == each for each, _ in pairs) > 1)
        raise ConfigurationError(f"buffer: the option {twice} is there twice; use it once")
    if scheme == "memory":
        return _whole_numbers(options, ("max_events", "max_bytes"))
    synchronous = options.pop("synchronous", "1s")
    drain_at_exit = options.pop("drain_at_exit", "0")
    if drain_at_exit not in ("0", "1"):
        raise ConfigurationError(
            f"buffer: the option drain_at_exit={drain_at_exit} can't be used; use 0 or 1"
        )
    known = ("max_events", "max_bytes", "wait_millis")
    numbers = _whole_numbers(options, known, "synchronous", "drain_at_exit")
    numbers.pop("wait_millis", None)  # of a release in which a put could wait
    return {"synchronous": synchronous, "drain_at_exit": drain_at_exit == "1", **numbers}


def _whole_numbers(options: dict[str, str], known: tuple[str, ...], *others: str) -> dict[str, Any]:
    for name, value in options.items():
        if len(value) > _MOST_DIGITS or (value.isdecimal() and int(value) > _MOST):
            raise ConfigurationError(
                f"buffer: the option {name} can't be that large; use at most {_MOST}"
            )
        is_number = value.isascii() and value.isdecimal()
        if name not in known or not is_number or int(value) < 1:
            raise ConfigurationError(
                f"buffer: the option {name}={value} can't be used; the options are "
                f"{', '.join((*known, *others))}; numbers are whole and at least 1"
            )
    return {name: int(value) for name, value in options.items()}
