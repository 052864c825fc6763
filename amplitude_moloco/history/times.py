"""Times in UTC: as exports write them, and as a user gives the ends of a range."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.text import shown

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)? ?"
    r"(?:(Z|UTC)|([+-])(\d\d):?(\d\d))?",
    re.ASCII | re.IGNORECASE,
)


def parse_millis(text: str) -> int:
    """Returns a time as Unix milliseconds. A time without a zone is in UTC, as exports have it.

    What is smaller than a millisecond is cut off. A date without a time is its midnight. Raises
    ValueError for text that is no time.
    """
    found = _TIME.fullmatch(text)
    if not found:
        raise ValueError("not a time")
    day, minute, second, fraction, _, sign, hours, minutes = found.groups()
    moment = datetime.fromisoformat(f"{day}T{minute or '00:00'}:{second or '00'}+00:00")
    if sign:
        if int(minutes) > 59:
            raise ValueError("not a time")
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        moment += -offset if sign == "+" else offset
    millis = int(fraction[:3].ljust(3, "0")) if fraction else 0
    return (moment - EPOCH) // _MILLISECOND + millis


def range_end(name: str, value: date | datetime | str | None) -> int | None:
    """Returns one end of a range of time as Unix milliseconds; None for None.

    Text and datetimes without a zone are in UTC, and a date is its midnight. Raises
    ConfigurationError naming ``name``.
    """
    if value is None:
        return None
    try:
        if isinstance(value, str):
            return parse_millis(value)
        if isinstance(value, datetime):
            moment = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
            return (moment - EPOCH) // _MILLISECOND
        if isinstance(value, date):
            return parse_millis(value.isoformat())
    except (ValueError, OverflowError):
        pass
    raise ConfigurationError(
        f"{name}: found {shown(value)}; use a date or a time in UTC, such as '2026-01-31' or "
        f"'2026-01-31T18:00'"
    )
