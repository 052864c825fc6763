"""What happens to events, as values."""

from __future__ import annotations

import dataclasses

import pytest
from support.facts import BODY, DROPPED, FACTS, INVALID, OTHER, PROBLEM, kind_of

from amplitude_moloco.engine.facts import Fact, Invalid
from amplitude_moloco.reasons import DropReason


def test_a_dropped_event_hides_its_body() -> None:
    """The body of a dropped event is handed over, but never shown."""
    assert DROPPED.body == BODY
    assert repr(DROPPED) == "Dropped(sync='HOME', id='id-1', reason='full')"
    assert str(DROPPED) == repr(DROPPED)


def test_an_invalid_event_is_counted_under_its_first_problem() -> None:
    """The reason is the code of the first problem, without the place in a list."""
    assert INVALID.reason == "search_query missing"
    assert Invalid("HOME", None, "", (OTHER, PROBLEM)).reason == "items.price wrong_type"


@pytest.mark.parametrize("fact", FACTS, ids=kind_of)
def test_facts_are_values(fact: Fact) -> None:
    """A fact is equal to its copy, can be kept in a set, and never changes."""
    assert fact == dataclasses.replace(fact)
    assert len({fact, dataclasses.replace(fact)}) == 1
    for field in dataclasses.fields(fact):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(fact, field.name, None)


def test_a_reason_is_its_text() -> None:
    """A reason compares, prints and formats as its text, so that counters read like plain dicts."""
    reason = DropReason.FULL
    assert reason == "full"
    assert (str(reason), repr(reason), f"{reason:>6}") == ("full", "'full'", "  full")
    assert repr({reason: 1}) == "{'full': 1}"
