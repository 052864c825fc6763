"""Times in UTC."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco import ConfigurationError
from amplitude_moloco.history.times import parse_millis, range_end

DAY = 1_769_817_600_000  # 2026-01-31


@pytest.mark.parametrize(
    ("text", "millis"),
    [
        ("2026-01-31 00:00:00.000000", DAY),
        ("2026-01-31 00:00:00.123999", DAY + 123),
        ("2026-01-31 00:00:00.5", DAY + 500),
        ("2026-01-31 00:00:01", DAY + 1000),
        ("2026-01-31 01:00", DAY + 3_600_000),
        ("2026-01-31", DAY),
        ("2026-01-31T00:00:00Z", DAY),
        ("2026-01-31 00:00:00.000 UTC", DAY),
        ("2026-01-31T09:00:00+09:00", DAY),
        ("2026-01-30T19:30:00.25-0430", DAY + 250),
        ("1969-12-31 23:59:59.999", -1),
    ],
)
def test_forms(text: str, millis: int) -> None:
    """A time in any form that Amplitude and its streams write is the right millisecond."""
    assert parse_millis(text) == millis


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "2026-02-30", "2026-01-31 24:00:01", "2026-01-31 00:60", "2026-1-1"),
        *("2026-01-31 00:00:00.", "2026-01-31 00:00:00+1", "2026-01-31 00:00:00+01:60"),
        *(
            "2026-01-31\n",
            "\u0662\u0660\u0662\u0666-01-31",
            "0000-01-01",
            "2026-01-31 00:00:00.1234567890",
        ),
    ],
)
def test_no_times(text: str) -> None:
    """What is no time is refused."""
    with pytest.raises(ValueError, match=r".+"):
        parse_millis(text)


def test_before_the_first_year() -> None:
    """A zone that leads out of the calendar is refused."""
    with pytest.raises(OverflowError):
        parse_millis("0001-01-01T00:00:00+09:00")


@given(st.datetimes(), st.integers(-12 * 60, 14 * 60))
def test_every_time(moment: datetime, offset_minutes: int) -> None:
    """Each time is the number of milliseconds since 1970, whatever the zone that it is given in."""
    expected = (moment - datetime(1970, 1, 1)) // timedelta(milliseconds=1)  # noqa: DTZ001  # UTC
    assert parse_millis(moment.isoformat(" ", "microseconds")) == expected
    assert parse_millis(moment.isoformat(timespec="microseconds") + "Z") == expected
    assert range_end("since", moment) == expected
    zone = timezone(timedelta(minutes=offset_minutes))
    aware = moment.replace(tzinfo=timezone.utc)
    if 2 < moment.year < 9998:
        assert parse_millis(aware.astimezone(zone).isoformat(timespec="microseconds")) == expected
        assert range_end("since", aware.astimezone(zone)) == expected


def test_ends_of_a_range() -> None:
    """A date is its midnight in UTC, and None no end."""
    assert range_end("since", date(2026, 1, 31)) == DAY
    assert range_end("since", "2026-01-31T01:00") == DAY + 3_600_000
    assert range_end("since", None) is None


@pytest.mark.parametrize("value", ["31/01/2026", 17, "0001-01-01T00:00+09:00"])
def test_no_end_of_a_range(value: Any) -> None:
    """Anything else is refused, and the message names the argument and an example."""
    with pytest.raises(ConfigurationError, match=r"^until: found .*; use a date or a time in UTC"):
        range_end("until", value)
