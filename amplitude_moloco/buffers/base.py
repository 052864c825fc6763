"""What a buffer is: events wait in it until the server has accepted them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from amplitude_moloco.reasons import DeadLetterReason, DropReason


class Entry(NamedTuple):
    """One event, claimed to be sent. The body is opaque here."""

    key: Hashable
    """Names this claim of the event. Only the buffer knows what it means."""
    id: str
    sync: str
    body: bytes
    accepted_at: float
    """Unix time in seconds."""
    age_seconds: float = 0.0
    """How long ago it was accepted when it was claimed, by the buffer's own clock."""
    attempts: int = 0
    """How often it was sent and failed."""
    strikes: int = 0
    """How often it failed while other events passed."""
    lane: str = ""
    """The lane that it goes in; empty for none."""

    def aged(self, seconds: float) -> Entry:
        """Returns the entry as it is after this time."""
        key, id, sync, body, accepted_at, age_seconds, attempts, strikes, lane = self
        age_seconds += seconds
        return Entry(key, id, sync, body, accepted_at, age_seconds, attempts, strikes, lane)


class Claim(NamedTuple):
    """What one call of ``claim`` took, and when to call it again."""

    entries: list[Entry]
    next_seconds: float | None
    """Seconds until another entry can be claimed: 0 if one is due already, None if none waits."""


class DeadLetter(NamedTuple):
    """One event that can't be delivered, and why."""

    key: Hashable
    """Names the letter. Only the buffer knows what it means."""
    id: str
    sync: str
    body: bytes
    accepted_at: float
    """Unix time in seconds."""
    buried_at: float
    """Unix time in seconds."""
    attempts: int
    reason: DeadLetterReason
    status: int | None
    message: str
    lane: str = ""


class BufferState(NamedTuple):
    """What a buffer holds at one moment. A shared buffer counts the entries of all processes."""

    waiting: int
    """Entries that no process has claimed."""
    claimed: int
    """Entries on their way, as far as this process knows."""
    dead: int
    """Dead letters."""


@dataclass(frozen=True)
class Lost:
    """Stored events can't be read any more, since a file of the buffer was damaged or removed.

    Final. They are not in the law of the counters: a durable buffer had them.
    """

    events: int
    """How many, as far as that can be known."""
    message: str
    """What happened, and where what is left of them lies."""
    number: int | None = None
    """The number of the event in its journal, or of its row in the store."""


@dataclass(frozen=True)
class Degraded:
    """The durable buffer can't be used as it should, or a forked process can't open it.

    Events wait in memory meanwhile. Reported once, and also where a forked process can't open its
    transport: it tries again with each request.
    """

    message: str


News = Lost | Degraded


class Buffer(Protocol):
    """Holds entries until their outcome is known. All methods are safe from any thread.

    One sender at a time holds the claim of an entry, which stays in the buffer until it is
    acknowledged or buried. A buffer has clocks of its own: times are handed over as durations.
    ``ack``, ``retry`` and ``bury`` return False, and change nothing, where the claim is no longer
    the caller's.

    Entries that were put with the same ``lane`` are claimed one at a time, in the order of their
    puts: the next one once the one before is acknowledged or buried. A retry holds up its lane, and
    no other. An entry without a lane waits for no other.
    """

    @property
    def is_durable(self) -> bool:
        """Whether stored entries survive the process, so that any process may send them."""
        ...

    def put(self, id: str, sync: str, body: bytes, lane: str = "") -> DropReason | None:
        """Store a new entry. Returns why it can't be stored; None if it is. Never raises."""
        ...

    def claim(self, limit: int, newest: int = 0) -> Claim:
        """Claim up to ``limit`` entries that are due, in the order in which they came due.

        Where more are due, ``newest`` of them are the ones stored last, of those without a lane.
        """
        ...

    def ack(self, entry: Entry) -> bool:
        """Remove a claimed entry that was delivered."""
        ...

    def retry(self, entry: Entry, delay_seconds: float, *, attempts: int, strikes: int = 0) -> bool:
        """Give back a claimed entry. It is due again after the delay, with these counts."""
        ...

    def checkpoint(self) -> Callable[[], bool]:
        """Returns a function that says whether all entries stored before now have been tried.

        Tried means sent at least once, or removed, or held up by one of the same lane that waits
        for another attempt. The function may be called many times, from any thread.
        """
        ...

    def state(self) -> BufferState: ...

    def close(self) -> list[Entry]:
        """Release everything, and return the entries that are lost by it."""
        ...


class Tended(Protocol):
    """A buffer that needs care now and then, from a thread that may wait for the disk."""

    @property
    def tend_seconds(self) -> float:
        """How much time should pass between two calls of ``tend``."""
        ...

    @property
    def has_due(self) -> bool:
        """Whether it held something due that this process did not put, when it was tended."""
        ...

    @property
    def may_rest(self) -> bool:
        """Whether it needs no care for now: it holds nothing, and another one sees to the rest."""
        ...

    def call_when_needed(self, begin: Callable[[], object]) -> None:
        """Call this, from any thread, once it may rest no longer though nothing was put."""
        ...

    def tend(self) -> list[News]:
        """Do what is due, and return what has happened to the buffer since. Never raises."""
        ...


class Noticing(Protocol):
    """A buffer that learns by itself when something is due, from a thread of its own."""

    def call_when_due(self, call: Callable[[], object]) -> None:
        """Call this whenever ``claim`` has more to return than it had, from any thread."""
        ...


class Shared(Protocol):
    """A durable buffer in which a process may hold what others can't claim yet.

    A buffer without these methods has nothing of that kind.
    """

    def begin_sharing(self) -> None:
        """This process claims nothing from this buffer. Called once, before anything is put."""
        ...

    def share(self) -> bool:
        """Give what this process has put until now to all processes. May wait for the disk.

        Called by a process that claims nothing, from one thread at a time. Returns whether that is
        done: until then a later call, or the end of the process, does it. Never raises.
        """
        ...


class Agreement(NamedTuple):
    """What the processes that share a buffer agree on."""

    version: int
    text: bytes
    """Empty if there is none yet."""
    now: float
    """Seconds of a clock that all of them share, when it was read."""
    is_stored: bool
    """Whether the new text was stored. If not, the others' is here."""


Exchange = Callable[[int, bytes], Agreement]
"""Stores a text if the version is still the one that the caller has read. -1 reads alone."""


class Member(Protocol):
    """Takes part in an agreement, in a thread of the buffer's."""

    def due_in(self) -> float:
        """Returns the seconds until ``meet`` is to be called; infinity if never."""
        ...

    def meet(self, exchange: Exchange) -> None:
        """Read what is agreed on, and change it. May raise what the exchange raises: OSError."""
        ...


class Meeting(Protocol):
    """A buffer that keeps one short text for all processes that share it."""

    def join_fleet(self, member: Member) -> Callable[[], object]:
        """Have this member called when it is due. Returns what to call when that is sooner."""
        ...


class DeadLetters(Protocol):
    """Keeps what can't be delivered. All methods are safe from any thread."""

    def bury(
        self, entry: Entry, reason: DeadLetterReason, *, status: int | None, message: str
    ) -> bool:
        """Turn a claimed entry into a dead letter."""
        ...

    def dead_letters(self) -> Iterable[DeadLetter]:
        """The dead letters, oldest first. Others may be added or removed meanwhile."""
        ...

    def resend(self, letter: DeadLetter) -> bool:
        """Turn a dead letter into an entry that is due, with its id and body, accepted now.

        It goes to the end of its lane. Returns False if it is no longer there.
        """
        ...


class Aged(Protocol):
    """Knows how old its entries are."""

    def oldest_age_seconds(self) -> float | None:
        """Returns the age of the entry that was stored first, claimed or not; None for none.

        A durable buffer is asked from a thread that may wait for the disk, at most every ten
        seconds.
        """
        ...


class Storage(Buffer, DeadLetters, Aged, Protocol):
    """What the setting ``buffer`` opens: a buffer and its dead letters, in one object."""


BufferFactory = Callable[[], Storage]
