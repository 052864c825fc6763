"""Ranges of hours in UTC, by which Amplitude's Export API selects: both ends are included."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import NamedTuple

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.text import shown

_SECONDS = 3600
_HOUR = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)(?:[T ](\d\d)(?::?00(?::?00)?)?Z?)?", re.ASCII | re.IGNORECASE
)
_FILE = re.compile(r"(\d{8}T\d\d)-(\d{8}T\d\d)\.zip", re.ASCII)
DELAY_HOURS = 2
"""Amplitude exports an hour about two hours after its end."""


class Hours(NamedTuple):
    """Hours from the first to the last one, which is included. Each counts from 1970."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{hour_text(self.first)}-{hour_text(self.last)}"

    @property
    def total(self) -> int:
        """How many hours these are."""
        return self.last - self.first + 1

    @property
    def file_name(self) -> str:
        """The name of the file for these hours."""
        return f"{self}.zip"


def hour_text(hour: int) -> str:
    """Returns an hour as the Export API takes it: ``20260131T18``."""
    return f"{datetime.fromtimestamp(hour * _SECONDS, timezone.utc):%Y%m%dT%H}"


def parse_hour(name: str, text: str, *, is_last: bool = False) -> int:
    """Returns an hour. A date alone is its first hour or, with ``is_last``, its last one.

    Raises ConfigurationError naming ``name``.
    """
    found = _HOUR.fullmatch(text)
    try:
        if not found:
            raise ValueError(text)
        year, month, day = (int(part) for part in found.groups()[:3])
        hour = (23 if is_last else 0) if found[4] is None else int(found[4])
        moment = datetime(year, month, day, hour, tzinfo=timezone.utc)
    except ValueError:
        raise ConfigurationError(
            f"{name}: found {shown(text)}; use a date or an hour in UTC, such as 2026-01-31 or "
            f"2026-01-31T18"
        ) from None
    return int(moment.timestamp()) // _SECONDS


def hours_of_file(file_name: str) -> Hours | None:
    """Returns the hours that a file holds, by its name; None for another file."""
    found = _FILE.fullmatch(file_name)
    try:
        return Hours(*(parse_hour("", text) for text in found.groups())) if found else None
    except ConfigurationError:  # a date that does not exist
        return None


def parse_hours(start: str, end: str, now_seconds: float) -> Hours:
    """Returns the hours from ``start`` to ``end``, both included.

    Raises ConfigurationError, also for hours that Amplitude does not export yet.
    """
    first, last = parse_hour("--start", start), parse_hour("--end", end, is_last=True)
    if last < first:
        raise ConfigurationError("--end: before --start; use a later date or hour")
    newest = int(now_seconds // _SECONDS) - DELAY_HOURS - 1
    if last > newest:
        raise ConfigurationError(
            f"--end: {hour_text(last)} is not exported yet: Amplitude needs {DELAY_HOURS} hours "
            f"after the end of an hour; use {hour_text(newest)} or an earlier one, in UTC"
        )
    return Hours(first, last)
