"""A conversion: its text."""

from __future__ import annotations

from amplitude_moloco.convert.conversion import Conversion
from amplitude_moloco.convert.problem import Problem, ProblemReason


def test_a_conversion_without_problems_prints_its_body() -> None:
    """The text of a conversion that can be sent is the sync's name and the body."""
    conversion = Conversion("Start", "1", {"id": "1"}, b'{"id":"1"}', ())
    assert str(conversion) == 'Start is sent as {"id":"1"}'


def test_a_conversion_with_problems_prints_each_of_them() -> None:
    """The text of a conversion that can't be sent is the sync's name and every problem."""
    missing = Problem("time", ProblemReason.MISSING, "nothing", "set the time")
    too_long = Problem("id", ProblemReason.TOO_LONG, "text of 129 characters", "use fewer")
    conversion = Conversion("Start", None, {}, b"", (missing, too_long))
    assert str(conversion) == (
        "Start can't be sent:\n"
        "- time: found nothing; set the time\n"
        "- id: found text of 129 characters; use fewer"
    )


def test_a_conversion_prints_what_was_left_out() -> None:
    """The text of a conversion that is sent without parts lists them after the body."""
    nan = Problem("user_properties", ProblemReason.NOT_JSON, "NaN", "use finite numbers")
    conversion = Conversion("Start", "1", {"id": "1"}, b'{"id":"1"}', (), (nan,))
    assert str(conversion) == (
        'Start is sent as {"id":"1"}\nwithout:\n- user_properties: found NaN; use finite numbers'
    )
