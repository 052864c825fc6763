"""Syncs that would send one event twice are noticed."""

from __future__ import annotations

import fnmatch
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco import MolocoDestination, Sync, ecommerce_syncs
from amplitude_moloco.moloco.overlaps import patterns_meet, warn_of_overlaps

OWN = Sync("PURCHASE", ["Order Completed"], name="own", where="event_properties.total > `0`")


def warnings_of(caplog: pytest.LogCaptureFixture, *syncs: Sync) -> list[str]:
    caplog.clear()
    warn_of_overlaps(syncs)
    assert {record.levelno for record in caplog.records} <= {logging.WARNING}
    return caplog.messages


def test_the_ready_syncs_do_not_overlap(caplog: pytest.LogCaptureFixture) -> None:
    """The ready syncs give no warning."""
    assert warnings_of(caplog, *ecommerce_syncs()) == []


def test_a_destination_warns_of_its_syncs(caplog: pytest.LogCaptureFixture) -> None:
    """An own PURCHASE beside the ready one is logged when the destination is made."""
    syncs = [*ecommerce_syncs(), OWN]
    MolocoDestination("key", "SHOP", syncs, platform_name="shop").close()
    (said,) = caplog.messages
    assert said.startswith(
        f"syncs[{len(syncs) - 2}] and syncs[{len(syncs) - 1}] ('PURCHASE' and 'own') may both send "
        f"an event as PURCHASE"
    )


def test_the_same_sync_twice_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    """A Sync that is listed twice sends its events twice, whatever selects them."""
    for sync in (OWN, Sync("HOME", lambda made: True)):
        assert warnings_of(caplog, sync, sync) == [
            "syncs[0] and syncs[1] are the same Sync: its events are sent twice"
        ]


@pytest.mark.parametrize(
    ("first", "second", "warns"),
    [
        (Sync("HOME", "Start"), Sync("HOME", "Start"), True),
        (Sync("HOME", "Start"), Sync("HOME", "St*"), True),
        (Sync("HOME", "*rt"), Sync("HOME", "St*"), True),
        (Sync("HOME", ["A", "B"]), Sync("HOME", ["C", "B"]), True),
        (Sync("HOME", "Start"), Sync("HOME", "End"), False),
        (Sync("HOME", "a*"), Sync("HOME", "b*"), False),
        (Sync("HOME", "Start"), Sync("PAGE_VIEW", "Start"), False),
        (Sync("HOME", "A", where="user_id"), Sync("HOME", "A", where="!(user_id)"), False),
        (Sync("HOME", "A", where="user_id"), Sync("HOME", "A"), True),
        (Sync("HOME", lambda made: True), Sync("HOME", "A"), False),
    ],
)
def test_names_tell_whether_syncs_overlap(
    caplog: pytest.LogCaptureFixture, first: Sync, second: Sync, *, warns: bool
) -> None:
    """Two syncs of one type overlap if a name suits both, and not each has a filter."""
    assert bool(warnings_of(caplog, first, second)) is warns
    assert bool(warnings_of(caplog, second, first)) is warns


@given(st.text("ab*", max_size=5), st.text("ab*", max_size=5))
def test_patterns_meet_where_some_name_suits_both(one: str, other: str) -> None:
    """Two patterns meet exactly if some short text matches both."""
    texts = [""]
    for _ in range(8):  # as long as both patterns without their wildcards
        texts += {text + letter for text in texts for letter in "ab"} - {*texts}
    both = any(fnmatch.fnmatchcase(t, one) and fnmatch.fnmatchcase(t, other) for t in texts)
    assert patterns_meet(one, other) is both
    assert patterns_meet(other, one) is both


def test_enormous_patterns_are_not_compared() -> None:
    """Patterns that would take long to compare are not compared, and count as different."""
    assert not patterns_meet("*" * 2_000, "*" * 2_000)
