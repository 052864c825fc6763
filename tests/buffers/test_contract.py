"""What every buffer promises, whatever it is made of: see the fixture make_buffer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from support.buffers import MakeBuffer

from amplitude_moloco.buffers.base import Buffer, BufferState, DeadLetter, Entry

NOW = 1_700_000_000.0
LONG = 20.0
"""Seconds after which a wait in a test has failed."""


@pytest.fixture
def buffer(make_buffer: MakeBuffer) -> Buffer:
    return make_buffer()


def put(buffer: Buffer, *ids: str, now: float = NOW) -> None:
    for id in ids:
        assert buffer.put(id, "HOME", id.encode(), now) is None


def claim(buffer: Buffer, limit: int = 100, now: float = NOW, newest: int = 0) -> list[str]:
    return [entry.id for entry in buffer.claim(limit, now, newest)]


def claim_one(buffer: Buffer, now: float = NOW) -> Entry:
    (entry,) = buffer.claim(1, now)
    return entry


def letter(entry: Entry, reason: str = "rejected") -> DeadLetter:
    return DeadLetter(entry, reason, 400, "missing page_id", NOW)


def bury(buffer: Buffer, *ids: str) -> None:
    """Put these and bury them. Nothing else may be due."""
    put(buffer, *ids)
    for entry in buffer.claim(len(ids), NOW):
        assert buffer.bury(letter(entry))


# -- putting and claiming ------------------------------------------------------------------------


def test_a_new_buffer_is_empty(buffer: Buffer) -> None:
    """At first there is nothing in it."""
    assert buffer.state() == BufferState(0, 0, 0, 0, None, None)
    assert buffer.claim(10, NOW) == []
    assert buffer.dead_letters() == []


def test_what_is_claimed_is_what_was_put(buffer: Buffer) -> None:
    """An entry comes out with the very id, sync, body and time with which it went in."""
    body = bytes(range(256))
    assert buffer.put("id-1", "가게", body, NOW + 0.25) is None
    entry = claim_one(buffer)
    assert entry[1:-1] == ("id-1", "가게", body, NOW + 0.25, 0, 0)
    assert entry.key == buffer.state().last_key


def test_an_id_may_be_put_again(buffer: Buffer) -> None:
    """Two entries with one id are two entries: to know a duplicate is MCM's business."""
    put(buffer, "a", "a")
    assert claim(buffer) == ["a", "a"]


def test_first_in_is_first_out(buffer: Buffer) -> None:
    """New entries are claimed in the order in which they were put, with ascending keys."""
    put(buffer, "c", "a", "b")
    entries = buffer.claim(3, NOW)
    assert [entry.id for entry in entries] == ["c", "a", "b"]
    keys = [entry.key for entry in entries]
    assert keys == sorted(set(keys))
    assert keys[0] > 0


def test_a_claim_has_a_limit(buffer: Buffer) -> None:
    """A claim takes as many as it asks for, and the next one goes on from there."""
    put(buffer, "a", "b", "c")
    assert [claim(buffer, limit) for limit in (0, 2, 2, 2)] == [[], ["a", "b"], ["c"], []]


def test_a_claimed_entry_is_nobody_elses(buffer: Buffer) -> None:
    """What one sender has claimed, no other gets while it is being sent."""
    put(buffer, "a")
    assert claim(buffer) == ["a"]
    assert claim(buffer, now=NOW + 30) == []


def test_a_new_entry_is_due_at_once(buffer: Buffer) -> None:
    """A new entry can be claimed even when the clock has been set back."""
    put(buffer, "a")
    assert claim(buffer, now=NOW - 3600) == ["a"]


# -- coming due ----------------------------------------------------------------------------------


def test_a_retry_comes_due_at_its_time(buffer: Buffer) -> None:
    """An entry that was given back can be claimed when it is due, and not before."""
    put(buffer, "a")
    assert buffer.retry(claim_one(buffer), NOW + 5, attempts=1)
    assert claim(buffer, now=NOW + 4.999) == []
    assert claim(buffer, now=NOW + 5) == ["a"]


def test_what_is_due_first_comes_first(buffer: Buffer) -> None:
    """Of several that are due, those come first that were due first, whenever they were put."""
    put(buffer, "a", "b", "c")
    for entry, delay in zip(buffer.claim(3, NOW), (30, 10, 20), strict=True):
        assert buffer.retry(entry, NOW + delay, attempts=1)
    assert claim(buffer, 2, NOW + 20) == ["b", "c"]
    assert claim(buffer, 2, NOW + 29.999) == []
    assert claim(buffer, 2, NOW + 30) == ["a"]


def test_retries_come_before_new_ones(buffer: Buffer) -> None:
    """A retry that is due goes before entries that were never sent."""
    put(buffer, "a")
    assert buffer.retry(claim_one(buffer), NOW + 5, attempts=1)
    put(buffer, "b", "c")
    assert claim(buffer, 2, NOW + 5) == ["a", "b"]
    assert claim(buffer, 2, NOW + 5) == ["c"]


def test_a_retry_that_is_not_due_holds_nothing_up(buffer: Buffer) -> None:
    """New entries pass a retry that has to wait."""
    put(buffer, "a")
    assert buffer.retry(claim_one(buffer), NOW + 5, attempts=1)
    put(buffer, "b")
    assert claim(buffer) == ["b"]


def test_attempts_and_strikes_are_kept(buffer: Buffer) -> None:
    """An entry that was given back keeps its key, id, body and time, and has the new numbers."""
    put(buffer, "a", now=NOW - 7)
    first = claim_one(buffer)
    assert buffer.retry(first, NOW, attempts=3, strikes=2)
    again = claim_one(buffer)
    assert again._replace(token=0) == first._replace(attempts=3, strikes=2, token=0)
    assert buffer.retry(again, NOW, attempts=4)
    assert claim_one(buffer)[-3:-1] == (4, 0)


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
    buffer: Buffer, limit: int, newest: int, claimed: list[str]
) -> None:
    """Where more are due than are asked for, a part of them are those that were put last."""
    put(buffer, *"abcdef")
    assert claim(buffer, limit, newest=newest) == claimed
    rest = [id for id in "abcdef" if id not in claimed]
    assert claim(buffer) == rest


def test_the_newest_pass_a_backlog_of_retries(buffer: Buffer) -> None:
    """The newest get their part of a claim even when more than enough retries are due."""
    put(buffer, "a", "b", "c")
    for entry in buffer.claim(3, NOW):
        assert buffer.retry(entry, NOW, attempts=1)
    put(buffer, "d", "e")
    assert claim(buffer, 3, newest=1) == ["a", "b", "e"]


# -- settling ------------------------------------------------------------------------------------

Settle = Callable[[Buffer, Entry], bool]
SETTLE: dict[str, Settle] = {
    "ack": lambda buffer, entry: buffer.ack(entry),
    "retry": lambda buffer, entry: buffer.retry(entry, NOW, attempts=7, strikes=7),
    "bury": lambda buffer, entry: buffer.bury(letter(entry, "stale")),
}
LOSE: dict[str, Callable[[Buffer, Entry], object]] = {
    "acked": lambda buffer, entry: buffer.ack(entry),
    "given-back": lambda buffer, entry: buffer.retry(entry, NOW + 5, attempts=1),
    "buried": lambda buffer, entry: buffer.bury(letter(entry)),
    "claimed-by-another": lambda buffer, entry: (
        buffer.retry(entry, NOW, attempts=1) and buffer.claim(1, NOW)
    ),
    "claimed-by-another-as-it-was": lambda buffer, entry: (
        buffer.retry(entry, NOW, attempts=0) and buffer.claim(1, NOW)
    ),
}


def test_an_acknowledged_entry_is_gone(buffer: Buffer) -> None:
    """After ack() there is nothing left of an entry."""
    put(buffer, "a")
    entry = claim_one(buffer)
    assert buffer.ack(entry)
    assert buffer.state() == BufferState(0, 0, 0, entry.key, None, None)
    assert claim(buffer, now=NOW + 1_000_000) == []


@pytest.mark.parametrize("settle", SETTLE.values(), ids=SETTLE)
@pytest.mark.parametrize("lose", LOSE.values(), ids=LOSE)
def test_who_has_lost_a_claim_settles_nothing(
    buffer: Buffer, lose: Callable[[Buffer, Entry], object], settle: Settle
) -> None:
    """With a claim that is no longer the caller's, nothing is changed, and the caller is told."""
    put(buffer, "a", "b")
    entry = claim_one(buffer)
    assert lose(buffer, entry)
    before = buffer.state(), buffer.dead_letters()
    assert settle(buffer, entry) is False
    assert (buffer.state(), buffer.dead_letters()) == before


@pytest.mark.parametrize("settle", SETTLE.values(), ids=SETTLE)
def test_who_never_claimed_settles_nothing(buffer: Buffer, settle: Settle) -> None:
    """An entry that waits for its claim can't be settled, nor can one that never was."""
    put(buffer, "a")
    key = buffer.state().last_key
    before = buffer.state()
    for entry in (Entry(key, "a", "HOME", b"a", NOW), Entry(key + 1, "b", "HOME", b"b", NOW)):
        assert settle(buffer, entry) is False
    assert (buffer.state(), buffer.dead_letters()) == (before, [])
    assert claim(buffer) == ["a"]


def test_the_last_claim_is_the_one_that_counts(buffer: Buffer) -> None:
    """Whoever claims an entry after another one can settle it."""
    put(buffer, "a")
    assert buffer.retry(claim_one(buffer), NOW, attempts=1)
    assert buffer.ack(claim_one(buffer))
    assert buffer.state()[:3] == (0, 0, 0)


# -- room ----------------------------------------------------------------------------------------


def test_there_is_room_for_so_many_events(make_buffer: MakeBuffer) -> None:
    """The last event that there is room for is taken, and one more is refused."""
    buffer = make_buffer(max_events=3)
    put(buffer, "a", "b", "c")
    before = buffer.state()
    assert buffer.put("d", "HOME", b"", NOW) == "full"
    assert buffer.state() == before
    assert claim(buffer) == ["a", "b", "c"]


def test_there_is_room_for_so_many_bytes(make_buffer: MakeBuffer) -> None:
    """The last byte that there is room for is taken, and one more is refused."""
    buffer = make_buffer(max_bytes=10)
    assert buffer.put("a", "HOME", b"123456", NOW) is None
    assert buffer.put("b", "HOME", b"12345", NOW) == "full"
    assert buffer.put("c", "HOME", b"1234", NOW) is None
    assert buffer.put("d", "HOME", b"1", NOW) == "full"
    assert claim(buffer) == ["a", "c"]


@pytest.mark.parametrize(("size", "refusal"), [(10, None), (11, "full")])
def test_a_body_must_fit_into_an_empty_buffer(
    make_buffer: MakeBuffer, size: int, refusal: str | None
) -> None:
    """A body as large as the buffer fits, a larger one never does."""
    buffer = make_buffer(max_bytes=10)
    assert buffer.put("a", "HOME", b"x" * size, NOW) == refusal


@pytest.mark.parametrize("bounds", [{"max_events": 1}, {"max_bytes": 5}], ids=["events", "bytes"])
@pytest.mark.parametrize(
    ("settle", "is_room"),
    [
        (lambda buffer, entry: True, False),
        (lambda buffer, entry: buffer.retry(entry, NOW + 5, attempts=1), False),
        (lambda buffer, entry: buffer.ack(entry), True),
        (lambda buffer, entry: buffer.bury(letter(entry)), True),
    ],
    ids=["claimed", "given-back", "acked", "buried"],
)
def test_room_comes_back_at_the_end_of_an_event(
    make_buffer: MakeBuffer, bounds: dict[str, int], settle: Settle, is_room: bool
) -> None:
    """Whatever is in the buffer takes room, claimed or not; ack() and bury() make room again."""
    buffer = make_buffer(**bounds)
    assert buffer.put("a", "HOME", b"12345", NOW) is None
    assert settle(buffer, claim_one(buffer))
    refusals = [buffer.put(id, "HOME", b"12345", NOW) for id in "bc"]
    assert refusals == [None if is_room else "full", "full"]


# -- the state -----------------------------------------------------------------------------------


def test_the_state_is_true_at_every_step(buffer: Buffer) -> None:
    """Each step of an entry's way shows in the state, and nothing else does."""
    put(buffer, "a", "b")
    second = buffer.state().last_key
    entries = buffer.claim(1, NOW)
    first = entries[0].key
    assert buffer.state() == BufferState(1, 1, 0, second, first, 0.0)
    entries += buffer.claim(1, NOW)
    assert buffer.state() == BufferState(0, 2, 0, second, first, None)
    assert buffer.retry(entries[0], NOW + 5, attempts=1)
    assert buffer.state() == BufferState(1, 1, 0, second, second, NOW + 5)
    assert buffer.retry(entries[1], NOW + 3, attempts=1)
    assert buffer.state() == BufferState(2, 0, 0, second, None, NOW + 3)
    put(buffer, "c")
    third = buffer.state().last_key
    assert third > second
    assert buffer.state() == BufferState(3, 0, 0, third, third, 0.0)
    b, a, c = buffer.claim(3, NOW + 5)
    assert (b.id, a.id, c.id) == ("b", "a", "c")
    assert buffer.bury(letter(b))
    assert buffer.state() == BufferState(0, 2, 1, third, third, None)
    assert buffer.ack(c)
    assert buffer.state() == BufferState(0, 1, 1, third, None, None)
    assert buffer.ack(a)
    assert buffer.state() == BufferState(0, 0, 1, third, None, None)


def test_what_was_given_back_unsent_is_untried(buffer: Buffer) -> None:
    """An entry that was claimed and given back without an attempt still counts as untried."""
    put(buffer, "a", "b")
    first, second = buffer.claim(2, NOW)
    assert buffer.retry(first, NOW, attempts=0)
    assert buffer.state().oldest_untried == first.key
    assert buffer.retry(second, NOW + 5, attempts=0)
    assert buffer.ack(claim_one(buffer))
    assert buffer.state().oldest_untried == second.key


def test_a_later_claim_of_the_newest_hides_no_older_one(buffer: Buffer) -> None:
    """The oldest that was never sent is told, whatever was claimed before it."""
    put(buffer, "a", "b", "c")
    assert claim(buffer, 1, newest=1) == ["c"]
    assert buffer.state().oldest_untried == buffer.claim(1, NOW)[0].key


# -- dead letters --------------------------------------------------------------------------------


def test_a_dead_letter_tells_what_it_was_told(buffer: Buffer) -> None:
    """A dead letter keeps the entry, the numbers of its end, and the reason as they were given."""
    put(buffer, "a", "b")
    first, second = buffer.claim(2, NOW)
    letters = [
        DeadLetter(first._replace(attempts=1), "rejected", 400, "missing 가격", NOW + 0.5),
        DeadLetter(second._replace(attempts=10, strikes=9), "exhausted", None, "ReadTimeout", NOW),
    ]
    assert all(buffer.bury(each) for each in letters)
    told = [each._replace(entry=each.entry._replace(token=0)) for each in buffer.dead_letters()]
    assert told == [each._replace(entry=each.entry._replace(token=0)) for each in letters]


def test_a_dead_letter_is_not_sent(buffer: Buffer) -> None:
    """What was buried can't be claimed any more."""
    bury(buffer, "a")
    assert buffer.state()[:3] == (0, 0, 1)
    assert claim(buffer, now=NOW + 1_000_000) == []


def test_dead_letters_are_told_oldest_first(buffer: Buffer) -> None:
    """Dead letters are told in the order in which they were buried."""
    put(buffer, "a", "b", "c")
    a, b, c = buffer.claim(3, NOW)
    assert all(buffer.bury(letter(entry)) for entry in (c, a, b))
    assert [each.entry.id for each in buffer.dead_letters()] == ["c", "a", "b"]


def test_what_is_told_of_dead_letters_is_a_copy(buffer: Buffer) -> None:
    """Whoever empties the list of the dead letters empties no buffer."""
    bury(buffer, "a")
    buffer.dead_letters().clear()
    assert len(buffer.dead_letters()) == 1


@pytest.mark.parametrize(
    ("ids", "resent"),
    [
        (None, ["a", "b", "c"]),
        (["c", "a"], ["a", "c"]),
        ({"b", "unknown"}, ["b"]),
        ((), []),
        (["unknown"], []),
    ],
    ids=["all", "some", "one", "none", "unknown"],
)
def test_dead_letters_can_be_resent(
    buffer: Buffer, ids: list[str] | None, resent: list[str]
) -> None:
    """Those with the given ids, or all, are due again, and no longer dead letters."""
    bury(buffer, "a", "b", "c")
    assert buffer.resend(ids, NOW + 9) == len(resent)
    kept = [each.entry.id for each in buffer.dead_letters()]
    assert kept == [id for id in ("a", "b", "c") if id not in resent]
    assert buffer.state()[:3] == (len(resent), 0, len(kept))
    assert claim(buffer, now=NOW + 9) == resent
    assert buffer.resend(ids, NOW + 9) == 0


def test_what_is_resent_is_new(buffer: Buffer) -> None:
    """A resent event has its id and body, a new key and time, and no attempt behind it."""
    put(buffer, "a")
    first = claim_one(buffer)
    assert buffer.bury(letter(first._replace(attempts=10, strikes=10)))
    put(buffer, "b")
    assert buffer.resend(None, NOW + 9) == 1
    b, again = buffer.claim(2, NOW + 9)
    assert (b.id, again[1:-1]) == ("b", ("a", "HOME", b"a", NOW + 9, 0, 0))
    assert buffer.state().last_key == again.key > b.key > first.key


def test_a_resent_event_can_end_again(buffer: Buffer) -> None:
    """What was resent is claimed, given back, buried and resent like any other entry."""
    bury(buffer, "a")
    assert buffer.resend(None, NOW) == 1
    assert buffer.retry(claim_one(buffer), NOW, attempts=1)
    assert buffer.bury(letter(claim_one(buffer)))
    assert buffer.resend(["a"], NOW) == 1
    assert buffer.ack(claim_one(buffer))
    assert buffer.state()[:3] == (0, 0, 0)


def test_resent_events_take_room(make_buffer: MakeBuffer) -> None:
    """Dead letters are resent though the buffer is full; then nothing fits until there is room."""
    buffer = make_buffer(max_events=2, max_bytes=100)
    bury(buffer, "a", "b")
    put(buffer, "c", "d")
    assert buffer.resend(None, NOW) == 2
    refusals = []
    for entry in buffer.claim(4, NOW):
        assert buffer.ack(entry)
        refusals.append(buffer.put("e", "HOME", b"e", NOW))
    assert refusals == ["full", "full", None, None]


# -- the end -------------------------------------------------------------------------------------


def test_close_tells_what_is_lost(buffer: Buffer) -> None:
    """At its end a buffer gives back every entry that is lost by it; a durable one loses none."""
    put(buffer, "a", "b", "c", "d")
    a, b, c = buffer.claim(3, NOW)
    assert buffer.retry(a, NOW + 5, attempts=1)
    assert buffer.ack(b)
    lost = sorted(buffer.close())
    wanted = [] if buffer.is_durable else [("a", 1), ("c", 0), ("d", 0)]
    assert [(entry.id, entry.attempts) for entry in lost] == wanted
    assert buffer.close() == []
    assert not any(settle(buffer, c) for settle in SETTLE.values())


def test_a_closed_buffer_takes_nothing(buffer: Buffer) -> None:
    """After its end nothing can be put into a buffer, nor claimed or resent from it."""
    bury(buffer, "a")
    put(buffer, "b")
    buffer.close()
    assert buffer.put("c", "HOME", b"c", NOW) is not None
    assert buffer.resend(None, NOW) == 0
    assert buffer.claim(10, NOW) == []
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
        return buffer.put(id, "HOME", b"body", NOW) is None

    def produce(producer: int) -> None:
        all_ready.wait(LONG)
        for number in range(events):
            with is_room:
                assert is_room.wait_for(partial(is_put, f"{producer}-{number}"), LONG)

    def consume() -> None:
        all_ready.wait(LONG)
        while len(ended) < threads * events:
            for entry in buffer.claim(7, NOW):
                if entry.key % 3 == 0 and not entry.attempts:
                    assert buffer.retry(entry, NOW, attempts=1)
                    continue
                assert buffer.bury(letter(entry)) if entry.key % 5 == 0 else buffer.ack(entry)
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
    assert state.dead == len(buffer.dead_letters()) > 0


def test_threads_do_not_overfill_it(make_buffer: MakeBuffer) -> None:
    """With four threads putting, there is room for exactly as many as the bound says."""
    buffer = make_buffer(max_events=100)
    all_ready = threading.Barrier(4)

    def produce(producer: int) -> int:
        all_ready.wait(LONG)
        puts = [buffer.put(f"{producer}-{n}", "HOME", b"", NOW) for n in range(100)]
        return puts.count(None)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(produce, range(4))) == 100
    assert len(buffer.claim(1000, NOW)) == 100
