"""Records of a journal: framed, found again, and never taken for what they are not."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from amplitude_moloco.buffers.sqlite.record import (
    DONE,
    EVENT,
    ROWS_DONE,
    Damage,
    Record,
    body_size,
    event_frame,
    note_frame,
    number_of,
    numbers_of,
    read_event,
    scan,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(0, 2**63 - 1)
EVENTS = st.tuples(NUMBERS, st.floats(allow_nan=False), TEXTS, TEXTS, st.binary(max_size=200))


@settings(deadline=None)
@given(event=EVENTS)
def test_an_event_comes_back_as_it_was(event: tuple[int, float, str, str, bytes]) -> None:
    """Any event is read from its frame unchanged."""
    frame = event_frame(*event)
    assert read_event(frame) == event
    assert (number_of(frame), body_size(frame)) == (event[0], len(event[4]))


@settings(deadline=None)
@given(event=EVENTS, place=st.integers(0), flip=st.integers(1, 255), extra=st.binary(max_size=9))
def test_a_changed_frame_is_no_event(
    event: tuple[int, float, str, str, bytes], place: int, flip: int, extra: bytes
) -> None:
    """A frame with a changed byte, or with more or fewer of them, is damaged."""
    frame = event_frame(*event)
    changed = bytearray(frame)
    changed[place % len(frame)] ^= flip
    assert read_event(bytes(changed)) is None
    assert read_event(frame[: place % len(frame)]) is None
    assert not extra or read_event(frame + extra) is None


@settings(deadline=None)
@given(numbers=st.lists(NUMBERS))
def test_a_note_is_no_event(numbers: list[int]) -> None:
    """A note gives back its numbers."""
    frame = note_frame(ROWS_DONE, numbers)
    (record,) = scan(frame)
    assert isinstance(record, Record)
    assert (record.kind, numbers_of(record)) == (ROWS_DONE, numbers)
    assert read_event(frame) is None


@settings(deadline=None)
@given(
    events=st.lists(EVENTS, max_size=5),
    garbage=st.lists(st.binary(max_size=40), min_size=6, max_size=6),
)
def test_records_are_found_among_garbage(
    events: list[tuple[int, float, str, str, bytes]], garbage: list[bytes]
) -> None:
    """Whatever lies between records, each sound one is found, and nothing is left out."""
    frames = [event_frame(*event) for event in events]
    data = b"".join(part for pair in zip(garbage, [*frames, b""], strict=False) for part in pair)
    found = list(scan(data))
    assert [each.frame for each in found if isinstance(each, Record)] == frames
    whole = b"".join(each.content if isinstance(each, Damage) else each.frame for each in found)
    assert whole == data


@settings(deadline=None)
@given(event=EVENTS, cut=st.integers(1))
def test_a_torn_record_is_told_from_a_damaged_one(
    event: tuple[int, float, str, str, bytes], cut: int
) -> None:
    """The start of a record at the end of a file is torn; anything else there is damaged."""
    frame = event_frame(*event)
    torn = frame[: 1 + cut % (len(frame) - 1)]
    *_, rest = scan(note_frame(DONE, [1]) + torn)
    assert rest == Damage(torn, is_torn=True)
    *_, rest = scan(frame + b"no record")
    assert rest == Damage(b"no record", is_torn=False)
    *_, rest = scan(frame + frame[:-1] + b"X" * 20)
    assert not isinstance(rest, Record)
    assert [each.kind for each in scan(frame) if isinstance(each, Record)] == [EVENT]
