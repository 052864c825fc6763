"""The contestants: ways to bring events to the server, with the library or without it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import bare


class Contestant(Protocol):
    """Brings events to the server."""

    track_seconds: float
    """CPU time that the calling thread spent on tracking; 0 if nothing is tracked."""

    def run(self, count: int) -> None:
        """Bring this many events, and return when all have arrived."""
        ...


class NoSuchTransportError(Exception):
    """The installed library lacks this transport."""


class Job(NamedTuple):
    """The input of every contestant."""

    url: str
    body: str
    """For the bare loops. The others create it from the tracked events."""
    connections: int
    directory: str
    """A place for files."""
    rate: float | None
    """Events tracked per second; None for as fast as possible."""


class Entry(NamedTuple):
    """One line of the table."""

    modules: tuple[str, ...]
    """What it imports. If one is missing, the contestant is left out."""
    make: Callable[[Job], Contestant]
    bare: str | None
    """The bare loop of the same library."""
    tracks: bool = True
    """Whether events go through the SDK, instead of being posted ready-made."""


class _Bare:
    track_seconds = 0.0

    def __init__(self, loop: bare.Loop) -> None:
        self.run = loop


def _bare(make_loop: Callable[[bare.Post], bare.Loop]) -> Callable[[Job], Contestant]:
    def make(job: Job) -> Contestant:
        url = f"{job.url}/rmp/event/v1/platforms/SHOP/userevents"
        return _Bare(make_loop(bare.Post(url, job.body.encode(), job.connections)))

    return make


def _plugin(transport: str, buffer: str) -> Callable[[Job], Contestant]:
    def make(job: Job) -> Contestant:
        pipeline, purchase = import_module("pipeline"), import_module("purchase")
        path = Path(job.directory) / f"{transport}.db"
        # Enough room for any backlog.
        room = "?max_events=10000000&max_bytes=10000000000"
        settings: dict[str, Any] = {
            "connections": job.connections,
            "buffer": f"memory://{room}" if buffer == "memory" else f"sqlite:///{path}{room}",
            "transport": transport,
        }
        try:
            destination = purchase.destination(job.url, **settings)
        except (TypeError, ValueError) as error:
            raise NoSuchTransportError(f"{type(error).__name__}: {error}") from error
        contestant: Contestant = pipeline.Pipeline(job.url, destination, rate=job.rate)
        return contestant

    return make


def _sdk(job: Job) -> Contestant:
    contestant: Contestant = import_module("pipeline").Pipeline(job.url, rate=job.rate)
    return contestant


def _sdk_and_empty(job: Job) -> Contestant:
    empty = import_module("track_cost").EmptyDestination()
    contestant: Contestant = import_module("pipeline").Pipeline(job.url, empty, rate=job.rate)
    return contestant


def _bare_loop(name: str, module: str, make_loop: Callable[[bare.Post], bare.Loop]) -> Entry:
    return Entry((module,), _bare(make_loop), name, tracks=False)


SDK = "sdk alone"
_REQUESTS, _CURL = "bare requests", "bare pycurl"
# The bare loops import nothing from the SDK or the library, so their cost is their own.
_LIBRARY = ("amplitude", "amplitude_moloco")
_BARE = {
    _REQUESTS: ("requests", bare.with_requests),
    "bare urllib3": ("urllib3", bare.with_urllib3),
    "bare http.client": ("http.client", bare.with_http_client),
    "bare aiohttp": ("aiohttp", bare.with_aiohttp),
    _CURL: ("pycurl", bare.with_pycurl),
    "bare pycurl multi": ("pycurl", bare.with_pycurl_multi),
    "bare socket": ("socket", bare.with_socket),
}
CONTESTANTS = {
    "plugin requests memory": Entry(_LIBRARY, _plugin("requests", "memory"), _REQUESTS),
    "plugin requests sqlite": Entry(_LIBRARY, _plugin("requests", "sqlite"), _REQUESTS),
    "plugin curl memory": Entry((*_LIBRARY, "pycurl"), _plugin("curl", "memory"), _CURL),
    "plugin curl sqlite": Entry((*_LIBRARY, "pycurl"), _plugin("curl", "sqlite"), _CURL),
    SDK: Entry(("amplitude",), _sdk, None),
    "sdk, empty plugin": Entry(("amplitude",), _sdk_and_empty, None),
    **{name: _bare_loop(name, *loop) for name, loop in _BARE.items()},
}


def matching(words: list[str]) -> list[str]:
    """Returns the names that contain one of the words, or all names if there are no words."""
    return [name for name in CONTESTANTS if not words or any(word in name for word in words)]
