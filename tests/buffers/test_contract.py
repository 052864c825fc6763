"""What every buffer promises, whatever it is made of: see the fixture make_buffer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from support.buffers import MakeBuffer
from support.clock import NOW, Clock

from amplitude_moloco.buffers.base import BufferState, Claim, Entry, Storage
from amplitude_moloco.reasons import DeadLetterReason, DropReason

LONG = 60.0
"""Seconds after which a wait in a test has failed."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def buffer(make_buffer: MakeBuffer, clock: Clock) -> Storage:
    return make_buffer(clock=clock)


def put(buffer: Storage, *ids: str) -> None:
    for id in ids:
        assert buffer.put(id, "HOME", id.encode()) is None


def claim(buffer: Storage, limit: int = 100, newest: int = 0) -> list[str]:
    return [entry.id for entry in buffer.claim(limit, newest).entries]


def claim_one(buffer: Storage) -> Entry:
    (entry,) = buffer.claim(1).entries
    return entry


def next_seconds(buffer: Storage) -> float | None:
    """When the next entry can be claimed. Claims nothing."""
    return buffer.claim(0).next_seconds


def bury_entry(
    buffer: Storage, entry: Entry, reason: DeadLetterReason = DeadLetterReason.REJECTED
) -> bool:
    return buffer.bury(entry, reason, status=400, message="missing page_id")


def bury(buffer: Storage, *ids: str) -> None:
    """Put these and bury them. Nothing else may be due."""
    put(buffer, *ids)
    for entry in buffer.claim(len(ids)).entries:
        assert bury_entry(buffer, entry)


def dead(buffer: Storage) -> list[str]:
    return [letter.id for letter in buffer.dead_letters()]


def resend_all(buffer: Storage) -> int:
    """How many of the dead letters are resent."""
    return sum(map(buffer.resend, list(buffer.dead_letters())))


# -- putting and claiming ------------------------------------------------------------------------


def test_a_new_buffer_is_empty(buffer: Storage) -> None:
    """A new buffer holds nothing."""
    assert buffer.state() == BufferState(0, 0, 0)
    assert buffer.claim(10) == Claim([], None)
    assert list(buffer.dead_letters()) == []
    assert buffer.checkpoint()()


def test_what_is_claimed_is_what_was_put(buffer: Storage, clock: Clock) -> None:
    """An entry comes out with the same id, sync and body, and the time at which it was put."""
    body = bytes(range(256))
    clock.advance(0.25)
    assert buffer.put("id-1", "가게", body) is None
    assert claim_one(buffer)[1:] == ("id-1", "가게", body, NOW + 0.25, 0.0, 0, 0, "")


def test_an_entry_knows_its_age(buffer: Storage, clock: Clock) -> None:
    """Each claim of an entry gives how long ago it was put."""
    put(buffer, "a")
    clock.advance(2.5)
    first = claim_one(buffer)
    clock.advance(1.0)
    assert buffer.retry(first, 5.0, attempts=1)
    clock.advance(5.0)
    assert (first.age_seconds, claim_one(buffer).age_seconds) == (2.5, 8.5)


def test_no_entry_has_a_negative_age(buffer: Storage, clock: Clock) -> None:
    """When the wall clock is set back, an entry is new at worst."""
    put(buffer, "a")
    clock.set_wall(NOW - 3600)
    assert claim_one(buffer).age_seconds == 0.0


def test_an_id_may_be_put_again(buffer: Storage) -> None:
    """Two entries with one id are two entries: duplicates are the server's business."""
    put(buffer, "a", "a")
    assert claim(buffer) == ["a", "a"]


def test_first_in_is_first_out(buffer: Storage) -> None:
    """New entries are claimed in the order in which they were put, each with its own key."""
    put(buffer, "c", "a", "b")
    entries = buffer.claim(3).entries
    assert [entry.id for entry in entries] == ["c", "a", "b"]
    assert len({entry.key for entry in entries}) == 3


def test_each_claim_has_a_key_of_its_own(buffer: Storage) -> None:
    """No key is used for two claims, not even of the same entry."""
    keys = set()
    put(buffer, "a", "b")
    for _ in range(3):
        for entry in buffer.claim(2).entries:
            keys.add(entry.key)
            assert buffer.retry(entry, 0.0, attempts=1)
    assert len(keys) == 6


def test_a_claim_has_a_limit(buffer: Storage) -> None:
    """A claim takes as many as it asks for, and the next one continues from there."""
    put(buffer, "a", "b", "c")
    assert [claim(buffer, limit) for limit in (0, 2, 2, 2)] == [[], ["a", "b"], ["c"], []]


def test_a_claimed_entry_has_one_sender(buffer: Storage, clock: Clock) -> None:
    """While a sender has claimed an entry, no other gets it."""
    put(buffer, "a")
    assert claim(buffer) == ["a"]
    clock.advance(30)
    assert claim(buffer) == []


def test_a_new_entry_is_due_at_once(buffer: Storage, clock: Clock) -> None:
    """A new entry can be claimed even when the clock has been set back."""
    put(buffer, "a")
    clock.set_wall(NOW - 3600)
    assert claim(buffer) == ["a"]


# -- coming due ----------------------------------------------------------------------------------


def test_a_retry_comes_due_at_its_time(buffer: Storage, clock: Clock) -> None:
    """An entry that was given back can be claimed when it is due, and not before."""
    put(buffer, "a")
    assert buffer.retry(claim_one(buffer), 5.0, attempts=1)
    clock.advance(4.75)
    assert claim(buffer) == []
    clock.advance(0.25)
    assert claim(buffer) == ["a"]


def test_what_is_due_first_comes_first(buffer: Storage, clock: Clock) -> None:
    """Retries are claimed in the order in which they came due, whenever they were put."""
    put(buffer, "a", "b", "c")
    for entry, delay in zip(buffer.claim(3).entries, (30, 10, 20), strict=True):
        assert buffer.retry(entry, delay, attempts=1)
    clock.advance(20)
    assert claim(buffer, 2) == ["b", "c"]
    clock.advance(9.75)
    assert claim(buffer, 2) == []
    clock.advance(0.25)
    assert claim(buffer, 2) == ["a"]


def test_retries_come_before_new_ones(buffer: Storage, clock: Clock) -> None:
    """A retry that is due goes before entries that were never sent."""
    put(buffer, "a")
    assert buffer.retry(claim_one(buffer), 5.0, attempts=1)
    put(buffer, "b", "c")
    clock.advance(5.0)
    assert claim(buffer, 2) == ["a", "b"]
    assert claim(buffer, 2) == ["c"]


def test_a_retry_that_is_not_due_holds_nothing_up(buffer: Storage) -> None:
    """New entries pass a retry that has to wait."""
    put(buffer, "a")
    assert buffer.retry(claim_one(buffer), 5.0, attempts=1)
    put(buffer, "b")
    assert claim(buffer) == ["b"]


def test_attempts_and_strikes_are_kept(buffer: Storage, clock: Clock) -> None:
    """An entry that was given back keeps its id, body and time, and has the new counts."""
    put(buffer, "a")
    clock.advance(7)
    first = claim_one(buffer)
    assert buffer.retry(first, 0.0, attempts=3, strikes=2)
    again = claim_one(buffer)
    assert again[1:] == first._replace(attempts=3, strikes=2)[1:]
    assert (again.accepted_at, again.age_seconds) == (NOW, 7)
    assert buffer.retry(again, 0.0, attempts=4)
    last = claim_one(buffer)
    assert (last.attempts, last.strikes) == (4, 0)


@pytest.mark.parametrize(
    ("limit", "newest", "claimed"),
    [
        (4, 0, ["a", "b", "c", "d"]),
        (4, 1, ["a", "b", "c", "f"]),
        (4, 2, ["a", "b", "e", "f"]),
        (4, 4, ["c", "d", "e", "f"]),
        (4, 9, ["c", "d", "e", "f"]),
        (6, 2, ["a", "b", "c", "d", "e", "f"]),
        (9, 2, ["a", "b", "c", "d", "e", "f"]),
        (0, 2, []),
    ],
)
def test_a_part_of_a_claim_can_be_the_newest(
    buffer: Storage, limit: int, newest: int, claimed: list[str]
) -> None:
    """Where more are due than are asked for, a part of the claim are the entries put last."""
    put(buffer, *"abcdef")
    assert claim(buffer, limit, newest) == claimed
    rest = [id for id in "abcdef" if id not in claimed]
    assert claim(buffer) == rest


def test_the_newest_pass_a_backlog_of_retries(buffer: Storage) -> None:
    """The newest get their part of a claim even when more than enough retries are due."""
    put(buffer, "a", "b", "c")
    for entry in buffer.claim(3).entries:
        assert buffer.retry(entry, 0.0, attempts=1)
    put(buffer, "d", "e")
    assert claim(buffer, 3, newest=1) == ["a", "b", "e"]


# -- settling ------------------------------------------------------------------------------------

Settle = Callable[[Storage, Entry], bool]
SETTLE: dict[str, Settle] = {
    "ack": lambda buffer, entry: buffer.ack(entry),
    "retry": lambda buffer, entry: buffer.retry(entry, 0.0, attempts=7, strikes=7),
    "bury": lambda buffer, entry: bury_entry(buffer, entry, DeadLetterReason.EXPIRED),
}
LOSE: dict[str, Callable[[Storage, Entry], object]] = {
    "acked": lambda buffer, entry: buffer.ack(entry),
    "given-back": lambda buffer, entry: buffer.retry(entry, 5.0, attempts=1),
    "buried": bury_entry,
    "claimed-by-another": lambda buffer, entry: (
        buffer.retry(entry, 0.0, attempts=1) and claim_one(buffer)
    ),
    "claimed-by-another-as-it-was": lambda buffer, entry: (
        buffer.retry(entry, 0.0, attempts=0) and claim_one(buffer)
    ),
}


def test_an_acknowledged_entry_is_gone(buffer: Storage, clock: Clock) -> None:
    """After ack() nothing is left of an entry."""
    put(buffer, "a")
    assert buffer.ack(claim_one(buffer))
    assert buffer.state() == BufferState(0, 0, 0)
    assert next_seconds(buffer) is None
    assert buffer.checkpoint()()
    clock.advance(1_000_000)
    assert claim(buffer) == []


@pytest.mark.parametrize("settle", SETTLE.values(), ids=SETTLE)
@pytest.mark.parametrize("lose", LOSE.values(), ids=LOSE)
def test_a_lost_claim_settles_nothing(
    buffer: Storage, lose: Callable[[Storage, Entry], object], settle: Settle
) -> None:
    """With a claim that is no longer the caller's, nothing changes, and the caller gets False."""
    put(buffer, "a", "b")
    entry = claim_one(buffer)
    assert lose(buffer, entry)
    before = buffer.state(), list(buffer.dead_letters()), next_seconds(buffer)
    assert settle(buffer, entry) is False
    assert (buffer.state(), list(buffer.dead_letters()), next_seconds(buffer)) == before


@pytest.mark.parametrize("settle", SETTLE.values(), ids=SETTLE)
def test_what_was_never_claimed_cannot_be_settled(
    buffer: Storage, make_buffer: MakeBuffer, clock: Clock, settle: Settle
) -> None:
    """Another buffer's claims settle nothing here, neither of a waiting entry nor of none."""
    other = make_buffer(clock=clock)
    put(other, "a", "b")
    put(buffer, "a")
    before = buffer.state()
    for entry in other.claim(2).entries:
        assert settle(buffer, entry) is False
    assert (buffer.state(), dead(buffer)) == (before, [])
    assert claim(buffer) == ["a"]


def test_the_last_claim_is_the_one_that_counts(buffer: Storage) -> None:
    """The last sender to claim an entry can settle it."""
    put(buffer, "a")
    assert buffer.retry(claim_one(buffer), 0.0, attempts=1)
    assert buffer.ack(claim_one(buffer))
    assert buffer.state() == BufferState(0, 0, 0)


# -- room ----------------------------------------------------------------------------------------


def test_events_are_bounded(make_buffer: MakeBuffer) -> None:
    """The last event that there is room for is stored, and one more is refused."""
    buffer = make_buffer(max_events=3)
    put(buffer, "a", "b", "c")
    before = buffer.state()
    assert buffer.put("d", "HOME", b"") is DropReason.FULL
    assert buffer.state() == before
    assert claim(buffer) == ["a", "b", "c"]


def test_bytes_are_bounded(make_buffer: MakeBuffer) -> None:
    """The last byte that there is room for is stored, and one more is refused."""
    buffer = make_buffer(max_bytes=10)
    assert buffer.put("a", "HOME", b"123456") is None
    assert buffer.put("b", "HOME", b"12345") is DropReason.FULL
    assert buffer.put("c", "HOME", b"1234") is None
    assert buffer.put("d", "HOME", b"1") is DropReason.FULL
    assert claim(buffer) == ["a", "c"]


@pytest.mark.parametrize(("size", "refusal"), [(10, None), (11, DropReason.FULL)])
def test_a_body_must_fit_into_an_empty_buffer(
    make_buffer: MakeBuffer, size: int, refusal: DropReason | None
) -> None:
    """A body as large as the buffer fits, a larger one never does."""
    buffer = make_buffer(max_bytes=10)
    assert buffer.put("a", "HOME", b"x" * size) is refusal


@pytest.mark.parametrize("bounds", [{"max_events": 1}, {"max_bytes": 5}], ids=["events", "bytes"])
@pytest.mark.parametrize(
    ("settle", "is_room"),
    [
        (lambda buffer, entry: True, False),
        (lambda buffer, entry: buffer.retry(entry, 5.0, attempts=1), False),
        (lambda buffer, entry: buffer.ack(entry), True),
        (bury_entry, True),
    ],
    ids=["claimed", "given-back", "acked", "buried"],
)
def test_room_comes_back_at_the_end_of_an_event(
    make_buffer: MakeBuffer, bounds: dict[str, Any], settle: Settle, is_room: bool
) -> None:
    """Every entry takes room, claimed or not, until ack() or bury()."""
    buffer = make_buffer(**bounds)
    assert buffer.put("a", "HOME", b"12345") is None
    assert settle(buffer, claim_one(buffer))
    refusals = [buffer.put(id, "HOME", b"12345") for id in "bc"]
    assert refusals == [None if is_room else DropReason.FULL, DropReason.FULL]


# -- the state -----------------------------------------------------------------------------------


def test_the_state_is_true_at_every_step(buffer: Storage, clock: Clock) -> None:
    """Each step of an entry's way shows in the state and in when to claim next, nothing else."""
    put(buffer, "a", "b")
    entries, next_claim = buffer.claim(1)
    assert (buffer.state(), next_claim) == (BufferState(1, 1, 0), 0.0)
    more, next_claim = buffer.claim(1)
    entries += more
    assert (buffer.state(), next_claim) == (BufferState(0, 2, 0), None)
    assert buffer.retry(entries[0], 5.0, attempts=1)
    assert (buffer.state(), next_seconds(buffer)) == (BufferState(1, 1, 0), 5.0)
    assert buffer.retry(entries[1], 3.0, attempts=1)
    assert (buffer.state(), next_seconds(buffer)) == (BufferState(2, 0, 0), 3.0)
    put(buffer, "c")
    assert (buffer.state(), next_seconds(buffer)) == (BufferState(3, 0, 0), 0.0)
    clock.advance(5)
    b, a, c = buffer.claim(3).entries
    assert (b.id, a.id, c.id) == ("b", "a", "c")
    assert bury_entry(buffer, b)
    assert (buffer.state(), next_seconds(buffer)) == (BufferState(0, 2, 1), None)
    assert buffer.ack(c)
    assert (buffer.state(), next_seconds(buffer)) == (BufferState(0, 1, 1), None)
    assert buffer.ack(a)
    assert (buffer.state(), next_seconds(buffer)) == (BufferState(0, 0, 1), None)


def test_the_oldest_entry_is_known_wherever_it_is(buffer: Storage, clock: Clock) -> None:
    """The age is that of the entry stored first: waiting, claimed, given back, never buried."""
    assert buffer.oldest_age_seconds() is None
    put(buffer, "a")
    clock.advance(10)
    put(buffer, "b")
    clock.advance(10)
    assert buffer.oldest_age_seconds() == 20.0
    first, second = buffer.claim(2).entries
    assert buffer.oldest_age_seconds() == 20.0
    buffer.retry(first, 1000.0, attempts=1)
    assert buffer.oldest_age_seconds() == 20.0
    buffer.ack(second)
    assert buffer.oldest_age_seconds() == 20.0
    clock.advance(1000)
    first = claim_one(buffer)
    assert bury_entry(buffer, first)
    assert buffer.oldest_age_seconds() is None


def test_a_claim_says_when_the_next_entry_is_due(buffer: Storage, clock: Clock) -> None:
    """The delay counts from the claim, and is 0 once an entry is due."""
    put(buffer, "a", "b")
    for entry, delay in zip(buffer.claim(2).entries, (8.0, 2.0), strict=True):
        assert buffer.retry(entry, delay, attempts=1)
    found = []
    for seconds in (0.0, 1.5, 0.5, 1.0):
        clock.advance(seconds)
        found.append(next_seconds(buffer))
    assert found == [2.0, 0.5, 0.0, 0.0]
    assert buffer.claim(1).next_seconds == 5.0


# -- checkpoints ---------------------------------------------------------------------------------


def test_a_checkpoint_is_reached_with_the_last_attempt(buffer: Storage) -> None:
    """A checkpoint is reached once each entry put before it was sent, or removed, and stays so."""
    put(buffer, "a", "b", "c")
    is_reached = buffer.checkpoint()
    assert not is_reached()
    a, b, c = buffer.claim(3).entries
    assert not is_reached()
    assert buffer.retry(c, 5.0, attempts=1)
    assert bury_entry(buffer, b)
    assert not is_reached()
    assert buffer.ack(a)
    assert is_reached()
    put(buffer, "d")
    assert is_reached()


def test_later_entries_delay_no_checkpoint(buffer: Storage) -> None:
    """A checkpoint is about the entries before it alone, and each has its own."""
    put(buffer, "a")
    first = buffer.checkpoint()
    put(buffer, "b")
    second = buffer.checkpoint()
    assert buffer.ack(claim_one(buffer))
    assert (first(), second()) == (True, False)
    assert buffer.ack(claim_one(buffer))
    assert (first(), second()) == (True, True)


def test_what_was_given_back_unsent_is_untried(buffer: Storage) -> None:
    """An entry that was claimed and given back without an attempt still counts as untried."""
    put(buffer, "a")
    first = buffer.checkpoint()
    put(buffer, "b")
    second = buffer.checkpoint()
    a, b = buffer.claim(2).entries
    assert buffer.retry(a, 0.0, attempts=0)
    assert not first()
    assert buffer.retry(b, 5.0, attempts=0)
    assert buffer.ack(claim_one(buffer))
    assert (first(), second()) == (True, False)


def test_a_claim_of_the_newest_hides_no_older_one(buffer: Storage) -> None:
    """A checkpoint waits for the oldest entry, even if newer ones were claimed before it."""
    put(buffer, "a")
    first = buffer.checkpoint()
    put(buffer, "b", "c")
    second = buffer.checkpoint()
    for _ in range(2):
        (entry,) = buffer.claim(1, newest=1).entries
        assert buffer.ack(entry)
        assert (first(), second()) == (False, False)
    assert buffer.ack(claim_one(buffer))
    assert (first(), second()) == (True, True)


def test_a_retry_is_tried(buffer: Storage) -> None:
    """An entry that was sent before a checkpoint does not delay it."""
    put(buffer, "a")
    assert buffer.retry(claim_one(buffer), 0.0, attempts=1)
    is_reached = buffer.checkpoint()
    assert is_reached()
    assert claim(buffer) == ["a"]
    assert is_reached()


def test_a_checkpoint_is_reached_at_the_end(buffer: Storage) -> None:
    """When a buffer is closed, nothing waits for a checkpoint any more."""
    put(buffer, "a")
    before = buffer.checkpoint()
    buffer.close()
    assert before()
    assert buffer.checkpoint()()


# -- dead letters --------------------------------------------------------------------------------


def test_a_dead_letter_keeps_what_it_was_given(buffer: Storage, clock: Clock) -> None:
    """A dead letter keeps the entry, its attempts, and how it ended."""
    put(buffer, "a", "b")
    a, b = buffer.claim(2).entries
    clock.advance(0.5)
    rejected, exhausted = DeadLetterReason.REJECTED, DeadLetterReason.EXHAUSTED
    assert buffer.bury(a._replace(attempts=1), rejected, status=400, message="missing 가격")
    clock.advance(0.5)
    gave_up = b._replace(attempts=10, strikes=9)
    assert buffer.bury(gave_up, exhausted, status=None, message="ReadTimeout")
    first, second = buffer.dead_letters()
    assert first[1:] == ("a", "HOME", b"a", NOW, NOW + 0.5, 1, rejected, 400, "missing 가격", "")
    assert second[1:] == ("b", "HOME", b"b", NOW, NOW + 1, 10, exhausted, None, "ReadTimeout", "")
    assert first.key != second.key
    assert first.reason is rejected


def test_a_dead_letter_is_not_sent(buffer: Storage, clock: Clock) -> None:
    """What was buried can't be claimed any more."""
    bury(buffer, "a")
    assert buffer.state() == BufferState(0, 0, 1)
    clock.advance(1_000_000)
    assert claim(buffer) == []


def test_dead_letters_come_oldest_first(buffer: Storage) -> None:
    """Dead letters come in the order in which they were buried."""
    put(buffer, "a", "b", "c")
    a, b, c = buffer.claim(3).entries
    assert all(bury_entry(buffer, entry) for entry in (c, a, b))
    assert dead(buffer) == ["c", "a", "b"]


def test_the_dead_letters_returned_are_a_copy(buffer: Storage) -> None:
    """Emptying the list of the dead letters empties no buffer."""
    bury(buffer, "a")
    list(buffer.dead_letters()).clear()
    letters = buffer.dead_letters()
    if isinstance(letters, list):
        letters.clear()
    assert len(list(buffer.dead_letters())) == 1


@pytest.mark.parametrize(
    ("ids", "resent"),
    [
        ("abc", ["a", "b", "c"]),
        ("ca", ["c", "a"]),
        ("b", ["b"]),
        ("", []),
    ],
    ids=["all", "some", "one", "none"],
)
def test_dead_letters_can_be_resent(
    buffer: Storage, clock: Clock, ids: str, resent: list[str]
) -> None:
    """A resent letter is an entry that is due, and no longer a dead letter."""
    bury(buffer, "a", "b", "c")
    clock.advance(9)
    letters = {letter.id: letter for letter in buffer.dead_letters()}
    assert all(buffer.resend(letters[id]) for id in ids)
    kept = dead(buffer)
    assert kept == [id for id in ("a", "b", "c") if id not in resent]
    assert buffer.state() == BufferState(len(resent), 0, len(kept))
    assert claim(buffer) == resent
    assert not any(buffer.resend(letters[id]) for id in ids)


def test_all_dead_letters_can_be_resent_while_they_are_read(buffer: Storage) -> None:
    """Resending each dead letter as it is read resends each once."""
    ids = [str(number) for number in range(250)]
    bury(buffer, *ids)
    assert all(buffer.resend(letter) for letter in buffer.dead_letters())
    assert dead(buffer) == []
    assert claim(buffer, 1000) == ids


def test_a_letter_is_resent_once(buffer: Storage) -> None:
    """A letter that was resent is gone, even if its event was buried again."""
    bury(buffer, "a")
    (letter,) = buffer.dead_letters()
    assert buffer.resend(letter)
    assert bury_entry(buffer, claim_one(buffer))
    assert not buffer.resend(letter)
    assert (claim(buffer), dead(buffer)) == ([], ["a"])


def test_what_is_resent_is_new(buffer: Storage, clock: Clock) -> None:
    """A resent event has its id and body, a new key and time, no attempts, and is untried."""
    put(buffer, "a")
    first = claim_one(buffer)
    assert bury_entry(buffer, first._replace(attempts=10, strikes=10))
    put(buffer, "b")
    clock.advance(9)
    assert resend_all(buffer) == 1
    is_reached = buffer.checkpoint()
    b, again = buffer.claim(2).entries
    assert (b.id, again[1:]) == ("b", ("a", "HOME", b"a", NOW + 9, 0.0, 0, 0, ""))
    assert len({first.key, b.key, again.key}) == 3
    assert buffer.ack(b)
    assert not is_reached()
    assert buffer.ack(again)
    assert is_reached()


def test_a_resent_event_can_end_again(buffer: Storage) -> None:
    """What was resent is claimed, given back, buried and resent like any other entry."""
    bury(buffer, "a")
    assert resend_all(buffer) == 1
    assert buffer.retry(claim_one(buffer), 0.0, attempts=1)
    assert bury_entry(buffer, claim_one(buffer))
    assert resend_all(buffer) == 1
    assert buffer.ack(claim_one(buffer))
    assert buffer.state() == BufferState(0, 0, 0)


def test_resent_events_take_room(make_buffer: MakeBuffer) -> None:
    """A full buffer resends dead letters, and then refuses events until there is room again."""
    buffer = make_buffer(max_events=2, max_bytes=100)
    bury(buffer, "a", "b")
    put(buffer, "c", "d")
    assert resend_all(buffer) == 2
    refusals = []
    for entry in buffer.claim(4).entries:
        assert buffer.ack(entry)
        refusals.append(buffer.put("e", "HOME", b"e"))
    assert refusals == [DropReason.FULL, DropReason.FULL, None, None]


# -- the end -------------------------------------------------------------------------------------


def test_close_returns_what_is_lost(buffer: Storage) -> None:
    """close() returns every entry that is lost by it; a durable buffer loses none."""
    put(buffer, "a", "b", "c", "d")
    a, b, c = buffer.claim(3).entries
    assert buffer.retry(a, 5.0, attempts=1)
    assert buffer.ack(b)
    lost = sorted((entry.id, entry.body, entry.attempts) for entry in buffer.close())
    wanted = [] if buffer.is_durable else [("a", b"a", 1), ("c", b"c", 0), ("d", b"d", 0)]
    assert lost == wanted
    assert buffer.close() == []
    assert not any(settle(buffer, c) for settle in SETTLE.values())


def test_a_closed_buffer_takes_nothing(buffer: Storage) -> None:
    """After close() nothing can be put into a buffer, nor claimed or resent from it."""
    bury(buffer, "a")
    (letter,) = buffer.dead_letters()
    put(buffer, "b")
    buffer.close()
    assert buffer.put("c", "HOME", b"c") is DropReason.CLOSED
    assert buffer.resend(letter) is False
    assert buffer.claim(10) == Claim([], None)
    assert buffer.close() == []


# -- threads -------------------------------------------------------------------------------------


def test_every_entry_has_one_end(make_buffer: MakeBuffer) -> None:
    """With four threads putting and four claiming, every entry ends exactly once."""
    threads, events = 4, 250
    buffer = make_buffer(max_events=50)
    all_ready = threading.Barrier(2 * threads)
    ended: list[str] = []
    is_room = threading.Condition()

    def is_put(id: str) -> bool:
        return buffer.put(id, "HOME", b"body") is None

    def produce(producer: int) -> None:
        all_ready.wait(LONG)
        for number in range(events):
            with is_room:
                assert is_room.wait_for(partial(is_put, f"{producer}-{number}"), LONG)

    def consume() -> None:
        all_ready.wait(LONG)
        while len(ended) < threads * events:
            for entry in buffer.claim(7).entries:
                number = int(entry.id.partition("-")[2])
                if number % 3 == 0 and not entry.attempts:
                    assert buffer.retry(entry, 0.0, attempts=1)
                    continue
                assert bury_entry(buffer, entry) if number % 5 == 0 else buffer.ack(entry)
                ended.append(entry.id)
                with is_room:
                    is_room.notify_all()

    with ThreadPoolExecutor(2 * threads) as pool:
        results = [pool.submit(produce, producer) for producer in range(threads)]
        results += [pool.submit(consume) for _ in range(threads)]
        for result in results:
            result.result(LONG)
    assert len(ended) == len(set(ended)) == threads * events
    state = buffer.state()
    assert (state.waiting, state.claimed) == (0, 0)
    assert state.dead == len(dead(buffer)) > 0


def test_threads_do_not_overfill_it(make_buffer: MakeBuffer) -> None:
    """With four threads putting, there is room for exactly as many as the bound says."""
    buffer = make_buffer(max_events=100)
    all_ready = threading.Barrier(4)

    def produce(producer: int) -> int:
        all_ready.wait(LONG)
        puts = [buffer.put(f"{producer}-{n}", "HOME", b"") for n in range(100)]
        return puts.count(None)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(produce, range(4))) == 100
    assert len(buffer.claim(1000).entries) == 100
