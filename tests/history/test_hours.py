"""Ranges of hours."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco import ConfigurationError
from amplitude_moloco.history.hours import (
    Hours,
    hour_text,
    hours_of_file,
    parse_hour,
    parse_hours,
)

DAY = 20_484 * 24  # 2026-01-31T00
NOW = (DAY + 30) * 3600.0
HOURS = st.integers(0, 2_000_000)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026-01-31", 0, 23),
        ("20260131", 0, 23),
        ("2026-01-31T18", 18, 18),
        ("20260131T18", 18, 18),
        ("2026-01-31 18:00", 18, 18),
        ("2026-01-31T18:00:00Z", 18, 18),
    ],
)
def test_forms(text: str, first: int, last: int) -> None:
    """A date is its first hour at the start, and its last one at the end of a range."""
    assert parse_hour("--start", text) == DAY + first
    assert parse_hour("--end", text, is_last=True) == DAY + last


@pytest.mark.parametrize(
    "text", ["", "x", "2026-02-30", "2026-01-31T24", "2026-01-31T18:30", "2026-1-1", "0000-01-01"]
)
def test_no_hour(text: str) -> None:
    """Anything else is refused, and the message names the option and an example."""
    with pytest.raises(ConfigurationError, match=r"^--end: found '.*'; use a date or an hour"):
        parse_hour("--end", text)


@given(HOURS, HOURS)
def test_names(first: int, last: int) -> None:
    """The name of a file tells its hours, and the text of an hour is what Amplitude takes."""
    hours = Hours(min(first, last), max(first, last))
    assert hours_of_file(hours.file_name) == hours
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(hours=first)
    assert hour_text(first) == moment.strftime("%Y%m%dT%H")
    assert hours.total == abs(first - last) + 1


@pytest.mark.parametrize(
    "name", ["20260131T00.zip", "20260230T00-20260230T23.zip", "x20260131T00-20260131T23.zip", ""]
)
def test_other_files(name: str) -> None:
    """A file with another name holds no known hours."""
    assert hours_of_file(name) is None


def test_a_range() -> None:
    """Both ends of a range are included."""
    assert parse_hours("2026-01-30", "2026-01-31T05", NOW) == Hours(DAY - 24, DAY + 5)
    assert parse_hours("2026-01-31T05", "2026-01-31T05", NOW).total == 1


def test_an_hour_is_exported_two_hours_after_its_end() -> None:
    """Hours that Amplitude can't have exported yet are refused, and the newest one is named."""
    just_ended = (DAY + 8) * 3600.0
    assert parse_hours("2026-01-31", "2026-01-31T05", just_ended).last == DAY + 5
    with pytest.raises(ConfigurationError, match=r"^--end: 20260131T05 is not .* use 20260131T04 "):
        parse_hours("2026-01-31", "2026-01-31T05", just_ended - 1)


def test_a_range_the_wrong_way_round() -> None:
    """An end before the start is refused."""
    with pytest.raises(ConfigurationError, match=r"^--end: before --start"):
        parse_hours("2026-01-31", "2026-01-30", NOW)
