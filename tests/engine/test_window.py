"""How many requests may be in flight at a time."""

from __future__ import annotations

from support.clock import Clock

from amplitude_moloco.engine.window import Window

# A sender waits for answers in steps of this many seconds.
STEP = 1 / 64


def wait(window: Window, clock: Clock, seconds: float) -> None:
    """A backlog waits this long for answers."""
    for _ in range(round(seconds / STEP)):
        clock.advance(STEP)
        window.note_wait(STEP)


def test_it_doubles_while_a_backlog_waits(clock: Clock) -> None:
    """It begins with 16, and is at its largest after a second of waiting."""
    window = Window(64, clock.monotonic)
    sizes = [window.size]
    for _ in range(4):
        wait(window, clock, 0.25)
        sizes.append(window.size)
    assert sizes == [16, 32, 64, 64, 64]


def test_a_short_wait_opens_nothing(clock: Clock) -> None:
    """Bursts that each wait less than a fifth of a second go through 16 connections."""
    window = Window(64, clock.monotonic)
    for _ in range(10):
        wait(window, clock, 0.1)
        clock.advance(0.2)
    assert window.size == 16


def test_answers_do_not_interrupt_the_wait(clock: Clock) -> None:
    """What happens between two waits for answers, such as settling them, counts for nothing."""
    window = Window(64, clock.monotonic)
    for _ in range(5):
        wait(window, clock, 0.05)
        clock.advance(0.05)
    assert window.size == 32


def test_it_narrows_without_a_backlog(clock: Clock) -> None:
    """Ten seconds after the last wait it is as small as in the beginning."""
    window = Window(64, clock.monotonic)
    wait(window, clock, 0.5)
    clock.advance(9.9)
    assert window.size == 64
    clock.advance(0.2)
    assert window.size == 16


def test_it_is_no_larger_than_allowed(clock: Clock) -> None:
    """A setting below 16, or between two doublings, is kept."""
    small, odd = Window(4, clock.monotonic), Window(20, clock.monotonic)
    for window in (small, odd):
        wait(window, clock, 1.0)
    assert (small.size, odd.size) == (4, 20)


def test_a_fixed_one_is_open_from_the_beginning(clock: Clock) -> None:
    """Where each request has its thread, threads are what is started as they are needed."""
    assert Window(64, clock.monotonic, is_fixed=True).size == 64
