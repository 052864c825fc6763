"""A counter without a lock."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from amplitude_moloco.engine.tally import Tally


def test_it_counts_and_says_how_many_there_were() -> None:
    """Each call returns the number before it, and asking for the value changes nothing."""
    tally = Tally()
    assert tally.value == 0
    assert [tally.add(), tally.add()] == [0, 1]
    assert (tally.value, tally.value) == (2, 2)


def test_threads_count_together() -> None:
    """No thread's count is lost, and no two see the same number."""
    tally = Tally()
    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(lambda _: tally.add(), range(1000)))
    assert sorted(seen) == list(range(1000))
    assert tally.value == 1000
