"""The life of a destination plugin in Amplitude's SDK, for any partner.

setup, execute, flush, shutdown; and what the SDK does not know of: fork, exit, close.
"""

from __future__ import annotations

import copy
import logging
import threading
import time
import uuid
import weakref
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from concurrent import futures
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from amplitude import BaseEvent, Config, DestinationPlugin

from amplitude_moloco.buffers.base import BufferState, DeadLetter
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.convert.conversion import Conversion
from amplitude_moloco.convert.explanation import Explanation
from amplitude_moloco.convert.problem import Problem, ProblemReason
from amplitude_moloco.convert.repeats import RepeatedIds, Repetition
from amplitude_moloco.engine.checks import bounded, number
from amplitude_moloco.engine.engine import Engine, EngineSettings, build_engine
from amplitude_moloco.engine.facts import Degraded, Invalid, RepeatedId, SentTwice, Trimmed
from amplitude_moloco.engine.ledger import Stats
from amplitude_moloco.engine.measures import Measurements
from amplitude_moloco.engine.selection import SelectionWatch
from amplitude_moloco.engine.status import Status
from amplitude_moloco.host import fork, sdk
from amplitude_moloco.host.exit import call_at_end_of_celery_child, call_early_at_exit
from amplitude_moloco.host.interruption import is_interruption, pass_interruption
from amplitude_moloco.transports.late import LateTransport
from amplitude_moloco.watch.address import Address

logger = logging.getLogger(__name__)
Opened = TypeVar("Opened")

EVENT_ATTRIBUTES = frozenset(name for name in vars(BaseEvent("any")) if not name.startswith("_"))
"""The attributes that every event of the SDK has."""


class Converter(Protocol):
    """Turns an event into requests. Safe from any thread, and never raises."""

    @property
    def syncs(self) -> Sequence[Any]:
        """What selects events, each with its ``name``, and ``matches_name``."""
        ...

    def convert(
        self, event: Any, now_millis: int, watch: SelectionWatch | None = None
    ) -> list[Conversion]:
        """Returns one conversion for each sync that selects the event, which is not changed.

        ``watch`` learns which syncs refuse the event, and whether all do.
        """
        ...

    def explain(
        self, event: Any, now_millis: int, *, is_dropped_by_plugin: bool = False
    ) -> Explanation:
        """Returns one outcome for each sync."""
        ...

    def near_name(self, name: str) -> str:
        """Returns the configured name that an unselected event's name nearly is, or empty text."""
        ...


class Companion(Protocol):
    """Does something beside a destination, in each process that uses it. Neither method raises."""

    def start(self) -> None:
        """Begin in this process. Must be quick: in a forked child, ``track()`` waits for it."""
        ...

    def stop(self) -> None:
        """The destination is closed. May be called twice."""
        ...


class PartnerDestination(DestinationPlugin):  # type: ignore[misc]  # the SDK has no types
    """Delivers events to a partner, next to Amplitude's own upload.

    Ready once constructed. All methods are safe from any thread. None raises into ``track()``, and
    ``track()`` never waits for the network.

    Args:
        converter: Turns an event into the partner's requests.
        settings: How to build the engine, in every process anew.
        shutdown_timeout_seconds: How long ``close()`` goes on sending unless told otherwise. Also
            how long a flush may take, unless the engine's settings say otherwise.
        address: Where the requests go. Two destinations that send one event there are noticed.
        inspector: Where a live page shows what happens; None: nowhere.
    """

    def __init__(
        self,
        converter: Converter,
        settings: EngineSettings,
        shutdown_timeout_seconds: float,
        address: str,
        inspector: Address | None = None,
    ) -> None:
        super().__init__()
        self.timeline.configuration = Config()  # an event may come before setup() does
        self._converter = converter
        self._shutdown_timeout_seconds = number(
            "shutdown_timeout_seconds", shutdown_timeout_seconds
        )
        if settings.flush_timeout_seconds is None:
            settings = replace(settings, flush_timeout_seconds=self._shutdown_timeout_seconds)
        self._inspector = None
        if inspector is not None:
            from amplitude_moloco.watch.inspector import Inspector  # needs the extra "sandbox"

            self._inspector = Inspector(inspector, settings.partner.server, self.stats, self.status)
            settings = replace(settings, hooks=(*settings.hooks, self._inspector))
        self._settings = settings = replace(settings, near_name=converter.near_name)
        self._engine = build_engine(settings)
        self._repeats = RepeatedIds(address)
        self._twins: set[tuple[str, str]] = set()  # syncs that send one event, as has been told
        self._companions: list[Companion] = []
        self._timelines: list[Any] = [self.timeline]
        self._is_set_up = False
        self._is_said_to_be_added_twice = False
        self._rebuilding = threading.RLock()
        fork.call_in_forked_child(self._renew_locks)
        self._cancel_hooks = [call_at_end_of_celery_child(self.close)]

    # -- called by the SDK -------------------------------------------------------------------

    def setup(self, client: Any) -> None:
        """Called when the destination is added to a client. A second call does nothing more."""
        super().setup(client)
        timeline = sdk.timeline_of(client)
        if not any(timeline is known for known in self._timelines):
            self._timelines.append(timeline)
        if sdk.times_added(self, timeline) > 1 and not self._is_said_to_be_added_twice:
            self._is_said_to_be_added_twice = True
            logger.warning("%r was added to a client twice: each event is sent twice", self)
        for other in sdk.plugins_of(timeline):
            may_both = self._common_with(other) if other is not self else ""
            if may_both:
                logger.warning("%r and %r of one client %s: use one of them", self, other, may_both)
        if not self._is_set_up:
            self._is_set_up = True
            self._repeats.open()
            self._cancel_hooks.append(call_early_at_exit(self.close))
            _note_open(self)
            self._current_engine().start()
            if self._inspector is not None:
                self._inspector.start()

    def execute(self, event: BaseEvent) -> None:
        """Take one event. Called inside ``track()``, under a lock of the SDK.

        Never logs, calls a hook or waits for the network. Raises nothing of its own. An exception
        that a signal handler raises meanwhile passes through, and costs this event at worst.
        """
        engine = self._current_engine()
        try:
            for conversion in self._convert(event, engine.selection):
                if conversion.problems:
                    engine.invalid(_invalid(event, conversion))
                else:
                    engine.put(
                        str(conversion.id), conversion.sync, conversion.body, conversion.lane
                    )
                    if conversion.omissions:
                        engine.post(_trimmed(event, conversion))
                    self._notice_repetition(event, conversion, engine)
        except Exception as error:  # most likely a plugin that was added to this one
            if is_interruption(error):
                raise
            engine.invalid(_failed(error))

    def flush(self, timeout_seconds: float = 0.0) -> Future[Stats]:
        """Send at once what waits for its first attempt, and wait at most this long for it.

        The future is done when everything tracked before has been delivered, refused or tried
        once, or when sending pauses, and at the latest after the setting ``flush_timeout_seconds``,
        or ``timeout_seconds`` if that is longer. With ``deliver=False`` it is done when all of that
        is stored where another process finds it. Its result is the counters at that time. Never
        raises: if a durable buffer can't be read, that is the future's exception.
        """
        timeout_seconds = bounded(timeout_seconds)
        future = self._current_engine().flush(timeout_seconds)
        futures.wait([future], timeout_seconds)
        return future

    def shutdown(self, timeout_seconds: float | None = None) -> None:
        """Close this destination, and the plugins that were added to it."""
        self.close(timeout_seconds)
        super().shutdown()

    # -- called by the app -------------------------------------------------------------------

    def preview(self, event: BaseEvent) -> list[Conversion]:
        """Returns what would be sent for an event, one conversion for each sync that selects it.

        Sends nothing. Works on a copy, with the time and the insert_id that ``track()`` would add.
        """
        return self._convert(_as_tracked(event))

    def explain(self, event: BaseEvent) -> Explanation:
        """Returns what each sync makes of an event, and why; ``print`` shows it.

        For each sync: what is sent, the problems, what is left out, or why it is not selected.
        Sends and counts nothing. Works on a copy, as ``preview``. Plugins of the client don't run.
        Its text holds values of the event: keep it out of logs.
        """
        event = _as_tracked(event)
        changed = self._changed(event)
        now_millis = int(time.time() * 1000)
        if changed is None:
            found = self._converter.explain(event, now_millis, is_dropped_by_plugin=True)
        else:
            found = self._converter.explain(changed, now_millis)
        return replace(found, notes=(*found.notes, *self._obstacles()))

    def status(self) -> Status:
        """Returns how sending goes in this process, for a health check.

        Never waits for the network, or for a disk. With a durable buffer, ``waiting``,
        ``dead_letters`` and the oldest event's age are what a sender read last: at most ten seconds
        ago while something waits, half a minute otherwise. That reading costs the sender one query;
        ``buffer_state()`` reads the file now.
        """
        return self._current_engine().status()

    @property
    def inspector_url(self) -> str | None:
        """Where the live page is, with its token. None if it is off, or not served here."""
        return None if self._inspector is None else self._inspector.url

    def stats(self) -> Stats:
        """Returns the counters of this process at this moment."""
        return self._current_engine().stats()

    def measurements(self) -> Measurements:
        """Returns what this process has measured: outcomes, durations of requests, delays."""
        return self._current_engine().measurements()

    def accompany(self, companion: Companion) -> None:
        """Start a companion in this process, and in each forked one with its first event."""
        self._companions.append(companion)
        companion.start()

    @property
    def is_closed(self) -> bool:
        """Whether it was closed in this process, or is about to be: it accepts nothing more."""
        return self._current_engine().is_closed

    def buffer_state(self) -> BufferState:
        """Returns what the buffer holds. A durable buffer counts the events of all processes."""
        return self._current_engine().buffer_state()

    def dead_letters(self) -> list[DeadLetter]:
        """Returns the events that can't be delivered, with the reason of each, oldest first."""
        return self._current_engine().dead_letters()

    def resend(self, ids: Iterable[str] | None = None) -> int:
        """Send dead letters again: those with these ids, or all. Returns how many there were.

        Each keeps its id, its body and with it its timestamp, and is counted as accepted again.
        """
        return self._current_engine().resend(ids)

    def close(self, timeout_seconds: float | None = None) -> None:
        """Go on sending for at most ``timeout_seconds``, then end the threads.

        The default is the setting ``shutdown_timeout_seconds``. Events that could not be sent in
        time are handed to the hooks as :class:`Dropped`, and their number is logged; a durable
        buffer keeps them instead. With ``deliver=False`` nothing is sent: what is stored is made
        ready for other processes. A second call does nothing.

        Call it for a destination that was removed from its client. Otherwise ``shutdown()`` or the
        interpreter's exit calls it.
        """
        # A child that tracked nothing has nothing to close.
        if not self._engine.origin.is_elsewhere:
            default = self._shutdown_timeout_seconds
            self._engine.close(default if timeout_seconds is None else bounded(timeout_seconds))
            if self._inspector is not None:
                self._inspector.close()
            self._repeats.forget()
            while self._cancel_hooks:
                self._cancel_hooks.pop()()
            _open_destinations.discard(self)
            for companion in self._companions:
                companion.stop()

    # -- inside ------------------------------------------------------------------------------

    @abstractmethod
    def _common_with(self, other: Any) -> str:
        """Returns in words what another plugin of the client may send too; empty for nothing."""

    def _convert(self, event: BaseEvent, watch: SelectionWatch | None = None) -> list[Conversion]:
        event = self._changed(event)
        if event is None:
            return []
        return self._converter.convert(event, int(time.time() * 1000), watch)

    def _changed(self, event: BaseEvent) -> BaseEvent | None:
        """Returns what plugins that were added to this one make of the event; None: dropped."""
        if any(self.timeline.plugins.values()):
            return self.timeline.process(event)
        return event

    def _obstacles(self) -> list[str]:
        """Returns in words why nothing is sent now, whatever the syncs say."""
        found = []
        if self.timeline.configuration.opt_out:
            found.append("The client's configuration has opt_out: Amplitude's SDK tracks nothing.")
        if self._current_engine().is_closed:
            found.append("The destination is closed: it accepts no events.")
        return found

    def _notice_repetition(self, event: BaseEvent, conversion: Conversion, engine: Engine) -> None:
        """Tell, once, what is sent a second time."""
        id, sync, twin = str(conversion.id), conversion.sync, conversion.twin
        found = self._repeats.find(id, event)
        if found is Repetition.OF_ANOTHER_USER:
            engine.post(RepeatedId(sync, id))
        elif found:
            engine.post(SentTwice(str(event.event_type), id, "two destinations"))
        if twin and (twin, sync) not in self._twins:
            self._twins.add((twin, sync))
            engine.post(SentTwice(str(event.event_type), id, f"the syncs {twin!r} and {sync!r}"))

    def _current_engine(self) -> Engine:
        """Returns this process's engine.

        A forked child has no threads, and must not send its parent's events: it builds an engine
        of its own, and never touches the parent's again.
        """
        if self._engine.origin.is_elsewhere:
            # gunicorn has gevent patch the classes of locks only after the fork.
            if not isinstance(self._rebuilding, type(threading.RLock())):
                self._renew_locks()
            with self._rebuilding:
                if self._engine.origin.is_elsewhere:  # no other thread was faster
                    self._engine = self._engine_of_child()
                    for companion in self._companions:
                        companion.start()
        return self._engine

    def _engine_of_child(self) -> Engine:
        """Returns a new engine, whatever can't be opened: it is built inside ``track()``."""
        # Celery may have been imported since.
        self._cancel_hooks = [call_at_end_of_celery_child(self.close)]
        failures: list[Exception] = []
        settings = self._settings
        buffer = _opened(settings.open_buffer, failures)
        if buffer is None:
            buffer = MemoryBuffer()
        transport = _opened(settings.open_transport, failures)
        if transport is None:  # what it lacks, such as a file, may come back
            transport = LateTransport(settings.open_transport)
        engine = build_engine(
            replace(settings, open_buffer=lambda: buffer, open_transport=lambda: transport)
        )
        for failure in failures:
            engine.post(Degraded(f"it can't be opened in this forked process: {failure}"))
        return engine

    def _renew_locks(self) -> None:
        self._rebuilding = threading.RLock()
        for timeline in self._timelines:
            sdk.renew_locks(timeline)


def _opened(open_it: Callable[[], Opened], failures: list[Exception]) -> Opened | None:
    """Returns what a callable opens; None, and its exception among the failures, if it raises."""
    try:
        return open_it()
    except Exception as error:
        if is_interruption(error):
            raise
        failures.append(error)
        return None


def _as_tracked(event: BaseEvent) -> BaseEvent:
    """Returns a copy with the time and the insert_id that ``track()`` would add."""
    event = _copy_of(event)
    event.time = event.time or int(time.time() * 1000)
    event.insert_id = event.insert_id or str(uuid.uuid4())
    return event


def _copy_of(event: BaseEvent) -> BaseEvent:
    """Returns a deep copy, but for attributes that can't be copied: a lock, or what raises."""
    copied = copy.copy(event)
    for name, value in vars(event).items():
        try:
            vars(copied)[name] = copy.deepcopy(value)
        except Exception as error:
            pass_interruption(error)
    return copied


def _note_open(destination: PartnerDestination) -> None:
    """Say once that an app makes destinations all the time, and closes none."""
    _open_destinations.add(destination)
    if len(_open_destinations) == _MANY_OPEN and not _has_said:
        _has_said.append(True)
        logger.warning(
            "%d destinations are open in this process, each with threads and connections of its "
            "own. Make one client and keep it, or call shutdown() on each.",
            _MANY_OPEN,
        )


_MANY_OPEN = 50
_open_destinations: weakref.WeakSet[PartnerDestination] = weakref.WeakSet()
_has_said: list[bool] = []


def _invalid(event: BaseEvent, conversion: Conversion) -> Invalid:
    name = event.event_type if isinstance(event.event_type, str) else ""
    return Invalid(conversion.sync, conversion.id, name, conversion.problems)


def _trimmed(event: BaseEvent, conversion: Conversion) -> Trimmed:
    return Trimmed(conversion.sync, str(conversion.id), str(event.event_type), conversion.omissions)


def _failed(error: Exception) -> Invalid:
    problem = Problem(
        "event",
        ProblemReason.FAILED,
        f"a plugin or a value that raised {type(error).__name__}",
        "use plugins that don't raise",
    )
    return Invalid("", None, "", (problem,))
