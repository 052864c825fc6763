"""Opens a buffer by its URL."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from amplitude_moloco.buffers.base import Storage
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.errors import ConfigurationError

_MOST = 2**63 - 1  # what SQLite can store
_MOST_DIGITS = 100  # leading zeros included
_CREDENTIALS = re.compile(r"//[^/]*@")  # of another service's URL, which must not be repeated


def open_buffer(
    url: str, *, target: str, lease_seconds: float = 60.0, longest_delay_seconds: float = 7200.0
) -> Storage:
    """Open the buffer that ``url`` names.

    Args:
        url: ``memory://``, with the options ``max_events=100000`` and ``max_bytes=67108864``, or
            ``sqlite:///absolute/path.db`` or ``sqlite:relative.db``, with the options
            ``max_events``, ``max_bytes``, ``synchronous=FULL``, and ``wait_millis=50``: the longest
            wait of a put for another process. Options follow a ``?``, separated by ``&``.
        target: Where the events go. A durable buffer accepts only events for the target that it
            was created for.
        lease_seconds: How long a claim lasts in a durable buffer. Set it from the longest time
            that a sender holds an entry.
        longest_delay_seconds: The longest delay of a retry.

    Raises:
        ConfigurationError: The scheme or an option is unknown, or the file can't be used.
    """
    refusal = ConfigurationError(
        f"buffer: {_CREDENTIALS.sub('//', url)!r} does not name a buffer; use 'memory://' or "
        f"'sqlite:///path/to/buffer.db'"
    )
    try:
        parts = urlsplit(url)
    except ValueError:
        raise refusal from None
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.netloc or parts.fragment:
        raise refusal
    if parts.scheme == "memory" and not parts.path:
        return MemoryBuffer(**_whole_numbers(options, ("max_events", "max_bytes")))
    if parts.scheme == "sqlite" and parts.path.strip("/"):
        return _open_sqlite(
            unquote(parts.path),
            options,
            target=target,
            lease_seconds=lease_seconds,
            longest_delay_seconds=longest_delay_seconds,
        )
    raise refusal


def _open_sqlite(path: str, options: dict[str, str], **settings: Any) -> Storage:
    try:  # imported only when used: not every system has fcntl, not every Python has sqlite3
        from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
    except ImportError as error:
        raise ConfigurationError(
            f"buffer: 'sqlite:' can't be used here ({error}); it needs a POSIX system and a Python "
            f"with sqlite3; use 'memory://'"
        ) from error
    synchronous = options.pop("synchronous", "NORMAL").upper()
    numbers = _whole_numbers(options, ("max_events", "max_bytes", "wait_millis"), "synchronous")
    wait_seconds = numbers.pop("wait_millis", 50) / 1000
    return SqliteBuffer(
        path, synchronous=synchronous, wait_seconds=wait_seconds, **numbers, **settings
    )


def _whole_numbers(options: dict[str, str], known: tuple[str, ...], *others: str) -> dict[str, Any]:
    for name, value in options.items():
        if len(value) > _MOST_DIGITS or (value.isdecimal() and int(value) > _MOST):
            raise ConfigurationError(
                f"buffer: the option {name} can't be that large; use at most {_MOST}"
            )
        if name not in known or not value.isdecimal() or int(value) < 1:
            raise ConfigurationError(
                f"buffer: the option {name}={value} can't be used; the options are "
                f"{', '.join((*known, *others))}; numbers are whole and at least 1"
            )
    return {name: int(value) for name, value in options.items()}
