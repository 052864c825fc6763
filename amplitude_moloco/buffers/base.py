"""Where events wait until MCM has taken them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from amplitude_moloco.errors import ConfigurationError

_LOGIN = re.compile(r"//[^/]*@")  # of a URL that was meant for something else

__all__ = ["Buffer", "BufferState", "DeadLetter", "Entry", "open_buffer"]


class Entry(NamedTuple):
    """One event on its way. What is in the body is nobody's business here."""

    key: int
    """The buffer's own, ascending in the order of the puts."""
    id: str
    sync: str
    body: bytes
    accepted_at: float
    """Unix time in seconds."""
    attempts: int = 0
    """How often it was sent and failed."""
    strikes: int = 0
    """How often it failed while others passed: what it is given up for."""
    token: int = 0
    """Whose claim it is: with an old one nothing can be settled."""


class DeadLetter(NamedTuple):
    """One event that can't be delivered, and why."""

    entry: Entry
    reason: str
    status: int | None
    message: str
    buried_at: float
    """Unix time in seconds."""


class BufferState(NamedTuple):
    """What lies in a buffer at one moment."""

    waiting: int
    """Entries that nobody has claimed."""
    claimed: int
    dead: int
    last_key: int
    """The newest entry's key; 0 before the first."""
    oldest_untried: int | None
    """The key of the oldest entry that was never sent, claimed ones included."""
    next_due: float | None
    """When the next unclaimed entry can be claimed, in Unix seconds; 0 for at once."""


class Buffer(Protocol):
    """Holds entries until their outcome is known. Safe to use from any thread.

    An entry is claimed by one sender at a time, and stays in the buffer until it is acknowledged
    or buried. Times are handed in, as Unix seconds. ``ack``, ``retry`` and ``bury`` are False, and
    change nothing, where the entry is no longer the caller's claim.
    """

    @property
    def is_durable(self) -> bool:
        """Whether what was put survives the process."""
        ...

    def put(self, id: str, sync: str, body: bytes, now: float) -> str | None:
        """Store a new entry. Returns why it can't be stored (``full``, …); None if it is."""
        ...

    def claim(self, limit: int, now: float, newest: int = 0) -> list[Entry]:
        """Take up to ``limit`` entries that are due, those first that were due first.

        Where more are due, ``newest`` of them are those that were put last.
        """
        ...

    def ack(self, entry: Entry) -> bool:
        """Take out a claimed entry that was delivered."""
        ...

    def retry(self, entry: Entry, due: float, *, attempts: int, strikes: int = 0) -> bool:
        """Give back a claimed entry: it comes due again then, with these numbers."""
        ...

    def bury(self, letter: DeadLetter) -> bool:
        """Move a claimed entry to the dead letters."""
        ...

    def dead_letters(self) -> list[DeadLetter]:
        """The dead letters, oldest first."""
        ...

    def resend(self, ids: Collection[str] | None, now: float) -> int:
        """Make dead letters due again, with their ids and bodies, as new ones of now.

        All of them, or those with these ids. Returns how many there were.
        """
        ...

    def state(self) -> BufferState: ...

    def close(self) -> list[Entry]:
        """Let go of everything, and give back the entries that are lost by it."""
        ...


def open_buffer(
    url: str, *, target: str, lease_seconds: float = 60.0, longest_delay_seconds: float = 7200.0
) -> Buffer:
    """Open the buffer that ``url`` names.

    ``memory://``, with ``?max_events=100000&max_bytes=67108864``, or
    ``sqlite:///absolute/path.db`` (``sqlite:relative.db``), with ``?max_events=…&max_bytes=…``,
    ``&synchronous=FULL`` and ``&wait_millis=50``, which is how long a put waits for another
    process. A durable buffer takes only events for the ``target`` that it was made for; how long a
    claim lasts there, and how far a retry may lie ahead, its users know.

    Raises ConfigurationError for another scheme, an unknown option, a file that can't be used.
    """
    refusal = ConfigurationError(
        f"buffer: {_LOGIN.sub('//', url)!r} is no buffer; use 'memory://' or 'sqlite:///path/to/moloco.db'"
    )
    try:
        parts = urlsplit(url)
    except ValueError:
        raise refusal from None
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.netloc or parts.fragment:
        raise refusal
    if parts.scheme == "memory" and not parts.path:
        return _open_memory(options)
    if parts.scheme == "sqlite" and parts.path.strip("/"):
        return _open_sqlite(
            unquote(parts.path),
            options,
            target=target,
            lease_seconds=lease_seconds,
            longest_delay_seconds=longest_delay_seconds,
        )
    raise refusal


def _open_memory(options: dict[str, str]) -> Buffer:
    from amplitude_moloco.buffers.memory import MemoryBuffer  # it needs the names above

    return MemoryBuffer(**_whole_numbers(options, ("max_events", "max_bytes")))


def _open_sqlite(path: str, options: dict[str, str], **settings: Any) -> Buffer:
    try:  # not every app needs it, and not every Python has it
        from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
    except ImportError as error:
        raise ConfigurationError(
            f"buffer: sqlite can't be used here ({error}); it needs a POSIX system, and a Python "
            f"with sqlite3; use 'memory://'"
        ) from error
    synchronous = options.pop("synchronous", "NORMAL").upper()
    numbers = _whole_numbers(options, ("max_events", "max_bytes", "wait_millis"), "synchronous")
    wait_seconds = numbers.pop("wait_millis", 50) / 1000
    settings |= {"synchronous": synchronous, "wait_seconds": wait_seconds, **numbers}
    return SqliteBuffer(path, **settings)


def _whole_numbers(options: dict[str, str], known: tuple[str, ...], *more: str) -> dict[str, int]:
    for name, value in options.items():
        if name not in known or not value.isdecimal() or int(value) < 1:
            raise ConfigurationError(
                f"buffer: {name}={value} can't be used; the options are "
                f"{', '.join((*known, *more))}; the numbers are whole ones of at least 1"
            )
    return {name: int(value) for name, value in options.items()}


BufferFactory = Callable[[], Buffer]
