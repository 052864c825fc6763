"""Why an event, or a part of it, can't be sent."""

from __future__ import annotations

import dataclasses
import re
import traceback
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePath
from typing import NamedTuple

from amplitude_moloco.reasons import Reason

_NOT_APPS = frozenset({"amplitude_moloco", "jmespath"})
_INDEX = re.compile(r"\[\d+\]")
_MAX_LINES = 20


class ProblemReason(Reason):
    """What is wrong with a field of an event, or with the event as a whole."""

    MISSING = "missing"
    """A required field is absent."""
    NO_IDENTIFIER = "no_identifier"
    """None of the fields that identify a shopper has a usable value."""
    HALF_MONEY = "half_money"
    """An amount without a currency, or a currency without an amount."""
    MIXED_CURRENCIES = "mixed_currencies"
    """Two amounts of one event are in different currencies."""
    APP_OS = "app_os"
    """The event comes from an app, but its operating system is not one that apps run on."""
    WRONG_TYPE = "wrong_type"
    """The value is of a kind that the field can't hold."""
    UNKNOWN_VALUE = "unknown_value"
    """The value is not one of those that the field allows."""
    TOO_LONG = "too_long"
    """The text has more characters than the field allows."""
    TOO_BIG = "too_big"
    """The event, or an object in it, exceeds the limits of size or depth."""
    NOT_A_NUMBER = "not_a_number"
    """The value is not a finite number, nor text that holds one."""
    NOT_MILLISECONDS = "not_milliseconds"
    """The time is a number, but can't be Unix time in milliseconds."""
    IN_FUTURE = "in_future"
    """The time is further ahead than clock skew explains."""
    TOO_OLD = "too_old"
    """The time is longer ago than the partner accepts."""
    NO_APP = "no_app"
    """The event's platform has no app at the partner."""
    OUT_OF_RANGE = "out_of_range"
    """The number is smaller or larger than the field allows."""
    NOT_JSON = "not_json"
    """An object holds a key or a value that JSON can't represent."""
    NOT_UNICODE = "not_unicode"
    """The text can't be encoded as UTF-8."""
    MAPPING_FAILED = "mapping_failed"
    """The mapping of a field raised an exception."""
    FILTER_FAILED = "filter_failed"
    """The filter of a sync raised an exception."""
    UNREADABLE = "unreadable"
    """A value of the event raised an exception when it was read."""
    FAILED = "failed"
    """Anything else raised an exception before the event was converted."""


CAUSED_BY_ABSENCE: frozenset[Reason] = frozenset(
    {
        ProblemReason.MISSING,
        ProblemReason.NO_IDENTIFIER,
        ProblemReason.MAPPING_FAILED,
        ProblemReason.HALF_MONEY,
        ProblemReason.APP_OS,
    }
)
"""The reasons of problems that arise where an event lacks something."""


class Line(NamedTuple):
    """A line of code that was running."""

    file: str
    number: int
    function: str


Trace = tuple[Line, ...]
"""The lines that led to an exception, the outermost first. Holds no value."""


def trace_of(error: BaseException) -> Trace:
    """Returns the last lines of the app that led to an exception; empty if none of it ran."""
    lines: deque[Line] = deque(maxlen=_MAX_LINES)
    is_apps = False
    for frame, number in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        module = str(frame.f_globals.get("__name__", ""))
        is_apps = is_apps or module.partition(".")[0] not in _NOT_APPS
        if is_apps:
            lines.append(Line(code.co_filename, number or 0, code.co_name))
    return _shared(tuple(lines))


def place_of(trace: Trace) -> str:
    """Returns where in the app's callable an exception was raised: file, line and function.

    It is the last line in the callable's own file, and begins with a blank. Empty if only
    expressions were running.
    """
    if not trace:
        return ""
    file, number, function = [line for line in trace if line.file == trace[0].file][-1]
    return f" ({PurePath(file).name}, line {number}, in {function})"


@lru_cache(maxsize=256)
def _shared(trace: Trace) -> Trace:
    """Returns an equal trace of earlier: thousands of events may fail at the same place."""
    return trace


@dataclass(frozen=True)
class Problem:
    """One reason why an event, or a part of it, can't be sent.

    Holds no value of the event, so it may be logged.
    """

    field: str
    """The field of the partner's event, with its place: ``items[1].price``."""
    reason: Reason
    """What is wrong."""
    found: str
    """The kind of value that was found, never the value."""
    fix: str
    """What to use instead."""
    trace: Trace = dataclasses.field(default=(), repr=False, compare=False)
    """The lines of the app that raised, if a mapping or a filter of its own did."""

    def __str__(self) -> str:
        return f"{self.field}: found {self.found}; {self.fix}"

    @property
    def code(self) -> str:
        """The key under which the problem is counted: ``items.price wrong_type``."""
        return f"{_INDEX.sub('', self.field)} {self.reason}"
