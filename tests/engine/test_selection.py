"""What no sync selects, counted."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Thread

import pytest

from amplitude_moloco.engine.facts import Unselected
from amplitude_moloco.engine.selection import OTHER_NAMES, SelectionCounts

LONG = 30.0


@dataclass
class Refusing:
    """A sync, as the counters see it."""

    name: str
    enabled: bool = True


class Text(str):
    """Text of an app's own type."""

    __slots__ = ()

    def __len__(self) -> int:
        raise RuntimeError


def test_each_name_is_counted_and_told_once() -> None:
    """Every event is counted under its name, and the first of each name is a fact."""
    facts: list[Unselected] = []
    counts = SelectionCounts(facts.append)
    for name in ("a", "b", "a"):
        counts.unselected(name)
    assert counts.totals().unselected == {"a": 2, "b": 1}
    assert facts == [Unselected("a"), Unselected("b")]


def test_the_names_are_bounded_and_the_rest_is_summed() -> None:
    """The first hundred names have a counter of their own, however many there are."""
    facts: list[Unselected] = []
    counts = SelectionCounts(facts.append)
    for number in range(1_000):
        counts.unselected(f"name {number}")
    counts.unselected("name 5")
    totals = counts.totals().unselected
    assert len(totals) == 101
    assert (totals["name 5"], totals[OTHER_NAMES]) == (2, 900)
    assert len(facts) == 100


@pytest.mark.parametrize("name", [None, 7, ["a"], "x" * 101], ids=repr)
def test_what_is_no_usable_name_is_counted_with_the_rest(name: object) -> None:
    """A name that is no text, or too long, takes no memory, and is no fact."""
    facts: list[Unselected] = []
    counts = SelectionCounts(facts.append)
    counts.unselected(name)
    assert counts.totals().unselected == {OTHER_NAMES: 1}
    assert facts == []


def test_text_of_an_own_type_is_counted_as_its_text() -> None:
    """A subclass of str can't raise, or keep anything alive, in the counters."""
    counts = SelectionCounts()
    counts.unselected(Text("a"))
    (name,) = counts.totals().unselected
    assert (name, type(name)) == ("a", str)


def test_a_filter_is_counted_by_sync_and_a_toggle_is_not() -> None:
    """What a filter leaves out is counted for its sync; what a disabled sync does is not."""
    counts = SelectionCounts()
    for sync in (Refusing("HOME"), Refusing("LAND", enabled=False), Refusing("HOME")):
        counts.refused(sync)
    assert counts.totals().filtered == {"HOME": 2}


def test_a_copy_of_the_counters_stays_as_it_is() -> None:
    """What totals() has returned does not change."""
    counts = SelectionCounts()
    counts.unselected("a")
    before = counts.totals()
    counts.unselected("a")
    counts.refused(Refusing("HOME"))
    assert before == ({"a": 1}, {})


def test_no_count_is_lost_between_threads() -> None:
    """Four threads that count at a time lose nothing."""
    counts = SelectionCounts()

    def count() -> None:
        for _ in range(2_000):
            counts.unselected("a")
            counts.refused(Refusing("HOME"))

    threads = [Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert counts.totals() == ({"a": 8_000}, {"HOME": 8_000})
