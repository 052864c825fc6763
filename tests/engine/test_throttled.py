"""Identifiers that the server throttles."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from amplitude_moloco.engine.throttled import ThrottledIdentifiers

LONG = 60.0
"""Seconds after which a wait in a test has failed."""


def test_an_identifier_is_named_at_its_third_throttle_and_only_then() -> None:
    """The third throttle of an identifier names it; no other one does."""
    throttled = ThrottledIdentifiers()
    assert [throttled.count("a") for _ in range(6)] == [False, False, True, False, False, False]


def test_identifiers_are_counted_apart() -> None:
    """A throttle of one identifier does not count for another."""
    throttled = ThrottledIdentifiers()
    assert [throttled.count(each) for each in "abababa"] == [False] * 4 + [True, True, False]


def test_the_thousand_throttled_last_are_remembered() -> None:
    """The identifier that was throttled longest ago makes room for a new one."""
    throttled = ThrottledIdentifiers()
    for _ in range(2):
        throttled.count("first")
    for number in range(999):
        throttled.count(str(number))
    assert throttled.count("first")
    for number in range(1000):
        throttled.count(f"other {number}")
    assert [throttled.count("first") for _ in range(3)] == [False, False, True]


def test_threads_name_each_identifier_once() -> None:
    """With eight threads counting the same identifiers, each is named exactly once."""
    throttled = ThrottledIdentifiers()
    all_ready = threading.Barrier(8)

    def count(thread: int) -> list[str]:
        all_ready.wait(LONG)
        return [id for _ in range(50) for id in map(str, range(20)) if throttled.count(id)]

    with ThreadPoolExecutor(8) as pool:
        named = [id for ids in pool.map(count, range(8)) for id in ids]
    assert sorted(named) == sorted(map(str, range(20)))
