"""The destinations that metrics are shown of, each under a name of its own."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.host.fork import Origin
from amplitude_moloco.metrics.catalogue import METRICS, Across, Kind, Labels, Metric, Value
from amplitude_moloco.metrics.reading import Source, read
from amplitude_moloco.text import shown


class Sample(NamedTuple):
    """One value of one metric. The name of the destination is the first of the labels."""

    metric: Metric
    labels: Labels
    value: Value


class Watched:
    """A destination under its name. Keeps it from nothing: once it is gone, it has no samples.

    Safe from any thread and in forked processes.
    """

    def __init__(self, destination: Source, name: str) -> None:
        self.name = _writable(name)
        self._destination: Callable[[], Source | None] = weakref.ref(destination)
        self._origin = Origin()
        self._highest: dict[tuple[str, Labels], float] = {}

    @property
    def destination(self) -> Source | None:
        """The destination; None once it is gone."""
        return self._destination()

    def forget(self) -> None:
        """Have no samples any more."""
        self._destination = lambda: None

    @property
    def is_open(self) -> bool:
        """Whether it is there and not closed, so that its name is taken."""
        destination = self.destination
        return destination is not None and not destination.is_closed

    def samples(
        self, metrics: Iterable[Metric] = METRICS, *, keeps_latest: bool = False
    ) -> list[Sample]:
        """Returns the samples of this moment, of all metrics or of these.

        A closed destination has no gauges: they would be stale. ``keeps_latest``: but those which
        outlive a process.
        """
        destination = self.destination
        if destination is None:
            return []
        if self._origin.is_elsewhere:  # a forked process counts from 0
            self._origin, self._highest = Origin(), {}
        if destination.is_closed:
            metrics = [metric for metric in metrics if _is_final(metric, keeps_latest)]
        reading = read(destination)
        return [
            Sample(
                metric,
                (self.name, *map(_writable, labels)),
                self._settled(metric, labels, value),
            )
            for metric in metrics
            for labels, value in metric.read(reading).items()
        ]

    def _settled(self, metric: Metric, labels: Labels, value: Value) -> Value:
        """Returns a counter's highest value: an event may be counted before it is accepted.

        A counter that goes back by one looks to Prometheus as if it had begun anew.
        """
        if metric.kind is not Kind.COUNTER or not isinstance(value, int):
            return value
        key = metric.name, labels
        self._highest[key] = highest = max(value, self._highest.get(key, 0))
        return highest


def _writable(text: str) -> str:
    """Returns a text that can be encoded: one that can't would take down the whole page."""
    return text.encode("utf-8", "replace").decode()


def _is_final(metric: Metric, keeps_latest: bool) -> bool:
    """Whether a metric says something of a destination that is closed."""
    return metric.kind is not Kind.GAUGE or (keeps_latest and metric.across is Across.LATEST)


class Roster:
    """Watched destinations, each with a name of its own."""

    def __init__(self) -> None:
        self._watched: dict[str, Watched] = {}

    def __iter__(self) -> Iterator[Watched]:
        return iter(list(self._watched.values()))

    def add(self, destination: Source, name: str) -> Watched | None:
        """Watch a destination under this name, and no longer under another one.

        Returns None if that is so already. Raises ConfigurationError for what is no destination,
        for a name that is no text or empty, and for one that another open destination has.
        """
        if not isinstance(destination, Source):
            raise ConfigurationError(
                f"destination: found {type(destination).__name__}; use a MolocoDestination"
            )
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"name: found {shown(name)}; use a text such as 'eu'")
        other = self._watched.get(name)
        if other is not None and other.destination is destination:
            return None
        if other is not None and other.is_open:
            raise ConfigurationError(
                f"name: another destination is registered as {shown(name)}; use name='…', a name "
                f"of its own for each destination"
            )
        self.remove(destination)
        self._watched[name] = watched = Watched(destination, name)
        return watched

    def remove(self, destination: Source) -> None:
        """Watch a destination no longer; nothing if it is not watched. Forgets what is gone."""
        for name, watched in list(self._watched.items()):
            if watched.destination in (destination, None):
                self._watched.pop(name, None)
                watched.forget()
