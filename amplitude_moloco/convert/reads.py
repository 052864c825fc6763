"""What an expression reads in one event: each value's presence, type and text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jmespath

from amplitude_moloco.convert.paths import Path, close_key, paths_of
from amplitude_moloco.host.interruption import pass_interruption
from amplitude_moloco.text import shown


@dataclass(frozen=True)
class ReadValue:
    """A value that an expression reads. Its text shows the value: keep it out of logs."""

    path: str
    """Where it is in the event: ``event_properties.total``."""
    is_present: bool
    type: str
    """The name of its Python type; empty if it is absent."""
    value: object = field(default=None, repr=False)
    """None if it is absent."""
    similar: str = ""
    """A key of the event that resembles the absent one; empty if there is none."""

    def __str__(self) -> str:
        if self.is_present:
            return f"{self.path} is {shown(self.value)} ({self.type})"
        return f"{self.path} is absent" + (
            f"; did you mean {shown(self.similar)}?" if self.similar else ""
        )


def values_read(source: str, attributes: Mapping[str, Any]) -> tuple[ReadValue, ...]:
    """Returns what a JMESPath expression reads in an event's attributes, each path once.

    Values inside the elements of a list are not among them: the list is.
    """
    paths = dict.fromkeys(paths_of(jmespath.compile(source).parsed))
    beginnings = {path[:-1] for path in paths} | {("null",)}  # an absent field is null
    return tuple(_read_safely(path, attributes) for path in paths if path not in beginnings)


def _read_safely(path: Path, attributes: Mapping[str, Any]) -> ReadValue:
    try:
        return _read(path, attributes)
    except Exception as error:  # from an object of the app that raises when it is read
        pass_interruption(error)
        return ReadValue(".".join(path), is_present=False, type="")


def _read(path: Path, attributes: Mapping[str, Any]) -> ReadValue:
    name = ".".join(path)
    holder: Any = attributes
    for key in path[:-1]:
        holder = holder.get(key) if isinstance(holder, Mapping) else None
    if not isinstance(holder, Mapping):
        return ReadValue(name, is_present=False, type="")
    if path[-1] not in holder:
        similar = close_key(path[-1], holder) or ""
        return ReadValue(name, is_present=False, type="", similar=similar)
    value = holder[path[-1]]
    # An event has all of the SDK's attributes: those that were not set are None.
    if value is None and holder is attributes:
        return ReadValue(name, is_present=False, type="")
    return ReadValue(name, is_present=True, type=type(value).__name__, value=value)
