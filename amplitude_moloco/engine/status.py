"""How sending goes, for a health check: noted by the senders, read without waiting."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from amplitude_moloco.buffers.base import BufferState, Storage
from amplitude_moloco.engine.breaker import Circuit
from amplitude_moloco.engine.facts import DeadLettered, Degraded, Delivered, Fact, Paused, Retrying
from amplitude_moloco.engine.rate import Pace
from amplitude_moloco.engine.summary import SLACK_SECONDS
from amplitude_moloco.reasons import PauseReason, Reason
from amplitude_moloco.text import one_line

_READ_SECONDS = 10.0
"""While something waits in a durable buffer, a sender reads its state this often."""
_READ_AGAIN_SECONDS = 1.0
"""The same while it can't be read."""


class CircuitState(Reason):
    """Whether events are sent."""

    CLOSED = "closed"
    """They are."""
    OPEN = "open"
    """Sending pauses, since the server fails or refuses all events. Events are kept."""
    PROBING = "probing"
    """As open, and one request is on its way to check for recovery."""


@dataclass(frozen=True)
class Status:
    """How sending goes in this process, at one moment. Each field is JSON's as it is.

    ``json.dumps(dataclasses.asdict(status))`` works. Times are Unix times in seconds.
    """

    circuit: CircuitState
    pause_reason: PauseReason | None
    """Why the circuit is open; None if it is closed."""
    next_probe_seconds: float | None
    """When the next probe is due; None if the circuit is closed, or a probe is on its way."""
    requests_per_second: float | None
    """The rate that is allowed now; None for no limit."""
    last_success_at: float | None
    """When the server last accepted an event; None for never."""
    last_failure_at: float | None
    """When an attempt failed last, or the server refused an event; None for never."""
    last_failure: str
    """Its cause in words, or the server's message; empty for none. Never the key."""
    last_failure_status: int | None
    """Its HTTP status; None without an answer."""
    waiting: int | None
    """Events in the buffer that are not on their way. None if it was not read yet."""
    on_their_way: int
    """Events that this process has claimed, now."""
    dead_letters: int | None
    oldest_waiting_seconds: float | None
    """The age of the oldest event in the buffer, on its way or not; None if there is none."""
    buffer_read_at: float | None
    """When the buffer was read: now, or when a sender last read a durable one."""
    threads: int
    """Threads that send. They end after a minute without work, and come back with the next. With
    ``deliver=False``, the one that looks after the buffer."""
    is_closed: bool
    """Whether the destination is closed, or about to be: it accepts nothing more."""
    max_events: int | None = None
    """How many events the buffer holds at most; None if it does not say."""
    delivers: bool = True
    """Whether this process sends; False with ``deliver=False``: then another process does, and
    the circuit, the rate and the last success are those of that one."""
    buffer_fault: str = ""
    """Why a durable buffer could not be read when that was tried last; empty if it could."""


class _Failure(NamedTuple):
    at: float
    cause: str
    status: int | None


class _Reading(NamedTuple):
    """What was read from the buffer, and when: by both clocks."""

    state: BufferState
    oldest_seconds: float | None
    at: float
    unix_at: float


class Vitals:
    """Notes what a health check asks for. A hook, and a chore of the ledger's.

    Safe from any thread: each note is one assignment.

    Args:
        monotonic: The clock, in seconds.
        wall: Gives the Unix time in seconds.
    """

    def __init__(
        self,
        buffer: Storage,
        monotonic: Callable[[], float],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._buffer = buffer
        self._monotonic = monotonic
        self._wall = wall
        self._success_at: float | None = None
        self._failure: _Failure | None = None
        self._pause_reason: PauseReason | None = None
        self._reading: _Reading | None = None
        self._tried_at = -inf
        self._fault = ""

    def __call__(self, fact: Fact) -> None:
        """Note the last success and the last failure. A buffer in trouble is to be read anew."""
        if isinstance(fact, Delivered):
            self._success_at = self._wall()
        elif isinstance(fact, Retrying):
            self._failure = _Failure(self._wall(), fact.cause or fact.reason, fact.status)
        elif isinstance(fact, DeadLettered):
            self._failure = _Failure(self._wall(), fact.message or fact.reason, fact.status)
        elif isinstance(fact, Paused):
            self._pause_reason = fact.reason
            cause = fact.cause or fact.message or fact.reason
            self._failure = _Failure(self._wall(), cause, fact.status)
        elif isinstance(fact, Degraded):
            self._tried_at = -inf  # what was read before may be true no longer

    def run(self) -> None:
        """Read a durable buffer, unless that was done just now. May wait for the disk."""
        seconds = self._monotonic() - self._tried_at
        rest_seconds = _READ_AGAIN_SECONDS if self._fault else _READ_SECONDS
        if self._buffer.is_durable and seconds >= rest_seconds - SLACK_SECONDS:
            self.read_buffer()

    def due_seconds(self) -> float:
        """Returns the seconds until the buffer is to be read again; infinity if it holds nothing.

        Without this reading, what was delivered since the last one would seem to wait. A buffer
        that is tended has a sender awake anyway.
        """
        reading = self._reading
        if reading is None or not self._buffer.is_durable or hasattr(self._buffer, "tend"):
            return inf
        holds_any = reading.state.waiting or reading.state.claimed
        elapsed = self._monotonic() - self._tried_at
        return max(0.0, _READ_SECONDS - elapsed) if holds_any else inf

    def read_buffer(self) -> int:
        """Read the buffer now. Returns how many events wait in it; 0 if it can't be read."""
        self._tried_at = self._monotonic()
        try:
            self._reading = reading = self._read()
        except Exception as error:  # the next claim finds out
            self._fault = one_line(error) or type(error).__name__
            return 0
        self._fault = ""
        return reading.state.waiting

    def status(
        self,
        breaker: Circuit,
        rate: Pace,
        *,
        buffered: int,
        threads: int,
        is_closed: bool,
        delivers: bool = True,
    ) -> Status:
        """Returns the status of now. Reads a buffer in memory, and no other.

        ``buffered`` is the counter of that name.
        """
        is_durable = self._buffer.is_durable
        reading = self._reading if is_durable else self._read()
        # Where the buffer is durable, that counter has what is on its way, and nothing else.
        on_their_way = buffered if is_durable or reading is None else reading.state.claimed
        is_open, probe_seconds = breaker.is_open, breaker.delay_seconds()
        circuit = CircuitState.OPEN if is_open else CircuitState.CLOSED
        if is_open and probe_seconds is None:
            circuit = CircuitState.PROBING
        failure = self._failure or _Failure(0.0, "", None)
        return Status(
            circuit=circuit,
            pause_reason=self._pause_reason if is_open else None,
            next_probe_seconds=probe_seconds if is_open else None,
            requests_per_second=rate.rate,
            last_success_at=self._success_at,
            last_failure_at=failure.at or None,
            last_failure=str(failure.cause),
            last_failure_status=failure.status,
            waiting=reading and reading.state.waiting,
            on_their_way=on_their_way,
            dead_letters=reading and reading.state.dead,
            oldest_waiting_seconds=reading and self._age(reading),
            buffer_read_at=reading and reading.unix_at,
            threads=threads,
            is_closed=is_closed,
            max_events=getattr(self._buffer, "max_events", None),
            delivers=delivers,
            buffer_fault=self._fault,
        )

    def _read(self) -> _Reading:
        state, oldest_seconds = self._buffer.state(), self._buffer.oldest_age_seconds()
        return _Reading(state, oldest_seconds, self._monotonic(), self._wall())

    def _age(self, reading: _Reading) -> float | None:
        if reading.oldest_seconds is None:
            return None
        return reading.oldest_seconds + self._monotonic() - reading.at
