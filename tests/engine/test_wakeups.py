"""How idle senders wait."""

from __future__ import annotations

import threading

from support.clock import Clock

from amplitude_moloco.engine.runtime import Awaited, Runtime
from amplitude_moloco.engine.wakeups import Wakeups

LONG = 60.0
"""Seconds after which a wait in a test has failed."""


class Waits:
    """Lets waits be counted, and go on until the test ends them."""

    def __init__(self) -> None:
        self.seconds: list[float | None] = []
        self.began = threading.Semaphore(0)

    def __call__(self, awaited: Awaited, seconds: float | None) -> None:
        self.seconds.append(seconds)
        self.began.release()
        assert awaited.wait(LONG)

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self.began.acquire(timeout=LONG)


def wakeups_and_waits() -> tuple[Wakeups, Waits]:
    waits = Waits()
    return Wakeups(Runtime(monotonic=Clock().monotonic, wait=waits)), waits


def waiting(wakeups: Wakeups, seconds: float | None) -> threading.Thread:
    thread = threading.Thread(target=wakeups.wait, args=(seconds,))
    thread.start()
    return thread


def joined(*threads: threading.Thread) -> bool:
    for thread in threads:
        thread.join(LONG)
    return not any(thread.is_alive() for thread in threads)


def test_a_wake_up_between_asking_and_waiting_is_not_lost() -> None:
    """Wake-ups that come after a sender has asked for work end its next wait, and no other."""
    heard: list[object] = []

    def wait(awaited: Awaited, seconds: float | None) -> None:
        heard.append(awaited.wait(seconds))

    wakeups = Wakeups(Runtime(wait=wait))
    wakeups.wake()
    wakeups.wake()
    assert not wakeups.wait(LONG)
    assert not wakeups.wait(0.0)
    assert heard == [True, False]


def test_one_sender_watches_the_time_and_the_others_sleep() -> None:
    """Of three idle senders one waits with a timeout; the others wait to be woken."""
    wakeups, waits = wakeups_and_waits()
    threads = []
    for _ in range(3):
        threads.append(waiting(wakeups, 5.0))
        waits.wait_for(1)
    assert waits.seconds == [5.0, None, None]
    wakeups.close()
    assert joined(*threads)


def test_waking_reaches_the_watcher() -> None:
    """The sender that watches the time is the one that a wake-up reaches."""
    wakeups, waits = wakeups_and_waits()
    watcher = waiting(wakeups, 5.0)
    waits.wait_for(1)
    sleeper = waiting(wakeups, 5.0)
    waits.wait_for(1)
    wakeups.wake()
    assert joined(watcher)
    assert sleeper.is_alive()
    wakeups.close()
    assert joined(sleeper)


def test_a_sooner_time_makes_the_watcher_ask_again() -> None:
    """A sender that must wait less long than the watcher has the watcher look again."""
    wakeups, waits = wakeups_and_waits()
    watcher = waiting(wakeups, None)
    waits.wait_for(1)
    sleeper = waiting(wakeups, 1.0)
    assert joined(watcher)
    waits.wait_for(1)
    wakeups.close()
    assert joined(sleeper)


def test_a_sender_that_goes_to_send_wakes_another_for_what_is_left() -> None:
    """If more work is there, or nothing watches the time, a sleeper is woken or one is needed."""
    wakeups, waits = wakeups_and_waits()
    assert wakeups.hand_over(has_more=False)  # nothing watches the time
    watcher = waiting(wakeups, 5.0)
    waits.wait_for(1)
    assert not wakeups.hand_over(has_more=False)
    assert wakeups.hand_over(has_more=True)  # there is no sleeper to do it
    sleeper = waiting(wakeups, 5.0)
    waits.wait_for(1)
    assert not wakeups.hand_over(has_more=True)
    assert joined(sleeper)
    wakeups.close()
    assert joined(watcher)


def test_after_the_end_nothing_waits() -> None:
    """Once closed, a wait returns at once."""
    wakeups, waits = wakeups_and_waits()
    wakeups.close()
    assert not wakeups.wait(None)
    assert waits.seconds == []
