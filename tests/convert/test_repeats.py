"""Ids that come twice: from different users, or from different destinations."""

from __future__ import annotations

import pytest
from support.events import bare_event

from amplitude_moloco.convert.repeats import RepeatedIds, Repetition

ADDRESS = "https://repeats.example"


def test_an_id_of_two_users_is_found_once() -> None:
    """An id that comes with another user is found, once, and never again."""
    repeats = RepeatedIds(ADDRESS)
    assert repeats.find("1", bare_event(user_id="a")) is None
    assert repeats.find("1", bare_event(user_id="a")) is None
    assert repeats.find("2", bare_event(user_id="b")) is None
    assert repeats.find("1", bare_event(user_id="b")) is Repetition.OF_ANOTHER_USER
    assert repeats.find("2", bare_event(user_id="c")) is None


def test_an_event_of_two_senders_is_found_once_by_each() -> None:
    """An event that a second sender sends is found, once."""
    one, two, other = RepeatedIds(ADDRESS), RepeatedIds(ADDRESS), RepeatedIds("https://b.example")
    made = bare_event(user_id="a")
    for each in (one, two, other):
        each.open()
    assert one.find("1", made) is None
    assert other.find("1", made) is None
    assert two.find("1", made) is Repetition.OF_ANOTHER_SENDER
    assert two.find("1", made) is None
    assert two.find("1", bare_event(user_id="b")) is Repetition.OF_ANOTHER_USER
    assert two.find("2", made) is None
    assert one.find("2", made) is Repetition.OF_ANOTHER_SENDER


def test_a_sender_that_has_ended_has_sent_nothing() -> None:
    """What a closed destination has sent is no reason to warn of the next one."""
    one, two = RepeatedIds(ADDRESS), RepeatedIds(ADDRESS)
    made = bare_event(user_id="a")
    one.open()
    two.open()
    assert one.find("1", made) is None
    assert two.find("2", made) is None
    one.forget()
    assert two.find("1", made) is None
    assert one.find("2", made) is None


def test_only_the_latest_ids_are_remembered() -> None:
    """Memory is bounded: an id of long ago is forgotten."""
    repeats = RepeatedIds(ADDRESS)
    for number in range(1_001):
        assert repeats.find(str(number), bare_event(user_id="a")) is None
    assert repeats.find("0", bare_event(user_id="b")) is None


@pytest.mark.parametrize("user_id", [["a"], {}])
def test_a_user_that_is_no_text_is_passed_over(user_id: object) -> None:
    """An id of a kind that can't be compared is not remembered."""
    repeats = RepeatedIds(ADDRESS)
    assert repeats.find("1", bare_event(user_id=user_id)) is None
    assert repeats.find("1", bare_event(user_id="a")) is None
