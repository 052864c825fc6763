"""How the processes of one server share a page of metrics, under ``PROMETHEUS_MULTIPROC_DIR``.

There the client library of Prometheus leaves out what is read at scrape time. It adds up files, one
set for each process. So a thread writes what has changed, every few seconds and at the end.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import suppress
from math import isnan
from typing import Any, NamedTuple

from prometheus_client import values
from prometheus_client.utils import floatToGoString

from amplitude_moloco.engine.measures import Distribution
from amplitude_moloco.host.fork import Origin, take_part
from amplitude_moloco.metrics.catalogue import DESTINATION, Across
from amplitude_moloco.metrics.roster import Sample, Watched

logger = logging.getLogger(__name__)
_THREAD_NAME = "metrics-publisher"


def is_multiprocess() -> bool:
    """Whether the client library was imported with ``PROMETHEUS_MULTIPROC_DIR`` set."""
    return values.ValueClass is not values.MutexValue


class Point(NamedTuple):
    """One number in the files: a counter, a gauge, or a part of a histogram."""

    kind: str
    family: str
    name: str
    labels: tuple[str, ...]
    label_values: tuple[str, ...]
    help: str
    across: Across


class Files:
    """Writes points to the files of this process. Safe from any thread, and in forked processes.

    The client library has a lock for all its values. A child that is forked while another thread
    holds it would wait for it without end. So each fork waits for what is being written here.
    """

    def __init__(self) -> None:
        self._origin = Origin()
        self._lock = threading.RLock()
        self._values: dict[Point, Any] = {}  # of the client library, which does not type them
        take_part(self)

    def before_fork(self) -> None:
        self._lock.acquire()

    def after_fork(self, *, is_child: bool) -> None:
        with suppress(RuntimeError):  # it was not taken before this fork
            self._lock.release()

    def write(self, publication: dict[Point, float], points: dict[Point, float]) -> None:
        """Write what has changed since the last publication, and note it there."""
        if self._origin.is_elsewhere:  # uwsgi forks without the calls above, or with one of them
            self._origin, self._lock = Origin(), threading.RLock()
        with self._lock:
            for point, number in points.items():
                value = self._value(point)
                if point.kind == "gauge":
                    value.set(number)
                    publication[point] = number
                elif number > publication.get(point, 0.0):
                    value.inc(number - publication.get(point, 0.0))
                    publication[point] = number

    def _value(self, point: Point) -> Any:
        """Returns the one value of a point: two would overwrite each other."""
        if point not in self._values:
            self._values[point] = values.ValueClass(
                *point[:-1], multiprocess_mode=point.across.value
            )
        return self._values[point]


class Publisher:
    """Writes the values of a destination in each process that uses it."""

    def __init__(self, watched: Watched, seconds: float) -> None:
        self._watched = watched
        self._seconds = seconds
        self._has_failed = False
        self._begin()
        self.publish()

    def start(self) -> None:
        """Write every few seconds from now on, in this process."""
        if self._origin.is_elsewhere:
            self._begin()
        thread = threading.Thread(target=self._run, name=_THREAD_NAME, daemon=True)
        with suppress(RuntimeError):  # no more threads, or the interpreter is ending
            thread.start()

    def stop(self) -> None:
        """Write for the last time."""
        self._is_stopped.set()
        self.publish()

    def publish(self) -> None:
        """Write what has changed. Never raises."""
        try:
            points = dict(_points(self._watched.samples(keeps_latest=True)))
            for point in self._publication.keys() - points.keys():
                if point.kind == "gauge" and point.across is not Across.LATEST:
                    points[point] = 0.0  # the destination is closed
            known = {point: number for point, number in points.items() if not isnan(number)}
            _files.write(self._publication, known)
        except Exception as error:  # the folder may be gone, or the disk full
            if not self._has_failed:
                self._has_failed = True
                logger.warning("Metrics can't be written: %s", type(error).__name__)

    def _begin(self) -> None:
        self._origin = Origin()
        self._publication: dict[Point, float] = {}
        self._is_stopped = threading.Event()

    def _run(self) -> None:
        is_stopped = self._is_stopped
        while not is_stopped.is_set() and self._watched.destination is not None:
            self.publish()
            is_stopped.wait(self._seconds)
        if not is_stopped.is_set():
            self.publish()  # the destination is gone


def _points(samples: list[Sample]) -> Iterator[tuple[Point, float]]:
    for metric, label_values, value in samples:
        kind = metric.kind.name.lower()
        head = kind, metric.family
        labels = DESTINATION, *metric.labels
        tail = metric.help, metric.across
        if isinstance(value, Distribution):
            bounds = [*map(floatToGoString, value.bounds), "+Inf"]
            for bound, count in zip(bounds, value.counts, strict=True):
                names, texts = (*labels, "le"), (*label_values, bound)
                yield Point(*head, f"{metric.name}_bucket", names, texts, *tail), count
            yield Point(*head, f"{metric.name}_sum", labels, label_values, *tail), value.total
        else:
            yield Point(*head, metric.name, labels, label_values, *tail), value


_files = Files()
