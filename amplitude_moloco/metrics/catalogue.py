"""All metrics: their names, units, labels, what they mean, and where each is read.

Prometheus and OpenTelemetry are both served from this table. Names don't change: dashboards and
alerts depend on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from math import inf, nan

from amplitude_moloco.convert.problem import ProblemReason
from amplitude_moloco.engine.measures import Distribution
from amplitude_moloco.engine.status import Status
from amplitude_moloco.metrics.reading import Reading
from amplitude_moloco.reasons import DeadLetterReason, DropReason, PauseReason

PREFIX = "amplitude_moloco"
DESTINATION = "destination"
"""The label that every metric has: the name under which a destination was registered."""
ATTRIBUTES = {
    DESTINATION: "otel.component.name",
    "reason": "error.type",
    "sync": f"{PREFIX}.sync",
    "outcome": f"{PREFIX}.outcome",
}
"""What OpenTelemetry calls the labels."""

Labels = tuple[str, ...]
"""The values of a metric's labels, without the destination."""
Value = float | Distribution
"""Unknown is NaN. A distribution is the value of a histogram."""


class Kind(Enum):
    """What a metric's value is."""

    COUNTER = auto()
    GAUGE = auto()
    HISTOGRAM = auto()


class Across(Enum):
    """How the values of several processes make one."""

    SUM = "livesum"
    """Each process has its own."""
    HIGHEST = "livemax"
    """Several may know of the same, as of a shared buffer."""
    LATEST = "max"
    """The highest, also of processes that have ended."""


@dataclass(frozen=True)
class Metric:
    """One metric. ``otel`` is empty where OpenTelemetry has no such observable instrument."""

    name: str
    help: str
    read: Callable[[Reading], Mapping[Labels, Value]]
    labels: tuple[str, ...] = ()
    kind: Kind = Kind.COUNTER
    across: Across = Across.SUM
    otel: str = ""
    unit: str = "{event}"

    @property
    def family(self) -> str:
        """The name that Prometheus calls the family of a counter: without ``_total``."""
        return self.name.removesuffix("_total")


def _one(read: Callable[[Reading], Value]) -> Callable[[Reading], Mapping[Labels, Value]]:
    """Reads a metric without labels."""
    return lambda reading: {(): read(reading)}


def _gauge(
    read: Callable[[Status], float | None],
) -> Callable[[Reading], Mapping[Labels, Value]]:
    """Reads a gauge without labels: absent without a status, and NaN where it does not know."""

    def values(reading: Reading) -> Mapping[Labels, Value]:
        if reading.status is None:
            return {}
        value = read(reading.status)
        return {(): nan if value is None else value}

    return values


def _by(known: Iterable[str], counts: Mapping[str, int]) -> dict[Labels, Value]:
    """Returns the counts by one label, with 0 for what is known and did not happen."""
    return {(str(each),): count for each, count in {**dict.fromkeys(known, 0), **counts}.items()}


def _by_kind(codes: Mapping[str, int]) -> dict[Labels, Value]:
    """Returns the counts of problems by their kind: a code is a field and a kind."""
    found: dict[str, int] = dict.fromkeys(ProblemReason, 0)
    for code, count in codes.items():
        kind = code.rpartition(" ")[2]
        found[kind] = found.get(kind, 0) + count
    return _by((), found)


def _paused(reading: Reading) -> Mapping[Labels, Value]:
    if reading.status is None:
        return {}
    reason = reading.status.pause_reason
    return {(str(each),): float(each == reason) for each in PauseReason}


def _rate_limit(status: Status) -> float:
    return inf if status.requests_per_second is None else status.requests_per_second


def _oldest_seconds(status: Status) -> float | None:
    """Returns the age of the oldest event; 0 if none waits, None if it is not known."""
    seconds = status.oldest_waiting_seconds
    return 0.0 if seconds is None and status.waiting == 0 else seconds


_EXPORTED = f"{PREFIX}.exporter.event.exported"

METRICS = (
    Metric(
        f"{PREFIX}_events_accepted_total",
        "Events that a sync selected, and dead letters that were resent.",
        _one(lambda reading: reading.stats.accepted),
        otel=f"{PREFIX}.event.accepted",
    ),
    Metric(
        f"{PREFIX}_events_delivered_total",
        "Events that the server has accepted.",
        lambda reading: _by(reading.syncs, reading.stats.delivered_by_sync),
        labels=("sync",),
        otel=_EXPORTED,
    ),
    Metric(
        f"{PREFIX}_events_invalid_total",
        "Events that were never sent, by the first problem.",
        lambda reading: _by_kind(reading.stats.invalid),
        labels=("reason",),
        otel=_EXPORTED,
    ),
    Metric(
        f"{PREFIX}_events_dead_lettered_total",
        "Events that can't be delivered, and are kept as dead letters.",
        lambda reading: _by(DeadLetterReason, reading.stats.dead_lettered),
        labels=("reason",),
        otel=_EXPORTED,
    ),
    Metric(
        f"{PREFIX}_events_dropped_total",
        "Events that are lost: they found no room or no time.",
        lambda reading: _by(DropReason, reading.stats.dropped),
        labels=("reason",),
        otel=_EXPORTED,
    ),
    Metric(
        f"{PREFIX}_events_handed_on_total",
        "Events that were given to a durable buffer, for any process to send.",
        _one(lambda reading: reading.stats.handed_on),
        otel=f"{PREFIX}.event.handed_on",
    ),
    Metric(
        f"{PREFIX}_events_taken_over_total",
        "Events that were claimed from a durable buffer, whichever process stored them.",
        _one(lambda reading: reading.stats.taken_over),
        otel=f"{PREFIX}.event.taken_over",
    ),
    Metric(
        f"{PREFIX}_events_lost_total",
        "Stored events that can't be read any more, since a file was damaged or removed.",
        _one(lambda reading: reading.stats.lost),
        otel=f"{PREFIX}.event.lost",
    ),
    Metric(
        f"{PREFIX}_events_unselected_total",
        "Events that no sync selected.",
        _one(lambda reading: sum(reading.stats.unselected.values())),
        otel=f"{PREFIX}.event.unselected",
    ),
    Metric(
        f"{PREFIX}_events_filtered_total",
        "Events that the filter of a sync left out.",
        lambda reading: _by(reading.syncs, reading.stats.filtered),
        labels=("sync",),
        otel=f"{PREFIX}.event.filtered",
    ),
    Metric(
        f"{PREFIX}_event_parts_trimmed_total",
        "Parts that were left out of events that were sent.",
        lambda reading: _by_kind(reading.stats.trimmed),
        labels=("reason",),
        otel=f"{PREFIX}.event.part.trimmed",
        unit="{part}",
    ),
    Metric(
        f"{PREFIX}_attempts_total",
        "Requests that have ended, by outcome.",
        lambda reading: _by((), reading.measurements.attempts),
        labels=("outcome",),
        otel=f"{PREFIX}.exporter.attempt",
        unit="{request}",
    ),
    Metric(
        f"{PREFIX}_retries_total",
        "Failed attempts that are followed by another one.",
        _one(lambda reading: reading.stats.retried),
        otel=f"{PREFIX}.exporter.retry",
        unit="{request}",
    ),
    Metric(
        f"{PREFIX}_facts_untold_total",
        "Facts that hooks were not told, since they were too slow.",
        _one(lambda reading: reading.stats.untold),
        otel=f"{PREFIX}.fact.untold",
        unit="{fact}",
    ),
    Metric(
        f"{PREFIX}_request_duration_seconds",
        "How long requests took, whatever their outcome.",
        _one(lambda reading: reading.measurements.request_seconds),
        kind=Kind.HISTOGRAM,
    ),
    Metric(
        f"{PREFIX}_delivery_delay_seconds",
        "How old events were when the server accepted them.",
        _one(lambda reading: reading.measurements.delay_seconds),
        kind=Kind.HISTOGRAM,
    ),
    Metric(
        f"{PREFIX}_buffered_events",
        "Events that this process holds: waiting in memory, or on their way.",
        lambda reading: {(): reading.stats.buffered} if reading.status else {},
        kind=Kind.GAUGE,
        otel=f"{PREFIX}.event.buffered",
    ),
    Metric(
        f"{PREFIX}_in_flight_events",
        "Events that this process is sending.",
        _gauge(lambda status: status.on_their_way),
        kind=Kind.GAUGE,
        otel=f"{PREFIX}.exporter.event.inflight",
    ),
    Metric(
        f"{PREFIX}_buffer_events",
        "Events that wait in the buffer. A durable one counts those of all processes.",
        _gauge(lambda status: status.waiting),
        kind=Kind.GAUGE,
        across=Across.HIGHEST,
        otel=f"{PREFIX}.exporter.queue.size",
    ),
    Metric(
        f"{PREFIX}_buffer_max_events",
        "How many events the buffer holds at most.",
        _gauge(lambda status: status.max_events),
        kind=Kind.GAUGE,
        across=Across.HIGHEST,
        otel=f"{PREFIX}.exporter.queue.capacity",
    ),
    Metric(
        # No timestamp: of several processes, one that has written nothing yet says 0.
        f"{PREFIX}_oldest_event_age_seconds",
        "The age of the oldest event in the buffer; 0 if there is none.",
        _gauge(_oldest_seconds),
        kind=Kind.GAUGE,
        across=Across.HIGHEST,
        otel=f"{PREFIX}.exporter.queue.oldest.age",
        unit="s",
    ),
    Metric(
        f"{PREFIX}_dead_letters",
        "Dead letters in the buffer. A durable one counts those of all processes.",
        _gauge(lambda status: status.dead_letters),
        kind=Kind.GAUGE,
        across=Across.HIGHEST,
        otel=f"{PREFIX}.exporter.dead_letter.stored",
    ),
    Metric(
        f"{PREFIX}_paused",
        "1 while sending pauses for this reason, and events are kept.",
        _paused,
        labels=("reason",),
        kind=Kind.GAUGE,
        across=Across.HIGHEST,
        otel=f"{PREFIX}.exporter.paused",
        unit="1",
    ),
    Metric(
        f"{PREFIX}_rate_limit",
        "Requests per second that are allowed now; infinity without a limit.",
        _gauge(_rate_limit),
        kind=Kind.GAUGE,
        otel=f"{PREFIX}.exporter.rate_limit",
        unit="{request}/s",
    ),
    Metric(
        f"{PREFIX}_last_success_timestamp_seconds",
        "When the server last accepted an event; 0 for never.",
        _gauge(lambda status: status.last_success_at or 0.0),
        kind=Kind.GAUGE,
        across=Across.LATEST,
        otel=f"{PREFIX}.exporter.last_success.time",
        unit="s",
    ),
    Metric(
        f"{PREFIX}_last_failure_timestamp_seconds",
        "When an attempt failed last, or the server refused an event; 0 for never.",
        _gauge(lambda status: status.last_failure_at or 0.0),
        kind=Kind.GAUGE,
        across=Across.LATEST,
        otel=f"{PREFIX}.exporter.last_failure.time",
        unit="s",
    ),
    Metric(
        f"{PREFIX}_sender_threads",
        "Threads that send now.",
        _gauge(lambda status: status.threads),
        kind=Kind.GAUGE,
        otel=f"{PREFIX}.exporter.thread.count",
        unit="{thread}",
    ),
    Metric(
        f"{PREFIX}_build_info",
        "1, with the versions of this library and of Python, the transport and the buffer.",
        lambda reading: {reading.build: 1.0} if reading.status else {},
        labels=("version", "python", "transport", "buffer"),
        kind=Kind.GAUGE,
        across=Across.HIGHEST,
    ),
)
