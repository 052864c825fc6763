"""What a process has claimed, and how much more it claims."""

from __future__ import annotations

from support.clock import Clock

from amplitude_moloco.buffers.base import Entry
from amplitude_moloco.engine.in_flight import InFlight
from amplitude_moloco.engine.window import Window


def send(in_flight: InFlight, count: int) -> None:
    """Let this many entries be claimed, sent and settled."""
    entries = [Entry(number, str(number), "HOME", b"", 0.0) for number in range(count)]
    in_flight.stage(entries)
    for _ in entries:
        in_flight.end_settling(in_flight.take())


def test_more_is_claimed_at_a_time_where_answers_come_at_once(clock: Clock) -> None:
    """As many as can be on their way are claimed, or 64 if these go in a fiftieth of a second."""
    in_flight = InFlight(Window(100, clock.monotonic), clock.monotonic)
    assert in_flight.limit(None) == 16
    limits = []
    for millis in (4, 6, 0, 100):
        send(in_flight, 16)
        clock.advance(millis / 1000)
        limits.append(in_flight.limit(None))
    assert limits == [64, 16, 64, 16]
    assert in_flight.limit(None) == 16


def test_no_more_is_claimed_than_a_pace_lets_go(clock: Clock) -> None:
    """At a limited rate a claim has no more than goes in a second, however fast answers come."""
    in_flight = InFlight(Window(100, clock.monotonic), clock.monotonic)
    send(in_flight, 16)
    assert [in_flight.limit(rate) for rate in (5000.0, 3.0, 0.5)] == [16, 3, 1]


def test_an_entry_ages_while_it_is_staged(clock: Clock) -> None:
    """What is taken has the age of that moment, and all else as it was claimed."""
    in_flight = InFlight(Window(16, clock.monotonic), clock.monotonic)
    entry = Entry("key", "a", "HOME", b"body", 5.0, 7.0, 2, 1, "lane")
    in_flight.stage([entry])
    clock.advance(3.0)
    assert in_flight.take() == entry._replace(age_seconds=10.0)
