"""Why an event, or a part of it, can't be sent."""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass
from pathlib import PurePath

from amplitude_moloco.reasons import Reason

_NOT_APPS = frozenset({"amplitude_moloco", "jmespath"})
_INDEX = re.compile(r"\[\d+\]")


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


def place_of(error: BaseException) -> str:
    """Returns where in the app's callable an exception was raised: file, line and function.

    It is the last line in the callable's own file, and begins with a blank. Empty if only
    expressions were running.
    """
    file, place = None, ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        if frame.f_globals.get("__name__", "").partition(".")[0] in _NOT_APPS:
            continue
        file = file or code.co_filename
        if code.co_filename == file:
            place = f" ({PurePath(file).name}, line {line}, in {code.co_name})"
    return place


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

    def __str__(self) -> str:
        return f"{self.field}: found {self.found}; {self.fix}"

    @property
    def code(self) -> str:
        """The key under which the problem is counted: ``items.price wrong_type``."""
        return f"{_INDEX.sub('', self.field)} {self.reason}"
