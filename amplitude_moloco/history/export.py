"""Reads an export of Amplitude as a stream of events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime
from typing import Any, BinaryIO

from amplitude import BaseEvent

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.history.document import parse_exactly, parse_fast
from amplitude_moloco.history.files import ExportFile, Source, find_files
from amplitude_moloco.history.filters import Filters, LeftOutReason, Names
from amplitude_moloco.history.members import open_members, read_lines
from amplitude_moloco.history.place import ExportError, Place, Unreadable
from amplitude_moloco.history.record import Inexact, event_of, event_type_of

ToEvent = Callable[..., BaseEvent]
"""Makes an event of a record, as :func:`event_of` does, with the same keywords."""


class ExportReader:
    """The events of an export, each with its place. Made by :func:`read_export`.

    Each iteration reads the files from the beginning; an open file, and the standard input, only
    once. Not safe for several threads at a time.

    Attributes:
        left_out: How many events were left out, by :class:`LeftOutReason`, since the last iteration
            began.
        unreadable: How many lines, members and files could not be read since then.
    """

    def __init__(
        self,
        files: Iterable[ExportFile],
        filters: Filters,
        *,
        keep_event_id: bool = False,
        on_error: Callable[[ExportError], object] | None = None,
        to_event: ToEvent = event_of,
    ) -> None:
        self._files = tuple(files)
        self._filters = filters
        self._keep_event_id = keep_event_id
        self._on_error = on_error
        self._to_event = to_event
        self.left_out: Counter[LeftOutReason] = Counter()
        self.unreadable = 0

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files, in the order of reading."""
        return tuple(file.name for file in self._files)

    @property
    def selection(self) -> str:
        """Which events are read, in words: the same for two readers that read the same ones."""
        return str(self._filters)

    def __iter__(self) -> Iterator[tuple[Place, BaseEvent]]:
        self.left_out.clear()
        self.unreadable = 0
        for number in range(len(self._files)):
            yield from self.read(number)

    def read(self, number: int) -> Iterator[tuple[Place, BaseEvent]]:
        """Yields the events of one file: ``number`` is its place in ``files``, from 0."""
        file = self._files[number]
        try:
            opened = file.open()
        except OSError as error:
            self._report(Place(file.name), f"can't be opened: {error.strerror}")
            return
        try:
            for member, stream in open_members(opened):
                if isinstance(stream, Unreadable):
                    self._report(Place(file.name, member), stream)
                else:
                    yield from self._read(file.name, member, stream)
        finally:
            if file.is_ours:
                opened.close()

    def _read(self, file: str, member: str, stream: BinaryIO) -> Iterator[tuple[Place, BaseEvent]]:
        for number, line in enumerate(read_lines(stream), start=1):
            if isinstance(line, Unreadable):
                self._report(Place(file, member, number), line)
            elif not line.isspace():
                try:
                    event = self._event_in(line)
                except Unreadable as problem:
                    self._report(Place(file, member, number), problem)
                else:
                    if event is not None:
                        yield Place(file, member, number), event

    def _event_in(self, line: bytes) -> BaseEvent | None:
        """Returns the event of a line; None if it is left out. Raises Unreadable."""
        is_exact = False
        try:
            record = parse_fast(line)
        except (ValueError, RecursionError):
            record = None
        if type(record) is not dict:
            record, is_exact = parse_exactly(line), True
        event_type = event_type_of(record)
        reason = self._filters.reason_against(event_type, record.get("library"))
        if reason is None:
            try:
                event = self._made(record, is_exact=is_exact)
            except Inexact:
                event = self._made(parse_exactly(line), is_exact=True)
            except RecursionError:
                raise Unreadable("properties that are nested too deeply") from None
            if self._filters.is_in_range(event.time):
                return event
            reason = LeftOutReason.TIME
        self.left_out[reason] += 1
        return None

    def _made(self, record: dict[str, Any], *, is_exact: bool) -> BaseEvent:
        return self._to_event(record, keep_event_id=self._keep_event_id, is_exact=is_exact)

    def _report(self, place: Place, problem: object) -> None:
        self.unreadable += 1
        error = ExportError(place, str(problem))
        if self._on_error is None:
            raise error
        self._on_error(error)


def read_export(
    sources: Source | Iterable[Source],
    *,
    since: date | datetime | str | None = None,
    until: date | datetime | str | None = None,
    libraries: Names = (),
    event_types: Names = (),
    exclude: Names = (),
    keep_event_id: bool = False,
    on_error: Callable[[ExportError], object] | None = None,
) -> ExportReader:
    """Returns the events of an export of Amplitude, as an iterable of place and event.

    It reads zips of the Export API, and JSON lines, plain or compressed with gzip, line by line.
    The first bytes of a file decide what it is. Each record becomes a ``BaseEvent`` as live code
    would have tracked it: see :mod:`amplitude_moloco.history.record`. ``$identify``, and events
    that Amplitude computed from others, are left out.

    Args:
        sources: A path, a folder, a pattern such as ``exports/*.zip``, ``-`` for the standard
            input, an open binary file; or several. A folder stands for all exports in it.
        since: The first time of an event to read: a date, a time, or text such as ``2026-01-31`` or
            ``2026-01-31T18:00``. Without a zone, in UTC. Files go by the time of upload, so that a
            range needs files of some days more.
        until: The time after the last one. It is not included.
        libraries: The libraries whose events to read, such as ``amplitude-python``: in any version
            unless one is given. ``*`` stands for any text. By default, all.
        event_types: The names of the events to read, with ``*`` as in a sync. By default, all.
        exclude: The names of events to leave out.
        keep_event_id: Whether events keep their ``event_id``, which goes before ``insert_id``.
        on_error: Called with an :class:`ExportError` for each line, member or file that can't be
            read, before reading goes on with the next. By default, it is raised.

    Raises:
        ConfigurationError: An argument can't work.
        ExportError: A path does not exist, or a folder or a pattern has no export. While reading:
            something can't be read, and there is no ``on_error``.
    """
    if on_error is not None and not callable(on_error):
        raise ConfigurationError(f"on_error: found {type(on_error).__name__}; use a callable")
    names = {"libraries": libraries, "event_types": event_types, "exclude": exclude}
    filters = Filters(since=since, until=until, **names)
    files = find_files(sources)
    return ExportReader(files, filters, keep_event_id=keep_event_id, on_error=on_error)
