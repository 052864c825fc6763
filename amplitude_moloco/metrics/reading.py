"""One look at a destination: everything that metrics show, read at one moment."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any, Protocol, runtime_checkable

from amplitude_moloco.engine.ledger import Stats
from amplitude_moloco.engine.measures import Measurements
from amplitude_moloco.engine.status import Status

_DISTRIBUTION = __name__.partition(".")[0].replace("_", "-")
"""The name of this library for pip."""


@runtime_checkable
class Source(Protocol):
    """A destination, or what delivers without one. Nothing here waits for a disk or a request."""

    @property
    def kinds(self) -> tuple[str, str]:
        """The kinds of buffer and transport."""
        ...

    @property
    def syncs(self) -> Iterable[Any]:
        """Each with its ``name``."""
        ...

    @property
    def is_closed(self) -> bool: ...

    def stats(self) -> Stats: ...

    def measurements(self) -> Measurements: ...

    def status(self) -> Status: ...


@dataclass(frozen=True)
class Reading:
    """What a destination says of itself, in this process."""

    stats: Stats
    measurements: Measurements
    status: Status | None
    """None where its buffer can't be read."""
    syncs: tuple[str, ...]
    """The names of its syncs."""
    build: tuple[str, str, str, str]
    """The versions of this library and of Python, the kind of the transport and of the buffer."""


def read(destination: Source) -> Reading:
    """Returns what a destination says of itself now. Waits for no disk and no request."""
    buffer, transport = destination.kinds
    return Reading(
        stats=destination.stats(),
        measurements=destination.measurements(),
        status=_status_of(destination),
        syncs=tuple(sync.name for sync in destination.syncs),
        build=(*_versions(), transport, buffer),
    )


def _status_of(destination: Source) -> Status | None:
    try:
        return destination.status()
    except Exception:  # an app's own buffer may raise: the counters are right all the same
        return None


@lru_cache(maxsize=1)
def _versions() -> tuple[str, str]:
    return version(_DISTRIBUTION), platform.python_version()
