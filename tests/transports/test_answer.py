"""How an answer is read, in whatever way it came."""

from __future__ import annotations

import pytest
from freezegun import freeze_time

from amplitude_moloco.transports.answer import read_retry_after


@freeze_time("2026-07-06 12:00:00")
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        pytest.param(None, 0, id="none"),
        pytest.param("1000000000", 1e9, id="long"),
        pytest.param("Mon, 06 Jul 2026 12:01:30 GMT", 90, id="date"),
        pytest.param("Monday, 06-Jul-26 12:01:30 GMT", 90, id="obsolete-date"),
        pytest.param("Mon, 06 Jul 2026 12:00:00 GMT", 0, id="now"),
        pytest.param("Mon, 06 Jul 2026 11:59:59 GMT", 0, id="past"),
        pytest.param("1e9", 0, id="float"),
        pytest.param("7, 8", 0, id="two"),
        pytest.param("9" * 400, 0, id="beyond-all-numbers"),
    ],
)
def test_a_retry_after_is_a_number_or_a_date(value: str | None, seconds: float) -> None:
    """A wait is told to the second; what makes no sense is none."""
    assert read_retry_after(value) == seconds
