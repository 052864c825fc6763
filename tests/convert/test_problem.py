"""A problem: its text, and the key under which it is counted."""

from __future__ import annotations

import pytest

from amplitude_moloco.convert.problem import Problem, ProblemReason

REASONS = (
    "missing no_identifier half_money mixed_currencies app_os wrong_type unknown_value too_long "
    "too_big not_a_number not_milliseconds in_future not_json not_unicode mapping_failed "
    "filter_failed unreadable failed too_old no_app out_of_range"
).split()


def test_a_problem_prints_as_one_line() -> None:
    """The text of a problem names the field, what was found and what to use instead."""
    problem = Problem("items[1].price", ProblemReason.WRONG_TYPE, "a list of 2", "use a number")
    assert str(problem) == "items[1].price: found a list of 2; use a number"


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("page_id", "page_id wrong_type"),
        ("items[1]", "items wrong_type"),
        ("items[1].price", "items.price wrong_type"),
        ("items[10].price.amount", "items.price.amount wrong_type"),
    ],
)
def test_problems_are_counted_without_places(field: str, code: str) -> None:
    """Problems of a field count under one key, whichever item they are in."""
    assert Problem(field, ProblemReason.WRONG_TYPE, "a list of 2", "use a number").code == code


@pytest.mark.parametrize("reason", ProblemReason)
def test_a_reason_is_its_text(reason: ProblemReason) -> None:
    """A reason equals its text, and prints as its text."""
    assert reason == reason.value == str(reason) == f"{reason}"
    assert Problem("page_id", reason, "nothing", "").code == f"page_id {reason.value}"


def test_the_reasons_are_known() -> None:
    """The reasons, which are part of the counters' keys, are exactly these."""
    assert sorted(ProblemReason) == sorted(REASONS)
