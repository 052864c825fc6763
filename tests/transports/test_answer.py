"""How Retry-After is read over requests. What holds over every transport is in the contract."""

from __future__ import annotations

from math import isfinite

import pytest
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco.transports.answer import read_retry_after


@freeze_time("2026-07-06 12:00:00")
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        pytest.param(None, 0, id="none"),
        pytest.param("7", 7, id="number"),
        pytest.param("1000000000", 1e9, id="long"),
        pytest.param("Mon, 06 Jul 2026 12:01:30 GMT", 90, id="date"),
        pytest.param("Monday, 06-Jul-26 12:01:30 GMT", 90, id="obsolete-date"),
        pytest.param("Mon Jul  6 12:01:30 2026", 90, id="asctime-date"),
        pytest.param("Mon, 06 Jul 2026 12:01:30 +0900", 0, id="date-with-a-zone"),
        pytest.param("Mon, 06 Jul 2026 12:00:00 GMT", 0, id="now"),
        pytest.param("Mon, 06 Jul 2026 11:59:59 GMT", 0, id="past"),
        pytest.param("Mon, 06 Jul 99999 12:00:00 GMT", 0, id="year-too-high"),
        pytest.param("-7", 0, id="negative"),
        pytest.param("7.5", 0, id="fraction"),
        pytest.param("1e9", 0, id="float"),
        pytest.param("7, 8", 0, id="two"),
        pytest.param("9" * 400, 0, id="beyond-all-numbers"),
    ],
)
def test_a_retry_after_is_a_number_or_a_date(value: str | None, seconds: float) -> None:
    """A wait is exact to the second; a malformed value asks for none."""
    assert read_retry_after(value) == seconds


@given(
    st.text()
    | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ \S*")
    | st.from_regex(r"[+-]?\d+[.,:;/ ]?\d*")
)
def test_whatever_a_server_says_is_a_wait(value: str) -> None:
    """No value of the header raises, and none is read as a negative or an endless wait."""
    seconds = read_retry_after(value)
    assert seconds >= 0
    assert isfinite(seconds)
