"""Every buffer against a model of it that is too simple to be wrong."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.clock import Clock
from support.redis_buffers import PromptRedisBuffer, open_still
from support.redis_server import RedisServer
from support.repeats import repeats

from amplitude_moloco.buffers.base import BufferState, DeadLetter, Entry, Storage
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer
from amplitude_moloco.reasons import DeadLetterReason, DropReason

EXAMPLES = repeats(15, 1_500)
MAX_EVENTS = 6
MAX_BYTES = 20


class Item(NamedTuple):
    """An entry as the model keeps it. The numbers ascend in the order of the puts."""

    number: int
    id: str
    body: bytes
    accepted_at: float
    attempts: int = 0
    strikes: int = 0

    def is_seen_in(self, entry: Entry, now: float) -> bool:
        """Whether the buffer returns all of it, whatever its key."""
        age = now - self.accepted_at
        own = (self.id, "HOME", self.body, self.accepted_at, age, self.attempts, self.strikes, "")
        return entry[1:] == own


class Claimed(NamedTuple):
    """A claim as the buffer returned it, and as the model knows it."""

    entry: Entry
    item: Item


class Letter(NamedTuple):
    """A dead letter as the model keeps it."""

    item: Item
    buried_at: float
    status: int | None

    def is_seen_in(self, letter: DeadLetter) -> bool:
        item, reason = self.item, DeadLetterReason.REJECTED
        end = (self.buried_at, item.attempts, reason, self.status, "no", "")
        return letter[1:] == (item.id, "HOME", item.body, item.accepted_at, *end)


@dataclass
class Model:
    """What lies in the buffer."""

    new: list[Item] = field(default_factory=list)
    later: list[tuple[float, Item]] = field(default_factory=list)
    claimed: list[Item] = field(default_factory=list)
    dead: list[Letter] = field(default_factory=list)
    stored: set[int] = field(default_factory=set)
    """The numbers of those that an earlier process has left in the file."""
    dues: dict[int, float] = field(default_factory=dict)
    """When those that were given back came due."""
    last_number: int = 0

    def put(self, id: str, body: bytes, now: float) -> None:
        self.last_number += 1
        self.new.append(Item(self.last_number, id, body, now))

    def all(self) -> list[Item]:
        return [*self.new, *(item for _, item in self.later), *self.claimed]

    def is_full(self, size: int) -> bool:
        bodies = [item.body for item in self.all()]
        return len(bodies) >= MAX_EVENTS or len(b"".join(bodies)) + size > MAX_BYTES

    def claim(self, limit: int, now: float, newest: int) -> list[Item]:
        reserved = self.new[len(self.new) - min(limit, newest, len(self.new)) :]
        others = self.new[: len(self.new) - len(reserved)]
        retries = [item for due, item in sorted(self.later) if due <= now]
        items = [*(retries + others)[: limit - len(reserved)], *reserved]
        self.new = [item for item in self.new if item not in items]
        self.later = [(due, item) for due, item in self.later if item not in items]
        self.claimed = [item for item in self.claimed if item not in items] + items
        return items

    def end(self, now: float) -> None:
        """A process ends: what it has claimed is due again, in its old place if it was stored."""
        for item in self.claimed:
            if item.number in self.stored and item.number in self.dues:
                self.later.append((self.dues[item.number], item))
            elif item.attempts and item.number not in self.stored:
                self.later.append((now, item))
            else:
                self.new.append(item)
        self.new.sort()
        self.claimed.clear()
        self.stored = {item.number for item in self.all()}
        self.dues = {item.number: due for due, item in self.later}

    def next_seconds(self, now: float) -> float | None:
        dues = [due for due, _ in self.later] + [now for _ in self.new]
        return max(0.0, min(dues) - now) if dues else None

    def is_tried(self, number: int) -> bool:
        """Whether all entries up to this number were sent, or are gone."""
        return all(item.attempts for item in self.all() if item.number <= number)


class Machine(RuleBasedStateMachine):
    """Does the same things to a buffer and to the model, in any order."""

    def __init__(self, open_buffer: Callable[[Clock], Storage]) -> None:
        super().__init__()
        self.clock = Clock()
        self.open_buffer = open_buffer
        self.buffer = open_buffer(self.clock)
        self.model = Model()
        self.held: list[Claimed] = []
        self.stale: list[Entry] = []
        """Claims that were settled, or lost."""
        self.checkpoints: list[tuple[int, Callable[[], bool]]] = []
        """Each with the last number before it."""
        self.accepted = self.acknowledged = 0

    @property
    def now(self) -> float:
        return self.clock.wall()

    @rule(id=st.sampled_from("abc"), body=st.binary(max_size=8))
    def put(self, id: str, body: bytes) -> None:
        is_full = self.model.is_full(len(body))
        assert self.buffer.put(id, "HOME", body) is (DropReason.FULL if is_full else None)
        if not is_full:
            self.accepted += 1
            self.model.put(id, body, self.now)

    @rule(limit=st.integers(0, 4), newest=st.integers(0, 2))
    def claim(self, limit: int, newest: int) -> None:
        entries, next_seconds = self.buffer.claim(limit, newest)
        items = self.model.claim(limit, self.now, newest)
        assert next_seconds == self.model.next_seconds(self.now)
        claims = [Claimed(*each) for each in zip(entries, items, strict=True)]
        assert all(claim.item.is_seen_in(claim.entry, self.now) for claim in claims)
        numbers = {item.number for item in items}
        self.stale += [claim.entry for claim in self.held if claim.item.number in numbers]
        self.held = [claim for claim in self.held if claim.item.number not in numbers] + claims

    def release(self, data: st.DataObject) -> Claimed:
        """Choose one of the claims, which is to be settled now."""
        claim: Claimed = data.draw(st.sampled_from(self.held))
        self.held.remove(claim)
        self.model.claimed.remove(claim.item)
        self.stale.append(claim.entry)
        return claim

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        assert self.buffer.ack(self.release(data).entry)
        self.acknowledged += 1

    @precondition(lambda self: self.held)
    @rule(
        data=st.data(),
        delay=st.integers(-2, 5),
        attempts=st.integers(0, 3),
        strikes=st.integers(0, 3),
    )
    def retry(self, data: st.DataObject, delay: int, attempts: int, strikes: int) -> None:
        entry, item = self.release(data)
        assert self.buffer.retry(entry, delay, attempts=attempts, strikes=strikes)
        given_back = item._replace(attempts=attempts, strikes=strikes)
        self.model.later.append((self.now + delay, given_back))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), status=st.sampled_from([None, 400]))
    def bury(self, data: st.DataObject, status: int | None) -> None:
        entry, item = self.release(data)
        assert self.buffer.bury(entry, DeadLetterReason.REJECTED, status=status, message="no")
        self.model.dead.append(Letter(item, self.now, status))

    @precondition(lambda self: self.stale)
    @rule(data=st.data(), how=st.sampled_from(["ack", "retry", "bury"]))
    def settle_what_is_not_held(self, data: st.DataObject, how: str) -> None:
        entry = data.draw(st.sampled_from(self.stale))
        if how == "ack":
            assert not self.buffer.ack(entry)
        elif how == "retry":
            assert not self.buffer.retry(entry, 0.0, attempts=9, strikes=9)
        else:
            reason = DeadLetterReason.EXPIRED
            assert not self.buffer.bury(entry, reason, status=None, message="")

    @precondition(lambda self: self.model.dead)
    @rule(ids=st.none() | st.sets(st.sampled_from("abc")))
    def resend(self, ids: set[str] | None) -> None:
        letters = list(self.buffer.dead_letters())
        for letter, known in zip(letters, list(self.model.dead), strict=True):
            if ids is None or letter.id in ids:
                assert self.buffer.resend(letter)
                assert not self.buffer.resend(letter)
                self.model.dead.remove(known)
                self.model.put(known.item.id, known.item.body, self.now)

    @rule()
    def set_checkpoint(self) -> None:
        self.checkpoints.append((self.model.last_number, self.buffer.checkpoint()))

    @rule(seconds=st.integers(1, 5))
    def let_time_pass(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @invariant()
    def its_state_is_true(self) -> None:
        assert self.buffer.state() == BufferState(
            waiting=len(self.model.new) + len(self.model.later),
            claimed=len(self.model.claimed),
            dead=len(self.model.dead),
        )
        assert self.buffer.claim(0) == ([], self.model.next_seconds(self.now))

    @invariant()
    def its_checkpoints_are_reached_in_time(self) -> None:
        for number, is_reached in self.checkpoints:
            assert is_reached() == self.model.is_tried(number)

    @invariant()
    def its_dead_letters_are_the_models(self) -> None:
        letters = list(self.buffer.dead_letters())
        pairs = zip(letters, self.model.dead, strict=True)
        assert all(known.is_seen_in(letter) for letter, known in pairs)

    @invariant()
    def nothing_vanishes(self) -> None:
        assert self.accepted == self.acknowledged + len(self.model.dead) + len(self.model.all())

    def teardown(self) -> None:
        lost = self.buffer.close()
        items = [] if self.buffer.is_durable else self.model.all()
        assert sorted((entry.id, entry.body, entry.accepted_at) for entry in lost) == sorted(
            (item.id, item.body, item.accepted_at) for item in items
        )
        assert all(is_reached() for _, is_reached in self.checkpoints)


class DurableMachine(Machine):
    """Ends processes as well, and lets others continue."""

    @rule()
    def reopen(self) -> None:
        """Continue as another process. The claims of the one before are not settled any more."""
        assert self.buffer.close() == []
        self.model.end(self.now)
        self.held.clear()
        self.checkpoints.clear()
        self.buffer = self.open_buffer(self.clock)


def run_machine(machine: type[Machine]) -> None:
    """Do anything, in any order."""
    run_state_machine_as_test(
        machine, settings=settings(max_examples=EXAMPLES, stateful_step_count=40, deadline=None)
    )


def test_a_buffer_in_memory_is_its_model() -> None:
    """Whatever is done to a buffer in memory, in any order, it answers as the model does."""

    class InMemory(Machine):
        def __init__(self) -> None:
            super().__init__(
                lambda clock: MemoryBuffer(
                    MAX_EVENTS, MAX_BYTES, wall=clock.wall, monotonic=clock.monotonic
                )
            )

    run_machine(InMemory)


@pytest.mark.timeout(3000)
def test_a_buffer_in_a_file_is_its_model(tmp_path: Path) -> None:
    """Whatever is done to a buffer in a file, restarts included, it answers as the model does."""
    numbers = count()

    class InFile(DurableMachine):
        def __init__(self) -> None:
            self.stack = ExitStack()
            self.path = tmp_path / f"{next(numbers)}.db"
            super().__init__(self.open_one)

        def open_one(self, clock: Clock) -> Storage:
            buffer = SqliteBuffer(
                self.path,
                target="t",
                max_events=MAX_EVENTS,
                max_bytes=MAX_BYTES,
                wall=clock.wall,
                monotonic=clock.monotonic,
            )
            self.stack.callback(buffer.close)
            return buffer

        def teardown(self) -> None:
            super().teardown()
            self.stack.close()

    run_machine(InFile)


class SharedModel(Model):
    """A process that ends gives back what it has claimed: that is due at once."""

    def end(self, now: float) -> None:
        self.later += [(now, item) for item in self.claimed]
        self.claimed.clear()


@pytest.mark.timeout(3000)
def test_a_buffer_in_redis_is_its_model(redis_server: RedisServer) -> None:
    """Whatever is done to a buffer in Redis, restarts included, it answers as the model does."""

    class InRedis(DurableMachine):
        def __init__(self) -> None:
            self.stack = ExitStack()
            self.url = redis_server.url()
            super().__init__(self.open_one)
            self.model = SharedModel()

        def open_one(self, clock: Clock) -> Storage:
            bounds: dict[str, Any] = {"max_events": MAX_EVENTS, "max_bytes": MAX_BYTES}
            buffer = open_still(self.url, clock, kind=PromptRedisBuffer, **bounds)
            self.stack.callback(buffer.close)
            return buffer

        def teardown(self) -> None:
            super().teardown()
            self.stack.close()

    run_machine(InRedis)
