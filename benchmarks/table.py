"""The table of results, next to the bare loop of the same library and the SDK alone."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import NamedTuple

from contestants import CONTESTANTS, SDK
from trial import Measurement

_NAME_WIDTH = 23

Round = dict[str, Measurement]


class Peers(NamedTuple):
    """One contestant's measurement in one round, and the measurements to compare it with."""

    own: Measurement
    bare: Measurement | None
    """The bare loop of the same library."""
    sdk: Measurement | None
    """Amplitude's SDK alone; None for the bare loops, which don't use it."""

    def over_bare(self, value: Callable[[Measurement], float]) -> float | None:
        """Returns the ratio to the bare loop."""
        return value(self.own) / value(self.bare) if self.bare else None

    def over_sdk(self, value: Callable[[Measurement], float]) -> float | None:
        """Returns the ratio to the SDK alone."""
        return value(self.own) / value(self.sdk) if self.sdk else None

    def less_sdk(self, value: Callable[[Measurement], float]) -> float | None:
        """Returns the library's own part: the difference to the SDK alone."""
        return value(self.own) - value(self.sdk) if self.sdk else None

    def own_cpu_over_bare(self) -> float | None:
        """Returns the ratio of the CPU time without the SDK's share to the bare loop's."""
        own = self.less_sdk(_cpu)
        return own / self.bare.cpu_micros if own is not None and self.bare else None


def _cpu(measured: Measurement) -> float:
    return measured.cpu_micros


def _rate(measured: Measurement) -> float:
    return measured.rate


def _track(measured: Measurement) -> float:
    return measured.track_micros


class Column(NamedTuple):
    """A column with two header lines."""

    head: str
    unit: str
    width: int
    form: str
    value: Callable[[Peers], float | None]


def _columns(ideal_rate: float | None) -> list[Column]:
    columns = [
        Column("track()", "adds us", 9, ".1f", lambda peers: peers.less_sdk(_track)),
        Column("events", "/s", 9, ",.0f", lambda peers: peers.own.rate),
        Column("", "/ bare", 8, ".2f", lambda peers: peers.over_bare(_rate)),
        Column("CPU", "us", 8, ".0f", lambda peers: peers.own.cpu_micros),
        Column("", "/ bare", 8, ".2f", lambda peers: peers.over_bare(_cpu)),
        Column("", "/ SDK", 8, ".2f", lambda peers: peers.over_sdk(_cpu)),
        Column("less", "SDK us", 8, ".0f", lambda peers: peers.less_sdk(_cpu)),
        Column("", "/ bare", 8, ".2f", Peers.own_cpu_over_bare),
        Column("memory", "MB", 8, ".1f", lambda peers: peers.own.memory_bytes / 1e6),
        Column("import", "ms", 8, ".0f", lambda peers: peers.own.import_seconds * 1e3),
    ]
    if ideal_rate:
        ideal = Column("of the", "ideal", 8, ".1%", lambda peers: _of_ideal(peers, ideal_rate))
        columns.insert(2, ideal)
    return columns


def _of_ideal(peers: Peers, ideal_rate: float) -> float | None:
    """Returns the share of the ideal rate. None for the SDK, which sends events in batches."""
    return None if peers.own is peers.sdk else peers.own.rate / ideal_rate


def show(rounds: list[Round], ideal_rate: float | None = None) -> None:
    """Print a line for each contestant that took part."""
    columns = _columns(ideal_rate)
    for line in ([each.head for each in columns], [each.unit for each in columns]):
        _print_line("", line, columns)
    for name in CONTESTANTS:
        peers = [_peers(name, each) for each in rounds if name in each]
        if peers:
            _print_line(name, [_cell(column, peers) for column in columns], columns)


def _peers(name: str, results: Round) -> Peers:
    entry = CONTESTANTS[name]
    bare = results.get(entry.bare) if entry.bare else None
    return Peers(results[name], bare, results.get(SDK) if entry.tracks else None)


def _cell(column: Column, rounds: list[Peers]) -> str:
    """Returns the median of all rounds as text."""
    values = [value for peers in rounds if (value := column.value(peers)) is not None]
    return format(median(values), column.form) if values else ""


def _print_line(name: str, cells: list[str], columns: list[Column]) -> None:
    padded = [f"{cell:>{column.width}}" for cell, column in zip(cells, columns, strict=True)]
    print((f"{name:{_NAME_WIDTH}}" + "".join(padded)).rstrip())
