"""Ids that events of different users share."""

from __future__ import annotations

from support.events import bare_event

from amplitude_moloco.convert.repeats import RepeatedIds


def test_an_id_of_two_users_is_found_once() -> None:
    """An id that comes with another user is found, once, and never again."""
    repeats = RepeatedIds()
    assert not repeats.found("1", bare_event(user_id="a"))
    assert not repeats.found("1", bare_event(user_id="a"))
    assert not repeats.found("2", bare_event(user_id="b"))
    assert repeats.found("1", bare_event(user_id="b"))
    assert not repeats.found("2", bare_event(user_id="c"))


def test_only_the_latest_ids_are_remembered() -> None:
    """Memory is bounded: an id of long ago is forgotten."""
    repeats = RepeatedIds()
    for number in range(1_001):
        assert not repeats.found(str(number), bare_event(user_id="a"))
    assert not repeats.found("0", bare_event(user_id="b"))
