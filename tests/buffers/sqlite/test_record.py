"""Records of a journal: framed, found again, and never taken for what they are not."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from amplitude_moloco.buffers.sqlite.record import (
    DONE,
    EVENT,
    IN_LANE,
    TAKEN,
    Damage,
    Event,
    Record,
    event_of,
    frame_of,
    note_frame,
    numbers_of,
    read_event,
    scan,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(0, 2**63 - 1)
TIMES = st.floats(allow_nan=False)
COUNTS = st.integers(0, 2**32 - 1)
EVENTS = st.builds(
    Event,
    NUMBERS,
    TIMES,
    TEXTS,
    TEXTS,
    st.binary(max_size=200),
    COUNTS,
    COUNTS,
    st.just(0),
    st.just(0.0),
    TEXTS,
)


@settings(deadline=None)
@given(event=EVENTS)
def test_an_event_comes_back_as_it_was(event: Event) -> None:
    """Any event is read from its frame unchanged."""
    frame = frame_of(event)
    assert read_event(frame) == event
    (record,) = scan(frame)
    assert isinstance(record, Record)
    assert event_of(record) == event


@settings(deadline=None)
@given(event=EVENTS, place=st.integers(0), flip=st.integers(1, 255), extra=st.binary(max_size=9))
def test_a_changed_frame_is_no_event(event: Event, place: int, flip: int, extra: bytes) -> None:
    """A frame with a changed byte, or with more or fewer of them, is damaged."""
    frame = frame_of(event)
    changed = bytearray(frame)
    changed[place % len(frame)] ^= flip
    assert read_event(bytes(changed)) is None
    assert read_event(frame[: place % len(frame)]) is None
    assert not extra or read_event(frame + extra) is None


@settings(deadline=None)
@given(numbers=st.lists(NUMBERS))
def test_a_note_is_no_event(numbers: list[int]) -> None:
    """A note gives back its numbers."""
    frame = note_frame(TAKEN, numbers)
    (record,) = scan(frame)
    assert isinstance(record, Record)
    assert (record.kind, numbers_of(record)) == (TAKEN, numbers)
    assert read_event(frame) is None


@settings(deadline=None)
@given(
    events=st.lists(EVENTS, max_size=5),
    garbage=st.lists(st.binary(max_size=40), min_size=6, max_size=6),
)
def test_records_are_found_among_garbage(events: list[Event], garbage: list[bytes]) -> None:
    """Whatever lies between records, each sound one is found, and nothing is left out."""
    frames = [frame_of(event) for event in events]
    data = b"".join(part for pair in zip(garbage, [*frames, b""], strict=False) for part in pair)
    found = list(scan(data))
    assert [each.frame for each in found if isinstance(each, Record)] == frames
    whole = b"".join(each.content if isinstance(each, Damage) else each.frame for each in found)
    assert whole == data


@settings(deadline=None)
@given(event=EVENTS, cut=st.integers(1))
def test_a_torn_record_is_told_from_a_damaged_one(event: Event, cut: int) -> None:
    """The start of a record at the end of a file is torn; anything else there is damaged."""
    frame = frame_of(event)
    torn = frame[: 1 + cut % (len(frame) - 1)]
    *_, rest = scan(note_frame(DONE, [1]) + torn)
    assert rest == Damage(torn, is_torn=True)
    *_, rest = scan(frame + b"no record")
    assert rest == Damage(b"no record", is_torn=False)
    *_, rest = scan(frame + frame[:-1] + b"X" * 20)
    assert not isinstance(rest, Record)
    kind = IN_LANE if event.lane else EVENT
    assert [each.kind for each in scan(frame) if isinstance(each, Record)] == [kind]
