"""Delivers what Amplitude has of the past, through the engine that delivers live events."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Protocol, TypeVar

from amplitude_moloco.engine.checks import number_or_none
from amplitude_moloco.engine.engine import Engine, EngineSettings, build_engine
from amplitude_moloco.engine.facts import Fact, Paused, Resumed
from amplitude_moloco.errors import BackfillError, ConfigurationError
from amplitude_moloco.history.export import ExportReader
from amplitude_moloco.history.lane import Lane
from amplitude_moloco.history.outcome import Ended, Outcome, Refusal
from amplitude_moloco.history.place import ExportError
from amplitude_moloco.history.plan import Plan, plan_of
from amplitude_moloco.history.state import Read, State
from amplitude_moloco.plugin import Converter
from amplitude_moloco.reasons import PauseReason
from amplitude_moloco.transports.base import Endpoint

T = TypeVar("T")

_WINDOW = 1_000
"""This many events are read ahead of the first that is not done."""
_AT_A_TIME = 100
"""This many are read and noted together."""
_POLL_SECONDS = 0.2
_CLOSE_SECONDS = 15.0


class Settings(Protocol):
    """The settings of a destination, of which a backfill uses these."""

    def converter(self) -> Converter: ...

    def endpoint(self) -> Endpoint: ...

    def engine_settings(self) -> EngineSettings: ...


@dataclass(frozen=True)
class Progress:
    """How far a backfill is."""

    read: int
    """Events that were read by this run."""
    counts: dict[Ended, int]
    """What ended how, in this run and those before it."""
    on_their_way: int
    """Requests that wait, or are being sent."""
    pause: str
    """Why nothing is sent now; empty if something is."""


@dataclass(frozen=True)
class Result:
    """What became of all events."""

    counts: dict[Ended, int]
    first_places: dict[Ended, str]
    """Where the first event of each of these lies."""
    refusals: tuple[Refusal, ...]

    @property
    def has_failures(self) -> bool:
        """Whether events can't be sent, or were refused."""
        return any(ended.outcome in (Outcome.INVALID, Outcome.REFUSED) for ended in self.counts)


class Backfill:
    """Sends the events of an export that were not sent yet. Safe for one thread at a time.

    Its events wait in a buffer of their own, so that none of a live app waits behind them. If it is
    ended at any moment and run again with the same state, it goes on where it was: nothing is left
    out, and nothing is sent twice but what was on its way.

    Args:
        settings: The settings of a destination. Their buffer, hooks and rate are not used.
        reader: The events.
        state: The path of the file in which the state is kept.
        rate: The highest rate, in requests a second; None for as fast as the server allows.

    Raises:
        ConfigurationError: An argument can't work.
    """

    def __init__(
        self,
        settings: Settings,
        reader: ExportReader,
        *,
        state: str | PathLike[str],
        rate: float | None = 30.0,
    ) -> None:
        if len({*reader.files}) < len(reader.files):
            raise ConfigurationError("sources: two open files have the same name; use paths")
        self._converter = settings.converter()
        self._target = settings.endpoint().url
        self._settings = replace(
            settings.engine_settings(), max_requests_per_second=number_or_none("rate", rate)
        )
        self._reader = reader
        self._path = Path(state)

    def check_state(self) -> None:
        """Raises ConfigurationError if the state is another backfill's, or can't be used."""
        self._open_state().close()

    def plan(self, on_progress: Callable[[Plan], object] = lambda plan: None) -> Plan:
        """Read and convert everything, and send nothing. Returns what would be sent."""
        return plan_of(self._reader, self._converter, on_progress)

    def run(self, on_progress: Callable[[Progress], object] = lambda progress: None) -> Result:
        """Send what was not sent yet, and return once each event has its outcome.

        ``on_progress`` is called a few times a second. An exception, such as KeyboardInterrupt,
        ends the run once what is on its way is done, or after 15 seconds.

        Raises:
            ConfigurationError: The state is another backfill's, is in use, or can't be used.
            BackfillError: The server refuses everything, or 20 events in a row; or the state
                can't be written.
            ExportError: Something can't be read, and the reader has no ``on_error``. What comes
                before it has been sent.
        """
        with closing(self._open_state()) as state:
            try:
                _Run(self._reader, self._converter, state, self._settings, on_progress).to_its_end()
                return Result(dict(state.counts), state.first_places(), tuple(state.refusals()))
            except sqlite3.Error as error:
                raise BackfillError(f"the state can't be written: {error}") from None

    def _open_state(self) -> State:
        return State(self._path, target=self._target, selection=self._reader.selection)


class _Run:
    """One run, in the thread that reads."""

    def __init__(
        self,
        reader: ExportReader,
        converter: Converter,
        state: State,
        settings: EngineSettings,
        on_progress: Callable[[Progress], object],
    ) -> None:
        self._reader = reader
        self._converter = converter
        self._state = state
        self._lane = lane = Lane(state)
        self._settings = replace(settings, open_buffer=lambda: lane, hooks=(self._learn,))
        self._on_progress = on_progress
        self._read = 0
        self._told_at = 0.0
        self._pause = ""

    def to_its_end(self) -> None:
        engine = build_engine(self._settings)
        try:
            self._send_files(engine)
        finally:
            engine.close(_CLOSE_SECONDS)
        self._tell()

    def _send_files(self, engine: Engine) -> None:
        try:
            for number, name in enumerate(self._reader.files):
                self._send_file(engine, number, name)
        except ExportError:
            self._wait(0)
            raise
        self._wait(0)

    def _send_file(self, engine: Engine, number: int, name: str) -> None:
        known = self._state.begin_file(name, _size(name))
        if known is None:
            return
        file, upto = known
        convert, now_millis = self._converter.convert, int(time.time() * 1000)
        for some in _batches(enumerate(self._reader.read(number), start=1)):
            self._read += len(some)
            read = [
                Read(count, place, [*convert(event, now_millis)])
                for count, (place, event) in some
                if count > upto
            ]
            for each in self._state.begin(file, read):
                engine.put(str(each.id), each.sync, each.body)
            self._wait(_WINDOW - _AT_A_TIME)
        self._state.end_file(file)

    def _wait(self, most: int) -> None:
        """Once more than this many events are under way, wait for most of them.

        Tells how far it is, now and then. Raises BackfillError.
        """
        if self._state.window > most:
            most //= 2  # so that neither this thread nor the sender waits for each single event
        while True:
            if self._lane.problem:
                raise BackfillError(self._lane.problem)
            if time.monotonic() - self._told_at >= _POLL_SECONDS:
                self._tell()
            if self._lane.wait(most, _POLL_SECONDS):
                return

    def _tell(self) -> None:
        self._told_at = time.monotonic()
        counts, on_their_way = dict(self._state.counts), self._state.on_their_way
        self._on_progress(Progress(self._read, counts, on_their_way, self._pause))

    def _learn(self, fact: Fact) -> None:
        """A hook of the engine."""
        if isinstance(fact, Paused):
            self._pause = fact.cause or f"{fact.status} {fact.message}".strip()
            if fact.reason is PauseReason.MISCONFIGURED:
                self._lane.stop(f"the server refuses everything: {self._pause}")
        elif isinstance(fact, Resumed):
            self._pause = ""


def _batches(events: Iterable[T]) -> Iterator[list[T]]:
    """Yields some events at a time; before an ExportError, those that were read before it."""
    some: list[T] = []
    try:
        for event in events:
            some.append(event)
            if len(some) == _AT_A_TIME:
                yield some
                some = []
    except ExportError:
        yield some
        raise
    yield some


def _size(name: str) -> int | None:
    """Returns the size of a file; None where it is no file, such as the standard input."""
    try:
        return Path(name).stat().st_size
    except OSError:
        return None
