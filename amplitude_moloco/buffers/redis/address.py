"""The URL of a buffer in Redis: where the server is, how to log in, and the buffer's options."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from amplitude_moloco.buffers.redis.layout import Layout, layout_of
from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.text import shown

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
_PORT, _SENTINEL_PORT = 6379, 26379
_NUMBERS = ("max_events", "max_bytes", "lease_seconds")
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
"""Spelled as redis-py's."""
_DATABASE = re.compile(r"/?(\d{0,5})")
_MOST = 2**53
"""What the numbers of a script hold."""
_STREAM = "events"


@dataclass(frozen=True)
class RedisAddress:
    """Where Redis is. Its text and repr hold neither user nor password."""

    shown: str
    """The URL without the login."""
    layout: Layout
    hosts: tuple[tuple[str, int], ...]
    """The server, or the Sentinels; none for a socket in the file system."""
    database: int = 0
    service: str = ""
    """The name that the Sentinels know the master by; empty without Sentinel."""
    socket: str = ""
    """The path of the server's socket; empty for a host."""
    is_encrypted: bool = False
    login: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Mapping[str, str] = field(default_factory=dict)
    """The certificates of TLS, as redis-py names them."""
    numbers: Mapping[str, int] = field(default_factory=dict)
    """The bounds and the lease, where they are given."""
    stage: str = "memory://"
    """The URL of the buffer in which new entries wait for Redis."""

    def __str__(self) -> str:
        return self.shown


def is_redis(url: str) -> bool:
    """Whether this is the URL of a buffer in Redis."""
    return url.partition(":")[0].lower() in SCHEMES


def parse_address(url: str, environment: Mapping[str, str] = os.environ) -> RedisAddress:
    """Returns what the URL says. Raises ConfigurationError, without the login.

    User and password come from the URL, percent-encoded, or else from ``REDIS_USERNAME`` and
    ``REDIS_PASSWORD`` in the environment.
    """
    scheme = url.partition(":")[0].lower()
    plain = without_login(url)
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _unusable(plain) from None
    if "@" in parts.path + parts.query or parts.fragment:  # a login that is not percent-encoded
        raise _unusable(plain)
    options = _options(parts.query)
    is_sentinel, is_socket = scheme.endswith("+sentinel"), scheme == "unix"
    login, _, place = parts.netloc.rpartition("@")
    path, service = parts.path, ""
    if is_sentinel:
        service, _, path = path.removeprefix("/").partition("/")
    database = options.pop("db", "0") if is_socket else path
    found = _DATABASE.fullmatch(database)
    hosts = _hosts(place, _SENTINEL_PORT if is_sentinel else _PORT)
    if is_socket:
        is_whole = not place and path.startswith("/")
    elif is_sentinel:
        is_whole = bool(service and hosts)
    else:
        is_whole = len(hosts) == 1
    if not (is_whole and found):
        raise _unusable(plain)
    if "db" in options:
        raise _unusable(plain)
    is_encrypted = scheme.startswith("rediss")
    return RedisAddress(
        shown=plain,
        layout=layout_of(options.pop("stream", _STREAM)),
        hosts=() if is_socket else hosts,
        database=int(found[1] or 0),
        service=unquote(service),
        socket=unquote(path) if is_socket else "",
        is_encrypted=is_encrypted,
        login=_login(login, environment),
        files=_files(options, is_encrypted=is_encrypted),
        numbers=_numbers(options),
        stage=options.pop("stage", "memory://"),
    )


def with_stage(url: str, stage: str) -> str:
    """Returns the URL with another stage in it."""
    url = without_stage(url)
    return f"{url}{'&' if '?' in url else '?'}stage={quote(stage, safe=':/')}"


def without_stage(url: str) -> str:
    """Returns the URL for a process that stores nothing new: it needs no stage."""
    head, _, query = url.partition("?")
    kept = [each for each in query.split("&") if each and not each.startswith("stage=")]
    return f"{head}?{'&'.join(kept)}" if kept else head


def without_login(url: str) -> str:
    """Returns the URL without what may be a user or a password, whatever is wrong with it."""
    scheme, slashes, rest = url.partition("://")
    if not slashes:
        return f"{url.partition(':')[0]}:…"
    # A password with an unquoted "/" or "?" in it reaches further than urlsplit() would see.
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _hosts(place: str, port: int) -> tuple[tuple[str, int], ...]:
    """Returns hosts with their ports; none if they can't be read."""
    hosts = []
    for each in place.split(",") if place else ():
        found = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:@/\s]+)(?::(\d{1,5}))?", each)
        if found is None or int(found[2] or port) > 65535:
            return ()
        hosts.append((found[1].strip("[]"), int(found[2] or port)))
    return tuple(hosts)


def _login(login: str, environment: Mapping[str, str]) -> dict[str, str]:
    user, has_password, password = login.partition(":")
    if not login:
        user = environment.get("REDIS_USERNAME", "")
        password = environment.get("REDIS_PASSWORD", "")
    elif not has_password and environment.get("REDIS_PASSWORD"):
        user, password = unquote(user), environment["REDIS_PASSWORD"]
    else:
        user, password = unquote(user), unquote(password)
    return {name: value for name, value in (("username", user), ("password", password)) if value}


def _options(query: str) -> dict[str, str]:
    """Returns the options by name. A plus sign is one: paths have them."""
    pairs = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)
    options = dict(pairs)
    known = ("stream", "stage", *_NUMBERS, *_FILES, "db")
    for name in options:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            meant = f"did you mean {close[0]}?" if close else f"use {', '.join(known)}"
            if name in ("ssl_cert_reqs", "ssl_check_hostname"):
                meant = f"certificates are always verified; use {', '.join(_FILES)}"
            raise ConfigurationError(f"buffer: the option {shown(name)} is unknown; {meant}")
        if sum(name == each for each, _ in pairs) > 1:
            raise ConfigurationError(f"buffer: the option {name} is there twice; use it once")
    return options


def _numbers(options: dict[str, str]) -> dict[str, int]:
    numbers = {}
    for name in _NUMBERS:
        value = options.pop(name, None)
        if value is None:
            continue
        is_number = value.isascii() and value.isdecimal() and len(value) < 100
        if not is_number or not 1 <= int(value) <= _MOST:
            raise ConfigurationError(
                f"buffer: the option {name}={shown(value)} can't be used; use a whole number from "
                f"1 to {_MOST}"
            )
        numbers[name] = int(value)
    return numbers


def _files(options: dict[str, str], *, is_encrypted: bool) -> dict[str, str]:
    files = {name: options.pop(name) for name in _FILES if name in options}
    if files and not is_encrypted:
        raise ConfigurationError(
            f"buffer: the option {next(iter(files))} needs TLS; use rediss:// in the URL"
        )
    return files


def _unusable(plain: str) -> ConfigurationError:
    return ConfigurationError(
        f"buffer: {shown(plain)} can't be used; use redis://host:6379/0?stream=NAME, rediss:// for "
        f"TLS, unix:///path/to/redis.sock?db=0, or redis+sentinel://host1:26379,host2/MASTER/0; "
        f"percent-encode the user and the password"
    )
